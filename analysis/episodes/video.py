"""Frames of a video file by their time, decoded with PyAV from the keyframe before and no earlier.

Containers are opened for one call and closed in it, so that no handle outlives its use; frames wait in a small cache.
Only plain container formats are tried: a playlist that is named .mp4 could make FFmpeg fetch other files.
"""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import av
import av.container
import av.video.frame
import av.video.stream
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from analysis.episodes.file_bytes import is_remote, opening
from models.errors import UserError

OPTIONS = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi", "protocol_whitelist": "file"}
TOLERANCE = 1e-4  # seconds, as LeRobot's own reader
RUN = 16  # frames decoded ahead once frames are asked for one after the other
BACK = (0.0, 2.0, 10.0, math.inf)  # seconds before the wanted time to seek to, should a seek land behind it
CACHE_BYTES = 64 << 20
MAX_PIXELS = 50_000_000
JPEG_QUALITY = 92
DAMAGED = (
    av.FFmpegError,
    OSError,
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
)  # all that PyAV raises for bad bytes


@dataclass(frozen=True)
class VideoSpan:
    """What a container says about its first video stream."""

    stop: float  # seconds; nan where the file does not say
    codec: str
    width: int  # pixels
    height: int


@dataclass(frozen=True)
class CachedFrame:
    time: float  # seconds, as the video has it
    image: UInt8[np.ndarray, "H W 3"]


class FrameCache:
    """Decoded frames, the least recently used dropped first; bounded in bytes. May be used from several threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._frames: OrderedDict[tuple[str, int, int, int], CachedFrame] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, int, int, int]) -> CachedFrame | None:
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
            return self._frames.get(key)

    def put(self, key: tuple[str, int, int, int], frame: CachedFrame) -> None:
        with self._lock:
            if (old := self._frames.pop(key, None)) is not None:
                self.size -= old.image.nbytes
            self._frames[key] = frame
            self.size += frame.image.nbytes
            while self.size > self.limit and len(self._frames) > 1:
                self.size -= self._frames.popitem(last=False)[1].image.nbytes


_CACHE = FrameCache(CACHE_BYTES)
_TURNS = tuple(Lock() for _ in range(16))  # two threads that want neighbours of one video decode the run once


def video_frame(path: Path, time: float, fps: float, where: str) -> UInt8[np.ndarray, "H W 3"]:
    """The frame nearest to ``time`` seconds, in RGB.

    Raises UserError, beginning with the phrase ``where``, if no frame lies within half a frame's duration of
    ``time`` (``fps`` frames a second), or if it cannot be decoded.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{where} cannot be read: {path.name}: {error.strerror}") from None
    file, number = (str(path), status.st_size, status.st_mtime_ns), round(time * fps)
    with _TURNS[hash(file) % len(_TURNS)]:
        kept = _CACHE.get((*file, number))
        if kept is None or abs(kept.time - time) > 0.25 / fps:
            ahead = RUN if _CACHE.get((*file, number - 1)) is not None else 1
            found = _decode(path, time, fps, ahead, where)
            for frame in reversed(found):  # the wanted frame last, so that it is the last to be dropped
                _CACHE.put((*file, round(frame.time * fps)), frame)
            kept = found[0]
    return kept.image.copy()


def video_jpeg(path: Path, time: float, fps: float, where: str) -> bytes:
    """The same frame as a JPEG of quality 92 without chroma subsampling. Raises UserError as `video_frame` does."""
    out = io.BytesIO()
    Image.fromarray(video_frame(path, time, fps, where)).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def video_span(path: Path) -> VideoSpan:
    """How long the video is and of what kind, read from its header. Raises UserError if it cannot be opened."""
    where = f"the video {path.name}"
    with _opened(path, where) as (_, stream):
        stop = math.nan
        if stream.duration is not None and stream.time_base is not None:
            stop = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        return VideoSpan(stop, stream.codec_context.name, stream.codec_context.width, stream.codec_context.height)


@lru_cache(maxsize=4096)
def video_reach(path: Path, stamp: tuple[int, int]) -> float:
    """The second before which every frame's bytes lie in the file, by its index; infinity if all do.

    ``stamp``: size in bytes and modification time, by which the answer is kept. Raises UserError if the file cannot be
    opened.
    """
    with _opened(path, f"the video {path.name}") as (_, stream):
        unit = float(stream.time_base or 0) or 1.0
        # in the order of decoding: what is shown before the first absent frame's time was decoded before it
        absent = [entry.timestamp * unit for entry in stream.index_entries if entry.pos + entry.size > stamp[0]]
    return min(absent, default=math.inf)


def _decode(path: Path, time: float, fps: float, ahead: int, where: str) -> list[CachedFrame]:
    """The wanted frame and up to ``ahead`` - 1 that follow it."""
    found: list[CachedFrame] = []
    with _opened(path, where) as (container, stream):
        before: tuple[float, av.video.frame.VideoFrame] | None = None
        try:
            for seconds, picture in frames_from(container, stream, time):
                if not found and seconds < time - TOLERANCE:
                    before = seconds, picture
                    continue
                if not found and before is not None and time - before[0] < seconds - time:
                    found.append(_rgb(*before, where))
                found.append(_rgb(seconds, picture, where))
                if len(found) >= ahead:
                    break
        except DAMAGED:
            if not found:  # what is damaged further on is not asked for yet
                raise
        if not found and before is not None:
            found.append(_rgb(*before, where))
    if not found:
        raise UserError(f"{where} is missing: {path.name} has no frame at {time:.3f} s or before")
    if abs(found[0].time - time) > 0.5 / fps + TOLERANCE:
        raise UserError(
            f"{where} is missing: it belongs at {time:.3f} s, and the nearest frame of {path.name} lies at "
            f"{found[0].time:.3f} s"
        )
    return found


def frames_from(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, time: float
) -> Iterator[tuple[float, av.video.frame.VideoFrame]]:
    """Frames with their times in seconds, in order, from the last keyframe at or before ``time`` on."""
    unit = float(stream.time_base or 0) or 1.0
    for back in BACK:
        start = max(0.0, time - back)
        container.seek(round(start / unit), stream=stream, backward=True)
        first = True
        for picture in container.decode(stream):
            if picture.pts is None:
                continue
            seconds = picture.pts * unit
            if first and seconds > time + TOLERANCE and start > 0:
                break  # containers with reordered frames may land behind: seek further back
            first = False
            yield seconds, picture
        else:
            return


def _rgb(seconds: float, picture: av.video.frame.VideoFrame, where: str) -> CachedFrame:
    _check_size(picture.width, picture.height, where)
    return CachedFrame(seconds, picture.to_ndarray(format="rgb24"))


def _check_size(width: int, height: int, where: str) -> None:
    if width * height > MAX_PIXELS:
        raise UserError(f"{where} claims {width} x {height} pixels; at most {MAX_PIXELS:,} pixels are read")


@contextmanager
def _bytes_of(path: Path) -> Iterator[str | io.BufferedReader]:
    """What FFmpeg is given: the path, or an open file where the bytes are elsewhere."""
    if not is_remote(path):
        yield str(path)
        return
    with opening(path) as stream:
        yield stream


def _container(file: str | io.BufferedReader) -> av.container.InputContainer:
    return av.open(file, mode="r", options=OPTIONS, metadata_errors="replace")


@contextmanager
def _opened(path: Path, where: str) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """The container and its first video stream; one thread, because a second only slows small frames down."""
    try:
        with _bytes_of(path) as file, _container(file) as container:
            if not container.streams.video:
                raise UserError(f"{where} cannot be read: {path.name} holds no video")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise UserError(f"{where} cannot be decoded: this FFmpeg has no decoder for the video in {path.name}")
            stream.codec_context.thread_count = 1
            _check_size(stream.codec_context.width, stream.codec_context.height, where)
            yield container, stream
    except DAMAGED as error:
        said = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{where} cannot be decoded: {path.name} is damaged or no video ({said})") from None
