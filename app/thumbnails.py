"""First frames of episodes, small: made when they are looked at, kept in memory within a bound."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from analysis.workspace import Workspace
from app.library import Library

WIDTH, HEIGHT = 320, 240  # pixels at most
QUALITY = 80
KEPT_BYTES = 48 << 20  # about 5,000 pictures
AT_ONCE = 4  # videos are decoded by several threads already


@dataclass
class Thumbnails:
    """Of one workspace; safe to use from several threads."""

    workspace: Workspace
    _kept: OrderedDict[tuple[str, str, str], bytes] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))

    def jpeg(self, dataset: str, id: str, version: str) -> bytes:
        """The first frame of the first camera. ``version`` changes with the episode's content.

        Raises UserError where the episode cannot be opened or has no picture.
        """
        key = (dataset, id, version)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._places:
            episode = self.workspace.episode(id, dataset)
            picture = small(episode.frame(episode.meta.cameras[0], 0))
        if version:
            self._keep(key, picture)
        return picture

    def _keep(self, key: tuple[str, str, str], picture: bytes) -> None:
        with self._lock:
            self._kept[key] = picture
            size = sum(map(len, self._kept.values()))
            while size > KEPT_BYTES:
                size -= len(self._kept.popitem(last=False)[1])


def small(frame: np.ndarray) -> bytes:
    """The frame [H W 3] uint8 as JPEG within WIDTH x HEIGHT, never larger than it is."""
    picture = Image.fromarray(frame)
    picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


_thumbnails: dict[int, Thumbnails] = {}
_making = threading.Lock()


def thumbnails_of(library: Library) -> Thumbnails:
    """The thumbnails of a library in this process."""
    with _making:
        return _thumbnails.setdefault(id(library), Thumbnails(library.workspace))
