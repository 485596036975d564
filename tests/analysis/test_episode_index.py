"""The index of episodes: what goes in comes out, whatever is asked, interrupted or damaged."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.catalogue import BrokenKind, EpisodeIndex, Filter, IndexState, LengthBin, Order, files_stamp
from analysis.catalogue.index import ALL, AS_LISTED
from analysis.catalogue.scan import BATCH
from analysis.episodes import BrokenEpisode, open_source
from analysis.types import EpisodeMeta
from analysis.workspace import Workspace
from benchmarks.catalogue import Synthetic
from models.errors import UserError
from tests.test_docs import code
from tests.tiny_episode import write_tiny_episode

META = EpisodeMeta(
    id="one",
    source="/data/one.hdf5",
    instruction="Put the red carrot on the plate",
    length=20,
    fps=5.0,
    cameras=("image_0", "wrist"),
    success=True,
    task="kitchen_1",
    robot="widowx",
    action_names=("x", "gripper"),
    action_units=("m", "open"),
    state_names=("x",),
    state_units=("m",),
    has_rationale=True,
    digest="0123456789abcdef",
    extra={"file_path": "/data/out.npy", "episode_id": "7", "splits": "train, few shot"},
)
ENTRIES = (
    META,
    replace(META, id="two", instruction="open the DRAWER", length=35, success=False, has_rationale=False, task=""),
    BrokenEpisode("/data/3.hdf5", "3.hdf5 is cut short: it has 1,000 bytes"),
    replace(META, id="four_10", instruction="把红色的胡萝卜放在盘子上", length=5, fps=10.0, success=None, task=""),
    BrokenEpisode("/data/5.hdf5", "5.hdf5 is cut short: it has 77 bytes"),
    replace(META, id="Émile 100%", instruction="", length=39, has_rationale=False, task="", extra={}),
)


class Listed:
    """A source that counts how often it is scanned."""

    def __init__(self, entries: Sequence[EpisodeMeta | BrokenEpisode] = ENTRIES, then: Exception | None = None) -> None:
        self.entries, self.then, self.scans = entries, then, 0

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        self.scans += 1
        yield from self.entries
        if self.then is not None:
            raise self.then


@pytest.fixture
def index(tmp_path: Path) -> EpisodeIndex:
    made = EpisodeIndex(tmp_path / "cache" / "episodes.sqlite")
    made.update("kitchen", Listed(), "stamp")
    return made


def ids(index: EpisodeIndex, filter: Filter = ALL, order: Order = AS_LISTED) -> list[str]:
    page = index.query(filter, order)
    assert page.total == len(page.entries)
    return [one.entry.id if isinstance(one.entry, EpisodeMeta) else Path(one.entry.path).name for one in page.entries]


def test_what_goes_in_comes_out_whole_and_in_order(index):
    assert tuple(one.entry for one in index.query().entries) == ENTRIES
    assert {one.dataset for one in index.query().entries} == {"kitchen"}


def test_names_that_are_no_text(tmp_path):
    odd = replace(META, id="bad\udcff\0", extra={"name": "\udcff"})
    index = EpisodeIndex(tmp_path / "episodes.sqlite")
    index.update("odd", Listed([odd]), "stamp")
    assert [one.entry for one in index.query().entries] == [odd]
    assert [one.entry for one in index.find("bad\udcff\0")] == [odd]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Filter(text="red"), ["one"]),
        (Filter(text="  PLATE carr "), ["one"]),
        (Filter(text="arrot"), []),
        (Filter(text="drawer"), ["two"]),
        (Filter(text="kitchen"), ["one"]),
        (Filter(text="four_1"), ["four_10"]),
        (Filter(text="emile"), ["Émile 100%"]),
        (Filter(text="萝卜"), ["four_10"]),
        (Filter(text="%"), ["Émile 100%"]),
        (Filter(text='red" OR "open'), []),
        (Filter(text="NOT red*"), []),
        (Filter(text="3.hdf"), ["3.hdf5"]),
        (Filter(shortest=20, longest=35), ["one", "two"]),
        (Filter(shortest=36), ["Émile 100%"]),
        (Filter(success="yes"), ["one", "Émile 100%"]),
        (Filter(success="no"), ["two"]),
        (Filter(success="unrecorded"), ["four_10"]),
        (Filter(has_rationale=True), ["one", "four_10"]),
        (Filter(has_rationale=False), ["two", "Émile 100%"]),
        (Filter(broken=True), ["3.hdf5", "5.hdf5"]),
        (Filter(broken=False, longest=20), ["one", "four_10"]),
        (Filter(split="few shot"), ["one", "two", "four_10"]),
        (Filter(split="few"), []),
        (Filter(split="shot", broken=True), []),
        (Filter(datasets=("kitchen",), text="open"), ["two"]),
        (Filter(datasets=("elsewhere",)), []),
    ],
)
def test_filters(index, filter, expected):
    assert ids(index, filter) == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order("length"), ["four_10", "one", "two", "Émile 100%"]),
        (Order("length", descending=True), ["Émile 100%", "two", "one", "four_10"]),
        (Order("duration"), ["four_10", "one", "two", "Émile 100%"]),
        (Order("instruction"), ["Émile 100%", "two", "one", "four_10"]),
        (Order("success"), ["two", "one", "Émile 100%", "four_10"]),
        (Order("rationale", descending=True), ["four_10", "one", "Émile 100%", "two"]),
        (Order("id"), ["four_10", "one", "two", "Émile 100%"]),
        (Order("position", descending=True), ["Émile 100%", "four_10", "two", "one"]),
    ],
)
def test_orders(index, order, expected):
    assert ids(index, Filter(broken=False), order) == expected
    everything = ids(index, order=order)
    if order.column not in ("id", "position", "success"):  # of these a broken episode has some, and others may lack one
        assert set(everything[-2:]) == {"3.hdf5", "5.hdf5"}  # what has no value comes last, in both directions


def test_pages(index):
    assert [len(index.query(page=page, size=4).entries) for page in range(3)] == [4, 2, 0]
    assert index.query(page=1, size=4).total == 6
    assert index.query(page=1, size=4).entries[0].entry == ENTRIES[4]
    for page, size in ((-1, 10), (0, -1), (0, 10**6)):
        with pytest.raises(UserError, match="expected 0 or more"):
            index.query(page=page, size=size)
    with pytest.raises(UserError, match="cannot be sorted by 'colour'; expected one of position, data set, id"):
        index.query(order=Order("colour"))


def test_several_data_sets(index):
    index.update("another", Listed([META, replace(META, id="six")]), "stamp")
    assert ids(index, Filter(text="red")) == ["one", "six", "one"]
    assert [one.dataset for one in index.query(Filter(text="red"), Order("data set", True)).entries] == [
        "kitchen",
        "another",
        "another",
    ]
    assert [one.dataset for one in index.find("one")] == ["kitchen", "another"]
    assert [one.dataset for one in index.find("one", "another")] == ["another"] and index.find("3.hdf5") == ()
    assert index.find("ONE") == ()
    index.keep(["another"])
    assert ids(index) == ["one", "six"] and list(index.states()) == ["another"]


def test_splits_are_listed_by_data_set(index):
    odd = replace(META, id="six", extra={"splits": "val\udcff"})
    index.update("another", Listed([odd, replace(META, id="seven", extra={})]), "stamp")
    assert index.splits() == ("few shot", "train", "val?")
    assert index.splits(["another"]) == ("val?",) and index.splits(["elsewhere"]) == ()
    assert ids(index, Filter(split="val?")) == ["six"]
    index.keep(["kitchen"])
    assert index.splits() == ("few shot", "train")


def test_overview(index):
    found = index.overview()
    assert (found.episodes, found.broken, found.steps, found.seconds) == (4, 2, 99, 4.0 + 7.0 + 0.5 + 7.8)
    assert (found.succeeded, found.failed, found.unrecorded, found.with_rationale) == (2, 1, 1, 2)
    assert found.broken_kinds == (BrokenKind("3.hdf5 is cut short: it has 1,000 bytes", 2),)
    assert found.distinct_instructions == 4 and dict(found.instructions)["open the DRAWER"] == 1
    assert found.lengths[0] == LengthBin(5, 7, 1) and found.lengths[-1] == LengthBin(39, 41, 1)
    assert sum(one.episodes for one in found.lengths) == 4 and len(found.lengths) == 18
    alone = index.overview(Filter(text="drawer"))
    assert (alone.episodes, alone.lengths) == (1, (LengthBin(35, 36, 1),))
    nothing = index.overview(Filter(text="nothing"))
    assert (nothing.episodes, nothing.lengths, nothing.instructions, nothing.distinct_instructions) == (0, (), (), 0)


def test_nothing_is_scanned_again_until_the_stamp_changes(index):
    source = Listed()
    assert index.update("kitchen", source, "stamp") and source.scans == 0
    source.entries = ENTRIES[:2]
    assert index.update("kitchen", source, "another stamp") and source.scans == 1
    assert ids(index) == ["one", "two"] and index.overview().broken == 0
    assert ids(index, Filter(text="hdf5")) == []
    assert index.states() == {"kitchen": IndexState("another stamp", True)}


def test_a_stamp_changes_with_names_sizes_and_times(tmp_path, tiny_episode):
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "one").write_bytes(b"1")
    stamps = [files_stamp(folder), files_stamp(folder, tmp_path / "notes")]
    (folder / "inner" / "one").write_bytes(b"22")
    stamps.append(files_stamp(folder))
    (folder / "inner" / "one").rename(folder / "inner" / "two")
    stamps.append(files_stamp(folder))
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    stamps.append(files_stamp(folder))
    assert len(set(stamps)) == len(stamps) and files_stamp(folder) == stamps[-1]


def test_a_scan_that_cannot_go_on_keeps_what_it_found(tmp_path):
    index = EpisodeIndex(tmp_path / "episodes.sqlite")
    assert index.update("half", Listed(ENTRIES[:1], then=UserError("the second shard is gone")), "stamp")
    assert [one.entry for one in index.query().entries] == [META, BrokenEpisode("", "the second shard is gone")]


@pytest.mark.slow
def test_an_interrupted_first_scan_is_shown_and_begins_anew(tmp_path):
    index, many = EpisodeIndex(tmp_path / "episodes.sqlite"), list(Synthetic(3 * BATCH).scan())
    told: list[int] = []
    assert not index.update("many", Listed(many), "stamp", told.append, cancelled=lambda: len(told) == 2)
    assert told == [BATCH, 2 * BATCH] and index.query().total == 2 * BATCH
    assert index.states() == {"many": IndexState("stamp", False)}
    with pytest.raises(ZeroDivisionError):
        index.update("many", Listed(many[:BATCH], then=ZeroDivisionError()), "stamp")
    assert index.update("many", Listed(many), "stamp") and index.query().total == 3 * BATCH
    with closing(sqlite3.connect(index.path)) as connection:
        for table in ("episodes", "contents", "words"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (3 * BATCH,)


@pytest.mark.slow
def test_while_a_changed_data_set_is_scanned_the_old_one_is_shown(index):
    many, seen = list(Synthetic(2 * BATCH).scan()), []
    index.update("kitchen", Listed(many), "new", progress=lambda done: seen.append(index.query().total))
    assert seen == [6, 6] and index.query().total == 2 * BATCH
    assert not index.update("kitchen", Listed(), "newer", cancelled=lambda: True)
    assert index.query().total == 2 * BATCH


def test_two_updates_of_one_data_set_make_one_scan(tmp_path):
    index, source = EpisodeIndex(tmp_path / "episodes.sqlite"), Listed(list(Synthetic(BATCH).scan()))
    threads = [threading.Thread(target=index.update, args=("many", source, "stamp")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.scans == 1 and index.query().total == BATCH


@pytest.mark.slow
def test_another_process_reads_while_one_writes_and_survives_its_death(tmp_path):
    index = EpisodeIndex(tmp_path / "episodes.sqlite")
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom analysis.catalogue import EpisodeIndex\n"
        "from benchmarks.catalogue import Synthetic\n"
        "def told(done):\n    print(done, flush=True)\n    sys.stdin.readline() or os._exit(9)\n"
        "EpisodeIndex(Path(sys.argv[1])).update('many', Synthetic(5000), 'stamp', told)\n"
    )
    command = [sys.executable, "-c", program, str(index.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        assert int(child.stdout.readline()) == index.query().total == BATCH
        child.stdin.write("\n")
        child.stdin.flush()
        assert int(child.stdout.readline()) == index.query().total == 2 * BATCH
        child.stdin.close()  # dies without a word, its lock held
        assert child.wait() == 9
    assert index.states()["many"].complete is False
    assert index.update("many", Synthetic(5000), "stamp") and index.query().total == 5000


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["no database", "empty", "cut", "garbled", "older", "content"])
def test_a_damaged_or_older_index_is_replaced(index, damage):
    index.update("many", Synthetic(2000), "stamp")
    with closing(sqlite3.connect(index.path)) as connection:
        if damage == "older":
            connection.execute("PRAGMA user_version = 7")
        elif damage == "content":
            connection.execute("UPDATE contents SET content = '{}'")
        connection.commit()
    whole = index.path.read_bytes()
    changed = {
        "no database": b"no database",
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "garbled": whole[:8192] + b"\xa5" * (len(whole) - 8192),
    }
    index.path.write_bytes(changed.get(damage, whole))
    assert index.query(Filter(text="put")).total == 0
    assert index.update("kitchen", Listed(), "stamp") and ids(index, Filter(text="red")) == ["one"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be used"):
        EpisodeIndex(tmp_path / "file" / "episodes.sqlite").query()


def test_a_real_source(tmp_path, tiny_episode):
    index, source = Workspace.open(tmp_path).index, open_source(tiny_episode)
    index.update("tiny", source, files_stamp(tiny_episode))
    assert [one.entry for one in index.query(Filter(text="red block")).entries] == list(source.scan())


def test_the_example_in_the_docs(tmp_path, monkeypatch, capsys):
    write_tiny_episode(tmp_path / "sample_data" / "episodes" / "episode.hdf5")
    monkeypatch.chdir(tmp_path)
    exec(compile(code("episode-index.md"), "episode-index.md", "exec"), {})
    assert "put the red block on the towel" in (out := capsys.readouterr().out) and "\n1 (LengthBin(start=6" in out
