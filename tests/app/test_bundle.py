"""Which rows a step hands over, and what of a prediction JSON has no word for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.prediction_file import reading, write_prediction
from app.bundle import Wanted, encode_bundle, packed
from models.types import AttentionRecord, FrameMark, Part, PatchGrid, Prediction, Span, TokenLayout
from tests.browser.planted_runs import text_prediction


def header_of(folder: Path, prediction: Prediction, wanted: Wanted | None = None, **cameras: str) -> dict[str, Any]:
    write_prediction(folder / "step.h5", prediction, "float16")
    with reading(folder / "step.h5") as step:
        data = encode_bundle(step, wanted or Wanted(), cameras)
    return json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])


def seen(camera: str, place: int) -> AttentionRecord:
    layout = TokenLayout((f"{camera} 0,0",), (Span(Part.IMAGE, camera, 0, 1, PatchGrid(camera, 1, 1, (0, 0, 8, 8))),))
    return AttentionRecord(np.full((1, 1, 1, 1), place, np.float32), (0,), (0,), (-1,), layout, "vision siglip")


def test_a_vision_tower_has_a_record_for_each_camera(tmp_path: Path) -> None:
    prediction = replace(text_prediction("a"), attention=(seen("a", 0), seen("b", 1)))
    for camera in ("top", "side"):
        header = header_of(tmp_path, prediction, Wanted("vision siglip", camera=camera), a="top", b="side")
        assert header["spans"][0]["grid"]["camera"] == camera
        (tmp_path / "step.h5").unlink()


def test_numbers_that_are_none_become_null(tmp_path: Path) -> None:
    said = replace(
        text_prediction("a"),
        actions=np.array([[np.nan, 1.0]]),
        action_names=("x", "y"),
        action_units=("m", "m"),
        token_logprobs=np.array([-np.inf, np.nan, -0.5]),
        marks=(FrameMark("a", "lost", "point", (np.nan, 1.0)), FrameMark("a", "here", "point", (2.0, 1.0))),
    )
    header = header_of(tmp_path, said)
    assert (header["action"], header["logprobs"]) == ([[None, 1.0]], [None, None, -0.5])
    assert [mark["name"] for mark in header["marks"]] == ["here"]


@pytest.mark.parametrize("grid", [None, PatchGrid("a", 3, 3, (0, 0, 8, 8)), PatchGrid("a", 2, 2, (0, 0, np.inf, 8))])
def test_image_tokens_that_form_no_grid_are_sent_without_one(tmp_path: Path, grid: PatchGrid | None) -> None:
    said = text_prediction("a")
    spans = (replace(said.layout.spans[0], grid=grid), *said.layout.spans[1:])
    layout = TokenLayout(said.layout.tokens, spans)
    header = header_of(tmp_path, replace(said, layout=layout, attention=()))
    assert header["spans"][0]["grid"] is None and header["spans"][1]["grid"] is not None
    assert header["weights"] is None


def test_a_record_without_rows_is_none(tmp_path: Path) -> None:
    said = text_prediction("a")
    none = replace(said.attention[0], weights=np.zeros((0, 0, 0, 18), np.float32), layers=(), queries=(), produced=())
    header = header_of(tmp_path, replace(said, attention=(none,)))
    assert (header["weights"], header["streams"]) == (None, [])


def test_half_a_sign_in_a_header() -> None:
    data = packed({"text": "cut off \ud83d"}, [])
    assert json.loads(data[4:]) == {"text": "cut off \ud83d"}
