"""The simulator: recipients at a reserved domain to which everything happens and nothing is sent.

A message to one of these, or one sent in test mode, goes the whole way: accepted,
queued, held if its server holds, signed.  Only the last step is made up, here.

| recipient | what becomes of it |
| --- | --- |
| ``delivered@`` | delivered; so is every message sent in test mode |
| ``hardbounce@``, ``softbounce@`` | delivered, then a bounce comes back |
| ``complaint@`` | delivered, then reported as spam |
| ``open@``, ``click@`` | delivered, then opened; opened and clicked |
| ``delayed@`` | fails for now once, then delivered |
| ``suppressed@`` | held, as an address on the suppression list is |
| any other | refused for good |

What follows the ``@`` is ``DOMAIN``; a tag may follow the name: ``open+signup-7@``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.domain.event import Event, EventKind
from shared.domain.message import Evidence, Message
from shared.domain.outcome import HardFail, Held, Outcome, Sent, SoftFail

DOMAIN = "simulator.edgepost.invalid"
"""RFC 2606 §2: no name below ``invalid`` ever exists, so nobody's mail can go there by mistake."""

MX = "mx.simulator.edgepost.invalid"
LATER = timedelta(seconds=1)
"""What follows a delivery comes so much after it."""

_SENT = Sent(
    f"Message accepted by {MX} (simulated)",
    "250 2.0.0 OK simulated",
    Evidence(mx=MX, smtp_code=250, enhanced_code="2.0.0"),
)
_DELAYED = SoftFail(
    f"{MX} asked to try again later (simulated)",
    "451 4.7.1 Try again later, simulated",
    Evidence(mx=MX, smtp_code=451, enhanced_code="4.7.1"),
)
_UNKNOWN = HardFail(
    f"{MX} does not know the recipient (simulated)",
    "550 5.1.1 No such simulation",
    Evidence(mx=MX, smtp_code=550, enhanced_code="5.1.1"),
)
_SUPPRESSED = Held("Recipient is on the suppression list (simulated).")

# Any: an event's data is JSON.
_VISIT: dict[str, Any] = {
    "ip": "192.0.2.1",
    "user_agent": "Edgepost simulator",
    "class": "human",
    "reason": "simulated",
}
_OPENED = (EventKind.OPENED, "", _VISIT)
_CLICKED = (EventKind.CLICKED, "", _VISIT | {"url": f"https://{DOMAIN}/"})

_FOLLOWING: dict[str, Sequence[tuple[EventKind, str, dict[str, Any]]]] = {
    "delivered": (),
    "hardbounce": ((EventKind.BOUNCED, "The mailbox does not exist (simulated).", {"type": "hard", "code": "5.1.1"}),),
    "softbounce": ((EventKind.BOUNCED, "The mailbox is full (simulated).", {"type": "soft", "code": "4.2.2"}),),
    "complaint": ((EventKind.COMPLAINED, "Reported as spam (simulated).", {"type": "abuse"}),),
    "open": (_OPENED,),
    "click": (_OPENED, _CLICKED),
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """What is made up for one attempt."""

    outcome: Outcome
    following: Sequence[Event] = ()
    """Events that come after it."""


def is_simulated(recipient: str) -> bool:
    """Whether the address is one of the simulator's."""
    return recipient.rpartition("@")[2].lower() == DOMAIN


def simulate(message: Message, now: datetime) -> Simulated:
    """Return what becomes of a message in test mode; the same attempt always gives the same."""
    name = _name(message.rcpt_to)
    if name == "suppressed":
        return Simulated(_SENT if message.released else _SUPPRESSED)
    if name == "delayed":
        return Simulated(_DELAYED if not message.failures else _SENT)
    if name not in _FOLLOWING:
        return Simulated(_UNKNOWN)
    events = [
        Event(
            kind,
            message.server_id,
            message.id,
            message.attempt,
            now + LATER * number,
            details=details,
            subject="simulator",
            data=data,
        )
        for number, (kind, details, data) in enumerate(_FOLLOWING[name], 1)
    ]
    return Simulated(_SENT, events)


def _name(recipient: str) -> str:
    """Return what to make up: an address elsewhere, sent in test mode, is delivered."""
    if not is_simulated(recipient):
        return "delivered"
    return recipient.rpartition("@")[0].partition("+")[0].lower()
