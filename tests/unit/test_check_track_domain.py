"""Tracking domains are looked at again and again: a name that leads nowhere must not stand in new mail."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.dns_check import DNSStatus
from shared.domain.event import Event
from shared.domain.event_names import Dialect
from shared.domain.notice import Notice, server_facts
from shared.domain.tenancy import Scope
from shared.domain.tracking import TrackDomain, tracking_of
from shared.domain.webhook_payload import webhook_body
from shared.flow.check_track_domain import CHECK, check_track_domain
from shared.flow.track_domains import (
    NewTrackDomain,
    add_track_domain,
    delete_track_domain,
    find_track_domain,
    verify_track_domain,
)
from shared.store.track_domains import TrackDomains
from tests.fakes.checking import World
from tests.fakes.installation import install

NAME = "track.example.com"
OURS = "track.localhost"
HOUR = timedelta(hours=1)


async def verified(*, trusted: bool = False) -> tuple[World, TrackDomain]:
    """Return a world with a tracking domain that was just verified."""
    world = World(await install())
    here = world.here
    world.cname[NAME] = OURS
    wanted = NewTrackDomain(name=NAME, scope=Scope.ADMIN, trusted=trusted)
    domain = await add_track_domain(
        wanted, server=here.server, records=here.records, settings=here.settings, now=here.clock()
    )
    if not trusted:
        found = await verify_track_domain(
            domain, records=here.records, resolver=world.resolver(), settings=here.settings, now=here.clock()
        )
        domain = found.domain
    return world, domain


async def now(world: World) -> TrackDomain:
    """Return the domain as it is."""
    return await find_track_domain(NAME, records=world.here.records)


def host(domain: TrackDomain) -> str:
    """Return which host new mail carries."""
    return tracking_of([domain], sending_domain="example.com", shared_host=OURS, opens=None, clicks=None).host


def entries(world: World) -> int:
    """Return how many entries of such checks the schedule holds."""
    return sum(item.get("do") == CHECK for item, _ in world.here.records._kept.values())


class TestCheckTrackDomain:
    async def test_a_record_that_is_gone_is_told_once_and_not_used(self) -> None:
        """Links of new mail would lead nowhere; the installation's own name takes its place."""
        world, domain = await verified()
        assert host(domain) == NAME
        del world.cname[NAME]

        await world.tick(after=HOUR)
        first = await world.events()
        await world.tick(after=2 * HOUR)

        assert [(each["kind"], each["server"], each["data"]["tracking_status"]) for each in first] == [
            ("domain_error", world.here.server.id, "Missing")
        ]
        assert "publish at track.example.com a CNAME record to track.localhost" in first[0]["details"]
        assert await world.events() == []
        assert host(await now(world)) == OURS

    async def test_a_record_that_is_back_is_used_again(self) -> None:
        """And a second loss is news."""
        world, _ = await verified()
        del world.cname[NAME]
        await world.tick(after=HOUR)
        world.cname[NAME] = OURS.upper()

        await world.tick(after=HOUR)
        back = await now(world)
        world.cname[NAME] = "elsewhere.test"
        await world.tick(after=HOUR)

        assert (back.check and back.check.status, host(back)) == (DNSStatus.OK, NAME)
        assert [each["data"]["tracking_status"] for each in await world.events()] == ["Missing", "Invalid"]

    async def test_a_dns_without_an_answer_changes_nothing(self) -> None:
        """Not knowing is temporary; the next look comes all the same."""
        world, _ = await verified()
        world.failing.append(NAME)

        await world.tick(after=HOUR)

        after = await now(world)
        assert (after.check, host(after), await world.events()) == (None, NAME, [])
        assert after.check_due == world.here.clock() + HOUR
        assert entries(world) == 1

    async def test_waits_longer_while_nothing_changes(self) -> None:
        """A check each hour for ever would cost more than it finds; one day is the longest wait."""
        world, _ = await verified()
        waits = []
        for _ in range(8):
            due = (await now(world)).check_due
            assert due is not None
            await world.tick(after=due - world.here.clock())
            found = (await now(world)).check_due
            assert found is not None
            waits.append((found - world.here.clock()) / HOUR)

        assert waits == [1, 1, 2, 4, 8, 16, 24, 24]
        assert entries(world) == 1

    async def test_a_trusted_name_is_not_looked_at(self) -> None:
        """An admin's word stands in for the DNS, which may not have it at all."""
        world, domain = await verified(trusted=True)

        await world.tick(after=HOUR)

        assert (entries(world), host(domain)) == (0, NAME)
        assert (await now(world)).check is None

    async def test_a_kill_after_the_check_is_told_by_the_entry(self) -> None:
        """The entry is still there, and brings the domain back."""
        world, domain = await verified()
        del world.cname[NAME]
        store = TrackDomains(world.here.records)
        world.here.clock.advance(HOUR)
        await check_track_domain(domain, resolver=world.resolver(), using=world.checking, now=world.here.clock())
        told = await now(world)
        assert told.check is not None
        await world.events()
        untold = await store.save_check(told, replace(told.check, told=False), told.check_due)

        await world.tick()

        assert untold is not None
        assert [each["data"]["domain"] for each in await world.events()] == [NAME]
        assert (await now(world)).check == told.check

    async def test_of_two_at_once_one_is_stored(self) -> None:
        """Or the server would be told twice."""
        world, domain = await verified()
        del world.cname[NAME]
        world.here.clock.advance(HOUR)

        found = [
            await check_track_domain(domain, resolver=world.resolver(), using=world.checking, now=world.here.clock())
            for _ in range(2)
        ]

        assert [each is None for each in found] == [False, True]
        assert len(await world.events()) == 1

    async def test_a_removed_domain_is_forgotten(self) -> None:
        """Its entry does nothing, also if the name was added again."""
        world, domain = await verified()
        await delete_track_domain(domain, typed_name=NAME, records=world.here.records)

        await world.tick(after=HOUR)

        assert (entries(world), await world.events()) == (0, [])


class TestPayload:
    @pytest.mark.parametrize(("dialect", "told"), [(Dialect.EDGEPOST, True), (Dialect.POSTAL, False)])
    async def test_only_our_own_dialect_tells_it(self, dialect: Dialect, told: bool) -> None:
        """A receiver of Postal's would look for a sending domain of that name."""
        world, _ = await verified()
        del world.cname[NAME]
        await world.tick(after=HOUR)
        [text] = await world.here.take_events()
        notice = Notice(Event.from_json(text), None, server_facts(world.here.tenant))

        body = webhook_body(notice, dialect)

        assert (body is not None) is told
        if body is not None:
            assert b'"tracking_status":"Missing"' in body
            assert b'"spf_status":null' in body
