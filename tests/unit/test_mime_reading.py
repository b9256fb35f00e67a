"""Reading a message: texts and files of well-formed mail, and an end to everything hostile."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.mime import Attachment, build
from shared.domain.mime_encoding import lenient_base64, wrapped_base64
from shared.domain.mime_parameters import parse, text_of
from shared.domain.mime_reading import MAX_PARTS, contents, header_texts


def nested(depth: int) -> bytes:
    """Return multiparts within multiparts."""
    raw = b""
    for level in range(depth):
        raw += b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level)
    return raw + b"\r\ndeep\r\n"


BOMBS = {
    "300 nested multiparts": nested(300),
    "5,000 nested multiparts": nested(5000),
    "1,000 nested messages": b"Content-Type: message/rfc822\r\n\r\n" * 1000,
    "100,000 empty parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n\r\n" * 100_000,
    "delimiters that are none": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--bx\r\n" * 1_000_000,
    "100,000 headers": b"X: y\r\n" * 100_000 + b"\r\nbody",
    "a header of a megabyte": b"Subject: " + b"x" * 1_000_000 + b"\r\n\r\nbody",
    "RFC 2231 sections": b"Content-Type: text/plain" + b"; a*0=b" * 20_000 + b"\r\n\r\nbody",
    "20,000 addresses": b"To: " + b"a@example.com, " * 20_000 + b"\r\n\r\nbody",
    "deep comments": b"From: " + b"(" * 50_000 + b"\r\n\r\nbody",
    "encoded words": b"Subject: " + b"=?utf-8?q?a?= " * 60_000 + b"\r\n\r\nbody",
    "punycode as a charset": b"Content-Type: text/plain; charset=punycode\r\n\r\n"
    + b"a" * 300_000
    + b"-"
    + b"b" * 300_000,
    "open quotes": b'Content-Type: text/plain; a="' + b'\\"; b="' * 50_000 + b"\r\n\r\nbody",
    "no end of header": b"a" * 5_000_000,
    "only line ends": b"\r\n" * 1_000_000,
}


class TestContents:
    @pytest.mark.parametrize("name", BOMBS)
    def test_a_bomb_gives_an_answer_within_a_second(self, name: str) -> None:
        """Postal's and Python's own readers take minutes, or die, over some of these."""
        started = time.process_time()

        contents(BOMBS[name])
        header_texts(BOMBS[name])

        assert time.process_time() - started < 1

    @given(st.binary(max_size=500))
    def test_no_bytes_make_it_fail(self, noise: bytes) -> None:
        """Stored mail from outside may hold anything."""
        for head in (b"", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", b"Content-Type: text/plain; "):
            contents(head + noise)
            header_texts(head + noise)

    def test_finds_texts_and_attachments(self) -> None:
        """The first text of each kind that is no attachment, as Postal shows it."""
        files = [Attachment("ü.txt", b"\0\xff", "text/plain"), Attachment("l.png", b"p", "image/png", "l", inline=True)]
        raw = build([b"Subject: x\r\n"], plain="Grüße\nzwei", html="<p>ü</p>", attachments=files, rng=random.Random(1))

        found = contents(raw)

        assert (found.plain, found.html) == ("Grüße\nzwei", "<p>ü</p>")
        assert [(each.filename, each.content_type, each.content) for each in found.attachments] == [
            ("l.png", "image/png", b"p"),
            ("ü.txt", "text/plain", b"\0\xff"),
        ]

    def test_a_message_without_mime_is_plain_text(self) -> None:
        """RFC 2045 §5.2: the default is text/plain."""
        assert contents(b"Subject: x\r\n\r\nHi\r\nyou").plain == "Hi\nyou"

    def test_an_html_message_has_no_plain_text(self) -> None:
        """Postal answers null for a text that is not there."""
        found = contents(b"Content-Type: text/html; charset=iso-8859-1\r\n\r\n\xfc")

        assert (found.plain, found.html) == (None, "ü")

    def test_a_forwarded_message_is_an_attachment(self) -> None:
        """Its texts are not those of the message around it."""
        part = b"Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx\r\n"
        raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part + b"--b--"

        found = contents(raw)

        assert found.plain is None
        assert [each.content for each in found.attachments] == [b"A: b\r\n\r\nx"]

    def test_a_missing_end_still_shows_the_last_part(self) -> None:
        """Bounces often quote a message that was cut off."""
        raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHi"

        assert contents(raw).plain == "Hi"

    def test_stops_after_many_parts(self) -> None:
        """What nobody can look at need not be read."""
        part = b"--b\r\nContent-Type: text/plain; name=x\r\n\r\ny\r\n"
        raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 2000

        assert len(contents(raw).attachments) < MAX_PARTS


class TestHeaderTexts:
    def test_gathers_values_by_lower_case_name(self) -> None:
        """Postal's shape: a list for each name, decoded and unfolded."""
        raw = b"Received: a\r\nreceived: b\r\nSubject: =?utf-8?q?=C3=BC?=\r\n =?utf-8?q?x?=\r\nno field\r\n\r\nbody: x"

        assert header_texts(raw) == {"received": ["a", "b"], "subject": ["üx"]}


class TestParse:
    @pytest.mark.parametrize(
        ("value", "word", "parameters"),
        [
            (b"Text/HTML; Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
            (b'a/b; name="x; \\"y\\""', "a/b", {"name": 'x; "y"'}),
            (b"a; filename*=utf-8'de'%C3%BC.txt; filename=u.txt", "a", {"filename": "ü.txt"}),
            (b"a; f*0*=utf-8''%C3; f*1*=%BC; f*2=x%41", "a", {"f": "üx%41"}),
            (b'a; f="=?utf-8?q?=C3=BC?="', "a", {"f": "ü"}),
            (b"a; f*=x-unknown''%C3%BC", "a", {"f": "ü"}),
            (b"", "", {}),
        ],
    )
    def test_reads_what_mail_programs_write(self, value: bytes, word: str, parameters: dict[str, str]) -> None:
        """RFC 2231 as it should be, and encoded words as they should not be but are."""
        assert parse(value) == (word, parameters)


class TestTextOf:
    @pytest.mark.parametrize(
        "charset", ["", "no-such", "base64", "zlib", "punycode", "idna", "\0", "x" * 1000, "undefined"]
    )
    def test_a_charset_that_is_none_reads_as_utf8(self, charset: str) -> None:
        """Python has codecs that are no charsets, and some of them are slow or fail."""
        assert text_of("ü".encode(), charset) == "ü"


class TestLenientBase64:
    @given(st.binary(max_size=300))
    def test_reads_what_was_written(self, raw: bytes) -> None:
        """Wrapped, unwrapped and without padding."""
        written = wrapped_base64(raw, width=60, line_end=b"\n").decode()

        assert lenient_base64(written) == raw
        assert lenient_base64(written.replace("\n", "").rstrip("=")) == raw

    @given(st.text(max_size=100))
    def test_never_fails(self, text: str) -> None:
        """Ruby's decode64 takes anything, and so Postal does."""
        lenient_base64(text)
