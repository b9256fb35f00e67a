"""Marking whole messages: odd and hostile structures, and the bounds on all of it."""

from email import message_from_bytes

import pytest

from smtp_node.deliver.tracking.rewrite import MAX_LINKS, MAX_PART_BYTES, rewritten
from tests.fakes.marking import LINK, PIXEL, marking, targets

HEAD = b"From: a@example.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n"
LINK_HTML = b'<a href="https://x.test/">x</a>'


class TestBounds:
    def test_a_thousand_links_are_tracked_and_no_more(self) -> None:
        """Each may add 2.8 KB to a message."""
        raw = HEAD + HTML + LINK_HTML * (MAX_LINKS + 50)
        after = rewritten(raw, marking())

        assert len(LINK.findall(after)) == MAX_LINKS
        assert after.count(b"https://x.test/") == 50

    def test_a_very_large_part_stays(self) -> None:
        """Nobody reads it, and it would take its time."""
        raw = HEAD + HTML + LINK_HTML + b" " * MAX_PART_BYTES

        assert rewritten(raw, marking()) == raw

    @pytest.mark.parametrize(
        "body",
        [
            b'<a href="' + b"x" * 200_000,
            b"<a " * 300_000,
            b"<!--" * 250_000,
            b"http://" * 140_000,
            b"x" * 1_000_000,
            b"=" * 1_000_000,
            b"<p>" * 300_000 + b"</body>" * 10_000,
            b'<a href="http://x.test/?' + b"&" * 900_000 + b'">',
        ],
        ids=["href", "tags", "comments", "schemes", "one line", "equals", "depth", "ampersands"],
    )
    @pytest.mark.parametrize("encoding", [b"8bit", b"quoted-printable"])
    @pytest.mark.parametrize("kind", [b"text/html", b"text/plain"])
    def test_a_megabyte_of_malice_ends(self, body: bytes, encoding: bytes, kind: bytes) -> None:
        """In quadratic time it would not, within the suite's own limit."""
        raw = HEAD + b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b\r\n" % (kind, encoding, body)

        after = rewritten(raw, marking())

        assert len(after) < len(raw) + 10_000

    def test_endless_structures_end(self) -> None:
        """Three hundred levels of multiparts, ten thousand parts."""
        deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(300))
        wide = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nhttps://x.test/\r\n" * 10_000
        for body in (deep + HTML + LINK_HTML, wide):
            assert rewritten(HEAD + body, marking()).startswith(HEAD)


class TestStructure:
    def test_a_lie_about_the_encoding_changes_nothing(self) -> None:
        """Bytes that are no base64 stay, whatever the header says."""
        raw = HEAD + b"Content-Transfer-Encoding: base64\r\n" + HTML + LINK_HTML

        assert rewritten(raw, marking()) == raw

    @pytest.mark.parametrize("kind", ["signed", "encrypted", "report"])
    def test_sealed_parts_stay_however_deep(self, kind: str) -> None:
        """One byte would break a signature, or mislead a machine."""
        sealed = b"Content-Type: multipart/%b; boundary=s\r\n\r\n--s\r\n%b%b\r\n--s--\r\n" % (
            kind.encode(), HTML, LINK_HTML,
        )  # fmt: skip
        raw = HEAD + b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n" + sealed + b"--o--\r\n"

        assert rewritten(raw, marking()) == raw

    def test_two_html_parts_have_one_pixel(self) -> None:
        """One open is one request."""
        part = b"--b\r\n" + HTML + LINK_HTML + b"\r\n"
        raw = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 2 + b"--b--\r\n"
        after = rewritten(raw, marking())

        assert (len(PIXEL.findall(after)), len(LINK.findall(after))) == (1, 2)

    def test_links_of_ours_are_not_led_through_twice(self) -> None:
        """A message that was sent on carries them already."""
        raw = (
            HEAD
            + HTML
            + b'<a href="https://track.example.test/c/abc">x</a><a href="https://TRACK.example.test:443/">y</a>'
        )

        assert LINK.findall(rewritten(raw, marking(opens=False))) == [b"abc"]

    def test_a_message_without_mime_gets_no_encoding(self) -> None:
        """Its reader need not know what quoted-printable is."""
        raw = b"From: a@example.test\r\n\r\n" + b"x" * 900 + b" https://x.test/" + b"y" * 50 + b" end\r\n"

        assert rewritten(raw, marking()) == raw
        assert targets(rewritten(raw.replace(b"\r\n\r\n", b"\r\nMIME-Version: 1.0\r\n\r\n", 1), marking()))

    def test_another_encoding_is_said_in_the_right_head(self) -> None:
        """Of the part that changed, not of the message around it."""
        long = b"Content-Transfer-Encoding:\r\n 8bit\r\n" + HTML + b"<p>" + b"x" * 950 + LINK_HTML + b"\r\n"
        raw = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + long + b"--b--\r\n"
        after = message_from_bytes(rewritten(raw, marking()))
        [part] = after.get_payload()  # type: ignore[misc]

        assert after["content-transfer-encoding"] is None
        assert part["content-transfer-encoding"] == "quoted-printable"
        assert b"x" * 950 in part.get_payload(decode=True)

    def test_case_and_folds_of_the_switch(self) -> None:
        """Postal's header, as people write it; anything else switches nothing."""
        for line, tracked in (
            (b"x-amp: SKIP\r\n", False),
            (b"X-AMP:skip\r\n", False),
            (b"X-AMP: skipped\r\n", True),
            (b"X-AMPX: skip\r\n", True),
        ):
            assert (LINK.search(rewritten(HEAD + line + HTML + LINK_HTML, marking())) is not None) is tracked
        assert LINK.search(rewritten(HEAD + HTML + b"X-AMP: skip\r\n" + LINK_HTML, marking())) is not None
