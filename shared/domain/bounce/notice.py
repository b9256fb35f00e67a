"""Failure notices that follow no standard: found by the data in ``formats``, else by what all have in common."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.domain.bounce.content import Content
from shared.domain.bounce.diagnosis import category_in, diagnose, kept
from shared.domain.bounce.formats import ALONE, FORMATS, Format
from shared.domain.bounce.kinds import has_failure_subject, is_from_daemon, looks_like_failure
from shared.domain.bounce.mailboxes import mailbox, mailboxes
from shared.domain.bounce.originals import head_text
from shared.domain.bounce.report import Action, BounceType, Category, RecipientReport

MAX_RECIPIENTS = 200
MAX_REASON_LINES = 14
GENERIC = "generic"
MAX_FAILURE_TEXT = 4000

_TO = re.compile(r"^to:\s{0,3}([^\n]{1,400})$", re.IGNORECASE | re.MULTILINE)
_CONTACTS = ("postmaster@", "abuse@", "support@", "helpdesk@", "hostmaster@", "admin@", "administrator@")
_MADE_FROM = re.compile(r"\((?:ultimately )?(?:expanded|generated) from:? <?([^\s<>()]{1,320})>?\)", re.IGNORECASE)
_REASON = re.compile(r"\(reason: ([^\n]{1,1000})\)")
"""Sendmail quotes what the host said there; the transcript below may end in an answer to another command."""

_PERMANENT = re.compile(r"permanent(ly)? (error|failure|fatal)|failed permanently|permanent delivery", re.IGNORECASE)
_FAILURE = re.compile(
    r"(could ?n[o']t|can ?not|was not|has not been|unable to|failed to) (be )?deliver|undeliverable|delivery (has )?failed|not delivered",
    re.IGNORECASE,
)

_HEADER = re.compile(
    r"[>| ]{0,3}(return-path|received|from|to|cc|date|subject|message-id|mime-version|content-type|dkim-signature|reply-to|"
    r"x-[\w-]{1,40}|sender|precedence|list-[\w-]{1,20}|content-transfer-encoding|authentication-results|delivered-to)\s?:\s?\S",
    re.IGNORECASE,
)
_ENVELOPE = re.compile(r"\s{0,8}(mail from|rcpt to)\s?:", re.IGNORECASE)
_SEPARATOR = re.compile(
    r"^[\s>]{0,4}[-=_*+#~]{2,}.{0,40}(original|below|copy of|returned|unsent|message (header|text|follows|body)|start of|headers?)\b|"
    r"^\s{0,8}original message (details|headers?)\s*:?\s*$|^(original message follows|message text follows|message headers? follow|included is a copy|a copy of (the|your) (original|message)|"
    r"your (original )?message (reads|follows)|the (original )?message (follows|header)|old message:|this is a copy of|----+ ?original)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail's text, cut where the returned message begins."""

    lines: Sequence[str]
    returned: str
    """The beginning of the returned message if it stands in the text, LF line ends."""


def split_notice(lines: Sequence[str]) -> Notice:
    """Cut the text at a separator line or where header fields begin."""
    for at, line in enumerate(lines):
        if _SEPARATOR.match(line) and at:
            return Notice(lines[:at], _message_text(lines[at + 1 :]))
        if _HEADER.match(line) and _begins_headers(lines[at : at + 8]):
            return Notice(lines[:at], _message_text(lines[at:]))
    return Notice(lines, "")


def read_notice(content: Content, notice: Notice, action: Action) -> tuple[str, Sequence[RecipientReport]]:
    """Return the format's name and the recipients; no recipients if it is no failure notice.

    Args:
        content: the mail.
        notice: its text, cut.
        action: what the notice says was done.
    """
    listed = mailboxes(content.header("x-failed-recipients"))
    if listed:
        return "x-failed-recipients", _reports(_placed(listed, notice.lines), notice, None, action)
    own = _own_addresses(content)
    for each in FORMATS:
        start = next((at for at, line in enumerate(notice.lines) if each.begins.search(line)), None)
        if start is None:
            continue
        everybody = list(_found(each, notice.lines, start))
        found = [(at, address) for at, address in everybody if address.lower() not in own]
        if not found and each.address is not None:
            found = everybody  # somebody wrote to their own address, and it stands where recipients do
        found = list(_without_contacts(found))
        if found and (looks_like_failure(content) or _says_undelivered(notice)):
            return each.name, _reports(found, notice, each.hint, action)
    return GENERIC, _generic(content, notice, own, action)


def _begins_headers(lines: Sequence[str]) -> bool:
    # An envelope that a notice tells of is no header.
    return sum(1 for line in lines if _HEADER.match(line)) >= 3 and not any(_ENVELOPE.match(line) for line in lines)


def _message_text(lines: Sequence[str]) -> str:
    """Return the returned message from its first header line on."""
    start = next((at for at, line in enumerate(lines[:30]) if _HEADER.match(line)), None)
    return "" if start is None else "\n".join(line.removeprefix("> ") for line in lines[start : start + 200])


def _own_addresses(content: Content) -> frozenset[str]:
    """Return the addresses of the notice's own head: they are no failed recipients."""
    names = ("from", "to", "cc", "reply-to", "return-path", "sender", "delivered-to")
    return frozenset(each.lower() for name in names for each in mailboxes(content.header(name)))


def _found(each: Format, lines: Sequence[str], start: int) -> Iterator[tuple[int, str]]:
    seen: set[str] = set()
    only_alone = False  # where the first recipient has its own line, the others have, and what stands in text is none
    for at, line in enumerate(lines[start : start + each.most_lines], start):
        if each.address is None:
            alone = ALONE.match(line)
            addresses = [mailbox(alone[1])] if alone else [] if only_alone else mailboxes(line)
            only_alone = only_alone or bool(alone and not seen)
        else:
            addresses = [_completed(match[1], each.domain) for match in each.address.finditer(line)]
        for address in addresses:
            if address and address.lower() not in seen:
                seen.add(address.lower())
                yield at, address
        if len(seen) >= MAX_RECIPIENTS:
            return


def _completed(address: str, domain: str) -> str:
    return mailbox(f"{address}@{domain}" if domain and "@" not in address else address)


def _says_undelivered(notice: Notice) -> bool:
    return bool(_FAILURE.search("\n".join(notice.lines)[:MAX_FAILURE_TEXT]))


def _says_failure(notice: Notice) -> bool:
    return _says_undelivered(notice) or category_in("\n".join(notice.lines)) is not None


def _without_contacts(found: Sequence[tuple[int, str]]) -> Sequence[tuple[int, str]]:
    """Leave out whom to ask for help, unless nobody else is named."""
    others = [(at, address) for at, address in found if not address.lower().startswith(_CONTACTS)]
    return others or found


def _placed(addresses: Sequence[str], lines: Sequence[str]) -> Sequence[tuple[int, str]]:
    """Return each address with the line that names it, 0 if none does."""
    lowered = [line.lower() for line in lines]
    return [
        (next((at for at, line in enumerate(lowered) if address.lower() in line), 0), address)
        for address in dict.fromkeys(addresses[:MAX_RECIPIENTS])
    ]


def _reports(
    found: Sequence[tuple[int, str]], notice: Notice, hint: Category | None, action: Action
) -> Sequence[RecipientReport]:
    starts = sorted({at for at, _ in found})
    whole = "\n".join(notice.lines)
    permanent = bool(_PERMANENT.search(whole[:MAX_FAILURE_TEXT]))
    reports: list[RecipientReport] = []
    for at, address in found:
        end = next((start for start in starts if start > at), len(notice.lines))
        words = "\n".join(notice.lines[at : min(end, at + MAX_REASON_LINES)])
        reason = _REASON.search(words)
        judged = diagnose(reason[1] if reason else words, hint=hint)
        if judged.type is BounceType.UNDETERMINED and judged.category is Category.OTHER:
            judged = diagnose(whole, hint=hint, permanent=permanent)
            words = words if words.strip() else whole
        # Sendmail and Exim name the address that the sender used behind the one that failed.
        made_from = _MADE_FROM.search(words)
        used = mailbox(made_from[1]) if made_from else ""
        report = RecipientReport(
            recipient=used or address,
            action=action,
            type=judged.type if action is Action.FAILED else BounceType.SOFT,
            code=judged.code,
            category=judged.category,
            diagnostic=kept(words),
            final_recipient=address if used else "",
        )
        reports.append(report)
    return reports


def _generic(content: Content, notice: Notice, own: frozenset[str], action: Action) -> Sequence[RecipientReport]:
    """Read a notice of an unknown form: its author or subject must be a mail system's, and it must say why."""
    says_why = _says_failure(notice) or has_failure_subject(content) or action is Action.DELAYED
    if not looks_like_failure(content) or not (says_why or "mailer-daemon" in content.header("from").lower()):
        return ()
    found: dict[str, int] = {}
    for at, line in enumerate(notice.lines):
        for address in mailboxes(line):
            if address.lower() not in own:
                found.setdefault(address, at)
    returned = notice.returned or next((head_text(each) for each in content.returned), "")
    if not found and returned:
        # The notice names nobody: then whoever the returned message was for, if that is one address.
        to = _TO.search(returned)
        addresses = mailboxes(to[1]) if to else []
        found = {addresses[0]: 0} if len(addresses) == 1 and addresses[0].lower() not in own else {}
    # Of several addresses, those count that the returned message was for.
    for_these = {address: at for address, at in found.items() if address.lower() in returned.lower()}
    places = _without_contacts([(at, address) for address, at in (for_these or found).items()])
    reports = _reports(places[:MAX_RECIPIENTS], notice, None, action)
    if is_from_daemon(content):
        return reports
    # Advertising speaks of deliveries that failed, too: whoever is no mail system must say why.
    return [each for each in reports if each.category is not Category.OTHER]
