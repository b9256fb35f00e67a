"""Plan the next look at a domain's DNS records: one entry of the schedule.

The domain says when its check is due.  Entries for other moments are left over from
a crash, or from a check that came before its time, and do nothing.
"""

from datetime import timedelta
from zlib import crc32

from shared.domain.moments import to_ms
from shared.domain.tenancy import Domain
from shared.ports import Item, Records
from shared.settings import Settings
from shared.store.schedule import Entry, Schedule

CHECK_AFTER = timedelta(hours=1)
"""As ``Settings.domain_check`` by default."""


def check_wait(settings: Settings) -> timedelta:
    """Return the shortest wait between two checks."""
    return settings.domain_check / settings.time_factor


async def plan_check(domain: Domain, records: Records) -> None:
    """Put the entry for the moment in ``domain.check_due``, if there is one.

    Before the domain says so: one that says so has its entry.  Twice: the same entry.
    """
    if domain.check_due is None:
        return
    server_id = domain.server_id or 0
    item: Item = {
        "do": "check_domain",
        "domain": domain.name,
        "server": server_id,
        "organization": domain.organization_id,
        "due": to_ms(domain.check_due),
    }
    # Where others have a message's id, a number of the name spreads the entries over the shards.
    kind = f"check#{domain.organization_id}#{domain.name}"
    await Schedule(records).put(Entry(domain.check_due, server_id, crc32(domain.name.encode()), 0, kind, item))
