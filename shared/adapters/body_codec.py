"""How a body is kept: compressed by zstandard, with a digest that is checked on reading."""

import hashlib
import threading
from dataclasses import dataclass

import zstandard

from shared.domain.errors import StorageUnavailable

_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Packed:
    """A body as it is stored."""

    data: bytes
    size: int
    """Bytes of the original."""

    digest: bytes
    """SHA-256 of the original."""


class BodyCodec:
    """Packs and unpacks bodies; may be used from any thread."""

    def __init__(self) -> None:
        """Make it without contexts; they are costly, so each thread keeps its own."""
        self._local = threading.local()

    def pack(self, raw: bytes) -> Packed:
        """Return the body compressed, with its size and digest."""
        compressor: zstandard.ZstdCompressor | None = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        return Packed(compressor.compress(raw), len(raw), hashlib.sha256(raw).digest())

    def unpack(self, data: bytes, size: int, digest: bytes) -> bytes:
        """Return the original bytes.

        Raises:
            StorageUnavailable: they are not those that were stored.
        """
        decompressor: zstandard.ZstdDecompressor | None = getattr(self._local, "decompressor", None)
        if decompressor is None:
            decompressor = self._local.decompressor = zstandard.ZstdDecompressor()
        try:
            raw = decompressor.decompress(data, max_output_size=size)
        except zstandard.ZstdError as exc:
            raise StorageUnavailable("a body cannot be expanded: its bytes have changed") from exc
        if len(raw) != size or hashlib.sha256(raw).digest() != digest:
            raise StorageUnavailable("a body is not the one that was stored: its bytes have changed")
        return raw
