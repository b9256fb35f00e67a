"""Routes in the records: by domain and name, by token, and in their server's list."""

from collections.abc import Sequence
from datetime import datetime

from shared.domain.ids import ServerId
from shared.domain.message import Message
from shared.domain.moments import to_ms, to_ms_or_zero
from shared.domain.routes import Route, RouteMode, SpamMode, names_for
from shared.ports import Absent, Condition, Delete, Equals, Exists, Item, Key, Put, Records, Update
from shared.store.items import moment, moment_or_none, number, rows, text
from shared.store.keys import route_key, route_listing_key, route_token_key, server_key
from shared.store.route_targets import target_item, target_of

_LISTED = "route#"
_LISTED_END = "route$"
"""The text right after everything that starts with ``route#``."""


class Routes:
    """Reads and writes routes."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, route: Route) -> bool:
        """Store a new route; False if its address or token is taken, or its server is gone."""
        owner = Update(server_key(route.server_id), set={"id": route.server_id}, when=[Exists()])
        where: Item = {"server_id": route.server_id, "domain": route.domain, "name": route.name}
        return await self._records.atomically(
            [
                Put(_key(route), _to_item(route), when=[Absent()]),
                Put(route_listing_key(route.server_id, route.address), where),
                Put(route_token_key(route.token), where, when=[Absent()]),
                owner,
            ]
        )

    async def get(self, server_id: ServerId, domain: str, name: str) -> Route | None:
        """Return the route; without a domain, that of the server's return path."""
        item = await self._records.get(route_key(server_id, domain, name))
        return None if item is None else _from_item(item)

    async def for_address(self, address: str) -> Route | None:
        """Return the route that takes mail to a checked address: by name, else the wildcard's."""
        domain, names = names_for(address)
        keys = [route_key(0, domain, name) for name in names]
        found = await self._records.get_many(keys)
        return next((_from_item(found[key]) for key in keys if key in found), None)

    async def by_token(self, token: str) -> Route | None:
        """Return the route with that token, or None."""
        where = await self._records.get(route_token_key(token.lower()))
        if where is None:
            return None
        return await self.get(ServerId(number(where, "server_id")), text(where, "domain"), text(where, "name"))

    async def of_message(self, message: Message) -> Route | None:
        """Return the route that took an incoming message, as it is now; None if it is gone."""
        name, at, domain = message.route.rpartition("@")
        return await self.get(message.server_id, domain if at else "", name if at else domain)

    async def page(
        self, server_id: ServerId, cursor: str | None = None, *, limit: int = 100
    ) -> tuple[Sequence[Route], str | None]:
        """Return some routes of a server by address, and the cursor of the next ones, None at the end."""
        partition = route_listing_key(server_id, "").partition
        page = await self._records.query(partition, at_least=_LISTED, below=_LISTED_END, limit=limit, cursor=cursor)
        keys = [route_key(server_id, text(item, "domain"), text(item, "name")) for _, item in page.items]
        found = await self._records.get_many(keys)
        return [_from_item(found[key]) for key in keys if key in found], page.cursor

    async def rotate(self, route: Route, secret: str, *, previous_until: datetime) -> Route | None:
        """Give the route another secret, wrapped; None if it is gone or has got another one meanwhile."""
        wanted: Item = {
            "secret": secret,
            "previous_secret": route.secret,
            "previous_until": to_ms_or_zero(previous_until),
        }
        return await self._change(route, wanted, Equals("secret", route.secret))

    async def change(self, route: Route) -> Route | None:
        """Store mode, spam mode, targets and logins, and return the route as it is now.

        None if it is gone, or somebody else changed them since it was read.
        """
        wanted: Item = {
            "mode": route.mode.value,
            "spam_mode": route.spam_mode.value,
            "targets": [target_item(each) for each in route.targets],
            "logins": route.logins,
            "version": route.version + 1,
        }
        return await self._change(route, wanted, Equals("version", route.version))

    async def _change(self, route: Route, wanted: Item, unchanged: Condition) -> Route | None:
        # Another route of the same address has another token.
        when = (Exists(), Equals("token", route.token), unchanged)
        item = await self._records.update(Update(_key(route), set=wanted, when=when))
        return None if item is None else _from_item(item)

    async def remove(self, route: Route) -> None:
        """Remove it and free its address and token.  Twice: nothing more."""
        await self._records.atomically(
            [
                Delete(_key(route)),
                Delete(route_listing_key(route.server_id, route.address)),
                Delete(route_token_key(route.token)),
            ]
        )


def _key(route: Route) -> Key:
    return route_key(route.server_id, route.domain, route.name)


def _to_item(route: Route) -> Item:
    return {
        "server_id": route.server_id,
        "name": route.name,
        "domain": route.domain,
        "token": route.token,
        "mode": route.mode.value,
        "spam_mode": route.spam_mode.value,
        "created_at": to_ms(route.created_at),
        "secret": route.secret,
        "previous_secret": route.previous_secret,
        "previous_until": to_ms_or_zero(route.previous_until),
        "logins": route.logins,
        "version": route.version,
        "targets": [target_item(each) for each in route.targets],
    }


def _from_item(item: Item) -> Route:
    return Route(
        server_id=ServerId(number(item, "server_id")),
        name=text(item, "name"),
        domain=text(item, "domain"),
        token=text(item, "token"),
        mode=RouteMode(text(item, "mode")),
        created_at=moment(item, "created_at"),
        spam_mode=SpamMode(text(item, "spam_mode")),
        targets=tuple(target_of(row) for row in rows(item, "targets") if isinstance(row, dict)),
        secret=text(item, "secret"),
        previous_secret=text(item, "previous_secret"),
        previous_until=moment_or_none(item, "previous_until"),
        logins=text(item, "logins"),
        version=number(item, "version"),
    )
