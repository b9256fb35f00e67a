"""``/api/v1/send``: messages go in (legacy_api/send_controller.rb)."""

from collections.abc import Mapping, Sequence

from functions.api.compose import addressed, composed, sender_head
from functions.api.door import Call
from functions.api.envelope import off_loop
from functions.api.errors import Problem, missing, naming
from functions.api.schemas.fields import base64_or_bytes, is_blank, is_true, switch, text
from functions.api.schemas.send_message import send_message_of
from shared.domain.addresses import checked
from shared.domain.errors import MalformedMessage, SenderNotAllowed
from shared.domain.headers import Head, split_head, with_crlf
from shared.domain.letter import checked_idempotency_key
from shared.domain.message import Origin, Via
from shared.domain.mime_encoding import lenient_base64
from shared.domain.mime_mailboxes import mailbox
from shared.domain.submission import Accepted, Submission
from shared.flow.accept import accept, check_sender


async def send_message(call: Call) -> object:
    """Build a message from its parts and accept it for every recipient."""
    wanted = send_message_of(call.parameters.values)
    wanted.check_basics()
    await check_sender(sender_head(wanted), call.tenant, call.services.directory)
    wanted.check_attachments()
    people = addressed(wanted)
    now = call.services.clock()
    raw = await off_loop(
        wanted.size_bytes,
        composed,
        wanted,
        people,
        now=now,
        rng=call.services.using.rng,
    )
    submission = Submission(
        tenant=call.tenant,
        credential=call.credential,
        mail_from=people.author.address,
        recipients=people.recipients,
        raw=raw,
        origin=Origin(Via.HTTP, call.client_address),
        tag=wanted.tag,
        metadata=wanted.metadata,
        track_opens=wanted.track_opens,
        track_clicks=wanted.track_clicks,
        bounce=wanted.bounce,
        test_mode=wanted.test_mode,
        idempotency_key=checked_key(call),
        request_digest=f"message:{call.parameters.digest}",
        upload=call.upload,
    )
    return accepted_answer(await accept(submission, using=call.services.using, now=now))


async def send_raw(call: Call) -> object:
    """Accept a complete message (RFC 5322) for the recipients named beside it."""
    values = call.parameters.values
    recipients = values.get("rcpt_to")
    if not isinstance(recipients, list):
        raise missing("rcpt_to")
    for name in ("mail_from", "data"):
        if is_blank(values.get(name)):
            raise missing(name)
    encoded = base64_or_bytes(values.get("data"))
    raw, head = await off_loop(len(encoded), _decoded, encoded)
    try:
        await check_sender(head, call.tenant, call.services.directory)
    except SenderNotAllowed as exc:
        raise _unauthenticated() from exc
    if not recipients:
        # Postal stores a message for each recipient, so for none it stores none.
        return {"message_id": None, "messages": {}}
    submission = Submission(
        tenant=call.tenant,
        credential=call.credential,
        mail_from=_mail_from(text(values.get("mail_from"))),
        recipients=_recipients(recipients),
        raw=raw,
        origin=Origin(Via.RAW_HTTP, call.client_address),
        bounce=is_true(values.get("bounce")),
        test_mode=_test_mode(values),
        idempotency_key=checked_key(call),
        request_digest=f"raw:{call.parameters.digest}",
        upload=call.upload,
    )
    return accepted_answer(await accept(submission, using=call.services.using, now=call.services.clock()))


def _test_mode(values: Mapping[str, object]) -> bool:
    with naming("InvalidParameter", "test_mode"):
        return bool(switch(values.get("test_mode")))


def _decoded(encoded: str | bytes) -> tuple[bytes, Head]:
    """Return the message with CRLF line ends, and its head.

    Line ends are made one kind before anything is judged: what is checked must be
    what is sent.  Bytes that are no message have no From either, which is what
    Postal says of data that was not base64.
    """
    raw = with_crlf(encoded if isinstance(encoded, bytes) else lenient_base64(encoded))
    try:
        return raw, split_head(raw)
    except MalformedMessage as exc:
        raise _unauthenticated() from exc


def _unauthenticated() -> Problem:
    """Return Postal's answer, which has no sentence here since 3.3.1."""
    return Problem("UnauthenticatedFromAddress")


def _mail_from(given: str) -> str:
    if given.strip() == "<>":  # RFC 5321 §4.5.5
        return ""
    with naming("InvalidAddress", "mail_from"):
        return mailbox(given).address


def _recipients(given: Sequence[object]) -> Sequence[str]:
    """Return the recipients exactly as given: they are the keys of the answer."""
    with naming("InvalidAddress", "rcpt_to"):
        for each in given:
            checked(text(each))
    return [text(each) for each in given]


def checked_key(call: Call) -> str:
    """Return the request's idempotency key; empty for none."""
    with naming("InvalidParameter", "Idempotency-Key"):
        return checked_idempotency_key(call.idempotency_key)


def accepted_answer(accepted: Accepted) -> object:
    """Return ``data`` of the answer to an accepted message."""
    messages: dict[str, object] = {}
    for to, each in accepted.messages.items():
        messages[to] = {"id": each.id, "token": each.token}
        if each.suppressed:
            # Postal accepts such mail and holds it later, without a word; its clients ignore what they do not know.
            messages[to] = {"id": each.id, "token": each.token, "suppressed": each.suppressed}
    return {"message_id": accepted.message_id, "messages": messages}
