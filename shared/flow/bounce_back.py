"""Bounce back: tell the sender of incoming mail that it could not be passed on.

The bounce is an outgoing message with the null sender.  Its id and token are made from
the delivery row that reports the failure, so that doing it twice makes one bounce.
"""

import hashlib
import logging
import string
from datetime import datetime

from shared.domain.addresses import checked
from shared.domain.bounce_report import bounce_report, may_bounce
from shared.domain.errors import InvalidValue, StorageUnavailable
from shared.domain.ids import MessageId
from shared.domain.message import Delivery, Direction, Message, Origin, Via
from shared.domain.tenancy import Tenant
from shared.flow.queues import group_of, next_job, queue_of
from shared.ports import Outgoing, Stores
from shared.settings import Settings
from shared.store.messages import Messages
from shared.store.suppressions import Suppressions

log = logging.getLogger(__name__)

MAX_ID_DRAWS = 5
_CHARACTERS = string.ascii_letters + string.digits


async def bounce_back(
    tenant: Tenant,
    message: Message,
    row: Delivery,
    *,
    stores: Stores,
    messages: Messages,
    settings: Settings,
    now: datetime,
) -> None:
    """Send the sender a report, if there may be one.  Twice for the same row: one report.

    Args:
        tenant: the message's.
        message: incoming, failed for good.
        row: the delivery row that says so.
        stores: hold the mail, and take the bounce.
        messages: hold the records.
        settings: names of this installation, and how long things are kept.
        now: things are kept from here.

    Raises:
        StorageUnavailable: the bounce may not have been sent.
    """
    raw = await stores.bodies.get(message.body_key)
    if raw is None or not may_bounce(message, raw):
        return
    try:
        sender = checked(message.mail_from)
    except InvalidValue:
        return
    if await Suppressions(stores.records).holding(tenant, "", [sender], now):
        return
    name = f"{row.id}.bounce@{message.domain}"
    report = bounce_report(message, row, raw, message_id=name, hostname=settings.hostname, at=row.at)
    body_key = f"{tenant.server.id}/{row.id}-{row.log_id}"
    await stores.bodies.put(body_key, report, expires_at=now + settings.body_retention)
    for further in range(MAX_ID_DRAWS):
        bounce = Message(
            server_id=message.server_id,
            # A row's id is drawn as message ids are; another message may have the same.
            id=MessageId(row.id + further),
            token=_token(message, row),
            direction=Direction.OUTGOING,
            rcpt_to=sender,
            mail_from="",
            subject=f"Mail Delivery Failed ({message.subject})"[:200],
            message_id=name,
            body_key=body_key,
            size_bytes=len(report),
            origin=Origin(Via.LOCAL),
            domain=message.domain,
            bounce=True,
        )
        job = next_job(bounce)
        await queue_of(stores, tenant.server, bounce).send([Outgoing(job.to_json(), group=group_of(job))])
        if await messages.add(tenant.server, bounce, expires_at=now + settings.message_retention):
            fields = {"message_id": bounce.id, "server_id": message.server_id, "bounced_message_id": message.id}
            log.info("bounce_sent", extra=fields)
            return
    raise StorageUnavailable("no free message id was found")


def _token(message: Message, row: Delivery) -> str:
    """Return 16 characters that nobody can guess who does not know the message's own token."""
    digest = hashlib.sha256(f"bounce {message.token} {row.id}".encode()).digest()
    return "".join(_CHARACTERS[byte % len(_CHARACTERS)] for byte in digest[:16])
