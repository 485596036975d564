"""Remote roots on fsspec's memory file system: the same episodes as on disk, each for its own bytes."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import numpy as np
import pytest

from analysis.catalogue import files_stamp
from analysis.episodes import BrokenEpisode, open_source
from analysis.episodes.file_bytes import remote_of
from analysis.episodes.remote import address, blocks, is_address, storage
from analysis.episodes.remote.blocks import BlockCache
from analysis.episodes.remote.storage import Storage
from analysis.episodes.source import stand_in
from analysis.types import EpisodeMeta
from analysis.workspace import Workspace
from models.errors import UserError
from tests.contracts.test_episode_source_contract import WRITERS
from tests.noisy_episodes import EPISODES, NOISY
from tests.tiny_aloha import write_aloha
from tests.tiny_rlds import write_bridge

pytestmark = pytest.mark.slow  # together more than make check has time for


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """Puts a folder into the memory file system; returns its address."""
    monkeypatch.setenv("VLA_LENS_CACHE", str(tmp_path / "fetched"))
    memory = fsspec.filesystem("memory")

    def put(folder: Path, name: str = "data") -> str:
        place = f"{tmp_path.name}/{name}"
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                memory.pipe_file(f"/{place}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"memory://{place}"

    yield put
    memory.store.clear()


@pytest.fixture
def fetched(monkeypatch):
    """Which bytes were asked of the storage: (file, start, stop). Blocks are small, as the data sets are."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 8192)
    asked: list[tuple[str, int, int]] = []
    original = Storage.fetch

    def fetch(self: Storage, name: str, start: int, stop: int) -> bytes:
        asked.append((name, start, stop))
        return original(self, name, start, stop)

    monkeypatch.setattr(Storage, "fetch", fetch)
    return asked


@pytest.mark.parametrize("format", WRITERS)
def test_a_remote_data_set_reads_as_the_same_on_disk(format, tmp_path, bucket):
    local = open_source(WRITERS[format](tmp_path / "local"))
    address = bucket(tmp_path / "local")
    remote = open_source(address)
    listed = [entry for entry in remote.scan() if isinstance(entry, EpisodeMeta)]
    assert [entry.id for entry in listed] == [entry.id for entry in local.scan()]
    for meta in listed:
        here, there = local.open(meta.id), remote.open(meta.id)
        assert there.meta == meta and meta.source.startswith(address)
        assert (meta.instruction, meta.length, meta.cameras) == (
            here.meta.instruction,
            here.meta.length,
            here.meta.cameras,
        )
        np.testing.assert_array_equal(here.actions, there.actions)
        assert (here.states is None) == (there.states is None)
        assert here.states is None or np.array_equal(here.states, there.states)
        assert here.rationales == there.rationales
        for camera in meta.cameras:
            for step in range(meta.length):
                assert here.encoded_frame(camera, step) == there.encoded_frame(camera, step)
        assert there.step(0).observation.instruction == meta.instruction


@pytest.mark.parametrize("format", NOISY)
def test_opening_one_episode_fetches_its_own_bytes(format, tmp_path, bucket, fetched):
    folder = tmp_path / "local"
    folder.mkdir()
    id = NOISY[format](folder)
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    source = open_source(bucket(folder))
    episode = source.open(id)
    for camera in episode.meta.cameras:
        for step in range(episode.meta.length):
            episode.frame(camera, step)
    own = total / EPISODES
    bytes_fetched = sum(stop - start for _, start, stop in fetched)
    assert own > 100_000
    overhead = 12 * (1 << 16)  # headers and lists; libraries read 64 KiB at a time
    assert bytes_fetched < 1.5 * own + overhead < total / 1.9
    before = len(fetched)
    source.open(id).frame(episode.meta.cameras[0], 0)
    assert len(fetched) == before  # what was fetched once is here


def test_listing_large_remote_files_reads_no_frames(tmp_path, bucket, fetched):
    for format in ("rlds", "robomimic", "aloha", "lerobot v3.0", "images"):
        folder = tmp_path / format.replace(" ", "")
        folder.mkdir()
        NOISY[format](folder)
        total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        fetched.clear()
        entries = list(open_source(bucket(folder, format.replace(" ", ""))).scan())
        assert len([entry for entry in entries if isinstance(entry, EpisodeMeta)]) == EPISODES, entries[:1]
        assert sum(stop - start for _, start, stop in fetched) < 0.7 * total, format


def test_what_changes_at_the_other_end_is_noticed(tmp_path, bucket):
    address = bucket(write_bridge(tmp_path / "a/1.0.0", {"train": [2]}).parent)
    root = stand_in(address)
    assert root is not None
    before = files_stamp(root)
    assert len(list(open_source(address).scan())) == 2 and files_stamp(root) == before
    bucket(write_bridge(tmp_path / "b/1.0.0", {"train": [3]}).parent)
    remote = remote_of(root)
    assert remote is not None
    remote.refresh(0)
    assert files_stamp(root) != before
    assert len(list(open_source(address).scan())) == 3
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)
    with pytest.raises(UserError, match="there is nothing at memory://"):
        remote.refresh(0)


def test_a_single_remote_file_opens(tmp_path, bucket):
    write_aloha(tmp_path / "local/episode_3.hdf5", seed=3)
    source = open_source(f"{bucket(tmp_path / 'local')}/episode_3.hdf5")
    (meta,) = source.scan()
    assert isinstance(meta, EpisodeMeta) and source.open(meta.id).actions[0, 0] == pytest.approx(0.03)


def test_a_workspace_lists_a_remote_data_set_under_its_address(tmp_path, bucket):
    address = bucket(WRITERS["images"](tmp_path / "local"))
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws/workspace.toml").write_text(f'episodes = ["{address}", "../local"]\nremote_cache_gb = 0.5\n')
    workspace = Workspace.open(tmp_path / "ws")
    remote, local = workspace.datasets()
    assert remote.place == address and local.place == str(tmp_path / "local")
    entries = workspace.episodes(remote.name)
    assert [entry.id for entry in entries if isinstance(entry, EpisodeMeta)] == ["episode_0", "episode_1"]
    assert workspace.episode("episode_1", remote.name).meta.source == f"{address}/episode_1"
    (tmp_path / "ws/workspace.toml").write_text('episodes = ["memory://nobody/here"]\n')
    workspace = Workspace.open(tmp_path / "ws")
    (broken,) = workspace.episodes(workspace.datasets()[0].name)
    assert isinstance(broken, BrokenEpisode) and broken.path == "memory://nobody/here"
    assert "there is nothing at memory://nobody/here" in broken.reason
    (tmp_path / "ws/workspace.toml").write_text("remote_cache_gb = -1\n")
    with pytest.raises(UserError, match="remote_cache_gb"):
        Workspace.open(tmp_path / "ws")


def test_a_broken_remote_file_is_named_by_its_address(tmp_path, bucket):
    folder = WRITERS["aloha"](tmp_path / "local")
    (folder / "episode_2.hdf5").write_bytes((folder / "episode_0.hdf5").read_bytes()[:3000])
    address = bucket(folder)
    broken = [entry for entry in open_source(address).scan() if isinstance(entry, BrokenEpisode)]
    assert [entry.path for entry in broken] == [f"{address}/episode_2.hdf5"] and "cut short" in broken[0].reason


def test_a_storage_that_stops_answering_breaks_off_the_list(tmp_path, bucket, monkeypatch):
    source = open_source(bucket(WRITERS["images"](tmp_path / "local")))

    def fetch(self: object, *given: object, **more: object) -> bytes:
        raise ConnectionError("secret-signature=abc")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", fetch)
    with pytest.raises(UserError, match=r"could not be reached \(ConnectionError\)") as raised:
        list(source.scan())
    assert "secret" not in str(raised.value) and raised.value.__cause__ is None


def test_the_index_keeps_what_it_knows_of_a_storage_that_does_not_answer(tmp_path, bucket, monkeypatch):
    address = bucket(WRITERS["images"](tmp_path / "local"))
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws/workspace.toml").write_text(f'episodes = ["memory://silent/x", "{address}"]\n')
    workspace = Workspace.open(tmp_path / "ws")
    original = Storage._find

    def find(self: Storage, file_system: object, root: str) -> object:
        if "silent" in root:
            raise ConnectionError
        return original(self, file_system, root)

    monkeypatch.setattr(Storage, "_find", find)
    told = workspace.update_index()
    assert [one.path for one in told.problems] == ["memory://silent/x"] and "reached" in told.problems[0].reason
    assert workspace.index.overview().episodes == 2 and workspace.index.overview().broken == 1
    monkeypatch.setattr(Storage, "_find", lambda *given: (_ for _ in ()).throw(ConnectionError()))
    for dataset in workspace.datasets():
        remote = remote_of(dataset.path)
        assert remote is not None
        remote._listed = -1e9
    assert len(workspace.update_index().problems) == 2
    assert workspace.index.overview().episodes == 2


def test_what_is_wrong_with_an_address_is_said(monkeypatch):
    for text, said in {
        "s3://key:secret@bucket/x": "without user names",
        "s3://bucket/x?token=1": "without user names",
        "gs://bucket/../other": "names no folder",
        "s3://": "names no folder",
        "ftp://host/x": "are not read",
        "https://host/x": "are not read",
    }.items():
        with pytest.raises(UserError, match=said) as raised:
            open_source(text)
        assert "secret" not in str(raised.value)
    monkeypatch.setitem(address.SCHEMES, "s3", "no_such_package")
    with pytest.raises(UserError, match="pip install no_such_package"):
        open_source("s3://bucket/x")


def test_paths_are_no_addresses():
    assert is_address("s3://b") and is_address("s3:/b") and is_address("nope://x")
    assert not any(map(is_address, ("/data/x", "data", "a:/b", "C:/x", "./s3:x")))


def test_a_storage_that_never_answers_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setenv("VLA_LENS_CACHE", str(tmp_path))
    monkeypatch.setattr(storage, "LISTING_SECONDS", 0.2)
    monkeypatch.setattr(Storage, "_find", lambda *given: __import__("time").sleep(3))
    with pytest.raises(UserError, match="did not answer within"):
        open_source("memory://slow")


def test_the_cache_is_bounded(tmp_path):
    cache, asked = BlockCache(tmp_path / "blocks", limit=50_000, block=1000), []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return bytes(stop - start)

    for number in range(40):
        assert cache.read(f"{number:032}", 9_500, 0, 9_500, fetch) == bytes(9_500)
        kept = sum(path.stat().st_size for path in (tmp_path / "blocks").rglob("*") if path.is_file())
        assert kept <= 50_000
    asked.clear()
    assert cache.read(f"{39:032}", 9_500, 8_200, 9_400, fetch) == bytes(1_200) and asked == []
    assert cache.read(f"{0:032}", 9_500, 1_500, 3_500, fetch) == bytes(2_000) and asked == [(1000, 4000)]


def test_nothing_that_is_written_holds_more_than_the_address(tmp_path, bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    address = bucket(WRITERS["images"](tmp_path / "local"))
    list(open_source(address).scan())
    notes = list((tmp_path / "fetched").rglob("*.txt"))
    assert [path.read_text() for path in notes] == [f"{address}\n"]
    for folder, _, names in os.walk(tmp_path / "fetched"):
        assert not any(b"very-secret" in Path(folder, name).read_bytes() for name in names)


def test_names_that_lead_out_are_not_made(tmp_path, bucket, monkeypatch):
    address = bucket(WRITERS["images"](tmp_path / "local"))
    original = Storage._find

    def find(self: Storage, file_system: object, root: str) -> dict[str, object]:
        bad = {f"{root}/../../evil.json": {"type": "file", "size": 3}, f"{root}/a/../b": {"type": "file", "size": 3}}
        return dict(original(self, file_system, root)) | bad

    monkeypatch.setattr(Storage, "_find", find)
    open_source(address)
    assert not [path for path in tmp_path.rglob("*") if path.name in ("evil.json", "b")]


def test_every_read_of_the_sources_goes_through_one_place():
    """A file that is opened elsewhere would read a remote data set's stand-in, which holds zeros."""
    folder = Path(__file__).parents[2] / "analysis/episodes"
    own = {"file_bytes.py", "hdf5_trial.py", "hdf5_writer.py", "links.py"}
    for path in folder.glob("*.py"):
        said = path.read_text()
        if path.name not in own:
            for call in (".read_bytes()", ".read_text(", 'open("rb")', "os.open(", "os.pread("):
                assert call not in said, f"{path.name} has {call}"
