import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InvalidValue
from smtp_node.deliver.letter import letter, wire_address, wire_blocks

crlf_raw = st.lists(st.sampled_from([b"a", b".", b"..", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"\xff"]), max_size=40).map(
    b"".join
)


def unstuffed(wire: bytes) -> bytes:
    """Read what a server reads (RFC 5321 §4.5.2): lines up to the final dot."""
    lines = []
    for line in wire.split(b"\r\n"):
        if line == b".":
            return b"".join(each + b"\r\n" for each in lines)
        lines.append(line.removeprefix(b"."))
    raise AssertionError("no final dot")


class TestWireBlocks:
    @given(crlf_raw, st.integers(1, 9))
    def test_a_server_reads_what_was_given(self, raw: bytes, block_bytes: int) -> None:
        """Whatever the block size, the remote gets the signed bytes, and one message only."""
        wire = b"".join(wire_blocks(raw, block_bytes))

        assert unstuffed(wire) == (raw if raw.endswith(b"\r\n") else raw + b"\r\n")
        assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
        assert (b"\r\n" + wire).count(b"\r\n.\r\n") == 1

    @given(crlf_raw, st.integers(1, 9))
    def test_what_is_added_goes_first(self, raw: bytes, block_bytes: int) -> None:
        """The remote reads one message, whose first dot may stand where the two meet."""
        added = b"A: b\r\n c\r\n"

        assert b"".join(wire_blocks(raw, block_bytes, added=added)) == b"".join(wire_blocks(added + raw))

    def test_large_messages_are_not_copied_whole(self) -> None:
        """A node sends many of them at once."""
        blocks = list(wire_blocks(b"x" * 1_000_000 + b"\r\n"))

        assert max(len(block) for block in blocks) < 70_000

    def test_small_messages_are_one_write(self) -> None:
        """One packet, one system call."""
        assert list(wire_blocks(b"a: b\r\n\r\n.c\r\n")) == [b"a: b\r\n\r\n..c\r\n.\r\n"]


class TestWireAddress:
    @pytest.mark.parametrize(
        ("address", "wire"),
        [
            ("a@x.test", "a@x.test"),
            ("A.b+c@X.Test", "A.b+c@x.test"),
            ("a@müller.test", "a@xn--mller-kva.test"),
            ("ü@müller.test", "ü@xn--mller-kva.test"),
            ('"a b"@x.test', '"a b"@x.test'),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ],
    )
    def test_domains_become_a_labels(self, address: str, wire: str) -> None:
        """So that only a local part can need SMTPUTF8."""
        assert wire_address(address) == wire

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "a",
            "@x.test",
            "a@",
            "d@e.f>\r\nRCPT TO:<evil@x",
            "a\r\n@x.test",
            '"a\r\nb"@x.test',
            "a\0@x.test",
            "a\x85@x.test",
            "a\u2028@x.test",
            "a b@x.test",
            "a@x test",
            "a@b>c",
            "<a@x.test>",
            "a@x.test SIZE=1",
            '"a" ORCPT=x@x.test',
            "a\udc80@x.test",
            "a@" + "x" * 600,
            "a@ü..test",
        ],
    )
    def test_nothing_that_smtp_would_read_otherwise(self, address: str) -> None:
        """The recorded recipient and the real one must be the same (CVE-2026-53533)."""
        with pytest.raises(InvalidValue):
            wire_address(address)

    @given(st.text())
    def test_never_lets_a_command_through(self, address: str) -> None:
        """Whatever comes in, no line end and no bracket goes out."""
        try:
            wire = wire_address(address)
        except InvalidValue:
            return
        assert not set(wire) & set("\r\n\0<>")


class TestLetter:
    @pytest.mark.parametrize("raw", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n\n", b"a\r\n\r"])
    def test_refuses_lone_line_ends(self, raw: bytes) -> None:
        """RFC 5321 §2.3.8: they may end the message on another host, and start one of an attacker."""
        with pytest.raises(InvalidValue):
            letter("a@x.test", "b@x.test", raw)

    @pytest.mark.parametrize(
        ("raw", "eight_bit", "utf8_header"),
        [
            (b"Subject: a\r\n\r\nb", False, False),
            (b"Subject: a\r\n\r\n\xc3\xbc", True, False),
            (b"Subject: \xc3\xbc\r\n\r\nb", True, True),
            (b"Subject: \xfc\r\n\r\nb", True, False),
        ],
    )
    def test_knows_what_it_needs(self, raw: bytes, eight_bit: bool, utf8_header: bool) -> None:
        """MAIL parameters follow from the bytes."""
        made = letter("", "b@x.test", raw)

        assert (made.eight_bit, made.utf8_header, made.needs_smtputf8) == (eight_bit, utf8_header, False)

    @pytest.mark.parametrize("added", [b"A: b", b"A: b\n", b"A: b\r\r\n", b"A: b\n.\r\n"])
    def test_refuses_added_fields_that_are_none(self, added: bytes) -> None:
        """They are ours, and this gate trusts nobody."""
        with pytest.raises(InvalidValue):
            letter("a@x.test", "b@x.test", b"C: d\r\n\r\n", added=added)

    def test_size_counts_what_is_added(self) -> None:
        """SIZE of MAIL is of the whole message."""
        assert letter("", "b@x.test", b"a\r\n", added=b"A: b\r\n").size_bytes == 9

    def test_size_counts_the_final_line_end(self) -> None:
        """RFC 1870 §5: as transmitted, without dot-stuffing."""
        assert letter("", "b@x.test", b"a\r\n.b").size_bytes == 7
