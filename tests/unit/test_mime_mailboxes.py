"""Addresses with names, as applications write them."""

import pytest

from shared.domain.errors import InvalidValue
from shared.domain.mime_mailboxes import mailbox, split_list


class TestMailbox:
    @pytest.mark.parametrize(
        ("text", "name", "address", "written"),
        [
            ("a@b.example", "", "a@b.example", "a@b.example"),
            (" <a@B.example> ", "", "a@b.example", "a@B.example"),
            ("Jane Doe <j@b.example>", "Jane Doe", "j@b.example", "j@b.example"),
            ('"Doe, \\"J\\"" <j@b.example>', 'Doe, "J"', "j@b.example", "j@b.example"),
            ("j@b.example (Jane)", "Jane", "j@b.example", "j@b.example"),
            ("Jörg <j@bücher.example>", "Jörg", "j@xn--bcher-kva.example", "j@bücher.example"),
        ],
    )
    def test_reads_name_and_address(self, text: str, name: str, address: str, written: str) -> None:
        """Postal's clients send all of these; the answer's key is the address as written."""
        found = mailbox(text)

        assert (found.name, found.address, found.written) == (name, address, written)

    @pytest.mark.parametrize(
        "text",
        [
            "", "x", "a@b.c, d@e.f", "<a@b.c> <d@e.f>", "a@b.c>\r\nRCPT TO:<evil@x.y", "a@b.c\n", "a\0@b.c",
            "a\x85@b.c", "a\u2028@b.c", "a@b>c", '"a\r\nb"@x.y', "a@[127.0.0.1]", "a@b.c SIZE=1", "a b@c.d",
            "x" * 2000,
        ],
    )  # fmt: skip
    def test_refuses_what_is_not_exactly_one_address(self, text: str) -> None:
        """Whatever passes here stands in an SMTP command (CVE-2026-53533 and its kin)."""
        with pytest.raises(InvalidValue):
            mailbox(text)


class TestSplitList:
    @pytest.mark.parametrize(
        ("text", "entries"),
        [
            ("", []),
            ("a@b.c", ["a@b.c"]),
            ("a@b.c,d@e.f, ,", ["a@b.c", "d@e.f"]),
            ('"Doe, J" <j@b.c>, x@y.z', ['"Doe, J" <j@b.c>', "x@y.z"]),
            ('"a\\", b" <j@b.c>, x@y.z', ['"a\\", b" <j@b.c>', "x@y.z"]),
            ("j@b.c (Doe, J), x@y.z", ["j@b.c (Doe, J)", "x@y.z"]),
            ('"never closed, a@b.c', ['"never closed, a@b.c']),
        ],
    )
    def test_splits_only_between_addresses(self, text: str, entries: list[str]) -> None:
        """A comma inside a quoted name is part of the name."""
        assert split_list(text) == entries

    def test_a_huge_list_is_refused(self) -> None:
        """The list is walked character by character."""
        with pytest.raises(InvalidValue):
            split_list("(" * 200_000)
