"""Addresses of remote roots, checked before anything is asked of them. They never hold credentials."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from models.errors import UserError

SCHEMES = {  # scheme -> the package that speaks it
    "s3": "s3fs",
    "gs": "gcsfs",
    "hf": "huggingface_hub",
    "memory": "fsspec",
}
ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?P<rest>.*)", re.DOTALL)  # pathlib makes // a /
MAX_LENGTH = 2_000


@dataclass(frozen=True)
class Address:
    """Where a remote root is."""

    scheme: str
    place: str  # what follows ``scheme://``, without a slash at either end

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}"

    @classmethod
    def of(cls, text: str) -> Address:
        """Raises UserError for another scheme than those that are read, and for an address with credentials in it."""
        found = ADDRESS.fullmatch(text)
        if found is None or len(text) > MAX_LENGTH:
            raise UserError(f"{text[:60]!r} is no address; expected one such as s3://bucket/folder")
        scheme, place = found["scheme"].lower(), found["rest"].strip("/")
        scheme = {"gcs": "gs", "s3a": "s3"}.get(scheme, scheme)
        if scheme not in SCHEMES:
            raise UserError(
                f"addresses with {scheme}:// are not read; expected {', '.join(f'{s}://' for s in SCHEMES)}"
            )
        host = place.partition("/")[0]
        if "@" in host or ":" in host or "?" in place or "#" in place:
            raise UserError(
                f"an address with {scheme}:// has to be a plain bucket and folder, without user names, keys or "
                "parameters; credentials are taken from where the storage's own tools find them (docs/remote-data.md)"
            )
        parts = PurePosixPath(place).parts
        if not parts or any(part in ("..", ".") or "\0" in part or "\n" in part for part in parts):
            raise UserError(f"{text[:200]!r} names no folder; expected an address such as {scheme}://bucket/folder")
        return cls(scheme, "/".join(parts))

    @property
    def folder(self) -> str:
        """A folder's name that no other address has."""
        return hashlib.sha256(str(self).encode("utf-8", "replace")).hexdigest()[:16]


def is_address(text: str) -> bool:
    """Whether a text is meant as an address rather than as a path."""
    found = ADDRESS.fullmatch(text)
    return found is not None and (found["scheme"].lower() in (*SCHEMES, "gcs", "s3a") or "://" in text)
