"""What is asked of a storage, and what is said when it does not answer. Nothing that it says is passed on as it is:
messages of storages can hold signed addresses and keys.
"""

from __future__ import annotations

import hashlib
import importlib.util
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from analysis.episodes.file_bytes import Unreachable
from analysis.episodes.remote.address import SCHEMES, Address
from models.errors import UserError

T = TypeVar("T")
LISTING_SECONDS = 600.0
FETCHING_SECONDS = 120.0
MAX_FILES = 2_000_000
MARKS = (  # whatever a storage tells of a file's version
    *("ETag", "etag", "md5Hash", "crc32c", "generation", "blob_id", "sha256"),
    *("LastModified", "updated", "mtime", "created"),
)
FIRST_SECOND, SECONDS = 1_000_000_000, 600_000_000  # modification times that stand for versions: 2001 to 2020


@dataclass(frozen=True)
class RemoteFile:
    name: str  # relative to the address; empty if the address is a file
    size: int  # bytes
    second: int  # a modification time that is another for another version of the file


@dataclass(frozen=True)
class Storage:
    """The other end of one address."""

    address: Address

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system and the root's path in it."""
        package = SCHEMES[self.address.scheme]
        if importlib.util.find_spec(package) is None:
            raise Unreachable(
                f"{self.address} needs the package {package}, which is not installed; run: pip install {package}"
            )
        return self._ask(self._connect, LISTING_SECONDS)

    def _connect(self, **options: Any) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        if self.address.scheme == "s3":
            quick = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}}
            options = {"config_kwargs": quick} | options
        file_system, path = url_to_fs(str(self.address), **options)
        return file_system, path.rstrip("/")

    def files(self) -> Iterator[RemoteFile]:
        """Every file at and below the address. Raises UserError if it cannot be listed or if there is none."""
        file_system, root = self._opened
        found = self._ask(lambda: self._find(file_system, root), LISTING_SECONDS)
        if not found:
            raise UserError(f"there is nothing at {self.address}; expected an episode file or a folder of episodes")
        if len(found) > MAX_FILES:
            raise UserError(f"{self.address} has {len(found):,} files; at most {MAX_FILES:,} are listed: name a part")
        for path, about in found.items():
            if about.get("type") == "file" and (name := _relative(path, root)) is not None:
                size = about.get("size")
                yield RemoteFile(name, int(size) if isinstance(size, int | float) else 0, _second(about))

    def fetch(self, name: str, start: int, stop: int) -> bytes:
        """The bytes [start, stop) of a file. Raises UserError if they cannot be had."""
        file_system, root = self._opened
        path = f"{root}/{name}" if name else root
        what = f"{self.address}/{name}" if name else str(self.address)
        found: bytes = self._ask(lambda: file_system.cat_file(path, start=start, end=stop), FETCHING_SECONDS, what)
        if len(found) != stop - start:
            raise UserError(
                f"{what} gave {len(found):,} bytes where {stop - start:,} were expected; it was changed or cut short "
                "since it was listed"
            )
        return found

    def _find(self, file_system: Any, root: str) -> Mapping[str, Any]:
        file_system.invalidate_cache()
        try:
            found: Mapping[str, Any] = file_system.find(root, detail=True)
        except Exception as error:
            if self.address.scheme != "s3" or type(error).__name__ != "NoCredentialsError":
                raise
            public, _ = self._connect(anon=True)  # a bucket that everybody may read needs no credentials
            self.__dict__["_opened"] = (public, root)
            found = public.find(root, detail=True)
        return found

    def _ask(self, work: Callable[[], T], seconds: float, what: str = "") -> T:
        """What ``work`` returns. Raises UserError, in words of our own, if it fails or takes longer."""
        answer: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

        def run() -> None:
            try:
                answer.put((True, work()))
            except BaseException as error:
                answer.put((False, error))

        threading.Thread(target=run, daemon=True).start()  # libraries' own time limits do not cover all they wait for
        try:
            good, found = answer.get(timeout=seconds)
        except queue.Empty:
            said = f"{what or self.address} did not answer within {seconds:g} seconds; check the network"
            raise Unreachable(said) from None
        if good:
            return found
        if isinstance(found, UserError) or not isinstance(found, Exception):
            raise found
        raise self._failed(found, what or str(self.address)) from None

    def _failed(self, error: Exception, what: str) -> UserError:
        kind = type(error).__name__
        if isinstance(error, ImportError):
            package = SCHEMES[self.address.scheme]
            return Unreachable(
                f"{what} needs the package {package}, which cannot be imported; run: pip install {package}"
            )
        if isinstance(error, FileNotFoundError) or kind in ("RepositoryNotFoundError", "RevisionNotFoundError"):
            return UserError(f"there is nothing at {what}, or it may be seen with credentials only")
        if isinstance(error, PermissionError) or "Credential" in kind or "Forbidden" in kind or "Auth" in kind:
            return Unreachable(
                f"{what} may not be read with the credentials that were found on this machine, if any; "
                "docs/remote-data.md says where they are looked for"
            )
        return Unreachable(f"{what} could not be reached ({kind}); check the network, the name and the credentials")


def _relative(path: str, root: str) -> str | None:
    """A file's name below the root; None for one that would lie elsewhere on a disk."""
    name = "" if path == root else path[len(root) + 1 :] if path.startswith(root + "/") else None
    if name is None or "\0" in name or any(part in ("", ".", "..") for part in name.split("/") if name):
        return None
    return name


def _second(about: Mapping[str, Any]) -> int:
    said = repr([(key, str(about[key])) for key in MARKS if about.get(key) is not None]) + str(about.get("size"))
    return FIRST_SECOND + int(hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:12], 16) % SECONDS
