"""What the weights of two checkpoints allow one to say."""

from __future__ import annotations

from app.figures import weight_change_bars, which_layers_can_differ
from models.weight_change import GroupChange, WeightChange


def change(**same: bool) -> WeightChange:
    places = {"vision": ("vision", None), "embeddings": ("embeddings", None)} | {
        f"l{i}": ("language", i) for i in range(4)
    }
    groups = tuple(
        GroupChange(stream, layer, 0.0 if same[name] else 0.25, 0.1, 3, 3 if same[name] else 1, 100)
        for name, (stream, layer) in places.items()
    )
    return WeightChange("a", "b", groups)


def test_equal_checkpoints() -> None:
    said = which_layers_can_differ(change(vision=True, embeddings=True, l0=True, l1=True, l2=True, l3=True))
    assert "everything is equal" in said


def test_frozen_lower_layers() -> None:
    said = which_layers_can_differ(change(vision=True, embeddings=True, l0=True, l1=True, l2=False, l3=True))
    assert "language layers 0–1 are identical" in said and "only layers from 2 on" in said


def test_changed_before_the_language_layers() -> None:
    said = which_layers_can_differ(change(vision=False, embeddings=True, l0=True, l1=True, l2=True, l3=True))
    assert "attention can differ in every layer" in said


def test_bars_are_the_relative_change_in_per_cent() -> None:
    figure = weight_change_bars(change(vision=True, embeddings=True, l0=True, l1=True, l2=False, l3=True))
    assert list(figure.data[0].y) == [0, 0, 0, 0, 25, 0]
    assert list(figure.data[0].text)[3:5] == ["identical", "25.0 %"]
