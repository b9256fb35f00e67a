"""Header fields from text: what is asked for is what every reader sees, and nothing else."""

import email
import email.policy
from email.header import decode_header, make_header
from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InvalidValue
from shared.domain.headers import split_head
from shared.domain.mime_headers import address_field, ascii_fallback, check_name, parameter, text_field
from shared.domain.mime_mailboxes import Mailbox

PRINTABLE = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), max_size=300)
CONTROLS = ["\n", "\r", "\r\n", "\r\n X: y", "\0", "\v", "\f", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]


def shown(field: bytes) -> str:
    """Return the value as Python's parser shows it."""
    name, _, _ = field.partition(b":")
    value = email.message_from_bytes(field + b"\r\n")[name.decode()]
    return str(make_header(decode_header(value.replace("\r\n", ""))))


class TestTextField:
    @given(PRINTABLE)
    def test_readers_see_exactly_the_text(self, text: str) -> None:
        """Encoding and folding must not change what was asked for."""
        field = text_field("Subject", text)

        assert split_head(field).text(b"Subject") == text.replace("\t", " ").strip(" ") or shown(field) == text

    @given(PRINTABLE)
    def test_lines_stay_short_and_ascii(self, text: str) -> None:
        """RFC 2047 §2: lines with encoded words have at most 76 characters; RFC 5322 §2.1.1: none has over 998."""
        lines = text_field("Subject", text).split(b"\r\n")

        assert all(len(line) <= (76 if b"=?" in line else 998) for line in lines)
        assert b"".join(lines).isascii()
        assert not any(line and not line.strip() for line in lines[:-1])

    @pytest.mark.parametrize("control", CONTROLS)
    def test_control_characters_are_refused(self, control: str) -> None:
        """A line end in a value is a new header (CVE-2024-6923 and many before it)."""
        with pytest.raises(InvalidValue):
            text_field("Subject", f"a{control}b")

    def test_an_encoded_word_is_shown_literally(self) -> None:
        """A subject is text: decoding one that looks encoded would smuggle a line end in."""
        attack = "=?utf-8?q?hi=0ABcc=3A_evil=40x=2Ey?="

        field = text_field("Subject", attack)

        parsed = email.message_from_bytes(field + b"\r\n", policy=email.policy.default)
        assert parsed.keys() == ["Subject"]
        assert parsed["Subject"] == attack

    def test_plain_ascii_stays_readable(self) -> None:
        """Most subjects need no encoding, and people read raw messages."""
        assert text_field("Subject", "Your order 42") == b"Subject: Your order 42\r\n"

    def test_long_ascii_is_folded_at_spaces(self) -> None:
        """Folding must not add or remove characters."""
        text = " ".join(["word"] * 60)

        field = text_field("X-Long", text)

        assert max(map(len, field.split(b"\r\n"))) <= 76
        assert split_head(field).text(b"X-Long") == text

    def test_a_long_token_is_not_broken(self) -> None:
        """Machine-read values such as List-Unsubscribe links must come out whole."""
        link = "<https://example.com/" + "x" * 800 + ">"

        assert split_head(text_field("List-Unsubscribe", link)).fields[0].value.decode() == link


class TestCheckName:
    @pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\nBcc", "Ü", "X\0", "x" * 77, "X\n"])
    def test_refuses_what_is_no_token(self, name: str) -> None:
        """A name with a colon or line end writes headers of its own."""
        with pytest.raises(InvalidValue):
            check_name(name)


class TestAddressField:
    @given(PRINTABLE.map(lambda name: " ".join(name.split())))  # Python's parser joins runs of spaces.
    def test_the_name_and_the_address_survive(self, name: str) -> None:
        """Commas, quotes, backslashes and foreign letters in names must not move the address."""
        field = address_field("From", [Mailbox(name, "a@example.com", "a@example.com")])

        # The newer parser of Python 3.11 puts a space between two encoded words (against RFC 2047 §6.2).
        shown_name, address = parseaddr(split_head(field).fields[0].value.decode())
        assert (str(make_header(decode_header(shown_name))), address) == (name, "a@example.com")

    def test_many_recipients_are_folded_between_addresses(self) -> None:
        """Fifty addresses on one line would pass the 998 octets of RFC 5322 §2.1.1."""
        field = address_field("To", [Mailbox(f"N {i}", f"user{i}@example.com", "") for i in range(50)])

        assert max(map(len, field.split(b"\r\n"))) <= 76
        assert len(email.message_from_bytes(field + b"\r\n", policy=email.policy.default)["To"].addresses) == 50

    def test_a_control_character_in_a_name_is_refused(self) -> None:
        """A display name is as good a way into the header as any."""
        with pytest.raises(InvalidValue):
            address_field("From", [Mailbox("a\r\nBcc: x@y.z", "a@example.com", "")])


class TestParameter:
    @given(PRINTABLE.filter(lambda name: "\t" not in name and name.strip() == name and name))
    def test_python_reads_the_same_name(self, name: str) -> None:
        """RFC 2231 with continuations, as the most used parser understands it."""
        head = f"Content-Disposition: attachment{parameter('filename', name)}\r\n\r\n".encode("ascii")

        assert email.message_from_bytes(head).get_filename() == name
        assert max(map(len, head.split(b"\r\n"))) <= 78


class TestAsciiFallback:
    def test_replaces_what_old_readers_cannot_show(self) -> None:
        """A name that cannot be shown is better than none."""
        assert ascii_fallback('Ünï "x".pdf') == "_n_ _x_.pdf"
