"""Messages and deliveries as items, and back.

DynamoDB charges for every byte of an item at every write, so an attribute with its
usual value is left out: what conditions look at (attempt, held, lease_until) is
always there.  A typical message with one delivery row stays below 1 KB, one write
unit (tests/unit/test_store_sizes.py).
"""

from collections.abc import Sequence
from typing import Any, cast

from shared.domain.ids import CredentialId, MessageId, ServerId
from shared.domain.inspection import Ruling
from shared.domain.message import Delivery, Direction, Message, Origin, SpamStatus, Status, Via
from shared.domain.moments import from_ms_or_none, to_ms_or_zero
from shared.ports import Item, Value
from shared.store.delivery_rows import row_of
from shared.store.items import to_hundredths
from shared.store.route_targets import target_item, target_of

_USUAL: Item = {
    "direction": Direction.OUTGOING.value,
    "mail_from": "",
    "ip": "",
    "rdns": "",
    "helo": "",
    "tag": "",
    "metadata": {},
    "track_opens": None,
    "track_clicks": None,
    "credential": None,
    "bounce": False,
    "test": False,
    "failures": 0,
    "claims": 0,
    "fence": 0,
    "deliveries": 0,
    "next_at": 0,
    "hold_until": 0,
    "released": False,
    "last_at": 0,
    "route": "",
    "endpoint": None,
    "verified": False,
    "inspected": False,
    "spam": SpamStatus.NOT_CHECKED.value,
    "score": 0,
    "threat": "",
}
"""Values of attributes that are not there."""


def message_item(message: Message) -> Item:
    """Return the item of a new message."""
    item: Item = {
        "server": message.server_id,
        "id": message.id,
        "token": message.token,
        "direction": message.direction.value,
        "rcpt_to": message.rcpt_to,
        "mail_from": message.mail_from,
        "subject": message.subject,
        "message_id": message.message_id,
        "body": message.body_key,
        "size": message.size_bytes,
        "via": message.origin.via.value,
        "ip": message.origin.address,
        "rdns": message.origin.name,
        "helo": message.origin.helo,
        "tag": message.tag,
        "metadata": cast("Value", dict(message.metadata)),
        "track_opens": message.track_opens,
        "track_clicks": message.track_clicks,
        "credential": message.credential_id,
        "bounce": message.bounce,
        "test": message.test_mode,
        "status": message.status.value,
        "held": message.held,
        "attempt": message.attempt,
        "failures": message.failures,
        "claims": message.claims,
        "fence": message.fence,
        "deliveries": message.deliveries,
        "lease_until": to_ms_or_zero(message.lease_until),
        "next_at": to_ms_or_zero(message.next_attempt_at),
        "hold_until": to_ms_or_zero(message.hold_expires_at),
        "released": message.released,
        "last_at": to_ms_or_zero(message.last_delivery_at),
        "domain": message.domain,
        "route": message.route,
        "endpoint": None if message.endpoint is None else target_item(message.endpoint),
        "verified": message.sender_verified,
        "inspected": message.inspected,
        "spam": message.spam_status.value,
        "score": to_hundredths(message.spam_score),
        "threat": message.threat,
    }
    return without_usual(item)[0]


def ruling_item(ruling: Ruling) -> Item:
    """Return what a message's item says of its inspection."""
    inspection = ruling.inspection
    return {
        "inspected": inspection.inspected,
        "spam": ruling.status.value,
        "score": to_hundredths(inspection.score or 0.0),
        "threat": inspection.threat or "",
    }


def without_usual(changes: Item) -> tuple[Item, Sequence[str]]:
    """Return what must be written of some attributes, and the names of those to be left out."""
    usual = [name for name, value in changes.items() if name in _USUAL and _USUAL[name] == value]
    return {name: value for name, value in changes.items() if name not in usual}, usual


def message_of(item: Item) -> Message:
    """Return the message that an item holds."""
    stored = cast("dict[str, Any]", _USUAL | item)  # written by message_item only
    return Message(
        server_id=ServerId(stored["server"]),
        id=MessageId(stored["id"]),
        token=stored["token"],
        direction=Direction(stored["direction"]),
        rcpt_to=stored["rcpt_to"],
        mail_from=stored["mail_from"],
        subject=stored["subject"],
        message_id=stored["message_id"],
        body_key=stored["body"],
        size_bytes=stored["size"],
        origin=Origin(Via(stored["via"]), stored["ip"], stored["rdns"], stored["helo"]),
        status=Status(stored["status"]),
        attempt=stored["attempt"],
        failures=stored["failures"],
        claims=stored["claims"],
        fence=stored["fence"],
        deliveries=stored["deliveries"],
        lease_until=from_ms_or_none(stored["lease_until"]),
        next_attempt_at=from_ms_or_none(stored["next_at"]),
        hold_expires_at=from_ms_or_none(stored["hold_until"]),
        released=stored["released"],
        tag=stored["tag"],
        metadata=stored["metadata"],
        track_opens=stored["track_opens"],
        track_clicks=stored["track_clicks"],
        domain=stored["domain"],
        credential_id=None if stored["credential"] is None else CredentialId(stored["credential"]),
        bounce=stored["bounce"],
        test_mode=stored["test"],
        last_delivery_at=from_ms_or_none(stored["last_at"]),
        route=stored["route"],
        endpoint=None if stored["endpoint"] is None else target_of(stored["endpoint"]),
        sender_verified=stored["verified"],
        inspected=stored["inspected"],
        spam_status=SpamStatus(stored["spam"]),
        spam_score=stored["score"] / 100,
        threat=stored["threat"],
    )


def delivery_attribute(number: int) -> str:
    """Return the attribute that holds the numbered delivery row, counted from 1."""
    return f"d{number}"


def deliveries_of(item: Item) -> list[Delivery]:
    """Return the delivery rows of a message's item, oldest first."""
    numbers = range(1, cast("int", item.get("deliveries", 0)) + 1)
    return [row_of(cast("str", item[delivery_attribute(number)])) for number in numbers]
