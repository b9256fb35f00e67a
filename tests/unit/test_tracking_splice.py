"""Changing links in encoded parts: what comes out decodes to what was there, but for the links."""

import base64
import quopri
import re
from binascii import b2a_qp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_node.deliver.tracking.splice import Edit, Text, spliced

NEW = "https://track.example.test/c/" + "T" * 60
MARK = "http://x.test/=&"
CHARSETS = (
    "us-ascii",
    "utf-8",
    "iso-8859-1",
    "windows-1251",
    "koi8-r",
    "iso-2022-jp",
    "shift_jis",
    "euc-jp",
    "gb2312",
    "big5",
)
ALPHABETS = {
    "us-ascii": "ab =.\t<>\"'-\r\n",
    "utf-8": "aé€😀 =.\r\n",
    "iso-8859-1": "aéüß =.\r\n",
    "windows-1251": "aжЯ =.\r\n",
    "koi8-r": "aжЯ =.\r\n",
    "iso-2022-jp": "aご表ソ =.\r\n",
    "shift_jis": "aご表ソ能 =.\r\n",
    "euc-jp": "aご表 =.\r\n",
    "gb2312": "a中国 =.\r\n",
    "big5": "a功許 =.\r\n",
}


def to_new(text: Text) -> list[Edit]:
    """Change every mark."""
    return [Edit(*found.span(), NEW) for found in re.finditer(re.escape(MARK), text.text)]


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, str]:
    """Return a charset, and a text in it with marks."""
    charset = draw(st.sampled_from(CHARSETS))
    words = st.text(st.sampled_from(ALPHABETS[charset].replace("\r\n", "")), max_size=40)
    pieces = draw(st.lists(st.one_of(words, st.just(MARK), st.just("\r\n")), max_size=20))
    return charset, "".join(pieces)


def qp(raw: bytes, cut: int) -> bytes:
    """Encode, with soft line breaks in other places than any encoder puts them."""
    lines = []
    for line in raw.split(b"\r\n"):
        units = [b"=%02X" % octet if octet > 126 or octet in b"=\t " else bytes([octet]) for octet in line]
        rows = [units[at : at + cut] for at in range(0, len(units), cut)] or [[]]
        lines.append(b"=\r\n".join(b"".join(row) for row in rows))
    return b"\r\n".join(lines)


def lines_of(body: bytes) -> list[int]:
    """Return the lengths of all lines."""
    return [len(line) for line in body.split(b"\r\n")]


class TestSpliced:
    @given(given_text=texts(), cut=st.integers(1, 25))
    def test_quoted_printable_decodes_to_the_same(self, given_text: tuple[str, str], cut: int) -> None:
        """Every other byte stays as it was encoded, and no line grows over 76."""
        charset, text = given_text
        body = qp(text.encode(charset), cut)

        done = spliced(body, "quoted-printable", charset, to_new)

        assert (done is None) == (MARK not in text)
        after = done.body if done else body
        assert quopri.decodestring(after) == text.replace(MARK, NEW).encode(charset)
        assert max(lines_of(after)) <= 76
        if done:
            kept = after.replace(b"=\r\n", b"").split(NEW.encode())
            assert all(piece in body.replace(b"=\r\n", b"") for piece in kept)

    @given(given_text=texts(), width=st.sampled_from((4, 60, 72, 76)))
    def test_base64_decodes_to_the_same(self, given_text: tuple[str, str], width: int) -> None:
        """Encoded anew in lines of the same length."""
        charset, text = given_text
        encoded = base64.b64encode(text.encode(charset))
        body = b"\r\n".join(encoded[at : at + width] for at in range(0, len(encoded), width)) + b"\r\n"

        done = spliced(body, "base64", charset, to_new)

        after = done.body if done else body
        assert (done is None) == (MARK not in text)
        assert base64.b64decode(after) == text.replace(MARK, NEW).encode(charset)
        assert after.endswith(b"\r\n")
        assert max(lines_of(after)) <= (width if len(encoded) > width else 76)

    @given(given_text=texts(), encoding=st.sampled_from(("", "7bit", "8bit", "binary")))
    def test_bytes_are_exchanged_where_they_stand(self, given_text: tuple[str, str], encoding: str) -> None:
        """Nothing around them moves."""
        charset, text = given_text
        done = spliced(text.encode(charset), encoding, charset, to_new)

        assert (done is None) == (MARK not in text)
        if done and done.encoding is None:
            assert done.body == text.replace(MARK, NEW).encode(charset)
        elif done:
            assert quopri.decodestring(done.body) == text.replace(MARK, NEW).encode(charset)
            assert max(lines_of(done.body)) <= 76

    def test_a_line_that_grows_too_long_goes_out_in_quoted_printable(self) -> None:
        """RFC 5322 §2.1.1 allows 998 bytes; a relay would break a longer one somewhere."""
        body = b"x" * 940 + MARK.encode() + b" \r\nnext\r\n"

        done = spliced(body, "8bit", "utf-8", to_new)

        assert done is not None
        assert done.encoding == "quoted-printable"
        assert quopri.decodestring(done.body) == body.replace(MARK.encode(), NEW.encode())

    def test_insertions_stand_where_they_belong(self) -> None:
        """The pixel goes in between, into a soft line break too, and at both ends."""
        body = b"a=\r\nb=C3=A9c"
        for at in range(5):
            done = spliced(body, "quoted-printable", "utf-8", lambda text, at=at: [Edit(at, at, "<=>")])
            text = "abéc"

            assert done is not None
            assert quopri.decodestring(done.body).decode() == text[:at] + "<=>" + text[at:]

    @pytest.mark.parametrize("encoding", ["x-uuencode", "base-64", "quoted printable", "gzip"])
    def test_an_unknown_encoding_is_left_alone(self, encoding: str) -> None:
        """What cannot be read cannot be changed safely."""
        assert spliced(MARK.encode(), encoding, "utf-8", to_new) is None

    @pytest.mark.parametrize("body", [b"aGk*", b"aGk", b"aG k=", b"aGk=aGk=", b"=", b""])
    def test_damaged_base64_is_left_alone(self, body: bytes) -> None:
        """Each reader repairs it in its own way."""
        assert spliced(body, "base64", "utf-8", lambda text: [Edit(0, 0, "x")] if text.text else []) is None

    @pytest.mark.parametrize("charset", ["", "utf-8", "x-unknown", "punycode", "utf-7", "utf-32", "us-ascii", "gb2312"])
    def test_bytes_that_are_no_text_stay(self, charset: str) -> None:
        """A wrong charset is common: ASCII links are exchanged, the rest keeps every byte."""
        body = b"\xff\xfe\x80 " + MARK.encode() + b" \x81"

        done = spliced(body, "8bit", charset, to_new)

        assert done is not None
        assert done.body == body.replace(MARK.encode(), NEW.encode())

    def test_a_text_that_does_not_encode_back_stays(self) -> None:
        """ISO-2022-JP can say the same in two ways; then no byte position is certain."""
        odd = b"\x1b$B$4\x1b(B\x1b$B\x1b(B " + MARK.encode()

        done = spliced(odd, "7bit", "iso-2022-jp", to_new)

        assert done is None or done.body == odd.replace(MARK.encode(), NEW.encode())

    def test_standard_encoders_agree(self) -> None:
        """Python's own quoted-printable, with what it leaves at line ends."""
        text = "\r\n".join(f"{'é' * number} {MARK} tail {'x' * number} \t" for number in range(60))
        body = b2a_qp(text.encode(), istext=True).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

        done = spliced(body, "quoted-printable", "utf-8", to_new)

        assert done is not None
        assert quopri.decodestring(done.body) == text.replace(MARK, NEW).encode()
        assert max(lines_of(done.body)) <= 76


def test_the_alphabets_fit_their_charsets() -> None:
    """A letter that does not encode would test nothing."""
    assert all(ALPHABETS[charset].encode(charset) for charset in CHARSETS)
