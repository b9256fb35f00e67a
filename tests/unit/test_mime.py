"""Building a message: any parser gets back what went in."""

import email
import email.policy
import random
import re
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.errors import InvalidValue
from shared.domain.headers import check_bytes
from shared.domain.mime import Attachment, build, checked_content_id, checked_content_type
from shared.domain.mime_headers import text_field

TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=400)
NAMES = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=80).filter(
    lambda name: name == name.strip()
)


def built(plain: str = "", html: str = "", attachments: list[Attachment] | None = None) -> bytes:
    """Return a message with one field."""
    fields = [text_field("Subject", "x")]
    return build(fields, plain=plain, html=html, attachments=attachments or [], rng=random.Random(1))


def parsed(raw: bytes) -> EmailMessage:
    """Return the message as the standard library reads it."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def body(part: EmailMessage) -> str:
    """Return a text part with LF line ends, without the last one."""
    return one_line_end(part.get_payload(decode=True).decode("utf-8"))


def one_line_end(text: str) -> str:
    """Return the text as it compares: LF line ends, none at the end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


class TestBuild:
    @settings(max_examples=150, deadline=None)
    @given(TEXT, TEXT, st.lists(st.tuples(NAMES, st.binary(max_size=200)), max_size=3))
    def test_everything_comes_back(self, plain: str, html: str, files: list[tuple[str, bytes]]) -> None:
        """Texts, file names and contents are what they were, and no byte on the wire is ambiguous."""
        raw = built(plain, html, [Attachment(name, content) for name, content in files])

        check_bytes(raw)
        message = parsed(raw)
        texts = [part for part in message.walk() if not part.is_multipart() and not part.get_filename()]
        assert [body(part) for part in texts] == [one_line_end(text) for text in (plain, html) if text] or [""]
        found = [part for part in message.walk() if part.get_filename()]
        assert [part.get_payload(decode=True) for part in found] == [content for _, content in files]
        assert raw.isascii()
        assert max(map(len, raw.split(b"\r\n"))) <= 78

    @pytest.mark.parametrize(
        "text",
        [
            "a\r\n.\r\nMAIL FROM:<x@y.z>",
            "a\n.\nb",
            "a\r.\rb",
            "\r\n\r\n.\r\n",
            ".",
            "From x\nFrom y",
            "a \nb\t\n",
            "\0",
        ],
    )
    def test_no_bare_line_end_and_no_lone_dot_leaves_it(self, text: str) -> None:
        """What ends DATA for one server and not for another smuggles a second message."""
        raw = built(text, text)

        assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0|\n\.\r\n", raw)
        assert [body(part) for part in parsed(raw).walk() if not part.is_multipart()] == [one_line_end(text)] * 2

    @pytest.mark.parametrize(
        ("plain", "html", "files", "types"),
        [
            ("a", "", [], ["text/plain"]),
            ("", "b", [], ["text/html"]),
            ("a", "b", [], ["multipart/alternative", "text/plain", "text/html"]),
            ("a", "", [False], ["multipart/mixed", "text/plain", "image/png"]),
            ("", "b", [True], ["multipart/related", "text/html", "image/png"]),
            (
                "a", "b", [True, False],
                ["multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html",
                 "image/png", "image/png"],
            ),
        ],
    )  # fmt: skip
    def test_the_structure_is_the_smallest_that_fits(
        self, plain: str, html: str, files: list[bool], types: list[str]
    ) -> None:
        """Mail programs find the text, the HTML with its pictures, and the files where they look for them."""
        attachments = [Attachment("a.png", b"x", "image/png", "a.png", inline=inline) for inline in files]

        message = parsed(built(plain, html, attachments))

        assert [part.get_content_type() for part in message.walk()] == types

    def test_an_inline_attachment_has_its_content_id(self) -> None:
        """RFC 2392: ``cid:logo`` in the HTML shows the part with Content-ID <logo>."""
        raw = built(
            html="<img src=cid:logo>", attachments=[Attachment("l.png", b"x", "image/png", "logo", inline=True)]
        )

        [part] = [part for part in parsed(raw).walk() if part.get_filename()]
        assert part["Content-ID"] == "<logo>"
        assert part.get_content_disposition() == "inline"

    def test_the_boundary_is_never_in_the_content(self) -> None:
        """A text that held the boundary would end its own part."""
        first = re.search(rb'boundary="(=_[0-9a-f]+)', built("a", "b"))
        assert first

        raw = built(first[1].decode(), "b")

        assert len(list(parsed(raw).walk())) == 3
        assert raw.count(b"--" + first[1]) == 0

    @pytest.mark.parametrize("name", ["a\r\nb", "a\nX: y", "a\0", "a\x85", "a\u2028", "x" * 256])
    def test_a_harmful_file_name_is_refused(self, name: str) -> None:
        """A file name stands in a header."""
        with pytest.raises(InvalidValue):
            built("a", attachments=[Attachment(name, b"x")])


class TestCheckedContentType:
    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("image/PNG", "image/png"),
            ("text/calendar; method=REQUEST;charset=utf-8", "text/calendar; method=REQUEST; charset=utf-8"),
            ('text/plain; x="a; b"', 'text/plain; x="a; b"'),
            ("text/plain; name=x; boundary=y", "text/plain"),
            ("text/plain; charset = utf-8 ;", "text/plain; charset=utf-8"),
            ('application/pdf; name="Résumé.pdf"', "application/pdf"),
            ("message/rfc822", "application/octet-stream"),
            ("multipart/mixed; boundary=x", "application/octet-stream"),
        ],
    )
    def test_keeps_type_and_parameters(self, text: str, kept: str) -> None:
        """An invitation works only with its method parameter."""
        assert checked_content_type(text) == kept

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x",
            "a/b/c",
            "a/b\r\nX: y",
            "a/b; c",
            'a/b; c="ü"',
            'a/b; c="d\r\n"',
            "a/b;" + " ;" * 240,
            "a/" + "b" * 600,
        ],
    )
    def test_refuses_the_rest_at_once(self, text: str) -> None:
        """It stands in a header, and must not take long to refuse."""
        with pytest.raises(InvalidValue):
            checked_content_type(text)


class TestCheckedContentId:
    def test_takes_it_as_people_write_it(self) -> None:
        """Some write the angle brackets, some the scheme."""
        assert [checked_content_id(each) for each in ("<a@b>", "cid:a@b", " a@b ")] == ["a@b"] * 3

    @pytest.mark.parametrize("text", ["", "a b", "a>b", "a\r\nb", "ü", "x" * 201])
    def test_refuses_the_rest(self, text: str) -> None:
        """It stands in a header."""
        with pytest.raises(InvalidValue):
            checked_content_id(text)
