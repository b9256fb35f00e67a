"""Opens, clicks and unsubscriptions: what is counted of them, and what a message remembers.

Both numbers are kept: all hits, and those of people.  A message has few events of
each kind in the log, however often it is hit; beyond that hits are only counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.event import Event, EventKind

MOST_EVENTS = 20
"""Events of one kind that the log keeps for one message."""

HUMAN = "human"

_MARKS = {EventKind.OPENED: "opened", EventKind.CLICKED: "clicked", EventKind.UNSUBSCRIBED: "unsubscribed"}


@dataclass(frozen=True, slots=True)
class Marks:
    """What a message remembers of its hits of one kind: attributes of its record, all bounded."""

    first_at: str
    """Attribute with the moment of the first hit, whoever it was; set if absent."""

    first_human_at: str
    """The same for people."""

    count: str
    human_count: str


def marks_of(kind: EventKind) -> Marks | None:
    """Return the attributes in which a message remembers hits of this kind; None if it is no hit."""
    word = _MARKS.get(kind)
    return None if word is None else Marks(f"{word}_at", f"{word}_human_at", f"{word}_count", f"{word}_human_count")


def is_human(event: Event) -> bool:
    """Tell whether a person caused a hit; an unsubscription always counts as one."""
    return event.kind is EventKind.UNSUBSCRIBED or event.data.get("class") == HUMAN


def hits_of(event: Event) -> int:
    """Return how many hits an event stands for: itself, and those that were held back before it."""
    skipped = event.data.get("skipped", 0)
    return 1 + (skipped if isinstance(skipped, int) and not isinstance(skipped, bool) and skipped > 0 else 0)


def counted_as(event: Event) -> Mapping[str, int]:
    """Return what an event adds to the counters of its hour.

    Hits that were held back count among all hits only: nobody looked at who they were.
    """
    kind = event.kind.value
    if event.kind not in (EventKind.OPENED, EventKind.CLICKED):
        return {kind: 1}
    human = {f"{kind}_human": 1} if is_human(event) else {}
    return {kind: hits_of(event), **human}


def is_kept(event: Event, *, events_before: int) -> bool:
    """Tell whether the log keeps an event, or only counts it.

    Args:
        event: new to the log.
        events_before: how many of its kind and message the log has.
    """
    return event.kind not in _MARKS or events_before < MOST_EVENTS
