"""Remote roots: s3://, gs://, hf:// and memory:// through fsspec (docs/remote-data.md)."""

from analysis.episodes.remote.address import Address, is_address
from analysis.episodes.remote.mirror import Mirror, mirror
from analysis.episodes.remote.source import RemoteSource

__all__ = ["Address", "Mirror", "RemoteSource", "is_address", "mirror"]
