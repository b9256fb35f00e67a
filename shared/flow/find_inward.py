"""Where mail to an address of ours goes: a return path, a report address, a route; or nowhere.

The order is Postal's (app/lib/smtp_server/client.rb, rcpt_to).  A return-path token is
checked by its MAC before anything is read from the store, so guessing costs nothing.
"""

from dataclasses import dataclass

from shared.domain.addresses import domain_of
from shared.domain.dns_records import RETURN_PATH_LABEL
from shared.domain.ids import MessageId, ServerId
from shared.domain.incoming import (
    UNSUBSCRIBE_TAG,
    Destination,
    InwardRefusal,
    ReportKind,
    ToPeople,
    ToReports,
    ToReturnPath,
    ToRoute,
    ToUnsubscribe,
)
from shared.domain.routes import Route, RouteMode, split_local
from shared.flow.find_operator import ABUSE, find_operator, operator_name
from shared.flow.token_keys import TokenSource
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.routes import Routes
from shared.store.servers import Servers
from shared.tokens import Named, return_path_key_id


@dataclass(frozen=True, slots=True)
class Inward:
    """A recipient that takes mail."""

    to: Destination
    address: str
    """The recipient, rewritten where it was a route's token."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What finding needs."""

    settings: Settings
    directory: Directory
    servers: Servers
    routes: Routes
    tokens: TokenSource


async def find_inward(address: str, *, using: Finding) -> Inward | InwardRefusal | None:
    """Return where a checked address leads, why it takes no mail, or None if it is none of ours.

    Raises:
        InvalidValue: the token keys are damaged.
        StorageUnavailable: it cannot be known now.
    """
    domain, operators = domain_of(address), operator_name(address)
    if operators and _is_ours(domain, using.settings):
        return await _operator(operators, address, using)
    if domain == using.settings.return_path_domain.lower() or domain.startswith(f"{RETURN_PATH_LABEL}."):
        return await _return_path(address, using)
    if domain == using.settings.route_domain.lower():
        name, tag = split_local(address.rpartition("@")[0])
        route = await using.routes.by_token(name)
        if route is None or not route.domain:
            return InwardRefusal.NO_SUCH_ROUTE
        return await _route(route, f"{route.name}+{tag}@{route.domain}" if tag else route.address, using)
    route = await using.routes.for_address(address)
    if route is None and operators and domain == using.settings.hostname.lower():
        # Behind routes: the host may have a name that is somebody's domain too.
        return await _operator(operators, address, using)
    return None if route is None else await _route(route, address, using)


async def named_by(token: str, *, tokens: TokenSource) -> Named | None:
    """Return which message a return-path token names; None if we did not make it."""
    key_id = return_path_key_id(token)
    return (await tokens.tokens(key_id)).read_return_path(token) if key_id else None


def _is_ours(domain: str, settings: Settings) -> bool:
    """Whether mail to the domain can be for a tenant only by a token."""
    own = (settings.return_path_domain.lower(), settings.route_domain.lower())
    return domain in own or domain.startswith(f"{RETURN_PATH_LABEL}.")


async def _operator(name: str, address: str, using: Finding) -> Inward | InwardRefusal:
    found = await find_operator(name, settings=using.settings, directory=using.directory, routes=using.routes)
    if name == ABUSE:
        # Reports are for the program, whoever reads the rest.
        return Inward(ToReports(ReportKind.ABUSE, found if isinstance(found, ToPeople) else None), address)
    return Inward(ToRoute(found.route), found.address) if isinstance(found, ToPeople) else found


async def _return_path(address: str, using: Finding) -> Inward | InwardRefusal:
    local, _, domain = address.rpartition("@")
    name = local.lower()
    if name in list(ReportKind) and domain == using.settings.return_path_domain.lower():
        return Inward(ToReports(ReportKind(name)), address)
    unsubscribe = name.startswith(UNSUBSCRIBE_TAG)
    named = await named_by(name.removeprefix(UNSUBSCRIBE_TAG), tokens=using.tokens)
    to: ToReturnPath | ToUnsubscribe
    if named is not None:
        server_id, message_id = ServerId(named.server_id), MessageId(named.message_id)
        to = ToUnsubscribe(server_id, message_id) if unsubscribe else ToReturnPath(server_id, message_id)
    else:
        server = await using.servers.by_token(name) if name.isascii() and name.isalpha() and len(name) < 20 else None
        if server is None:
            return InwardRefusal.NO_SUCH_SERVER
        to = ToReturnPath(server.id)
    tenant = await using.directory.tenant(to.server_id)
    if tenant is None:
        return InwardRefusal.NO_SUCH_SERVER
    return InwardRefusal.SUSPENDED if tenant.suspended else Inward(to, address)


async def _route(route: Route, address: str, using: Finding) -> Inward | InwardRefusal:
    tenant = await using.directory.tenant(route.server_id)
    if tenant is None:
        return InwardRefusal.NO_SUCH_ROUTE
    if tenant.suspended:
        return InwardRefusal.SUSPENDED
    return InwardRefusal.REJECTED if route.mode is RouteMode.REJECT else Inward(ToRoute(route), address)
