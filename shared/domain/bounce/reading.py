"""Reads what came to a return path: which recipients bounced, and why; or that it is no bounce.

1. Reports by RFC 3464; what they say counts.
2. Feedback reports (RFC 5965) and receipts (RFC 8098) are no bounces.
3. Automatic answers and challenges are none, unless a mail system wrote them.
4. Notices in the many forms of ``formats``.

Pure, linear, and bounded (``content.py``): a mail of any size takes well under a
second.  Run it off the event loop all the same.
"""

from collections.abc import Sequence

from shared.domain.bounce.content import Content, read_content
from shared.domain.bounce.dsn import read_statuses
from shared.domain.bounce.kinds import answer_kind, is_delay, is_from_daemon, is_reply
from shared.domain.bounce.notice import Notice, read_notice, split_notice
from shared.domain.bounce.originals import read_originals
from shared.domain.bounce.report import Action, Kind, Originals, Reading, RecipientReport


def read_bounce(raw: bytes) -> Reading:
    """Return what the mail is; never fails."""
    return bounce_in(read_content(raw))


def bounce_in(content: Content) -> Reading:
    """Return what the mail is that was taken apart; never fails."""
    reading = _read(content)
    if reading.kind is Kind.OTHER and len(content.returned) == 1 and is_from_daemon(content):
        # Gateways that scan mail put the report, whole, into a message of their own.
        inner = read_content(content.returned[0])
        if inner.report_type == "delivery-status" and is_from_daemon(inner):
            return _read(inner)
    return reading


def _read(content: Content) -> Reading:
    notice = split_notice(content.lines)
    originals = _originals(content, notice)
    if content.feedback or content.report_type == "feedback-report":
        return Reading(Kind.COMPLAINT, originals=originals, format="rfc5965")
    recipients = read_statuses(content.statuses, "\n".join(notice.lines))
    if recipients:
        return Reading(_kind_of(recipients), recipients, originals, "rfc3464")
    if (content.receipt or content.report_type == "disposition-notification") and not _rejects(content):
        return Reading(Kind.RECEIPT, originals=originals, format="rfc8098")
    return _read_other(content, notice, originals)


def _read_other(content: Content, notice: Notice, originals: Originals) -> Reading:
    if not _is_surely_a_notice(content):
        answer = answer_kind(content)
        if answer is not None or is_reply(content):
            return Reading(answer or Kind.OTHER)
    delayed = is_delay(content.header("subject"), notice.lines)
    text = "\n".join(notice.lines)
    if _is_surely_a_notice(content) and (written := read_statuses([text.encode("utf-8", "replace")], text)):
        # Gateways turn reports into text; the fields are the same.
        return Reading(_kind_of(written), written, originals, "rfc3464-text")
    name, recipients = read_notice(content, notice, Action.DELAYED if delayed else Action.FAILED)
    if not recipients:
        # What such a mail quotes is no sign of anything: people quote headers.
        return Reading(Kind.OTHER)
    return Reading(Kind.DELAYED if delayed else Kind.BOUNCE, recipients, originals, name)


def _is_surely_a_notice(content: Content) -> bool:
    """Whether a mail system wrote it: then what it quotes does not make it an answer of a person's machine."""
    return content.report_type == "delivery-status" or is_from_daemon(content) or content.receipt


def _rejects(content: Content) -> bool:
    """Whether a receipt says that the mail was turned away (RFC 5429 §2.1: reject by MDN; Dovecot over quota)."""
    return any("was automatically rejected" in line for line in content.lines[:20])


def _kind_of(recipients: Sequence[RecipientReport]) -> Kind:
    actions = {each.action for each in recipients}
    if Action.FAILED in actions:
        return Kind.BOUNCE
    return Kind.DELAYED if Action.DELAYED in actions else Kind.DELIVERED


def _originals(content: Content, notice: Notice) -> Originals:
    inline = notice.returned.replace("\n", "\r\n").encode("utf-8", "replace")
    return read_originals([*content.returned, *([inline] if inline else [])], content.statuses)
