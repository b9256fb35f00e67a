"""Where everything lies: the one table of all keys.

| what | partition | sort |
| --- | --- | --- |
| the installation itself | ``installation`` | ``state`` |
| probe of a health check | ``health`` | name of the process |
| user of the dashboard | ``user#{email}`` | ``-`` |
| organization | ``organizations`` | id |
| permalink, unique | ``permalink#{kind}#{permalink}`` | ``-`` |
| server | ``server#{id}`` | ``server`` |
| server of an organization | ``organization#{id}#servers`` | server id |
| domain | ``domain#{name}`` | ``s#{server}`` or ``o#{organization}`` |
| domain of an owner | ``server#{id}`` or ``organization#{id}`` | ``domain#{name}`` |
| credential | ``credential#{kind}#{key hash}`` | ``-`` |
| credential of a server | ``server#{id}`` | ``credential#{id}`` |
| SMTP-IP network | ``smtp-ip#{cidr}`` | ``-`` |
| message | ``message#{server}#{direction}#{hour}#{shard}`` | id |
| held message of a server | ``held#{server}`` | id |
| idempotency reservation | ``reservation#{server}#{key hash}`` | ``-`` |
| schedule entry | ``due#{minute}#{shard}`` | due, server, id, attempt, kind |
| schedule cursor | ``schedule`` | ``cursor`` |
| event | ``events#{server}#{hour of the message}#{shard}`` | message, attempt, kind, subject |
| counters of an hour | ``counters#{server}#{day}`` | hour |
| suppression | ``suppression#{s or o}#{server or organization}#{shard}`` | address, or ``{address}#{stream}`` |
| hard failure of late | ``hard-failure#{server}#{shard}`` | address |
| report taken in | ``report#{kind}#{hash of reporter, id and domain}`` | ``-`` |
| sums of reports | ``reports#{domain}`` | ``{kind}#{day}`` |

All numbers in sort keys are zero-padded, so that text order is number order.
"""

from datetime import datetime, timedelta
from zlib import crc32

from shared.domain.event import Event
from shared.domain.ids import EPOCH, RANDOM_BITS, MessageId
from shared.domain.message import Direction
from shared.domain.tenancy import Server
from shared.ports import Key

SUPPRESSION_SHARDS = 16
"""Partitions of one owner's suppressions: a million are written at more than one partition's pace."""

MS_PER_HOUR = 3_600_000
SCHEDULE_SHARDS = 4


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
    return Key("organizations", f"{organization_id:010d}")


def permalink_key(kind: str, permalink: str) -> Key:
    """Return where the owner of a permalink is named; kind is organization or server."""
    return Key(f"permalink#{kind}#{permalink}", "-")


def server_key(server_id: int) -> Key:
    """Return where a server lies."""
    return Key(f"server#{server_id}", "server")


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


def message_key(server: Server, direction: Direction, message_id: MessageId) -> Key:
    """Return where a message lies: its id tells the hour, and with the server the shard."""
    milliseconds = message_id >> RANDOM_BITS
    shard = message_id % _shard_count(server, milliseconds)
    hour = milliseconds // MS_PER_HOUR
    return Key(f"message#{server.id}#{direction.value[0]}#{hour}#{shard}", f"{message_id:016d}")


def _shard_count(server: Server, milliseconds: int) -> int:
    at = EPOCH + timedelta(milliseconds=milliseconds)
    count = 1
    for shards in server.shards:
        if shards.since <= at:
            count = shards.count
    return count


def held_key(server_id: int, message_id: int) -> Key:
    """Return where a held message stands in its server's list."""
    return Key(f"held#{server_id}", f"{message_id:016d}")


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


def event_key(event: Event) -> Key:
    """Return where an event lies: the same event always in the same place."""
    milliseconds = event.message_id >> RANDOM_BITS if event.message_id else _milliseconds(event.at)
    shard = event.message_id % SCHEDULE_SHARDS
    name = f"{event.message_id:016d}#{event.attempt:04d}#{event.kind.value}"
    sort = f"{name}#{event.subject}" if event.subject else name
    return Key(f"events#{event.server_id}#{milliseconds // MS_PER_HOUR}#{shard}", sort)


def _milliseconds(at: datetime) -> int:
    return int((at - EPOCH) / timedelta(milliseconds=1))


def counters_key(server_id: int, at: datetime) -> Key:
    """Return where the counters of the hour of that moment lie."""
    return Key(f"counters#{server_id}#{at:%Y%m%d}", f"{at:%H}")


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


def report_key(kind: str, name_hash: str) -> Key:
    """Return where it is noted that a report was taken in."""
    return Key(f"report#{kind}#{name_hash}", "-")


def report_sums_key(domain: str, kind: str, at: datetime) -> Key:
    """Return where the sums of a domain's reports of one day lie."""
    return Key(report_sums_partition(domain), f"{kind}#{at:%Y%m%d}")


def report_sums_partition(domain: str) -> str:
    """Return where the sums of a domain's reports lie."""
    return f"reports#{domain}"
