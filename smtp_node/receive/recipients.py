"""Where a recipient's mail goes: in to an address of ours, out for a tenant, or nowhere.

The order is Postal's (app/lib/smtp_server/client.rb, rcpt_to): on port 25 our own
return paths and routes come first, then an SMTP-IP credential counts, and everybody
else is refused.  On the submission ports whoever is logged in sends out, also to
addresses of ours: those mails come back in through port 25 like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from shared.domain.incoming import Destination, InwardRefusal
from shared.flow.find_inward import Inward
from smtp_node.receive import replies
from smtp_node.receive.inside import Grant
from smtp_node.receive.limits import Door
from smtp_node.receive.replies import AUTHENTICATION_REQUIRED, RELAYING_DENIED, SUSPENDED, Reply

REFUSALS: Mapping[InwardRefusal, Reply] = {
    InwardRefusal.NO_SUCH_SERVER: replies.BAD_SERVER_TOKEN,
    InwardRefusal.NO_SUCH_ROUTE: replies.BAD_ROUTE_TOKEN,
    InwardRefusal.NO_OPERATOR: replies.NO_POSTMASTER,
    InwardRefusal.OPERATOR_MISSING: replies.POSTMASTER_MISSING,
    InwardRefusal.REJECTED: replies.ROUTE_REJECTS,
    InwardRefusal.SUSPENDED: SUSPENDED,
}


@dataclass(frozen=True, slots=True)
class Outbound:
    """The recipient gets a message of this tenant."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class Inbound:
    """The recipient is an address of ours."""

    to: Destination
    address: str
    """As it is recorded: of a route's token, the route's address."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The recipient is refused."""

    reply: Reply


Decision: TypeAlias = Outbound | Inbound | Denied


def decide_recipient(*, door: Door, grant: Grant | None, inward: Inward | InwardRefusal | None) -> Decision:
    """Return what becomes of a recipient.

    Args:
        door: the kind of port the client came to.
        grant: of the client: from AUTH, else from an SMTP-IP credential; None for strangers.
        inward: what the address is to us; None if it is none of ours, or was not looked for.
    """
    if isinstance(inward, Inward):
        return Inbound(inward.to, inward.address)
    if inward is not None:
        return Denied(REFUSALS[inward])
    if grant is not None:
        return Denied(SUSPENDED) if grant.tenant.suspended else Outbound(grant)
    return Denied(RELAYING_DENIED if door is Door.SMTP else AUTHENTICATION_REQUIRED)
