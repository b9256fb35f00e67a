import re

import dkim.canonicalization
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_node.authentication.canonical import relaxed_blocks, relaxed_body, relaxed_header

THEIRS = dkim.canonicalization.Relaxed
PIECES = [b"a", b".", b" ", b"\t", b"  ", b"\r\n", b"\r\n\r\n", b" \r\n", b"\xc3\xa4", b"\xff", b"=", b"\x00"]
crlf_bodies = st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join)
folded_values = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n ", b"\r\n\t", b":", b"\xff"]), max_size=40).map(
    b"".join
)


class TestRelaxedBody:
    @given(crlf_bodies)
    def test_equals_dkimpy(self, body: bytes) -> None:
        """Verifiers must hash the same bytes as we do, whatever the white space."""
        sent = body if body.endswith(b"\r\n") else body + b"\r\n"

        assert relaxed_body(body) == THEIRS.canonicalize_body(sent)

    @pytest.mark.parametrize(
        ("body", "canonical"),
        [
            (b"", b""),
            (b"\r\n", b""),
            (b"\r\n\r\n", b""),
            (b"  \r\n\t\r\n", b""),
            (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),
            (b"no line end  ", b"no line end\r\n"),
        ],
    )
    def test_follows_the_rfc(self, body: bytes, canonical: bytes) -> None:
        """RFC 6376 §3.4.4 and its example in §3.4.5."""
        assert relaxed_body(body) == canonical

    @given(crlf_bodies)
    def test_is_stable(self, body: bytes) -> None:
        """A canonical form is its own canonical form."""
        once = relaxed_body(body)

        assert relaxed_body(once) == once


class TestRelaxedBlocks:
    @given(crlf_bodies, st.integers(1, 12))
    def test_are_the_body_wherever_it_is_cut(self, body: bytes, block_bytes: int) -> None:
        """White space and empty lines may stand on both sides of a cut, or be longer than a block."""
        blocks = relaxed_blocks(b"head" + body, 4, block_bytes=block_bytes)

        assert b"".join(blocks) == relaxed_body(body)


class TestRelaxedHeader:
    @given(st.sampled_from([b"Subject", b"X-Y", b"from"]), folded_values)
    def test_equals_dkimpy(self, name: bytes, value: bytes) -> None:
        """Verifiers must hash the same bytes as we do, however the field is folded."""
        value += b"\r\n"

        [(theirs_name, theirs_value)] = THEIRS.canonicalize_headers([(name, value)])

        assert relaxed_header(name, value) == theirs_name + b":" + theirs_value

    def test_follows_the_rfc(self) -> None:
        """RFC 6376 §3.4.5: the name in lower case, one space for each run, none at the ends."""
        assert relaxed_header(b"B ", b" Y\t\r\n\tZ  \r\n") == b"b:Y Z\r\n"

    @given(folded_values)
    def test_leaves_one_line(self, value: bytes) -> None:
        """An unfolded field holds no line end but its last."""
        assert re.findall(rb"[\r\n]+", relaxed_header(b"a", value)) == [b"\r\n"]
