"""Routes: made, found, listed, removed."""

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.endpoint import checked_url
from shared.domain.errors import InvalidValue, NameTaken, NotFound, StorageUnavailable
from shared.domain.routes import (
    RETURN_PATH,
    TOKEN_LENGTH,
    HTTPTarget,
    Route,
    RouteMode,
    SpamMode,
    Target,
    checked_route,
    checked_targets,
    secret_context,
)
from shared.domain.tenancy import Server
from shared.domain.webhook_signature import new_secret
from shared.ports import Keyring, Records
from shared.settings import Network
from shared.store.domains import Domains
from shared.store.paging import every
from shared.store.routes import Routes

MAX_DRAWS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRoute:
    """What somebody says about the route to make."""

    address: str
    """``NAME@DOMAIN``, ``*@DOMAIN`` or ``__returnpath__``."""

    mode: RouteMode = RouteMode.ENDPOINT
    spam_mode: SpamMode = SpamMode.MARK
    targets: Sequence[Target] = ()


async def create_route(
    wanted: NewRoute,
    *,
    server: Server,
    allowed: Sequence[Network],
    records: Records,
    rng: random.Random,
    now: datetime,
) -> Route:
    """Make a route of a server.  Twice: the second is refused.

    Args:
        wanted: name, mode and targets.
        server: whose route; the domain must be one that it may use, and verified.
        allowed: private networks that URLs may name.
        records: where it lies.
        rng: draws the token; the system's.
        now: when it is made.

    Raises:
        InvalidValue: a name, mode or target that cannot be, or a domain that is not verified.
        NameTaken: somebody in the installation has a route for this address.
        NotFound: the server has no such domain.
        StorageUnavailable: the server is gone, or no free token was found.
    """
    name, domain = checked_route(wanted.address)
    targets = tuple(
        replace(each, url=checked_url(each.url, allowed)) if isinstance(each, HTTPTarget) else each
        for each in checked_targets(name, wanted.mode, wanted.targets)
    )
    if name != RETURN_PATH:
        await _check_domain(domain, server, records)
    store = Routes(records)
    for _ in range(MAX_DRAWS):
        token = "".join(rng.choices(string.ascii_lowercase + string.digits, k=TOKEN_LENGTH))
        route = Route(server.id, name, domain, token, wanted.mode, now, wanted.spam_mode, targets)
        if await store.add(route):
            return route
        if await store.get(server.id, domain, name) is not None:
            raise NameTaken(f"there is a route for {route.address} already")
    raise StorageUnavailable(f"{server.permalink} is gone, or no free token was found")


async def issue_secret(route: Route, *, records: Records, keyring: Keyring, rng: random.Random) -> str:
    """Draw the secret that signs what the route's HTTP endpoints get, and return it: it is shown this once.

    Twice: another secret, which counts at once.

    Raises:
        NotFound: the route is gone.
    """
    secret = new_secret(rng)
    if not await Routes(records).set_secret(route, keyring.wrap(secret.encode(), context=secret_context(route))):
        raise NotFound(f"there is no route {route.address} any more")
    return secret


async def find_route(address: str, *, server: Server, records: Records) -> Route:
    """Return a server's route by its address.

    Raises:
        InvalidValue: no form of an address that a route may have.
        NotFound: the server has none.
    """
    name, domain = checked_route(address)
    route = await Routes(records).get(server.id, domain, name)
    # Somebody else's route looks like none.
    if route is None or route.server_id != server.id:
        raise NotFound(f"the server {server.permalink} has no route {address}")
    return route


async def list_routes(
    server: Server, *, records: Records, cursor: str | None = None
) -> tuple[Sequence[Route], str | None]:
    """Return some routes of a server and the cursor of the next ones, None at the end."""
    return await Routes(records).page(server.id, cursor)


async def delete_route(route: Route, *, records: Records) -> None:
    """Remove a route: mail to it is refused from then on.  Twice: nothing more."""
    await Routes(records).remove(route)


async def remove_routes(server: Server, *, records: Records) -> None:
    """Remove all routes of a server.  Twice: nothing more."""
    store = Routes(records)
    async for route in every(lambda cursor: store.page(server.id, cursor)):
        await store.remove(route)


async def _check_domain(name: str, server: Server, records: Records) -> None:
    usable = await Domains(records).usable_by(name, server)
    if not usable:
        raise NotFound(f"the server {server.permalink} has no domain {name}")
    if not any(each.verified_at for each in usable):
        raise InvalidValue(f"the domain {name} is not verified yet")
