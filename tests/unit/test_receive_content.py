"""Finding the end of a message and judging its bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.headers import BLOCK_BYTES, MAX_HEAD_BYTES, has_crlf_only
from smtp_node.receive.content import MAX_HOPS, Content, Fault, has_longer_line, is_looping
from smtp_node.receive.gate import MemoryBudget

PIECES = st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"..", b"\0", b"a", b"abc"]), max_size=12)


def content(limit_bytes: int = 10_000, memory: int = 100_000) -> Content:
    """Return an empty one."""
    return Content(limit_bytes, MemoryBudget(memory))


class TestHasCRLFOnly:
    @pytest.mark.parametrize("offset", range(-3, 4))
    @pytest.mark.parametrize("ends", [b"\r\n", b"\r", b"\n", b"\n\r", b"\r\r\n", b"\r\n\n"])
    def test_blocks_change_nothing(self, offset: int, ends: bytes) -> None:
        """A pair may be cut in two where a block ends; two halves that are no pair must not make up for each other."""
        raw = b"a" * (BLOCK_BYTES + offset) + ends + b"b" * (BLOCK_BYTES - 1) + b"\r\n"

        assert has_crlf_only(raw) is (ends == b"\r\n")


class TestFeed:
    @given(lines=st.lists(st.binary(max_size=20).map(lambda each: each.replace(b"\r", b"").replace(b"\n", b""))))
    def test_gives_back_what_was_sent(self, lines: list[bytes]) -> None:
        """Whatever stands in the lines, dots included."""
        raw = b"".join(line + b"\r\n" for line in lines)
        wire = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines) + b".\r\n"
        taken = content()

        assert taken.feed(wire + b"NEXT") == b"NEXT"
        assert taken.take() == raw

    @given(pieces=PIECES, cuts=st.lists(st.integers(0, 40), max_size=6))
    def test_cuts_between_packets_change_nothing(self, pieces: list[bytes], cuts: list[int]) -> None:
        """The end must be found at the same place however TCP delivers the bytes."""
        wire = b"".join(pieces) + b"\r\n.\r\nrest"
        whole = content()
        rest = whole.feed(wire)

        marks = sorted({0, *(cut for cut in cuts if cut < len(wire)), len(wire)})
        parts = [wire[start:end] for start, end in pairwise(marks)]
        cut_up = content()
        for at, part in enumerate(parts):
            found = cut_up.feed(part)
            if found is not None:
                found += b"".join(parts[at + 1 :])
                break

        assert found == rest
        assert cut_up.take() == whole.take()

    @given(pieces=PIECES)
    def test_only_crlf_dot_crlf_ends(self, pieces: list[bytes]) -> None:
        """RFC 5321 §4.1.1.4, with DATA's own CRLF before the first byte."""
        raw = b"".join(pieces)

        ended = content().feed(raw) is not None

        assert ended is (b"\r\n.\r\n" in b"\r\n" + raw)

    @pytest.mark.parametrize("offset", range(-5, 6))
    def test_dots_are_removed_wherever_a_block_ends(self, offset: int) -> None:
        """Large messages are gone through in blocks: none may begin between a line end and its dot."""
        raw = b"a" * (BLOCK_BYTES + offset) + b"\r\n.b\r\n\r\n..\r\n" + b"c" * BLOCK_BYTES + b"\r\n.\r\n.\r\n"
        wire = raw.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        taken = content(limit_bytes=3 * BLOCK_BYTES, memory=3 * BLOCK_BYTES)

        assert taken.feed(wire) == b""
        assert taken.take() == raw

    def test_an_empty_message_is_one_dot(self) -> None:
        """The first line may be the last."""
        taken = content()

        assert taken.feed(b".\r\n") == b""
        assert taken.take() == b""

    def test_over_the_limit_keeps_nothing_and_finds_the_end(self) -> None:
        """The session goes on after 552, so the end must not be lost with the bytes."""
        memory = MemoryBudget(1000)
        taken = Content(100, memory)

        assert taken.feed(b"x" * 150) is None
        assert taken.feed(b"\r\n.") is None
        assert memory.held_bytes == 0
        assert taken.feed(b"\r\nNOOP") == b"NOOP"
        assert taken.fault is Fault.TOO_LARGE

    @pytest.mark.parametrize("piece_bytes", [1000, 10_000_000])
    def test_an_endless_header_keeps_nothing_and_finds_the_end(self, piece_bytes: int) -> None:
        """No mail has half a megabyte of header; taking it apart would cost more than its sender spends."""
        memory = MemoryBudget(10_000_000)
        taken = Content(10_000_000, memory)
        wire = b"X-A: b\r\n" * 100_000 + b"\r\nx\r\n.\r\nNOOP"

        found = [taken.feed(wire[at : at + piece_bytes]) for at in range(0, len(wire), piece_bytes)]

        assert found[-1] == b"NOOP"
        assert memory.held_bytes == 0
        assert taken.fault is Fault.HEAD_TOO_LARGE

    @pytest.mark.parametrize("head", [b"", b"A: b\r\n", b"A: " + b"b" * (MAX_HEAD_BYTES - 7) + b"\r\n"])
    def test_a_header_within_the_limit_is_taken(self, head: bytes) -> None:
        """However large the body is."""
        taken = content(limit_bytes=10_000_000, memory=10_000_000)

        taken.feed(head + b"\r\n" + b"x" * (2 * MAX_HEAD_BYTES) + b"\r\n.\r\n")

        assert taken.fault is None

    def test_memory_is_reserved_until_released(self) -> None:
        """What was taken is still held by whoever stores it."""
        memory = MemoryBudget(100)
        taken = Content(1000, memory)

        taken.feed(b"x" * 60)
        second = Content(1000, memory)
        second.feed(b"y" * 60)

        assert second.fault is Fault.NO_ROOM
        assert memory.held_bytes == 60
        taken.release()
        taken.release()
        assert memory.held_bytes == 0


class TestHasLongerLine:
    @given(lengths=st.lists(st.integers(0, 30), max_size=8), limit=st.integers(1, 30), ended=st.booleans())
    def test_agrees_with_splitting(self, lengths: list[int], limit: int, ended: bool) -> None:
        """The quick search must find what the simple one finds."""
        raw = b"\r\n".join(b"x" * length for length in lengths) + (b"\r\n" if ended else b"")

        assert has_longer_line(raw, limit) is any(len(line) > limit for line in raw.split(b"\r\n"))


class TestIsLooping:
    @pytest.mark.parametrize(
        ("hops", "host", "looping"),
        [
            (4, "mx.example.test", False),
            (5, "mx.example.test", True),
            (5, "other.example.test", False),
            (MAX_HOPS, "other.example.test", False),
            (MAX_HOPS + 1, "other.example.test", True),
        ],
    )
    def test_counts_received_fields(self, hops: int, host: str, looping: bool) -> None:
        """Postal's rule for our own name, Postfix's for all."""
        raw = f"Received: from a\r\n\tby {host} with SMTP; now\r\n".encode() * hops + b"\r\nReceived: body\r\n" * 100

        assert is_looping(raw, "mx.example.test") is looping

    @pytest.mark.parametrize(
        "by", ["by\r\n\tmx.example.test with", "by mx.example.test\r\n with", "by  mx.example.test\twith"]
    )
    def test_finds_our_name_wherever_the_line_was_folded(self, by: str) -> None:
        """A host in the circle may fold our field anew."""
        raw = f"Received: from a {by} SMTP; now\r\n".encode() * 5 + b"\r\n"

        assert is_looping(raw, "mx.example.test")
