"""Where mail to postmaster@ and abuse@ our own names goes: to a route that the operator has named.

RFC 5321 §4.5.1 wants the first at every name for which we take mail, RFC 2142 §4 the second.
The route is an ordinary one, so the mail may go to an application, a host or another address.
Its tag says what was written to: ``operator+abuse@example.com``.
"""

import logging

from shared.domain.incoming import InwardRefusal, ToPeople
from shared.domain.routes import RouteMode, split_local
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.routes import Routes

log = logging.getLogger(__name__)

POSTMASTER = "postmaster"
ABUSE = "abuse"


def operator_name(address: str) -> str | None:
    """Return ``postmaster`` or ``abuse`` if that is whom a checked address names, in any case of its letters."""
    name, _ = split_local(address.rpartition("@")[0])
    return name if name in (POSTMASTER, ABUSE) else None


async def find_operator(
    name: str, *, settings: Settings, directory: Directory, routes: Routes
) -> ToPeople | InwardRefusal:
    """Return the route that takes the operator's mail, or why there is none.

    A setting that names no route is a mistake that is mended soon: the sender is asked to come again.

    Raises:
        StorageUnavailable: it cannot be known now.
    """
    if not settings.postmaster:
        return InwardRefusal.NO_OPERATOR
    route = await routes.for_address(settings.postmaster)
    tenant = None if route is None else await directory.tenant(route.server_id)
    if route is None or tenant is None or tenant.suspended or route.mode is RouteMode.REJECT:
        log.error("postmaster_route_missing", extra={"route": settings.postmaster})
        return InwardRefusal.OPERATOR_MISSING
    local, _, domain = settings.postmaster.rpartition("@")
    return ToPeople(route, f"{local}+{name}@{domain}")
