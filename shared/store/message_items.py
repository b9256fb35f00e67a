"""Messages and deliveries as items, and back."""

from datetime import timedelta
from typing import Any, cast

from shared.domain.ids import CredentialId, MessageId, ServerId
from shared.domain.message import Delivery, Direction, Evidence, Message, Origin, Status, Via
from shared.domain.moments import from_ms, from_ms_or_none, to_ms, to_ms_or_zero
from shared.ports import Item, Value


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
    }
    # What most messages do not have is left out: items are paid for by size.
    optional: Item = {
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
    }
    item.update({name: value for name, value in optional.items() if value not in ("", None, {}, False)})
    for name in ("track_opens", "track_clicks"):
        if optional[name] is False:
            item[name] = False
    return item


def message_of(item: Item) -> Message:
    """Return the message that an item holds."""
    stored = cast("dict[str, Any]", item)  # written by message_item only
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
        origin=Origin(Via(stored["via"]), stored.get("ip", ""), stored.get("rdns", ""), stored.get("helo", "")),
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
        tag=stored.get("tag", ""),
        metadata=stored.get("metadata", {}),
        track_opens=stored.get("track_opens"),
        track_clicks=stored.get("track_clicks"),
        domain=stored["domain"],
        credential_id=CredentialId(stored["credential"]) if "credential" in stored else None,
        bounce=stored.get("bounce", False),
        test_mode=stored.get("test", False),
        last_delivery_at=from_ms_or_none(stored["last_at"]),
    )


def delivery_attribute(number: int) -> str:
    """Return the attribute that holds the numbered delivery row, counted from 1."""
    return f"d{number}"


def delivery_item(delivery: Delivery) -> Item:
    """Return a delivery row as it stands inside its message's item."""
    item: Item = {
        "id": delivery.id,
        "attempt": delivery.attempt,
        "status": delivery.status.value,
        "details": delivery.details,
        "at": to_ms(delivery.at),
        "log": delivery.log_id,
    }
    evidence = delivery.evidence
    optional: Item = {
        "output": delivery.output,
        "us": None if delivery.duration is None else delivery.duration // timedelta(microseconds=1),
        "mx": evidence.mx,
        "mx_ip": evidence.mx_address,
        "source": evidence.source_address,
        "code": evidence.smtp_code,
        "enhanced": evidence.enhanced_code,
        "tls": evidence.tls,
        "talk": evidence.conversation,
    }
    item.update({name: value for name, value in optional.items() if value not in ("", None, 0)})
    return item


def deliveries_of(item: Item) -> list[Delivery]:
    """Return the delivery rows of a message's item, oldest first."""
    numbers = range(1, cast("int", item["deliveries"]) + 1)
    return [_delivery(cast("dict[str, Any]", item[delivery_attribute(number)])) for number in numbers]


def _delivery(row: dict[str, Any]) -> Delivery:
    return Delivery(
        id=row["id"],
        attempt=row["attempt"],
        status=Status(row["status"]),
        details=row["details"],
        output=row.get("output", ""),
        at=from_ms(row["at"]),
        log_id=row["log"],
        duration=timedelta(microseconds=row["us"]) if "us" in row else None,
        evidence=Evidence(
            mx=row.get("mx", ""),
            mx_address=row.get("mx_ip", ""),
            source_address=row.get("source", ""),
            smtp_code=row.get("code", 0),
            enhanced_code=row.get("enhanced", ""),
            tls=row.get("tls", ""),
            conversation=row.get("talk", ""),
        ),
    )
