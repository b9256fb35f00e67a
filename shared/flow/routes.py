"""Routes: made, found, listed, changed, removed, their secrets rotated."""

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.domain.errors import InvalidValue, NameTaken, NotFound, StorageUnavailable
from shared.domain.route_changes import RouteChanges, changed
from shared.domain.routes import (
    RETURN_PATH,
    TOKEN_LENGTH,
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
from shared.flow.endpoints import BOTH_SECRETS
from shared.flow.route_secrets import split_targets, wrapped_logins
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


@dataclass(frozen=True, slots=True)
class IssuedRoute:
    """A route with its secret, which is shown now and stored wrapped."""

    route: Route
    secret: str = field(repr=False)


async def create_route(
    wanted: NewRoute,
    *,
    server: Server,
    allowed: Sequence[Network],
    records: Records,
    keyring: Keyring,
    rng: random.Random,
    now: datetime,
) -> IssuedRoute:
    """Make a route of a server.  Twice: the second is refused.

    Args:
        wanted: name, mode and targets; URLs may hold a user and password.
        server: whose route; the domain must be one that it may use, and verified.
        allowed: private networks that URLs may name.
        records: where it lies.
        keyring: wraps what is secret.
        rng: draws token and secret; the system's.
        now: when it is made.

    Raises:
        InvalidValue: a name, mode or target that cannot be, or a domain that is not verified.
        NameTaken: somebody in the installation has a route for this address.
        NotFound: the server has no such domain.
        StorageUnavailable: the server is gone, or no free token was found.
    """
    name, domain = checked_route(wanted.address)
    targets, logins = split_targets(checked_targets(name, wanted.mode, wanted.targets), allowed)
    if name != RETURN_PATH:
        await _check_domain(domain, server, records)
    store, secret = Routes(records), new_secret(rng)
    for _ in range(MAX_DRAWS):
        token = "".join(rng.choices(string.ascii_lowercase + string.digits, k=TOKEN_LENGTH))
        route = Route(server.id, name, domain, token, wanted.mode, now, wanted.spam_mode, targets)
        route = replace(
            route,
            secret=keyring.wrap(secret.encode(), context=secret_context(route)),
            logins=wrapped_logins(route, logins, keyring),
        )
        if await store.add(route):
            return IssuedRoute(route, secret)
        if await store.get(server.id, domain, name) is not None:
            raise NameTaken(f"there is a route for {route.address} already: edgepost route update changes it")
    raise StorageUnavailable(f"{server.permalink} is gone, or no free token was found")


async def update_route(
    route: Route, changes: RouteChanges, *, allowed: Sequence[Network], records: Records, keyring: Keyring
) -> Route:
    """Change what is given; mail that waits for an endpoint that is still there is sent as it is then.

    Raises:
        InvalidValue: a mode or target that this route may not have.
        NotFound: the route is gone, or somebody else changed it just now.
    """
    wanted = changed(route, changes)
    if changes.targets is not None:
        targets, logins = split_targets(wanted.targets, allowed)
        wanted = replace(wanted, targets=targets, logins=wrapped_logins(route, logins, keyring))
    elif not wanted.targets:
        wanted = replace(wanted, logins="")
    found = await Routes(records).change(wanted)
    if found is None:
        raise _gone(route)
    return found


async def rotate_route_secret(
    route: Route,
    *,
    keep: timedelta = BOTH_SECRETS,
    records: Records,
    keyring: Keyring,
    rng: random.Random,
    now: datetime,
) -> IssuedRoute:
    """Give the route a new secret; the one before signs too for a while, so that no receiver must hurry.

    Raises:
        NotFound: the route is gone, or got another secret just now.
    """
    secret = new_secret(rng)
    wrapped = keyring.wrap(secret.encode(), context=secret_context(route))
    found = await Routes(records).rotate(route, wrapped, previous_until=now + keep)
    if found is None:
        raise _gone(route)
    return IssuedRoute(found, secret)


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
        raise NotFound(f"the server {server.permalink} has no domain {name}: edgepost domain add {name}")
    if not any(each.verified_at for each in usable):
        raise InvalidValue(f"the domain {name} is not verified yet: edgepost domain verify {name}")


def _gone(route: Route) -> NotFound:
    return NotFound(f"there is no route {route.address} any more, or it was changed just now")
