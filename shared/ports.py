"""What Edgepost needs from the world outside: one Protocol for each.

Three ports carry all state.  Every method says what a second identical call
does, because everything arrives twice.  All of them raise
``StorageUnavailable`` when the engine did not answer; the write may then have
happened or not.

Values in an item are what JSON can carry without floats: ``str``, ``int``,
``bool``, ``None``, and lists and dicts of these (DynamoDB has no binary
floats, and a float read back must equal the one written).
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeAlias

Value: TypeAlias = str | int | bool | list["Value"] | dict[str, "Value"] | None
Item: TypeAlias = dict[str, Value]


class Key(NamedTuple):
    """The name of one item: items of a partition are kept in the order of ``sort``."""

    partition: str
    sort: str


# --- Conditions: a write happens only if all of its conditions hold.


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no item under the key (an expired one counts as none)."""


@dataclass(frozen=True, slots=True)
class Exists:
    """There is an item under the key."""


@dataclass(frozen=True, slots=True)
class Equals:
    """The attribute is there and has this value."""

    attribute: str
    value: str | int | bool


@dataclass(frozen=True, slots=True)
class LessThan:
    """The attribute is there, is a number, and is below this one."""

    attribute: str
    value: int


Condition: TypeAlias = Absent | Exists | Equals | LessThan


# --- Writes that can also stand in an atomic group.


@dataclass(frozen=True, slots=True)
class Put:
    """Store the item whole, in place of any that was there."""

    key: Key
    item: Item
    expires_at: datetime | None = None
    when: Sequence[Condition] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """Change attributes of one item; without a condition a missing item is made.

    ``set`` replaces values, ``add`` adds to numbers (a missing one counts as
    0), ``remove`` drops attributes.  An attribute may stand in one of the
    three only.  The item keeps its expiry unless ``expires_at`` is given.
    """

    key: Key
    set: Item = field(default_factory=dict)
    add: Mapping[str, int] = field(default_factory=dict)
    remove: Sequence[str] = ()
    expires_at: datetime | None = None
    when: Sequence[Condition] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the item; removing a missing one succeeds."""

    key: Key
    when: Sequence[Condition] = ()


Write: TypeAlias = Put | Update | Delete

MAX_GROUP_WRITES = 25
"""Writes in one atomic group; also the puts AWS takes in one batch (DynamoDB quotas)."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a query: the items in order, and where the next page starts."""

    items: Sequence[tuple[Key, Item]]
    cursor: str | None
    """Pass to the next query of the same partition and range; None at the end."""


class Records(Protocol):
    """Items under (partition, sort key): DynamoDB's shape, which SQLite serves too.

    Reads are consistent: they see every write acknowledged before them.
    Expired items are never returned.  An engine may count expiry in whole
    seconds, rounded up.
    """

    async def get(self, key: Key) -> Item | None:
        """Return the item, or None."""
        ...

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """Return those of the items that exist; any number of keys."""
        ...

    async def put(self, put: Put) -> bool:
        """Store one item; False if a condition did not hold.  Twice: the same item."""
        ...

    async def put_many(self, puts: Sequence[Put]) -> None:
        """Store items without conditions, any number, not as one: some may be seen first.

        Raises:
            ValueError: a put carries a condition.
        """
        ...

    async def update(self, update: Update) -> Item | None:
        """Change one item and return it as it is now; None if a condition did not hold.

        Twice: ``add`` adds twice, unless a condition prevents it.
        """
        ...

    async def delete(self, delete: Delete) -> bool:
        """Remove one item; False if a condition did not hold.  Twice: nothing more."""
        ...

    async def atomically(self, writes: Sequence[Write]) -> bool:
        """Do all writes or none; False if any condition did not hold.

        Each key may stand in one write only.

        Raises:
            ValueError: over ``MAX_GROUP_WRITES`` writes, or a key twice.
        """
        ...

    async def query(
        self,
        partition: str,
        *,
        at_least: str = "",
        below: str | None = None,
        newest_first: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Return items of one partition with ``at_least <= sort < below``, in sort order.

        A page holds at most ``limit`` items and may hold fewer with a cursor.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to put on a queue."""

    body: str
    """JSON, at most 256 KB (SQS took 256 KiB for long; we keep to it)."""

    group: str = ""
    """Fairness group: receiving takes turns between groups (SQS MessageGroupId)."""

    delay: timedelta = timedelta(0)
    """Not visible before this; at most ``MAX_DELAY``."""


MAX_DELAY = timedelta(minutes=15)
"""The longest delay of a queue (SQS DelaySeconds); longer waits are schedule records."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message taken from a queue, hidden from others until its visibility ends."""

    body: str
    receipt: str
    """Names this receive; worthless once the message was received again."""

    receives: int
    """How often it has been received, counting this time."""

    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """How much lies on a queue."""

    ready: int
    delayed: int
    in_flight: int
    dead: int


class Queue(Protocol):
    """One named queue: at least once, in no order, fair between groups.

    A message received more often than the queue's limit becomes a dead letter.
    """

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Put messages on the queue, any number.  Twice: they are there twice."""
        ...

    async def receive(self, limit: int, *, wait: timedelta, visibility: timedelta) -> Sequence[Received]:
        """Take up to ``limit`` (1-10) messages; waits up to ``wait`` for the first.

        Cancelled: nothing stays taken.
        """
        ...

    async def extend(self, receipts: Sequence[str], visibility: timedelta) -> None:
        """Set how long from now the messages stay hidden; 0 returns them at once.

        A receipt that is no longer valid is ignored.
        """
        ...

    async def delete(self, receipts: Sequence[str]) -> None:
        """Remove messages.  Twice, or with an outdated receipt: nothing happens."""
        ...

    async def depth(self) -> Depth:
        """Count what lies on the queue; on AWS an approximation."""
        ...


class Bodies(Protocol):
    """Write-once bytes by key, compressed at rest: raw messages with CRLF line ends."""

    async def put(self, key: str, raw: bytes, *, expires_at: datetime) -> None:
        """Store the bytes durably.  Twice: the same bytes under the same key."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Return exactly the bytes that were put, or None if gone or expired.

        Raises:
            StorageUnavailable: also when the bytes read are not those written.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the bytes.  Twice: nothing more."""
        ...


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """Where a client PUTs the bytes of one upload; whoever has the URL may."""

    url: str
    headers: Mapping[str, str]
    """To be sent exactly so, besides Content-Length."""


class Uploads(Protocol):
    """Large requests that clients bring by themselves, past the door (Lambda takes 6 MB)."""

    async def make_target(self, key: str, *, size_bytes: int, expires_at: datetime) -> UploadTarget:
        """Return where exactly so many bytes may be put until then.

        Twice: another target of the same upload; what is put last counts.
        """
        ...

    async def write(self, ticket: str, chunks: AsyncIterator[bytes]) -> None:
        """Store what was put to a target that is an address of our own API.

        Nothing is read for a ticket that is not good.  Twice: the last bytes count.

        Args:
            ticket: the end of the target's path.
            chunks: the body as it comes.

        Raises:
            NotFound: no such target, or no longer; always where targets are addresses of others.
            InvalidValue: not exactly as many bytes as the target is for.
        """
        ...

    async def read(self, key: str) -> bytes | None:
        """Return the bytes that were put, whole, or None if there are none (or no longer)."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the bytes.  Twice: nothing more."""
        ...


class Keyring(Protocol):
    """Wraps secrets for storage under the installation's master key."""

    def wrap(self, secret: bytes, *, context: str) -> str:
        """Return text from which only ``unwrap`` with the same context gets the secret."""
        ...

    def unwrap(self, wrapped: str, *, context: str) -> bytes:
        """Return the secret.

        Raises:
            InvalidValue: another master key or context wrapped it, or it was altered.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that holds state, opened together by a ``wiring.py``."""

    records: Records
    bodies: Bodies
    work: Mapping[str, Queue]
    """One queue of jobs per IP pool."""

    events: Queue
    keyring: Keyring
    webhooks: Queue
    """Parcels of notices, each for one endpoint."""

    inbound: Queue
    """Jobs of incoming mail that no node carries: for HTTP endpoints, and routes without endpoint."""

    uploads: Uploads


Clock: TypeAlias = Callable[[], datetime]
"""Returns the present moment, aware and in UTC."""


class TokenKeyStore(Protocol):
    """Where the keys of tokens lie (shared.tokens); every part of the installation reads the same."""

    def read(self) -> str | None:
        """Return them as text, or None if there are none yet."""
        ...

    def write(self, text: str, *, instead_of: str | None) -> bool:
        """Put the text in place whole and durably; False if something else than ``instead_of`` was there."""
        ...


class SecretsFile(Protocol):
    """A file that only its owner can read."""

    def read(self) -> str | None:
        """Return its text, or None if there is none."""
        ...

    def write(self, content: str) -> None:
        """Put the text in place whole or not at all, durably.  Twice: the same."""
        ...
