"""``/api/v1/messages``: what became of a message (legacy_api/messages_controller.rb)."""

import asyncio
import math
import re
from collections.abc import Sequence

from functions.api.door import Call
from functions.api.errors import Problem, missing
from functions.api.schemas.fields import is_blank
from functions.api.v1_message_view import (
    BODY_EXPANSIONS,
    EXPANSIONS,
    activity_view,
    body_view,
    delivery_view,
    record_view,
)
from shared.domain.engagement import MOST_EVENTS
from shared.domain.event import EventKind
from shared.domain.ids import MessageId
from shared.domain.message import Delivery, Message


async def show_message(call: Call) -> object:
    """Return a message with the expansions asked for; ``true`` asks for all."""
    message, _ = await _found(call)
    wanted = _expansions(call.parameters.values.get("_expansions"))
    data: dict[str, object] = {"id": message.id, "token": message.token, **record_view(message, wanted)}
    if wanted & BODY_EXPANSIONS:
        raw = await call.services.stores.bodies.get(message.body_key)
        # Reading hostile MIME is linear but not free: other requests go on meanwhile.
        data |= await asyncio.to_thread(body_view, raw, wanted)
    if "activity_entries" in wanted:
        kinds = (EventKind.OPENED, EventKind.CLICKED)
        found = [
            await call.services.events.hits(call.tenant.server, message.id, kind, limit=MOST_EVENTS) for kind in kinds
        ]
        data["activity_entries"] = activity_view([hit for hits in found for hit in hits])
    return {name: data[name] for name in ("id", "token", *EXPANSIONS) if name in data}


async def show_deliveries(call: Call) -> object:
    """Return all attempts and holds of a message, oldest first."""
    _, deliveries = await _found(call)
    return [delivery_view(delivery) for delivery in deliveries]


def _expansions(given: object) -> frozenset[str]:
    if given is True:
        return frozenset(EXPANSIONS)
    names = given if isinstance(given, list) else []
    return frozenset(name for name in EXPANSIONS if name in names)


async def _found(call: Call) -> tuple[Message, Sequence[Delivery]]:
    """Return the message the request names.

    Another server's message is unknown to this one: the answers are the same.
    """
    given = call.parameters.values.get("id")
    if is_blank(given) or isinstance(given, (list, dict)):
        raise missing("id")
    message_id = _id(given)
    found = None
    if message_id is not None:
        found = await call.services.messages.with_deliveries(call.tenant.server, message_id)
    if found is None:
        raise Problem("MessageNotFound", "No message found matching provided ID", data={"id": _said_back(given)})
    return found


def _said_back(given: object) -> object:
    """Return the id as it was given; 1e999 reads as infinity, which JSON has no word for."""
    return None if isinstance(given, float) and not math.isfinite(given) else given


def _id(given: object) -> MessageId | None:
    """Return the id; numeric strings count (Postal answers 500 to them)."""
    if isinstance(given, str) and re.fullmatch(r"[0-9]{1,16}", given):
        given = int(given)
    return MessageId(given) if isinstance(given, int) and not isinstance(given, bool) else None
