"""Mail made to stop whoever reads it as a bounce: bounded, and without an error."""

import random
from pathlib import Path

import pytest

from shared.domain.bounce.content import MAX_LINES, read_content
from shared.domain.bounce.dsn import MAX_RECIPIENTS
from shared.domain.bounce.notice import MAX_RECIPIENTS as MAX_LISTED
from shared.domain.bounce.reading import read_bounce
from shared.domain.bounce.report import MAX_DIAGNOSTIC, Kind

SAMPLES = Path(__file__).parent.parent / "data" / "bounces"

DAEMON = b"From: MAILER-DAEMON@dest.test\r\nSubject: failure notice\r\nMIME-Version: 1.0\r\n"
QMAIL = DAEMON + b"\r\nHi. This is the qmail-send program at dest.test.\r\n\r\n"
REPORT = DAEMON + b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'


def nested(depth: int) -> bytes:
    """Return multiparts within each other."""
    heads = b"".join(
        b'--b%d\r\nContent-Type: multipart/mixed; boundary="b%d"\r\n\r\n' % (n, n + 1) for n in range(depth)
    )
    return DAEMON + b'Content-Type: multipart/mixed; boundary="b0"\r\n\r\n' + heads


BOMBS = {
    "nested 5,000 deep": nested(5000),
    "messages within messages": DAEMON + b"Content-Type: message/rfc822\r\n\r\n" * 5000,
    "100,000 empty parts": REPORT + b"--b\r\n\r\n" * 100_000,
    "100,000 header fields": DAEMON + b"X-A: b\r\n" * 100_000 + b"\r\nx",
    "one line of 2 MB": QMAIL + b"a" * 2_000_000,
    "one line of @": QMAIL + b"@" * 500_000,
    "one line of a@a.": QMAIL + b"a@a." * 200_000,
    "one line of <": QMAIL + b"<" * 500_000,
    "one line of 5.": QMAIL + b"5." * 300_000,
    "spaces": QMAIL + b" " * 1_000_000 + b"x\r\n",
    "a million short lines": QMAIL + b"<a@b.test>:\r\n" * 100_000,
    "half a quoted address": QMAIL + (b'<"' + b"a" * 3000 + b"\r\n") * 300,
    "words that begin all rules": QMAIL + b"user mailbox message host domain delivery " * 20_000,
    "words that almost delay": QMAIL + b"delivery " * 50_000 + b"will",
    "html of open tags": DAEMON + b"Content-Type: text/html\r\n\r\n" + b"<a " * 300_000,
    "html of open comments": DAEMON + b"Content-Type: text/html\r\n\r\n" + b"<!--" * 300_000,
    "html of styles": DAEMON + b"Content-Type: text/html\r\n\r\n" + b"<style>" * 200_000,
    "entities": DAEMON + b"Content-Type: text/html\r\n\r\n" + b"&amp" * 300_000,
    "parameters": DAEMON + b"Content-Type: multipart/report" + b"; a*0=b" * 20_000 + b"\r\n\r\nx",
    "encoded words": b"From: postmaster@a.test\r\nSubject: " + b"=?utf-8?q?a?=" * 60_000 + b"\r\n\r\nx",
    "100,000 recipients": REPORT
    + b"--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    + b"".join(
        b"Final-Recipient: rfc822; u%d@dest.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n" % n for n in range(100_000)
    )
    + b"--b--\r\n",
    "one diagnostic of 1 MB": REPORT
    + b"--b\r\nContent-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; u@dest.test\r\n"
    + b"Action: failed\r\nDiagnostic-Code: smtp; 550 "
    + b"user " * 200_000
    + b"\r\n--b--\r\n",
    "folded for ever": REPORT
    + b"--b\r\nContent-Type: message/delivery-status\r\n\r\nStatus: 5.1.1\r\n"
    + b" x\r\n" * 200_000,
    "utf-8 escapes": REPORT
    + b"--b\r\nContent-Type: message/global-delivery-status\r\n\r\nFinal-Recipient: utf-8; "
    + b"\\x{FFFFFF}\\x{D800}" * 5000
    + b"@dest.test\r\nAction: failed\r\n",
    "bare line ends": QMAIL + b"<a@b.test>:\r\n\n\r\r\n" * 50_000,
    "NUL": QMAIL + b"\0" * 500_000,
    "nothing": b"",
    "no head": b"\r\n\r\n",
}


class TestReadBounce:
    @pytest.mark.parametrize("name", list(BOMBS))
    def test_stays_within_its_bounds(self, name: str) -> None:
        """Anybody may send anything to a return path; what was read must be small whatever came."""
        reading = read_bounce(BOMBS[name])

        assert len(reading.recipients) <= max(MAX_RECIPIENTS, MAX_LISTED)
        assert all(len(each.diagnostic) <= MAX_DIAGNOSTIC for each in reading.recipients)
        assert len(read_content(BOMBS[name]).lines) <= MAX_LINES

    @pytest.mark.parametrize("seed", range(40))
    def test_survives_damage_at_any_place(self, seed: int) -> None:
        """Relays cut mail, and attackers try every byte: reading must never fail."""
        rng = random.Random(seed)
        samples = sorted(SAMPLES.glob("*.eml"))
        raw = bytearray(rng.choice(samples).read_bytes())
        for _ in range(rng.randrange(1, 60)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        cut = rng.randrange(len(raw))

        for damaged in (bytes(raw), bytes(raw[:cut]), bytes(raw[cut:])):
            assert isinstance(read_bounce(damaged).kind, Kind)
