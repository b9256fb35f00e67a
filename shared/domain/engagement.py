"""Opens, clicks and unsubscriptions: what is kept and what is counted of them.

Both numbers are kept: all hits, and those of people.  A message has few events of
each kind in the log, however often it is hit; beyond that hits are only counted.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from shared.domain.event import Event, EventKind
from shared.domain.message import Direction

MOST_EVENTS = 20
"""Events of one kind that the log keeps for one message."""

HUMAN = "human"

HITS = frozenset({EventKind.OPENED, EventKind.CLICKED, EventKind.UNSUBSCRIBED})
"""What strangers cause, as often as they like."""


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
    What became of incoming mail has names of its own, as ``delivered_incoming``.
    """
    kind = event.kind.value
    if event.data.get("direction") == Direction.INCOMING.value:
        return {f"{kind}_{Direction.INCOMING.value}": 1}
    if event.kind not in (EventKind.OPENED, EventKind.CLICKED):
        return {kind: 1}
    human = {f"{kind}_human": 1} if is_human(event) else {}
    return {kind: hits_of(event), **human}


def only_counted(events: Sequence[Event], *, kept: AbstractSet[str]) -> Sequence[Event]:
    """Return those hits of one kind and message that the log has no room for.

    Args:
        events: of one batch.
        kept: subjects of the hits that the log has.
    """
    room = max(0, MOST_EVENTS - len(kept))
    new = [event for event in events if event.subject not in kept]
    return new[room:]
