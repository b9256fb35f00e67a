"""How a body is kept: compressed by zstandard, with a digest that is checked on reading.

Large bodies are compressed and expanded in blocks, from and to a file: the compressed
bytes are never in memory as a whole.
"""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import zstandard

from shared.domain.errors import StorageUnavailable

_LEVEL = 3
_BLOCK_BYTES = 256 * 1024


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
        return Packed(compressor.compress(raw), len(raw), self.digest(raw))

    def pack_in_blocks(self, raw: bytes) -> Iterator[bytes]:
        """Yield the body compressed, in blocks of which none is empty; any thread may take the next one."""
        # A context of its own: that of the thread may be used for another body before the next block.
        chunker = zstandard.ZstdCompressor(level=_LEVEL).chunker(size=len(raw), chunk_size=_BLOCK_BYTES)
        view = memoryview(raw)
        for at in range(0, len(raw), _BLOCK_BYTES):
            yield from chunker.compress(view[at : at + _BLOCK_BYTES])
        yield from chunker.finish()  # type: ignore[no-untyped-call]  # zstandard forgot its types

    def digest(self, raw: bytes) -> bytes:
        """Return the digest that belongs to the body."""
        return hashlib.sha256(raw).digest()

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
        self._check(raw, size, digest)
        return raw

    def unpack_file(self, file: BinaryIO, size: int, digest: bytes) -> bytes:
        """Return the original bytes of what the file holds.

        Raises:
            StorageUnavailable: they are not those that were stored.
            OSError: the file cannot be read.
        """
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_size=_BLOCK_BYTES)
        try:
            raw = reader.read(size)
            more = reader.read(1)
        except zstandard.ZstdError as exc:
            raise StorageUnavailable("a body cannot be expanded: its bytes have changed") from exc
        self._check(raw + more if more else raw, size, digest)
        return raw

    def _check(self, raw: bytes, size: int, digest: bytes) -> None:
        if len(raw) != size or self.digest(raw) != digest:
            raise StorageUnavailable("a body is not the one that was stored: its bytes have changed")
