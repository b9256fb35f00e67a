"""Addresses that are not written to: why, since when, until when, and what put them there.

An entry holds for an organization, a server, or one stream of a server (the mail with
one tag).  Addresses are compared without regard to case, as in Postal
(lib/postal/message_db/suppression_list.rb, by its collation): hosts that tell
``User@`` from ``user@`` are gone, and people who complain type their address anyhow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.domain.addresses import checked
from shared.domain.errors import InvalidValue
from shared.domain.ids import OrganizationId, ServerId
from shared.domain.submission import MAX_TAG_LENGTH

MAX_HISTORY = 10
MAX_DETAIL = 250


class Reason(StrEnum):
    """What put an address on the list."""

    HARD_BOUNCE = "hard_bounce"
    HARD_FAILURES = "hard_failures"
    SOFT_FAILURES = "soft_failures"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"
    IMPORT = "import"


WORDS = {
    Reason.HARD_BOUNCE: "the address does not exist",
    Reason.HARD_FAILURES: "too many hard fails",
    Reason.SOFT_FAILURES: "too many soft fails",
    Reason.COMPLAINT: "the recipient complained",
    Reason.UNSUBSCRIBE: "the recipient unsubscribed",
    Reason.MANUAL: "added by hand",
    Reason.IMPORT: "imported",
}
"""For people; "too many hard fails" and "too many soft fails" are Postal's."""

EXPIRING = frozenset({Reason.HARD_BOUNCE, Reason.HARD_FAILURES, Reason.SOFT_FAILURES})
"""A mailbox may come back; whoever complained or unsubscribed has said no for ever."""


@dataclass(frozen=True, slots=True)
class Scope:
    """For whose mail an entry holds: an organization's, a server's, or one stream's of a server."""

    owner_id: OrganizationId | ServerId
    organization: bool = False
    stream: str = ""
    """A tag; empty for all mail."""

    @property
    def owner(self) -> str:
        """``o`` or ``s``: what stands in keys."""
        return "o" if self.organization else "s"

    @property
    def name(self) -> str:
        """``organization``, ``server`` or ``stream``."""
        if self.organization:
            return "organization"
        return "stream" if self.stream else "server"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of an entry's history."""

    at: datetime
    added: bool
    """False: taken off."""

    reason: Reason
    source: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One address of one scope, on the list or taken off it."""

    scope: Scope
    address: str
    """Folded: lower case."""

    reason: Reason
    added_at: datetime
    source: str = ""
    """The id of the event that put it there, or who did."""

    detail: str = ""
    until: datetime | None = None
    """None: for ever."""

    active: bool = True
    history: Sequence[Change] = ()
    """Oldest first, this state's last; at most ``MAX_HISTORY``."""

    def holds(self, now: datetime) -> bool:
        """Whether mail to the address is held now."""
        return self.active and (self.until is None or now < self.until)

    @property
    def words(self) -> str:
        """Why, as Postal words it in a held message."""
        return f"Recipient ({self.address}) is on the suppression list (reason: {WORDS[self.reason]})"

    def with_change(self, change: Change, *, until: datetime | None = None) -> "Suppression":
        """Return the entry after one more change."""
        return replace(
            self,
            active=change.added,
            reason=change.reason,
            added_at=change.at if change.added else self.added_at,
            source=change.source,
            detail=change.detail,
            until=until if change.added else self.until,
            history=(*self.history, change)[-MAX_HISTORY:],
        )

    def knows(self, source: str) -> bool:
        """Whether that event changed this entry before: events are delivered more than once."""
        return any(each.source == source for each in self.history)


def new_suppression(scope: Scope, address: str, change: Change, *, until: datetime | None) -> Suppression:
    """Return an entry with its first change."""
    return Suppression(
        scope=scope,
        address=folded(address),
        reason=change.reason,
        added_at=change.at,
        source=change.source,
        detail=change.detail,
        until=until,
        history=(change,),
    )


def folded(address: str) -> str:
    """Return the address as it is compared: checked and in lower case.

    Raises:
        InvalidValue: not an address.
    """
    return checked(address.strip()).lower()


def checked_stream(stream: str) -> str:
    """Return the name of a stream, which is a tag.

    Raises:
        InvalidValue: too long, or with control characters.
    """
    if len(stream) > MAX_TAG_LENGTH or not (stream.isprintable() or not stream):
        raise InvalidValue(f"a stream is a tag: one line of at most {MAX_TAG_LENGTH} characters")
    return stream
