"""Rule: what the server of a route makes of what the scanners said of a mail."""

from typing import NamedTuple

from shared.domain.errors import NotFound
from shared.domain.inspection import Inspection, Ruling, rule_incoming
from shared.domain.inspection_fields import inspection_fields
from shared.domain.routes import Route
from shared.store.directory import Directory


class Ruled(NamedTuple):
    """A ruling, and the header fields that tell the route's endpoints of it."""

    ruling: Ruling
    fields: bytes


async def rule(route: Route, inspection: Inspection, *, directory: Directory) -> Ruled:
    """Return what becomes of the mail for this route.

    Raises:
        NotFound: the server was removed since the recipient was named.
        StorageUnavailable: it cannot be known now.
    """
    tenant = await directory.tenant(route.server_id)
    if tenant is None:
        raise NotFound("the server of this address is gone")
    ruling = rule_incoming(inspection, tenant.server, route.spam_mode)
    return Ruled(ruling, inspection_fields(ruling, tenant.server))
