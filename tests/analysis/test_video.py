"""Frames of a video by their time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from analysis.episodes import video
from analysis.episodes.video import CachedFrame, FrameCache, video_frame, video_jpeg, video_span
from models.errors import UserError
from tests.tiny_lerobot_dataset import write_video

FPS = 10
FRAMES = 120


def shade(number: int) -> np.ndarray:
    """Two grey halves that tell the frame's number even after lossy coding."""
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :32], picture[:, 32:] = 16 * (number % 16), 16 * (number // 16)
    return picture


def number_of(picture: np.ndarray) -> int:
    left, right = picture[8:24, 4:28].mean(), picture[8:24, 36:60].mean()
    return round(left / 16) + 16 * round(right / 16)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    return write_video(path, [shade(number) for number in range(FRAMES)], FPS, keyframe_every=20)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times of all frames that are decoded, with an empty cache to begin with."""
    seen: list[float] = []
    original = video.frames_from

    def counting(container, stream, time):
        for seconds, picture in original(container, stream, time):
            seen.append(seconds)
            yield seconds, picture

    monkeypatch.setattr(video, "frames_from", counting)
    monkeypatch.setattr(video, "_CACHE", FrameCache(video.CACHE_BYTES))
    return seen


@pytest.mark.slow
def test_every_frame_in_any_order(clip, decoded):
    order = np.random.default_rng(0).permutation(FRAMES).tolist()
    assert [number_of(video_frame(clip, n / FPS, FPS, "frame")) for n in order] == order


def test_random_access_begins_at_the_keyframe_before(clip, decoded):
    assert number_of(video_frame(clip, 107 / FPS, FPS, "frame")) == 107
    assert min(decoded) == pytest.approx(10.0)
    assert len(decoded) == 8


def test_playing_forward_decodes_in_runs(clip, decoded):
    for number in range(60):
        assert number_of(video_frame(clip, number / FPS, FPS, "frame")) == number
    assert len(decoded) < 2 * 60


def test_float32_times_find_their_frame(clip):
    for number in range(FRAMES):
        assert number_of(video_frame(clip, float(np.float32(number / FPS)), FPS, "frame")) == number


def test_a_time_between_frames_takes_the_nearest(clip, decoded):
    assert number_of(video_frame(clip, 50.3 / FPS, FPS, "frame")) == 50
    assert number_of(video_frame(clip, 50.7 / FPS, FPS, "frame")) == 51


def test_a_frame_behind_the_end_is_missing(clip):
    with pytest.raises(UserError, match=r"frame 130 is missing: it belongs at 13\.000 s.* lies at 11\.900 s"):
        video_frame(clip, 13.0, FPS, "frame 130")


def test_span(clip):
    span = video_span(clip)
    assert (span.stop, span.codec, span.width, span.height) == (pytest.approx(12.0), "h264", 64, 32)


def test_jpeg_of_a_frame(clip):
    assert video_jpeg(clip, 1.0, FPS, "frame").startswith(b"\xff\xd8")


def test_a_caller_may_write_into_a_frame(clip):
    first = video_frame(clip, 0.0, FPS, "frame")
    first[:] = 255
    assert number_of(video_frame(clip, 0.0, FPS, "frame")) == 0


def test_threads_get_their_own_frames(clip, decoded):
    wrong: list[tuple[int, int]] = []

    def read(seed: int) -> None:
        for wanted in np.random.default_rng(seed).integers(0, FRAMES, 30).tolist():
            found = number_of(video_frame(clip, wanted / FPS, FPS, "frame"))
            if found != wanted:
                wrong.append((wanted, found))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc, which is not there")
def test_no_file_stays_open(clip, decoded):
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    video_frame(clip, 0.0, FPS, "frame")
    before = count()
    for number in range(0, FRAMES, 5):
        video_frame(clip, number / FPS, FPS, "frame")
    with pytest.raises(UserError):
        video_frame(clip, 99.0, FPS, "frame")
    assert count() == before


def test_damaged_files_are_named_and_quiet(clip, tmp_path, capfd):
    whole = clip.read_bytes()
    (tmp_path / "short.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mp4").write_text("no video at all, only words " * 100)
    for name in ("short.mp4", "text.mp4", "absent.mp4"):
        with pytest.raises(UserError, match=rf"frame 3 .*{name}"):
            video_frame(tmp_path / name, 0.3, FPS, "frame 3")
    assert capfd.readouterr().err == ""


def test_a_playlist_is_not_followed(clip, tmp_path):
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    with pytest.raises(UserError, match=r"list\.mp4"):
        video_frame(playlist, 0.0, FPS, "frame 0")
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{clip}\n#EXT-X-ENDLIST\n")
    with pytest.raises(UserError, match=r"list\.mp4"):
        video_frame(playlist, 0.0, FPS, "frame 0")


def test_the_cache_is_bounded():
    cache = FrameCache(limit=2_500)
    for number in range(5):
        cache.put(("clip", 0, 0, number), CachedFrame(float(number), np.zeros((10, 33, 3), np.uint8)))
    assert cache.size == 2 * 990
    assert cache.get(("clip", 0, 0, 2)) is None
    assert cache.get(("clip", 0, 0, 4)) is not None
