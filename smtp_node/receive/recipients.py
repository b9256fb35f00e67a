"""Where a recipient's mail goes: out for a tenant, or nowhere.

The order is Postal's (app/lib/smtp_server/client.rb, rcpt_to): an authenticated client
sends out, then an SMTP-IP credential counts, and everybody else is refused.
"""

from dataclasses import dataclass
from typing import TypeAlias

from smtp_node.receive.inside import Grant
from smtp_node.receive.limits import Door
from smtp_node.receive.replies import AUTHENTICATION_REQUIRED, RELAYING_DENIED, SUSPENDED, Reply


@dataclass(frozen=True, slots=True)
class Outbound:
    """The recipient gets a message of this tenant."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class Denied:
    """The recipient is refused."""

    reply: Reply


Decision: TypeAlias = Outbound | Denied


def decide_recipient(*, door: Door, grant: Grant | None) -> Decision:
    """Return what becomes of a recipient of a client with this grant, if any.

    Args:
        door: the kind of port the client came to.
        grant: from AUTH, else from an SMTP-IP credential.
    """
    if grant is not None:
        return Denied(SUSPENDED) if grant.tenant.suspended else Outbound(grant)
    return Denied(RELAYING_DENIED if door is Door.SMTP else AUTHENTICATION_REQUIRED)
