"""Whether a message must wait for a person before it may go out."""

from shared.domain.message import Message
from shared.domain.suppression import Suppression
from shared.domain.tenancy import Credential, Domain, Mode, Tenant

SUSPENDED = "Mail server has been suspended. No e-mails can be processed at present. Contact support for assistance."
DOMAIN_GONE = "The message's domain no longer exists on this server or is not verified any more."
CREDENTIAL_HOLDS = "Credential is configured to hold all messages authenticated by it."
DEVELOPMENT = "Server is in development mode."


def hold_reason(
    message: Message,
    tenant: Tenant,
    credential: Credential | None,
    domain: Domain | None,
    suppression: Suppression | None = None,
) -> str | None:
    """Return why the message must be held, or None.

    In the order and the words of Postal (app/lib/message_dequeuer). A release by
    hand overrules the credential, the suppression list and the mode, not a suspension
    nor a missing domain: those would send what nobody may send.

    Args:
        message: about to be sent.
        tenant: its server and organization, as they are now.
        credential: with which it came in; None if it was deleted since.
        domain: which authorised it; None if it is gone.
        suppression: what holds mail to the recipient; None if nothing does.
    """
    if tenant.suspended:
        return SUSPENDED
    if domain is None or domain.verified_at is None:
        return DOMAIN_GONE
    if message.released:
        return None
    if credential is not None and credential.hold:
        return CREDENTIAL_HOLDS
    if suppression is not None:
        return suppression.words
    if tenant.server.mode is Mode.DEVELOPMENT:
        return DEVELOPMENT
    return None
