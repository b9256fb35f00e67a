"""Outgoing mail is shown to the scanners before its first attempt, where its server has a threshold for it.

Postal's place for it: after all holds, before anything is sent.  What is scanned is what would go on
the wire.  The result is written down with the outcome of the attempt, so a retry is not scanned again; a mail
that could not be scanned goes on, and is tried again by the next attempt if there is one.
"""

from shared.domain.inspection import Ruling, rule_outgoing
from shared.flow.claim import Claimed
from smtp_node.deliver.compose import Composed
from smtp_node.scan.scanner import ScannedMail
from smtp_node.scan.scanning import Scanning


async def inspect(claimed: Claimed, composed: Composed, scanning: Scanning) -> Ruling | None:
    """Return what the scanners say of the message; None if they were not asked or did not answer.

    Args:
        claimed: an outgoing message.
        composed: what would go on the wire.
        scanning: asks them.
    """
    message, server = claimed.message, claimed.tenant.server
    if message.inspected or server.outbound_spam_threshold is None:
        return None
    mail = ScannedMail(
        content=(composed.added, composed.raw),
        mail_from=message.mail_from,  # our return path is of another domain than From, which filters do not like
        rcpt_to=(message.rcpt_to,),
        address=message.origin.address,
        name=message.origin.name,
        helo=message.origin.helo,
        queue_id=message.token,
        sent_by=server.permalink,
    )
    inspection = await scanning.inspect(mail)
    return rule_outgoing(inspection, server.outbound_spam_threshold) if inspection.inspected else None
