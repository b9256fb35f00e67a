"""Message records: who may act on one, and what became of it.

Deliveries lie inside their message's item, as attributes ``d1``, ``d2``, …: settling
an attempt is then one conditional write, and an item stays bounded because
attempts, and what each keeps, are.
"""

from collections.abc import Sequence
from datetime import datetime

from shared.domain.ids import MAX_MESSAGE_ID, MessageId
from shared.domain.message import Delivery, Direction, Message, Status
from shared.domain.moments import to_ms
from shared.domain.tenancy import Server
from shared.ports import Absent, Equals, Item, Key, LessThan, Put, Records, Update
from shared.store.delivery_rows import row_text
from shared.store.keys import message_key
from shared.store.message_items import deliveries_of, delivery_attribute, message_item, message_of, without_usual

MAX_DELIVERIES = 40
"""Rows a message keeps; further ones replace the last.  At 8 KB of conversation each, 360 of DynamoDB's 400 KB."""


class Messages:
    """The messages of all servers."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(
        self, server: Server, message: Message, *, expires_at: datetime, rows: Sequence[Delivery] = ()
    ) -> bool:
        """Store a new message, with delivery rows if it has some already; False if its id is taken by another one.

        Twice: True, and nothing changes, because the token is the same.
        """
        key = message_key(server, message.direction, message.id)
        item = {**message_item(message), **_appended(message, rows)}
        if await self._records.put(Put(key, item, expires_at, when=(Absent(),))):
            return True
        there = await self._records.get(key)
        return there is not None and there["token"] == message.token

    async def get(self, server: Server, message_id: MessageId) -> Message | None:
        """Return the message, outgoing or incoming, or None."""
        item = await self._find(server, message_id)
        return message_of(item) if item else None

    async def with_deliveries(self, server: Server, message_id: MessageId) -> tuple[Message, Sequence[Delivery]] | None:
        """Return the message with its delivery rows, oldest first, or None."""
        item = await self._find(server, message_id)
        return (message_of(item), deliveries_of(item)) if item else None

    async def _find(self, server: Server, message_id: MessageId) -> Item | None:
        if not 0 < message_id < MAX_MESSAGE_ID:
            return None  # people and programs ask for all kinds of numbers; these have no moment to look at
        for direction in (Direction.OUTGOING, Direction.INCOMING):
            if item := await self._records.get(message_key(server, direction, message_id)):
                return item
        return None

    async def claim(
        self,
        server: Server,
        message_id: MessageId,
        *,
        attempt: int,
        now: datetime,
        lease_until: datetime,
        direction: Direction = Direction.OUTGOING,
    ) -> Message | None:
        """Take the message for one attempt; None if it is held, leased, past the attempt or missing.

        Twice: the second call finds the lease of the first.
        """
        update = Update(
            message_key(server, direction, message_id),
            set={"lease_until": to_ms(lease_until)},
            add={"claims": 1, "fence": 1},
            when=(Equals("attempt", attempt), Equals("held", value=False), LessThan("lease_until", to_ms(now))),
        )
        item = await self._records.update(update)
        return message_of(item) if item else None

    async def extend_lease(self, server: Server, message: Message, lease_until: datetime) -> bool:
        """Keep a claimed message longer; False if somebody else has claimed or settled it since."""
        update = Update(
            self._key(server, message),
            set={"lease_until": to_ms(lease_until)},
            when=_still_claimed(message),
        )
        return await self._records.update(update) is not None

    async def settle(
        self, server: Server, message: Message, changes: Item, rows: Sequence[Delivery] = ()
    ) -> Message | None:
        """Write what an attempt ended in and free the lease; None if the claim was lost.

        Args:
            server: the message's server.
            message: as ``claim`` returned it.
            changes: attributes to set, as ``message_items`` names them.
            rows: delivery rows to append.
        """
        written, left_out = without_usual({"lease_until": 0, **changes, **_appended(message, rows)})
        update = Update(self._key(server, message), set=written, remove=left_out, when=_still_claimed(message))
        item = await self._records.update(update)
        return message_of(item) if item else None

    async def mark_bounced(self, server: Server, message_id: MessageId) -> bool:
        """Note that a sent message came back; False if it is not one that was sent.  Twice: False."""
        update = Update(
            message_key(server, Direction.OUTGOING, message_id),
            set={"status": Status.BOUNCED.value},
            when=(Equals("status", Status.SENT.value),),
        )
        return await self._records.update(update) is not None

    async def leave_hold(
        self, server: Server, message: Message, changes: Item, rows: Sequence[Delivery] = ()
    ) -> Message | None:
        """Change a held message; None if it is no longer held in this attempt.

        Twice: the second call finds it no longer held.
        """
        written, left_out = without_usual({"held": False, "hold_until": 0, **changes, **_appended(message, rows)})
        update = Update(
            self._key(server, message),
            set=written,
            remove=left_out,
            when=(Equals("attempt", message.attempt), Equals("held", value=True)),
        )
        item = await self._records.update(update)
        return message_of(item) if item else None

    def _key(self, server: Server, message: Message) -> Key:
        return message_key(server, message.direction, message.id)


def _still_claimed(message: Message) -> tuple[Equals, Equals]:
    return Equals("attempt", message.attempt), Equals("fence", message.fence)


def _appended(message: Message, rows: Sequence[Delivery]) -> Item:
    added: Item = {}
    for number, row in enumerate(rows, message.deliveries + 1):
        added[delivery_attribute(min(number, MAX_DELIVERIES))] = row_text(row)
    if rows:
        added["deliveries"] = min(message.deliveries + len(rows), MAX_DELIVERIES)
    return added
