"""Where everything lies: the one table of all keys.

| what | partition | sort |
| --- | --- | --- |
| the installation itself | ``installation`` | ``state`` |
| probe of a health check | ``health`` | name of the process |
| user of the dashboard | ``user#{email}`` | ``-`` |
| organization | ``organization#{id}`` | ``organization`` |
| organization in the list of all | ``organizations`` | id |
| permalink, unique | ``permalink#{kind}#{permalink}`` | ``-`` |
| server | ``server#{id}`` | ``server`` |
| token of a server, unique | ``server-token#{token}`` | ``-`` |
| server of an organization | ``organization#{id}#servers`` | server id |
| domain | ``domain#{name}`` | ``s#{server}`` or ``o#{organization}`` |
| domain of an owner | ``server#{id}`` or ``organization#{id}`` | ``domain#{name}`` |
| credential | ``credential#{kind}#{key hash}`` | ``-`` |
| credential of a server | ``server#{id}`` | ``credential#{id}`` |
| SMTP-IP network | ``smtp-ip#{cidr}`` | ``-`` |
| tracking domain of a server | ``server#{id}`` | ``track-domain#{name}`` |
| whose a tracking host is | ``track-host#{name}`` | ``-`` |
| suspended server | ``suspended`` | server id |
| message | ``message#{server}#{direction}#{hour}#{shard}`` | id |
| webhook endpoint | ``server#{id}`` | ``endpoint#{id}`` |
| parcel of notices for an endpoint | ``parcels#{server}#{endpoint}`` | moment it was packed, its id |
| Postal's signing key | ``installation`` | ``postal-key`` |
| held message of a server | ``held#{server}#{shard}`` | id |
| idempotency reservation | ``reservation#{server}#{key hash}`` | ``-`` |
| schedule entry | ``due#{minute}#{shard}`` | due, server, id, attempt, kind |
| schedule cursor | ``schedule`` | ``cursor`` |
| event | ``events#{server}#{hour of the message}#{shard}`` | message, attempt, kind, subject |
| page of the event log | ``log#{server}#{day}#{shard}`` | flush: recording time, shard, random |
| counters of an hour | ``counters#{server}#{day}`` | hour, shard |
| busy server | ``busy`` | server id |
| route | ``route#{domain}`` | name |
| route of a server's return path | ``server#{id}`` | ``return-path-route`` |
| route of a server | ``server#{id}`` | ``route#{name}@{domain}`` |
| token of a route, unique | ``route-token#{token}`` | ``-`` |
| suppression | ``suppression#{s or o}#{server or organization}#{shard}`` | address, or ``{address}#{stream}`` |
| hard failure of late | ``hard-failure#{server}#{shard}`` | address |
| report taken in | ``report#{domain}`` | ``{kind}#{day}#{hash of reporter and id}`` |
| sums of reports | ``reports#{domain}`` | ``{kind}#{day}`` |

All numbers in sort keys are zero-padded, so that text order is number order.

A partition of DynamoDB takes 1,000 write units a second.  What one server alone can
fill is spread over its shards, whose number grows with it (``Server.shards``):
messages and events by id, pages of the log and counters by chance.
tests/unit/test_hot_keys.py has the proof at 10,000 messages a second.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zlib import crc32

from shared.domain.event import Event, EventKind
from shared.domain.ids import EPOCH, RANDOM_BITS, MessageId, ServerId
from shared.domain.message import Direction
from shared.domain.moments import from_ms, to_ms
from shared.domain.tenancy import Server, Shards, shards_at
from shared.ports import Key

SUPPRESSION_SHARDS = 16
"""Partitions of one owner's suppressions: a million are written at more than one partition's pace."""

MS_PER_HOUR = 3_600_000
SCHEDULE_SHARDS = 16
"""A server of 5,000 messages a second that is suspended has all its holds expire in the same minute, a week later."""

COUNTER_SHARDS = 8
"""At least so many items count one hour of a server: transactions that meet on one item disturb each other."""

MAX_LOG_SHARDS = 999


def installation_key() -> Key:
    """Return where the installation's own state lies."""
    return Key("installation", "state")


def health_key(process: str) -> Key:
    """Return where the health check of a process writes."""
    return Key("health", process)


def user_key(email: str) -> Key:
    """Return where a user of the dashboard lies."""
    return Key(f"user#{email}", "-")


def organization_key(organization_id: int) -> Key:
    """Return where an organization lies."""
    return Key(f"organization#{organization_id}", "organization")


def organization_listing_key(organization_id: int) -> Key:
    """Return where an organization stands in the list of all."""
    return Key("organizations", f"{organization_id:010d}")


def permalink_key(kind: str, permalink: str) -> Key:
    """Return where the owner of a permalink is named; kind is organization or server."""
    return Key(f"permalink#{kind}#{permalink}", "-")


def server_key(server_id: int) -> Key:
    """Return where a server lies."""
    return Key(f"server#{server_id}", "server")


def server_token_key(token: str) -> Key:
    """Return where the owner of a server's token is named."""
    return Key(f"server-token#{token}", "-")


def server_listing_key(organization_id: int, server_id: int) -> Key:
    """Return where a server stands in the list of its organization."""
    return Key(f"organization#{organization_id}#servers", f"{server_id:010d}")


def domain_key(name: str, *, server_id: int | None = None, organization_id: int | None = None) -> Key:
    """Return where a domain of that owner lies; a server if one is given."""
    return Key(f"domain#{name}", f"o#{organization_id}" if server_id is None else f"s#{server_id}")


def domain_listing_key(name: str, *, server_id: int | None = None, organization_id: int | None = None) -> Key:
    """Return where a domain stands in the list of its owner."""
    owner = f"organization#{organization_id}" if server_id is None else f"server#{server_id}"
    return Key(owner, f"domain#{name}")


def credential_key(kind: str, key_hash: str) -> Key:
    """Return where the credential with this key lies."""
    return Key(f"credential#{kind}#{key_hash}", "-")


def credential_listing_key(server_id: int, credential_id: int) -> Key:
    """Return where a credential stands in the list of its server."""
    return Key(f"server#{server_id}", f"credential#{credential_id:010d}")


def network_key(cidr: str) -> Key:
    """Return where the SMTP-IP credential of a network lies."""
    return Key(f"smtp-ip#{cidr}", "-")


def track_domain_key(server_id: int, name: str) -> Key:
    """Return where a tracking domain stands in the list of its server."""
    return Key(f"server#{server_id}", f"track-domain#{name}")


def track_host_key(name: str) -> Key:
    """Return where the owner of a tracking host is named."""
    return Key(f"track-host#{name}", "-")


def suspended_key(server_id: int) -> Key:
    """Return where a suspended server stands in the list of all."""
    return Key("suspended", f"{server_id:010d}")


def message_key(server: Server, direction: Direction, message_id: MessageId) -> Key:
    """Return where a message lies: its id tells the hour, and with the server the shard."""
    hour, shard = _hour_and_shard(server.shards, message_id)
    return Key(f"message#{server.id}#{direction.value[0]}#{hour}#{shard}", f"{message_id:016d}")


def _hour_and_shard(shards: Sequence[Shards], message_id: int) -> tuple[int, int]:
    milliseconds = message_id >> RANDOM_BITS
    shard = message_id % shards_at(shards, EPOCH + timedelta(milliseconds=milliseconds))
    return milliseconds // MS_PER_HOUR, shard


def endpoint_key(server_id: int, endpoint_id: int) -> Key:
    """Return where a webhook endpoint lies, among the things of its server."""
    return Key(f"server#{server_id}", f"endpoint#{endpoint_id:010d}")


def parcel_key(server_id: int, endpoint_id: int, packed_at: datetime, parcel_id: str) -> Key:
    """Return where it is noted what became of a parcel."""
    return Key(f"parcels#{server_id}#{endpoint_id}", f"{to_ms(packed_at):013d}#{parcel_id}")


def postal_key_key() -> Key:
    """Return where the key lies that signs as Postal does."""
    return Key("installation", "postal-key")


def held_key(server: Server, message_id: MessageId) -> Key:
    """Return where a held message stands in its server's list."""
    _, shard = _hour_and_shard(server.shards, message_id)
    return Key(f"held#{server.id}#{shard}", f"{message_id:016d}")


def held_partitions(server: Server) -> Sequence[str]:
    """Return where the whole list of a server's held messages lies, of all the shards it ever had."""
    most = max((each.count for each in server.shards), default=1)
    return [f"held#{server.id}#{shard}" for shard in range(most)]


def reservation_key(server_id: int, key_hash: str) -> Key:
    """Return where an idempotency key is reserved."""
    return Key(f"reservation#{server_id}#{key_hash}", "-")


def minute_of(moment: datetime) -> int:
    """Return the number of the minute, counted from 2025, that holds the moment."""
    return int((moment - EPOCH).total_seconds() // 60)


def schedule_partition(minute: int, shard: int) -> str:
    """Return the partition of entries due in a minute."""
    return f"due#{minute}#{shard}"


def schedule_cursor_key() -> Key:
    """Return where the oldest unfinished minute is noted."""
    return Key("schedule", "cursor")


def event_key(event: Event, shards: Sequence[Shards]) -> Key:
    """Return where an event lies: the same event always in the same place, beside the others of its message."""
    name = f"{event.message_id:016d}#{event.attempt:04d}#{event.kind.value}"
    # What concerns no message is rare: it lies under the hour in which it happened.
    about = event.message_id or int((event.at - EPOCH) / timedelta(milliseconds=1)) << RANDOM_BITS
    hour, shard = _hour_and_shard(shards, about)
    return Key(
        f"events#{event.server_id}#{hour}#{shard}",
        f"{name}#{event.subject}" if event.subject else name,
    )


def events_of_message(server: Server, message_id: MessageId) -> tuple[str, str, str]:
    """Return the partition of a message's events, and the range of their sort keys."""
    hour, shard = _hour_and_shard(server.shards, message_id)
    # "$" is the text right after "#".
    return f"events#{server.id}#{hour}#{shard}", f"{message_id:016d}#", f"{message_id:016d}$"


def hits_of_message(server: Server, message_id: MessageId, kind: EventKind) -> tuple[str, str, str]:
    """Return the partition of a message's hits of one kind, and the range of their sort keys."""
    hour, shard = _hour_and_shard(server.shards, message_id)
    name = f"{message_id:016d}#0000#{kind.value}"  # A hit belongs to no attempt.
    return f"events#{server.id}#{hour}#{shard}", f"{name}#", f"{name}$"


def named_by_event_key(key: Key) -> tuple[ServerId, MessageId, int, EventKind, str]:
    """Return what an event's key says of it: server, message, attempt, kind and subject."""
    message_id, attempt, kind, *subject = key.sort.split("#", 3)
    server_id = key.partition.split("#", 2)[1]
    return ServerId(int(server_id)), MessageId(int(message_id)), int(attempt), EventKind(kind), "".join(subject)


def log_key(server_id: int, flush: str) -> Key:
    """Return where a page of the event log lies: the name of its flush tells day and shard."""
    return Key(log_partition(server_id, flushed_at(flush), int(flush[13:16])), flush)


def log_partition(server_id: int, day: datetime, shard: int) -> str:
    """Return the partition of the log pages of a UTC day."""
    return f"log#{server_id}#{day.astimezone(UTC):%Y%m%d}#{shard}"


def flush_name(recorded_ms: int, shard: int, number: int) -> str:
    """Return the name of a flush; names sort by recording time.

    Args:
        recorded_ms: milliseconds since 1970.
        shard: of the log, below ``MAX_LOG_SHARDS``.
        number: random, of 64 bits: no two flushes have the same name.
    """
    return f"{recorded_ms:013d}{shard:03d}{number:016x}"


def flushed_at(flush: str) -> datetime:
    """Return the recording time in a flush's name, or in the beginning of one."""
    return from_ms(int(flush[:13]))


def counters_key(server_id: int, at: datetime, shard: int = 0) -> Key:
    """Return where some of the counters of the hour of that moment lie."""
    return Key(f"counters#{server_id}#{at:%Y%m%d}", f"{at:%H}#{shard:03d}")


def busy_key(server_id: int) -> Key:
    """Return where it stands that a server is busy, and how busy it was."""
    return Key("busy", f"{server_id:010d}")


def suppression_partition(owner: str, owner_id: int, shard: int) -> str:
    """Return a partition of an owner's suppressions; the owner is ``s`` for a server or ``o`` for an organization."""
    return f"suppression#{owner}#{owner_id}#{shard}"


def suppression_key(owner: str, owner_id: int, address: str, stream: str = "") -> Key:
    """Return where a suppression lies; the address is folded, and no domain has a ``#`` in it."""
    sort = f"{address}#{stream}" if stream else address
    return Key(suppression_partition(owner, owner_id, _address_shard(address)), sort)


def hard_failure_key(server_id: int, address: str) -> Key:
    """Return where the latest hard failure of an address is noted."""
    return Key(f"hard-failure#{server_id}#{_address_shard(address)}", address)


def _address_shard(address: str) -> int:
    return crc32(address.encode("utf-8", "surrogatepass")) % SUPPRESSION_SHARDS


def report_key(domain: str, kind: str, at: datetime, name_hash: str) -> Key:
    """Return where a report about a domain's day lies."""
    return Key(report_partition(domain), f"{kind}#{at:%Y%m%d}#{name_hash}")


def report_partition(domain: str) -> str:
    """Return where the reports about a domain lie, by kind and day."""
    return f"report#{domain}"


def report_sums_key(domain: str, kind: str, at: datetime) -> Key:
    """Return where the sums of a domain's reports of one day lie."""
    return Key(report_sums_partition(domain), f"{kind}#{at:%Y%m%d}")


def report_sums_partition(domain: str) -> str:
    """Return where the sums of a domain's reports lie."""
    return f"reports#{domain}"


def route_key(server_id: int, domain: str, name: str) -> Key:
    """Return where a route lies; without a domain, the route of that server's return path."""
    return Key(f"route#{domain}", name) if domain else Key(f"server#{server_id}", "return-path-route")


def route_listing_key(server_id: int, address: str) -> Key:
    """Return where a route stands in the list of its server."""
    return Key(f"server#{server_id}", f"route#{address}")


def route_token_key(token: str) -> Key:
    """Return where the route with this token is named."""
    return Key(f"route-token#{token}", "-")
