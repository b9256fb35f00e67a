"""How bodies are kept: the two ways of packing are one format."""

import io
import random

import pytest

from shared.adapters.body_codec import BodyCodec
from shared.domain.errors import StorageUnavailable

RAW = random.Random(2).randbytes(700_000) + b"a line of text\r\n" * 50_000


class TestBodyCodec:
    @pytest.mark.parametrize("raw", [b"", b"x", RAW], ids=["empty", "small", "large"])
    def test_either_reads_what_the_other_wrote(self, raw: bytes) -> None:
        """Bodies of before an update are read after it, and the other way round."""
        codec = BodyCodec()
        packed, in_blocks = codec.pack(raw), b"".join(codec.pack_in_blocks(raw))

        for data in (packed.data, in_blocks):
            assert codec.unpack(data, len(raw), packed.digest) == raw
            assert codec.unpack_file(io.BytesIO(data), len(raw), packed.digest) == raw

    def test_several_at_once_do_not_meet(self) -> None:
        """Between two blocks of one body the thread may work on another."""
        codec = BodyCodec()

        mixed = list(zip(codec.pack_in_blocks(RAW), codec.pack_in_blocks(RAW), strict=True))
        codec.pack(RAW)

        for data in map(b"".join, zip(*mixed, strict=True)):
            assert codec.unpack(data, len(RAW), codec.digest(RAW)) == RAW

    @pytest.mark.parametrize("size", [0, 1, len(RAW) - 1, len(RAW) + 1])
    def test_another_size_is_damage(self, size: int) -> None:
        """Neither more nor less than what was stored is ever given out."""
        codec = BodyCodec()
        data = io.BytesIO(codec.pack(RAW).data)

        with pytest.raises(StorageUnavailable):
            codec.unpack_file(data, size, codec.digest(RAW))
