"""Which bytes an episode's digest stands for: those of its rows, and the index of its videos.

An mp4 keeps a table of the size of every frame in its ``moov`` box. That table is some kilobytes, changes with any new
encoding, and ends with the file: it stands for the frames without reading them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from analysis.episodes.file_bytes import opening
from analysis.episodes.lerobot_info import LerobotInfo
from analysis.episodes.lerobot_listing import EpisodeRow
from analysis.episodes.lerobot_rows import RowGroup
from models.errors import UserError

MAX_INDEX_BYTES = 64 << 20
MAX_BOXES = 10_000


@dataclass(frozen=True)
class VideoIndex:
    digest: bytes
    cut: str = ""  # where the file ends before what its boxes claim: the sentence that says so


def episode_digest(info: LerobotInfo, row: EpisodeRow, groups: Sequence[RowGroup], videos: Sequence[bytes]) -> str:
    """sha256 over the episode's place and texts, its row groups and the indices of its videos; 16 hex digits."""
    digest = hashlib.sha256()
    columns = [(vector.key, vector.names) for vector in (*info.actions, *info.states)]
    starts = [(camera, part.start) for camera, part in row.videos.items()]
    digest.update(repr((row.index, row.tasks, row.length, row.success, info.fps, info.robot, columns, starts)).encode())
    for group in groups:
        digest.update(group.digest)
    for index in videos:
        digest.update(index)
    return digest.hexdigest()[:16]


@lru_cache(maxsize=131_072)
def video_index(path: Path, stamp: tuple[int, int]) -> VideoIndex:
    """sha256 of an mp4's index with the file's size, or of the size alone for other containers.

    Raises UserError for an mp4 without an index, also if it is cut short before it: no frame can be found then.
    """
    size, cut, found = stamp[0], "", 0
    digest = hashlib.sha256(str(size).encode())
    with opening(path) as stream:
        if stream.read(8)[4:] != b"ftyp":
            return VideoIndex(digest.digest())
        begin = 0
        for _ in range(MAX_BOXES):
            if begin + 8 > size:
                break
            stream.seek(begin)
            head = stream.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            length = {0: size - begin, 1: int.from_bytes(head[8:], "big")}.get(length, length)
            if length < 8 or begin + length > size:
                cut = (
                    f"{path.name} is cut short or damaged: it has {size:,} bytes, and its box {kind!r} at {begin:,} "
                    f"claims {length:,}; copy it again"
                )
                break
            if kind == b"moov" and length <= MAX_INDEX_BYTES:
                stream.seek(begin)
                digest.update(stream.read(length))
                found += 1
            begin += length
    if not found:
        raise UserError(cut or f"{path.name} is cut short: it has no index of its frames; copy it again")
    return VideoIndex(digest.digest(), cut)
