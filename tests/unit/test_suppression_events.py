"""Who is told of changes of the lists: the server, or each server of the organization."""

import io
import random
from datetime import timedelta

import pytest

from shared.domain.edgepost_payload import payload_of
from shared.domain.event import Event, EventKind
from shared.domain.notice import Notice
from shared.domain.parcel import Parcel
from shared.domain.suppression import Reason, Scope
from shared.domain.tenancy import Server
from shared.flow.endpoints import NewEndpoint, create_endpoint
from shared.flow.hand_on import HandingOn, hand_on
from shared.flow.organizations import create_organization
from shared.flow.servers import NewServer, create_server
from shared.flow.suppress import Cause, Suppressing, suppress, unsuppress
from shared.flow.suppression_files import import_suppressions
from shared.store.endpoints import Endpoints
from tests.fakes.installation import Installation, install

ADDRESS = "user@dest.test"
MANUAL = Cause(reason=Reason.MANUAL)


async def another_server(here: Installation, name: str) -> Server:
    """Make a further server of the organization."""
    wanted = NewServer(name=name)
    organization = here.tenant.organization
    rng = random.Random(name)
    return await create_server(wanted, organization=organization, records=here.records, rng=rng, now=here.clock())


async def strangers_server(here: Installation) -> Server:
    """Make a server of another organization."""
    rng = random.Random(9)
    other = await create_organization("Other", records=here.records, rng=rng, now=here.clock())
    return await create_server(
        NewServer(name="Theirs"), organization=other, records=here.records, rng=rng, now=here.clock()
    )


async def listen(here: Installation, server: Server) -> None:
    """Have an endpoint of the server told of everything."""
    await create_endpoint(
        NewEndpoint(url="https://hooks.dest.test/"),
        server=server,
        records=here.records,
        keyring=here.stores.keyring,
        allowed=(),
        rng=here.rng,
        now=here.clock(),
    )


async def told(here: Installation) -> list[Event]:
    """Return and take away the events so far."""
    return [Event.from_json(text) for text in await here.take_events()]


def whole(here: Installation) -> Scope:
    """Return the scope of the organization's list."""
    return Scope(here.tenant.organization.id, organization=True)


class TestTellServers:
    async def test_each_server_of_the_organization_is_told(self) -> None:
        """The entry holds the mail of all of them, and only theirs."""
        here = await install()
        second = await another_server(here, "Second")
        await strangers_server(here)
        using = Suppressing.over(here.stores, here.settings)

        await suppress(whole(here), ADDRESS, MANUAL, until=None, using=using, now=here.clock())
        added = await told(here)
        await unsuppress(whole(here), ADDRESS, MANUAL, using=using, now=here.clock())
        removed = await told(here)

        both = sorted([here.server.id, second.id])
        assert sorted(each.server_id for each in added) == sorted(each.server_id for each in removed) == both
        assert {each.kind for each in added} == {EventKind.SUPPRESSION_ADDED}
        assert {each.data["scope"] for each in added} == {"organization"}
        assert len({each.id for each in added + removed}) == 4

    async def test_more_servers_than_a_page_are_told(self) -> None:
        """The list of servers is read page by page."""
        here = await install()
        for number in range(130):
            await another_server(here, f"Server {number}")

        using = Suppressing.over(here.stores, here.settings)
        await suppress(whole(here), ADDRESS, MANUAL, until=None, using=using, now=here.clock())

        assert len({each.server_id for each in await told(here)}) == 131

    async def test_an_import_tells_each_server_once(self) -> None:
        """An event for each address and server would be a flood."""
        here = await install()
        await another_server(here, "Second")

        await import_suppressions(
            io.StringIO("a@dest.test\nb@dest.test\n"),
            whole(here),
            source="import 1",
            using=Suppressing.over(here.stores, here.settings),
            now=here.clock(),
        )

        assert [(each.data["address"], each.data["count"]) for each in await told(here)] == [("*", 2)] * 2

    @pytest.mark.parametrize("stream", ["", "news"])
    async def test_a_servers_list_concerns_that_server(self, stream: str) -> None:
        """Its neighbours still send to the address."""
        here = await install()
        await another_server(here, "Second")
        using = Suppressing.over(here.stores, here.settings)

        await suppress(Scope(here.server.id, stream=stream), ADDRESS, MANUAL, until=None, using=using, now=here.clock())

        assert [each.server_id for each in await told(here)] == [here.server.id]

    @pytest.mark.parametrize(("stream", "words"), [("", ("server", None)), ("news", ("stream", "news"))])
    async def test_says_which_mail_is_meant(self, stream: str, words: tuple[str, str | None]) -> None:
        """Who keeps the list elsewhere too must not stop all mail for one stream, nor one server's for all."""
        here = await install()
        using, now = Suppressing.over(here.stores, here.settings), here.clock()
        until = now + timedelta(days=1)

        for scope in (Scope(here.server.id, stream=stream), whole(here)):
            await suppress(scope, ADDRESS, MANUAL, until=until, using=using, now=now)
            await unsuppress(scope, ADDRESS, MANUAL, using=using, now=now)
        payloads = [payload_of(Notice(each)) for each in await told(here)]

        every = [words, words, ("organization", None), ("organization", None)]
        assert [(each["scope"], each["stream"]) for each in payloads] == every
        assert [each["until"] for each in payloads] == [until.timestamp(), None] * 2

    async def test_reaches_the_webhooks_of_each_server(self) -> None:
        """Without it an organization's change was in nobody's webhooks."""
        here = await install()
        second = await another_server(here, "Second")
        theirs = await strangers_server(here)
        for server in (here.server, second, theirs):
            await listen(here, server)
        using = Suppressing.over(here.stores, here.settings)
        await suppress(whole(here), ADDRESS, MANUAL, until=None, using=using, now=here.clock())

        handing = HandingOn(Endpoints(here.records), here.directory, here.messages, here.stores.webhooks)
        await hand_on(await told(here), using=handing)

        got = await here.stores.webhooks.receive(10, wait=timedelta(0), visibility=timedelta(seconds=30))
        parcels = [Parcel.from_json(each.body) for each in got]
        assert sorted(each.server_id for each in parcels) == sorted([here.server.id, second.id])
