"""Views as files: what is drawn, what is said below, and what the data hold."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.attention import TopK, top_k
from analysis.pictures import Figure, Overlay, Panel, View, write_film, write_picture
from analysis.pictures.colours import STOPS, coloured, enlarged
from analysis.pictures.drawing import drawn, font, printable, shortened, width_of, wrapped
from analysis.pictures.figure import Mark
from analysis.pictures.runs import figure_at, figures
from analysis.pictures.svg import as_svg
from analysis.records import RunKey
from models.errors import UserError
from tests.planted_run import planted_run
from tests.tiny_episode import STEPS

PLAYER = Path(__file__).parents[2] / "app/components/player"
EVIL = '<script>alert("1")</script> & "quotes" \x07\n=cmd()'


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return planted_run(tmp_path_factory.mktemp("pictures"), EVIL)


def test_colours_are_the_players():
    said = (PLAYER / "colormaps.js").read_text()
    for name, stops in STOPS.items():
        listed = re.search(rf"^  {name}: \[(.*?)\]", said, re.S | re.M)
        assert listed and re.findall(r"#([0-9a-f]{6})", listed[1]) == stops.split()
    assert coloured("viridis", np.array([0.0, 1.0])).tolist() == [[68, 1, 84, 0], [253, 231, 37, 255]]
    assert coloured("difference", np.array([0.5]), opaque=True).tolist() == [[247, 247, 247, 255]]


def test_a_view_has_the_names_and_defaults_of_a_link():
    said = (PLAYER / "view_state.js").read_text()
    defaults = said[said.index("DEFAULTS") : said.index("});")]
    for name, value in vars(View()).items():
        found = re.search(rf"\b{'from' if name == 'start' else name}: (\"[^\"]*\"|-?[\d.]+)", defaults)
        assert found, name
        assert json.loads(found[1]) == value, name
    link = "http://localhost/?page=Trajectory&from=1&to=2&reduce=mean&smooth=0&query=action.x&opacity=0.5"
    view = View.of(View.parameters_of(link))
    assert (view.start, view.to, view.reduce, view.smooth, view.query) == (1, 2, "mean", False, "action.x")
    for bad in ({"reduce": "best"}, {"k": "many"}, {"smooth": "yes"}):
        with pytest.raises(UserError):
            View.of(bad)
    with pytest.raises(UserError, match="there is no setting 'colour'"):
        View.of({"colour": "red"}, strict=("colour",))


def test_values_between_patches_are_interpolated_before_colouring():
    values = np.array([[0.0, 1.0]])
    assert enlarged(values, 1, 4, smooth=True).tolist() == [[0, 0.25, 0.75, 1]]
    assert enlarged(values, 2, 4, smooth=False).tolist() == [[0, 0, 1, 1]] * 2


@pytest.mark.slow
def test_a_picture_says_what_it_shows(made, tmp_path):
    _, episode, run = made
    figure = figure_at(episode, 2, [run], View())
    said = " ".join(figure.caption)
    for part in (
        run.run.key.checkpoint,
        episode.meta.digest,
        "step 2 of 0–5",
        "top-k fusion: mean of 4 heads",
        "viridis",
        run.run.address,
        "query: all action",
        "opacity 75%",
    ):
        assert part in said
    write_picture(figure, tmp_path / "p.png")
    picture = Image.open(tmp_path / "p.png")
    assert picture.text["Description"].count("\n") == len(figure.caption) - 1
    facts = json.loads(picture.text["vla-lens"])
    assert facts["models"][0]["digest"] == run.run.key.checkpoint and facts["settings"]["reduce"] == "topk"
    assert picture.width == 512 + 32 and picture.height > 384


def test_the_values_are_those_of_the_reduction(made, tmp_path):
    _, episode, run = made
    figure = figure_at(episode, 1, [run], View())
    prediction = run.run.read(1)
    record = prediction.attention[0]
    rows = [
        row
        for row, index in enumerate(record.produced)
        if index >= 0
        and any(
            span.part == "action" and span.start <= len(record.layout.tokens) - prediction.written + index < span.stop
            for span in record.layout.spans
        )
    ]
    one = replace(
        record,
        weights=record.weights[:, :, rows].astype(np.float32).mean(2, keepdims=True),
        queries=(0,),
        produced=(0,),
    )
    wanted = top_k(one, TopK(k=min(4, record.weights.shape[0] * record.weights.shape[1]))).rows[0]
    write_picture(figure, tmp_path / "d.npz")
    with np.load(tmp_path / "d.npz", allow_pickle=False) as data:
        np.testing.assert_allclose(data["model0_row"], wanted, rtol=1e-6)
        assert len(data["model0_tokens"]) == len(wanted) and "digest" in str(data["caption"])
        patches = data["panel0_part0_values"]
    write_picture(figure, tmp_path / "d.csv")
    lines = (tmp_path / "d.csv").read_text().splitlines()
    assert lines[0].startswith("# Episode tiny")
    table = list(csv.DictReader(io.StringIO("\n".join(line for line in lines if not line.startswith("#")))))
    assert len(table) == patches.size
    np.testing.assert_allclose([float(row["value"]) for row in table], patches.ravel(), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "view",
    [
        {"reduce": "mean"},
        {"reduce": "max"},
        {"reduce": "head", "layer": "1"},
        {"query": "rationale"},
        {"query": "word.0"},
        {"keep": "layers", "k": "1"},
        {"keep": "entries"},
        {"ranked_over": "all queries"},
        {"keep": "heads of each layer"},
    ],
)
def test_every_way_of_looking_has_its_own_words(made, view):
    _, episode, run = made
    figure, usual = (figure_at(episode, 0, [run], View.of(given)) for given in (view, {}))
    assert figure.panels[0].why or figure.caption[1] != usual.caption[1]


def test_nothing_of_a_data_set_gets_into_an_svg_unescaped(made):
    _, episode, run = made
    said = as_svg(figure_at(episode, 0, [replace(run, name="<b>&")], View(smooth=False)))
    root = ElementTree.fromstring(said)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {
        "svg",
        "title",
        "desc",
        "metadata",
        "defs",
        "linearGradient",
        "stop",
        "rect",
        "image",
        "text",
        "circle",
    }
    assert "<script" not in said and "<b>" not in said
    links = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert len(links) == 2 and all(link.startswith("data:image/png;base64,") for link in links)
    texts = " ".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))
    assert '<script>alert("1")</script>' in texts.replace(" ", " ") and "<b>&" in texts


def test_two_are_compared_with_their_difference(made, tmp_path):
    _, episode, run = made
    figure = figure_at(episode, 1, [run, replace(run, name="again")], View())
    assert [panel.title for panel in figure.panels] == ["planted", "again", "again − planted"]
    difference = figure.panels[2]
    assert difference.signed and difference.full == 0 and not difference.overlays[0].values.any()
    write_picture(figure, tmp_path / "two.svg")
    write_picture(figure, tmp_path / "two.png", 200)
    assert Image.open(tmp_path / "two.png").width == 3 * 200 + 2 * 12 + 32


def test_a_step_that_was_not_run_shows_the_frame_and_says_so(made):
    _, episode, run = made
    figure = figure_at(episode, STEPS - 1, [run], View())
    assert not figure.panels[0].overlays and "has not been run" in figure.panels[0].why
    assert drawn(figure).width == 544
    assert drawn(figure_at(episode, 0, [], View())).width == 544


@pytest.mark.slow
@pytest.mark.parametrize("name", ["f.mp4", "f.gif"])
def test_a_film_has_a_frame_a_step_on_one_scale(made, tmp_path, name):
    _, episode, run = made
    some = list(figures(episode, range(4), [run], View()))
    assert len({figure.panels[0].full for figure in some}) == 1 and "one scale for the episode" in some[0].caption[2]
    assert write_film(iter(some), tmp_path / name, 5.0, 128) == 4
    if name.endswith("gif"):
        picture = Image.open(tmp_path / name)
        assert picture.n_frames == 4 and picture.info["duration"] == 200
        comment = picture.info["comment"].decode()
    else:
        with av.open(str(tmp_path / name)) as container:
            frames = list(container.decode(video=0))
            assert len(frames) == 4 and container.streams.video[0].average_rate == 5
            comment = container.metadata["comment"]
    assert comment == "\n".join(("First step:", *map(printable, some[0].caption)))


@pytest.mark.slow
def test_places_and_objects_are_outlined(made):
    _, episode, run = made
    figure = figure_at(episode, 1, [run], View(objects=True))
    (box,) = [mark for mark in figure.panels[0].marks if mark.colour]
    assert (box.name, box.at) == ("red block", (8, 16, 16, 24))
    scale = 512 / 64
    plain, outlined = (drawn(figure_at(episode, 1, [run], View(objects=on, opacity=0.0))) for on in (False, True))
    changed = np.argwhere((np.asarray(plain) != np.asarray(outlined)).any(axis=2)) - (16 + 26, 16)
    assert abs(changed[:, 0].max() - 24 * scale) <= 4 and abs(changed[:, 1].min() - 8 * scale) <= 4
    point = replace(figure.panels[0], marks=(Mark("<i>there", (10.0, 20.0)), Mark("it", (1.0, 2.0, 30.0, 20.0))))
    said = as_svg(replace(figure, panels=(point,)))
    ElementTree.fromstring(said)
    assert said.count("<circle") == 3 and "<i>" not in said and drawn(replace(figure, panels=(point,))).width == 544


def test_long_captions_are_wrapped_and_odd_words_broken(tmp_path):
    lines = wrapped(("word " * 60, "x" * 400, "a\nb\tc"), 300)
    assert all(font(15).getlength(line) <= 300 for line in lines) and len(lines) > 10
    assert lines[-1] == "a b c"
    panel = Panel("", np.zeros((20, 30, 3), np.uint8), (Overlay(np.ones((2, 3)), (0, 0, 30, 20)),), 1.0)
    picture = drawn(Figure((panel,), ("long " * 500,)))
    assert picture.height > 1000


@pytest.mark.parametrize("text", ["", "put the cup on the plate", "W" * 50, "ÄÖ\n日本語 العربية" * 9])
@pytest.mark.parametrize("width", [10, 60, 400])
def test_as_much_of_a_text_is_kept_as_fits(text: str, width: int) -> None:
    said = shortened(text, width, 13)
    flat = text.replace("\n", " ")
    if font(13).getlength(flat) <= width:
        assert said == flat and width_of(text, 13, width) == font(13).getlength(flat)
        return
    kept = len(said) - 1
    assert said == flat[:kept] + "…" and font(13).getlength(flat[: kept + 1] + "…") > width
    assert kept == 0 or font(13).getlength(said) <= width
    assert width_of(text, 13, width) == width


def test_a_text_of_a_megabyte_is_cut_at_once() -> None:
    """Measured letter by letter it would take hours."""
    text = "a" * 2**20
    assert shortened(text, 400, 13) == shortened(text[:1000], 400, 13)
    assert width_of(text, 13, 400) == 400


def test_what_cannot_be_written_is_said(made, tmp_path):
    _, episode, run = made
    figure = figure_at(episode, 0, [run], View())
    with pytest.raises(UserError, match=r"names no picture; expected a name that ends in .png"):
        write_picture(figure, tmp_path / "p.bmp")
    with pytest.raises(UserError, match="names no film"):
        write_film(iter([figure]), tmp_path / "p.avi", 5)
    with pytest.raises(UserError, match="at least one step"):
        write_film(iter(()), tmp_path / "p.mp4", 5)
    with pytest.raises(UserError, match="has no camera 'nowhere'"):
        figure_at(episode, 0, [run], View(camera="nowhere"))
    other = replace(run, run=replace(run.run, key=RunKey("c", "another")))
    with pytest.raises(UserError, match="is of an episode with the digest another"):
        figure_at(episode, 0, [other], View())


@pytest.mark.slow
def test_the_command_line_writes_them(made, tmp_path):
    path, _, run = made
    workspace = run.run.path.parents[1]
    given = [str(path), "--record", run.run.address, "--workspace", str(workspace)]
    told = CliRunner().invoke(
        app, ["picture", given[0], str(tmp_path / "p.svg"), *given[1:], "--step", "3", "--set", "map=magma"]
    )
    assert told.exit_code == 0, told.output
    assert "step 3 of" in (tmp_path / "p.svg").read_text() and "magma" in (tmp_path / "p.svg").read_text()
    told = CliRunner().invoke(
        app, ["film", given[0], str(tmp_path / "f.gif"), *given[1:], "--steps", "0:3", "--width", "64"]
    )
    assert told.exit_code == 0 and Image.open(tmp_path / "f.gif").n_frames == 3
    told = CliRunner().invoke(app, ["picture", given[0], str(tmp_path / "p.png"), "--step", "99"])
    assert told.exit_code != 0 and "steps 0 to 5" in str(told.exception)
