"""``edgepost test-mail``: one small message, followed on its whole way."""

import asyncio
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

from cli.documents import message_document
from cli.printing import Answer
from shared.domain.errors import NotFound
from shared.domain.message import Delivery, Message, Origin, Status, Via
from shared.domain.mime_mailboxes import mailbox
from shared.domain.submission import AcceptedMessage, Submission
from shared.domain.tenancy import Credential, CredentialType, Organization, Server, Tenant
from shared.flow.accept import accept
from shared.flow.servers import find_server
from shared.store.credentials import Credentials
from shared.store.domains import Domains
from shared.store.installation import Installations
from shared.store.messages import Messages
from shared.store.organizations import Organizations

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.wiring import Tools

POLL_EVERY = timedelta(milliseconds=200)


async def send_trial(
    recipient: str,
    *,
    server: str,
    sender: str,
    wait: timedelta,
    say: "Callable[[str], None]",
    tools: "Tools",
) -> Answer:
    """Send a small message and follow it until nothing more will happen by itself, or time is up.

    Args:
        recipient: address to send to.
        server: permalink; empty for the first server of the installation.
        sender: From address; empty for one at a verified domain of the server.
        wait: how long to follow.
        say: gets a line for people as each thing happens.
        tools: of this command.
    """
    tenant = await _tenant(server, tools)
    to = mailbox(recipient).address
    from_address = mailbox(sender).address if sender else f"test@{await _verified_domain(tenant, tools)}"
    now = tools.now()
    submission = Submission(
        tenant=tenant,
        credential=await _credential(tenant.server, tools),
        mail_from=from_address,
        recipients=[to],
        raw=trial_message(from_address, to, now),
        origin=Origin(Via.LOCAL),
        tag="test-mail",
    )
    accepted = await accept(submission, using=tools.acceptance(), now=now)
    say(f"accepted as message {accepted.messages[to].id} on {tenant.server.permalink}, from {from_address}")
    return await _follow(tenant.server, accepted.messages[to], until=now + wait, say=say, tools=tools)


def trial_message(sender: str, recipient: str, now: datetime) -> bytes:
    """Return the message with CRLF line ends; both addresses must be checked ones."""
    lines = [
        f"From: Edgepost <{sender}>",
        f"To: {recipient}",
        "Subject: Test from Edgepost",
        f"Date: {format_datetime(now)}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Auto-Submitted: auto-generated",  # RFC 3834 §5: nobody's vacation notice shall answer it
        "",
        "This message was sent with `edgepost test-mail`. If you can read it, delivery works.",
        "",
    ]
    return "\r\n".join(lines).encode()


async def _follow(
    server: Server,
    sent: AcceptedMessage,
    *,
    until: datetime,
    say: "Callable[[str], None]",
    tools: "Tools",
) -> Answer:
    messages = Messages(tools.stores.records)
    shown = 0
    while True:
        found = await messages.with_deliveries(server, sent.id)
        if found is None:
            raise NotFound(f"message {sent.id} is gone")
        message, deliveries = found
        for delivery in deliveries[shown:]:
            say(_line(delivery))
        shown = len(deliveries)
        if (end := _end(message, now=tools.now(), until=until)) is not None:
            document = message_document(message, deliveries)
            return Answer(document, instead=end, failed=message.status is not Status.SENT)
        await asyncio.sleep(POLL_EVERY.total_seconds())


def _line(delivery: Delivery) -> str:
    where = f" by {delivery.evidence.mx}" if delivery.evidence.mx else ""
    output = f" [{delivery.output}]" if delivery.output else ""
    return f"{delivery.at:%H:%M:%S}  {delivery.status.value}{where}: {delivery.details}{output}"


def _end(message: Message, *, now: datetime, until: datetime) -> str | None:
    """Return why following ends here, or None to go on."""
    if message.status.final:
        return f"final: {message.status.value}"
    if message.held:
        return f"held: edgepost message release {message.id} sends it"
    if message.next_attempt_at is not None and message.next_attempt_at > until:
        return f"next attempt at {message.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC; not waiting for it"
    if now >= until:
        return "nothing final yet; is `edgepost serve` running? `edgepost message show` tells more later"
    return None


async def _tenant(permalink: str, tools: "Tools") -> Tenant:
    records = tools.stores.records
    if not permalink:
        installation = await Installations(records).get()
        if installation is None:
            raise NotFound("nothing has been set up yet: run edgepost initialize, or name a server with --server")
        permalink = installation.server
    server = await find_server(permalink, records=records)
    organization = await Organizations(records).get(server.organization_id)
    if organization is None:
        raise NotFound(f"the organization of {permalink} was deleted just now")
    return Tenant(server, organization)


async def _verified_domain(tenant: Tenant, tools: "Tools") -> str:
    store = Domains(tools.stores.records)
    owners: tuple[Server | Organization, ...] = (tenant.server, tenant.organization)
    for owner in owners:
        domains, _ = await store.page(owner)
        for domain in domains:
            if domain.verified_at is not None:
                return domain.name
    raise NotFound(f"{tenant.server.permalink} has no verified domain to send from: edgepost domain add, then verify")


async def _credential(server: Server, tools: "Tools") -> Credential:
    credentials, _ = await Credentials(tools.stores.records).page(server.id)
    usable = [each for each in credentials if not each.hold and each.type is not CredentialType.SMTP_IP]
    if not usable:
        raise NotFound(f"{server.permalink} has no credential that does not hold: edgepost credential create")
    return usable[0]
