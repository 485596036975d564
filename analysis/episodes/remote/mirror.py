"""The stand-in of a remote root on this machine: files with the remote ones' names and sizes and none of their bytes.

They are sparse, so that they take no room; their modification time stands for the version that the storage tells, so
that whatever looks at sizes and times notices a change at the other end.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path

from analysis.atomic_file import written_once
from analysis.episodes.file_bytes import Unreachable, register
from analysis.episodes.remote.address import Address
from analysis.episodes.remote.blocks import BlockCache
from analysis.episodes.remote.ranged import RangedFile
from analysis.episodes.remote.storage import RemoteFile, Storage
from models.errors import UserError

FOLDER = "VLA_LENS_CACHE"  # environment variable: where fetched data are kept outside of a workspace
_mirrors: dict[tuple[Address, Path], Mirror] = {}
_lock = threading.Lock()


class Mirror:
    """One address. ``tree`` is its stand-in, a file or a folder."""

    def __init__(self, address: Address, cache: Path, blocks: BlockCache) -> None:
        self.address = address
        self.storage = Storage(address)
        self.home = cache / address.folder
        self.tree = self.home / address.scheme / Path(*address.place.split("/"))
        self.blocks = blocks
        self.failures = 0
        self._listed = -float("inf")
        self._lock = threading.Lock()

    def refresh(self, age: float) -> None:
        """Lists the remote files unless that was done in the last ``age`` seconds. Raises UserError if it fails."""
        with self._lock:
            if time.monotonic() - self._listed < age:
                return
            files = list(self.storage.files())
            try:
                self._stand_in(files)
            except OSError as error:
                raise UserError(f"the list of {self.address} cannot be kept in {self.home}: {error.strerror}") from None
            self._listed = time.monotonic()

    def raw(self, path: Path) -> RangedFile:
        """The file that ``path`` stands for. Raises OSError if there is none."""
        status = path.stat()
        name = "" if path == self.tree else path.relative_to(self.tree).as_posix()
        version = f"{self.address}\0{name}\0{status.st_size}\0{int(status.st_mtime)}\0{self.blocks.block}"
        key = hashlib.sha256(version.encode("utf-8", "surrogateescape")).hexdigest()[:32]

        def read(start: int, stop: int) -> bytes:
            try:
                return self.blocks.read(key, size, start, stop, lambda a, b: self.storage.fetch(name, a, b))
            except Unreachable:
                self.failures += 1
                raise

        size = status.st_size
        return RangedFile(size, self.blocks.block, read)

    positions = raw

    def limit(self, size: int) -> None:
        self.blocks.limit = size

    def said(self, text: str) -> str:
        return text.replace(str(self.tree), str(self.address))

    def stood_in(self, text: str) -> str:
        """The opposite of `said`."""
        return text.replace(str(self.address), str(self.tree))

    def _stand_in(self, files: list[RemoteFile]) -> None:
        wanted = {str(self.tree / file.name) if file.name else str(self.tree): file for file in files}
        self.tree.parent.mkdir(parents=True, exist_ok=True)
        note = self.home / "address.txt"
        if not note.exists():
            with written_once(note) as part:
                part.write_text(f"{self.address}\n", encoding="utf-8")
        for folder, _, names in os.walk(self.tree):
            for name in names:
                if (path := os.path.join(folder, name)) not in wanted:
                    os.unlink(path)
        if str(self.tree) not in wanted and self.tree.is_file():
            self.tree.unlink()
        for path, file in wanted.items():
            _place(path, file)


def mirror(text: str, cache: Path | None = None) -> Mirror:
    """The mirror of an address, one in a process for each folder of fetched data. Asks nothing of the storage.

    Without ``cache``: the folder that the environment variable VLA_LENS_CACHE names, else vla-lens in the user's own.
    Raises UserError for an address that is not read.
    """
    address = Address.of(text)
    if cache is None:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vla-lens"
        cache = Path(os.environ.get(FOLDER) or usual)
    cache = Path(os.path.normpath(cache.expanduser().absolute()))
    with _lock:
        found = _mirrors.get((address, cache))
        if found is None:
            found = _mirrors[address, cache] = Mirror(address, cache, _blocks(cache))
            register(found)
    return found


def _blocks(cache: Path) -> BlockCache:
    """One for each folder, as its bound is on all that is fetched."""
    others = (found.blocks for (_, folder), found in _mirrors.items() if folder == cache)
    return next(others, None) or BlockCache(cache / "blocks")


def _place(path: str, file: RemoteFile) -> None:
    """A sparse file of the size and time; one that is there already and right is left alone."""
    with suppress(FileNotFoundError, NotADirectoryError):
        status = os.stat(path)
        if status.st_size == file.size and int(status.st_mtime) == file.second:
            return
    folder = os.path.dirname(path)
    part = os.path.join(folder, f".{secrets.token_hex(6)}")
    try:
        os.makedirs(folder, exist_ok=True)
        if os.path.isdir(path):
            return  # an object that is named like a folder of others: storages allow both
        with open(part, "wb") as stream:
            stream.truncate(file.size)
        os.utime(part, (file.second, file.second))
        os.replace(part, path)
    except (FileExistsError, NotADirectoryError):
        return
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
