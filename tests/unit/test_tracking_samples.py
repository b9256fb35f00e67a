"""Real kinds of mail, tracked: links lead where they led, and nothing else has changed."""

import base64
import functools
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.domain.tenancy import DKIMAlgorithm
from shared.tokens import CLICK
from smtp_node.authentication.keys import SigningKey
from smtp_node.authentication.sign import sign
from smtp_node.deliver.tracking.html_links import attribute_text
from smtp_node.deliver.tracking.rewrite import rewritten
from smtp_node.deliver.tracking.targets import target_of
from tests.fakes.marking import BOTH, HOST, LINK, PIXEL, SAMPLES, TOKENS, marking, parts, targets

NAMES = sorted(path.stem for path in SAMPLES.glob("*.eml"))
MARK = re.compile(rb"\+notrack(?=://)", re.IGNORECASE)


def sample(name: str) -> bytes:
    """Return a sample's message."""
    return (SAMPLES / f"{name}.eml").read_bytes()


def expected(name: str) -> list[str]:
    """Return where its links lead, in order."""
    return (SAMPLES / f"{name}.expected").read_text(encoding="utf-8").splitlines()


@functools.cache
def signing_key() -> rsa.RSAPrivateKey:
    """Return one key for all samples: making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def replaced(before: bytes, after: bytes, charset: str) -> list[str]:
    """Return what tracked links stand in place of; every byte between them must be the same."""
    kept = [re.escape(piece) for piece in BOTH.split(after)[::2]]
    places = [f"({'.*?' if found.group(1) else ''})".encode() for found in BOTH.finditer(after)]
    pattern = b"".join(one for pair in zip(kept, [*places, b""], strict=True) for one in pair)
    found = re.fullmatch(pattern, before, re.DOTALL)
    assert found is not None
    return [each.decode("gb18030" if charset == "gb2312" else charset) for each in found.groups() if each]


@pytest.mark.parametrize("name", NAMES)
class TestSamples:
    def test_each_link_leads_where_it_led(self, name: str) -> None:
        """The sample says which links are tracked, and in which order."""
        assert targets(rewritten(sample(name), marking())) == expected(name)

    def test_nothing_else_changes(self, name: str) -> None:
        """Parts decode to the same bytes, but for links and the pixel."""
        before, after = parts(sample(name)), parts(rewritten(sample(name), marking()))

        assert [head for head, _ in before] == [head for head, _ in after]
        for (_, was), (head, now) in zip(before, after, strict=True):
            charset = re.search(r"charset=\"?([\w-]+)", head)
            links = replaced(MARK.sub(b"", was), now, charset[1] if charset else "utf-8")
            if "text/html" in head:
                links = [attribute_text(link) for link in links]
            led = [target_of(link) for link in links]
            assert [each.url for each in led if each] == [
                found.target for token in LINK.findall(now) if (found := TOKENS.read(CLICK, HOST, token.decode()))
            ]

    def test_the_frame_stays_byte_for_byte(self, name: str) -> None:
        """Outside of text parts not one byte moves: header, boundaries, preamble, attachments."""
        before, after = sample(name), rewritten(sample(name), marking())
        head = before.partition(b"\r\n\r\n")[0]

        # Of the one part without a multipart around it, the encoding stands in the message's own header.
        assert after.startswith(head) or name == "minified"
        assert not re.search(rb"[^\r]\n|\r[^\n]", after)
        for line in re.findall(rb"^--\S+\r$|^.*(?:preamble|epilogue).*\r$", before, re.MULTILINE):
            assert after.count(line) == before.count(line)

    def test_lines_stay_within_their_limits(self, name: str) -> None:
        """RFC 5322 §2.1.1: a relay may break a longer one anywhere."""
        assert max(map(len, rewritten(sample(name), marking()).split(b"\r\n"))) <= 998

    def test_there_is_one_pixel_if_there_is_html(self, name: str) -> None:
        """One open is one request."""
        after = parts(rewritten(sample(name), marking()))
        sealed = name.startswith("signed")
        shown = [head for head, _ in after if "text/html" in head and "attachment" not in head and not sealed]
        pixels = sum(len(PIXEL.findall(content)) for _, content in after)

        assert pixels == bool(shown)

    def test_the_signature_verifies(self, name: str) -> None:
        """DKIM signs what leaves, links and all."""
        after = rewritten(sample(name), marking())
        private = signing_key()
        public = private.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
        key = SigningKey("example.test", "s", DKIMAlgorithm.RSA, private)
        signed = sign(after, [key], at=datetime(2026, 1, 1, tzinfo=UTC)) + after

        record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
        assert dkim.verify(signed, dnsfunc=lambda *_, **__: record)

    def test_every_attempt_sends_the_same(self, name: str) -> None:
        """A message that is sent twice must be the same message."""
        assert rewritten(sample(name), marking()) == rewritten(sample(name), marking())

    def test_switched_off_means_untouched(self, name: str) -> None:
        """Without tracking the stored bytes go out; only marks vanish."""
        raw = sample(name)

        assert rewritten(raw, marking(opens=False, clicks=False)) == rewritten(raw, None)
        assert (rewritten(raw, None) == raw) is (name != "opt_outs")


class _Links(HTMLParser):
    """Python's own reading of a document's links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("a", "area"):
            self.found += [value or "" for name, value in attrs if name == "href"][:1]


class TestSampleFiles:
    def test_come_as_families(self) -> None:
        """Each has its message, its expected links and its reason."""
        kinds = {path.stem: set() for path in SAMPLES.iterdir()}
        for path in SAMPLES.iterdir():
            kinds[path.stem].add(path.suffix)

        assert all(suffixes == {".eml", ".expected", ".why"} for suffixes in kinds.values())
        assert len(kinds) >= 20

    @pytest.mark.parametrize("name", ["receipt", "shipping", "password_reset", "related_images"])
    def test_another_parser_sees_every_link_tracked(self, name: str) -> None:
        """What is expected was not copied from what comes out."""
        for head, content in parts(rewritten(sample(name), marking())):
            if "text/html" in head:
                parser = _Links()
                parser.feed(content.decode())
                http = [link for link in parser.found if link.startswith("http")]
                assert http
                assert all(LINK.fullmatch(link.encode()) for link in http)


def test_samples_are_there() -> None:
    """A folder that moved away would make every test above vanish."""
    assert Path(SAMPLES).is_dir()
