"""SpamAssassin's spamd, asked by ``REPORT`` (its spamd/PROTOCOL).

The score is that of the ``Spam`` field, not the sum of the report's lines as in Postal: the lines
are rounded, and what stands in a report is the site's choice.  Of outgoing mail the rules
that speak of how mail came here are taken off, those of Postal
(lib/postal/message_inspectors/spam_assassin.rb): it came from the customer, not from a stranger.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.domain.inspection import MAX_CHECKS, Check, Inspection, bounded, check
from shared.settings import ServiceAddress
from smtp_node.scan.conversation import conversation, whole_answer
from smtp_node.scan.scanner import GARBAGE, REFUSED, ScanFailed, ScannedMail

MAX_ANSWER_BYTES = 262_144
MAX_BYTES = 512_000
"""What spamc hands over by default (spamc(1), --max-size): SpamAssassin takes long over large mail."""

MAX_LINES = 1000
"""Of a report that are read."""

EXCLUDED = re.compile(
    r"(?:NO_RECEIVED|NO_RELAYS|ALL_TRUSTED|FREEMAIL_FORGED_REPLYTO|RDNS_DYNAMIC|CK_HELO_GENERIC)\Z"
    r"|SPF_|HELO_|RCVD_IN_|.*DKIM_"
)
"""Rules that do not count for outgoing mail."""

_STATUS = re.compile(r"SPAMD/\d{1,2}\.\d{1,2} (\d{1,3}) ", re.ASCII)
_SPAM = re.compile(
    r"^Spam:[ \t]*\w+[ \t]*;[ \t]*(-?\d{1,9}(?:\.\d{1,9})?)[ \t]*/", re.MULTILINE | re.IGNORECASE | re.ASCII
)
_RULER = re.compile(r"^ ?-{3}[- ]*+\r?$", re.MULTILINE)
_RULE = re.compile(r" {0,4}(-?\d{1,6}(?:\.\d{1,4})?) +(\w{1,100})(?: +(.*))?$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Spamd:
    """Asks one spamd about spam."""

    address: ServiceAddress
    timeout: timedelta
    name: str = "spamd"
    max_bytes: int = MAX_BYTES

    async def scan(self, mail: ScannedMail) -> Inspection:
        """Return its score and the rules that matched."""
        # Rules about the envelope sender look for it in this field (Mail::SpamAssassin::Conf, envelope_sender_header).
        sender = f"Return-Path: <{mail.mail_from}>\r\n".encode("utf-8", "replace")
        async with conversation(self.address) as (reader, writer):
            writer.write(b"REPORT SPAMC/1.2\r\nContent-length: %d\r\n\r\n" % (len(sender) + mail.size_bytes))
            writer.write(sender)
            for piece in mail.pieces():
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
            answer = await whole_answer(reader, MAX_ANSWER_BYTES)
        return read_answer(answer, outgoing=bool(mail.sent_by))


def read_answer(answer: bytes, *, outgoing: bool) -> Inspection:
    """Return what a whole answer says.

    Raises:
        ScanFailed: it says that it could not scan, or is no answer.
    """
    head, _, report = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    status, spam = _STATUS.match(head), _SPAM.search(head)
    if status is not None and int(status[1]):
        raise ScanFailed(REFUSED, f"spamd ended with status {status[1]}")
    if status is None or spam is None:
        raise ScanFailed(GARBAGE, "not what spamd answers")
    score, checks = float(spam[1]), read_report(report)
    if outgoing:
        score -= sum(each.score for each in checks if EXCLUDED.match(each.name))
        checks = tuple(each for each in checks if not EXCLUDED.match(each.name))
    return Inspection(bounded(score), checks)


def read_report(report: str) -> Sequence[Check]:
    """Return the rules of a report, which stand below its last ruler; none where the site writes another report.

    Before it there are words of the mail, which may look like rules.
    """
    rulers = list(_RULER.finditer(report))
    if not rulers:
        return ()
    found: list[tuple[str, float, list[str]]] = []
    for line in report[rulers[-1].end() :].splitlines()[:MAX_LINES]:
        if rule := _RULE.match(line):
            found.append((rule[2], float(rule[1]), [rule[3] or ""]))
        elif found and line.strip():
            found[-1][2].append(line.strip())  # a long description goes on
    checks = [check(name, score, " ".join(words)) for name, score, words in found]
    return tuple(sorted(checks, key=lambda each: -abs(each.score))[:MAX_CHECKS])
