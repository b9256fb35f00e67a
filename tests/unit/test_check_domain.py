"""Checks of sending domains: planned once, told once, whatever is repeated or killed."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.dns_records import dkim_record, ownership_value
from shared.domain.errors import StorageUnavailable
from shared.domain.event import Event
from shared.domain.tenancy import DKIMAlgorithm, Scope
from shared.flow.domains import NewDomain, add_domain, delete_domain, find_domain
from shared.flow.due import PUT_OFF
from shared.flow.servers import NewServer, create_server
from shared.flow.verify_domain import verify_domain
from shared.ports import Update
from shared.store.keys import domain_key
from tests.fakes.checking import World
from tests.fakes.installation import install
from tests.fakes.resolver import FakeResolver

HOUR = timedelta(hours=1)


@pytest.fixture
async def world() -> World:
    """Return a fresh one for each test."""
    return World(await install())


class TestPlan:
    async def test_verified_domain_is_looked_at_after_an_hour_then_ever_later(self, world: World) -> None:
        """One entry at any time, and no question to the DNS in between."""
        await world.add()
        world.resolvers.clear()

        looks = []
        for hour in range(60):
            if await world.tick(after=HOUR):
                looks.append(hour + 1)
            assert world.entries() == 1

        assert looks == [1, 2, 3, 5, 9, 17, 33, 57]
        assert [len(each.asked) for each in world.resolvers] == [5] * len(looks)
        assert await world.events() == []

    async def test_verifying_at_once_plans_one_chain(self, world: World) -> None:
        """Entries that the domain does not know of end there."""
        domain = await world.add()
        world.here.clock.advance(timedelta(seconds=1))
        await verify_domain(
            replace(domain, verified_at=None),
            records=world.here.records,
            resolver=world.resolver(),
            return_path_domain="rp.localhost",
            now=world.here.clock(),
        )
        assert world.entries() == 2
        await world.tick(after=HOUR)
        assert world.entries() == 1

    async def test_check_by_hand_replans(self, world: World) -> None:
        """The entry of before does nothing."""
        domain = await world.add()
        world.here.clock.advance(HOUR / 2)
        await world.check(domain)
        world.resolvers.clear()
        assert await world.tick(after=HOUR / 2) == 1
        assert world.resolvers == [] or world.resolvers[0].asked == []
        assert await world.tick(after=HOUR / 2) == 1
        assert world.resolvers[-1].asked

    @pytest.mark.parametrize("by", ["verify", "check"])
    async def test_domain_of_before_gets_its_entry_by_verify_or_check(self, world: World, by: str) -> None:
        """There is no scan that would find it; its item has none of the attributes of today."""
        domain = await world.add()
        await world.here.records.update(
            Update(
                domain_key(domain.name, server_id=domain.server_id),
                remove=["check_due", "dns_at", "own_return_path"],
            )
        )
        for entry in [key for key in world.here.records._kept if key.sort.endswith("#example.com")]:
            del world.here.records._kept[entry]
        old = await find_domain("example.com", records=world.here.records)
        assert (old.check_due, world.entries()) == (None, 0)

        if by == "check":
            await world.check(old)
        else:
            await verify_domain(
                old,
                records=world.here.records,
                resolver=world.resolver(),
                return_path_domain="rp.localhost",
                now=world.here.clock(),
            )
        world.txt[domain.name] = []
        await world.tick(after=HOUR)

        assert world.entries() == 1
        assert len(await world.events()) == 1

    async def test_check_of_before_the_verification_ends_no_chain(self, world: World) -> None:
        """It was still asking when the domain was verified."""
        domain = await world.add()
        await world.check(replace(domain, verified_at=None, check_due=None))
        assert (await find_domain("example.com", records=world.here.records)).check_due == domain.check_due

    async def test_removed_domain_is_forgotten(self, world: World) -> None:
        """And one of the same name that was added since has a chain of its own."""
        domain = await world.add()
        await delete_domain(domain, typed_name=domain.name, records=world.here.records)
        world.here.clock.advance(timedelta(minutes=1))
        await world.add()
        await world.tick(after=HOUR)
        assert world.entries() == 1
        assert await world.events() == []

    async def test_unverified_domain_is_checked_by_hand_only(self, world: World) -> None:
        """Its owner is still setting it up: nobody is told, and it counts as new once it is verified."""
        domain = await add_domain(
            NewDomain(name="new.test", algorithms=[DKIMAlgorithm.RSA], scope=Scope.SERVER),
            owner=world.here.server,
            records=world.here.records,
            keyring=world.here.stores.keyring,
            rng=world.here.rng,
            now=world.here.clock(),
        )
        checked = await world.check(domain)
        assert checked.domain.check is not None
        assert not checked.domain.check.ok
        assert (world.entries(), await world.events()) == (0, [])

        world.here.clock.advance(timedelta(minutes=1))
        world.txt[domain.name] = [ownership_value(domain)]
        await verify_domain(
            domain,
            records=world.here.records,
            resolver=world.resolver(),
            return_path_domain="rp.localhost",
            now=world.here.clock(),
        )
        await world.tick(after=HOUR)
        assert len(await world.events()) == 1


class TestTold:
    async def test_lost_record_is_one_event_with_the_payloads_words(self, world: World) -> None:
        """However long it stays lost; when it is back and lost again, another."""
        domain = await world.add()
        await world.tick(after=HOUR)
        name, value = dkim_record(domain.name, domain.keys[0])
        del world.txt[name]

        await world.tick(after=HOUR)
        (event,) = await world.events()
        for _ in range(10):
            await world.tick(after=HOUR)

        assert await world.events() == []
        assert (event["kind"], event["server"], event["message"]) == ("domain_error", world.here.server.id, 0)
        assert event["data"] == {
            "domain": "example.com",
            "spf_status": "OK",
            "dkim_status": "Missing",
            "dkim_error": f"{name} has no TXT record; edgepost domain show example.com prints what to publish",
            "mx_status": "Missing",
            "mx_error": "example.com has no MX record; mail to it comes here only with one to localhost",
            "return_path_status": "Missing",
            "return_path_error": "psrp.example.com has no CNAME record; publish there a CNAME record to rp.localhost",
        }
        assert name in event["details"]
        world.txt[name] = [value]
        await world.check(await find_domain("example.com", records=world.here.records))
        del world.txt[name]
        await world.check(await find_domain("example.com", records=world.here.records))
        assert len(await world.events()) == 1

    async def test_no_answer_is_no_news(self, world: World) -> None:
        """Not knowing changes nothing, for one record or all."""
        domain = await world.add()
        await world.tick(after=HOUR)
        before = (await find_domain("example.com", records=world.here.records)).check
        world.failing += [*world.txt, "psrp.example.com"]
        await world.tick(after=HOUR)
        after = await find_domain("example.com", records=world.here.records)
        assert after.check == before
        assert after.verified_at == domain.verified_at
        assert (world.entries(), await world.events()) == (1, [])

    async def test_own_return_path_is_used_only_while_its_alias_is_right(self, world: World) -> None:
        """Bounces to a name that leads elsewhere would be lost; a name server that fails says nothing of it."""
        await world.add()
        for alias, failing, used in (
            ("rp.localhost", [], True),
            ("rp.localhost", ["psrp.example.com"], True),
            ("elsewhere.test", [], False),
            ("elsewhere.test", ["psrp.example.com"], False),
        ):
            world.cname["psrp.example.com"], world.failing = alias, list(failing)
            world.here.clock.advance(timedelta(minutes=1))
            checked = await world.check(await find_domain("example.com", records=world.here.records))
            assert checked.domain.own_return_path is used
        (event,) = await world.events()
        assert event["data"]["return_path_status"] == "Invalid"

    async def test_twice_at_once_is_one_event(self, world: World) -> None:
        """Two runs of the every-minute stage, and somebody at the command line."""
        domain = await world.add()
        world.txt[domain.name] = []
        world.here.clock.advance(HOUR)
        await asyncio.gather(world.tick(), world.tick(), world.check(domain))
        assert len({event["id"] for event in await world.events()}) == 1

    async def test_of_two_that_read_the_same_the_slower_tells_nothing(self, world: World) -> None:
        """Its question to the DNS may be older than the other's answer."""
        domain = await world.add()
        world.txt[domain.name] = []
        first = await world.check(domain)
        world.here.clock.advance(timedelta(seconds=1))
        second = await world.check(domain)
        assert first.domain.check is not None
        assert second.domain.check is not None
        assert second.domain.check.at == first.domain.check.at
        assert len(await world.events()) == 1

    @pytest.mark.parametrize("failing", ["send", "update", "remove"])
    async def test_killed_at_any_step_is_one_event(
        self, world: World, failing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The entry is still there: the next run completes it, with the same id."""
        domain = await world.add()
        world.txt[domain.name] = []
        here = world.here
        broken = {"send": here.events, "update": here.records, "remove": here.records}[failing]
        method = {"send": "send", "update": "update", "remove": "delete"}[failing]
        usual, calls = getattr(broken, method), 0

        async def breaking(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            # The second update notes that the servers were told.
            if calls == (2 if failing == "update" else 1):
                raise StorageUnavailable("killed")
            return await usual(*arguments)

        monkeypatch.setattr(broken, method, breaking)
        with pytest.raises(StorageUnavailable):
            await world.tick(after=HOUR)
        await world.tick(after=timedelta(minutes=1))
        await world.tick(after=timedelta(minutes=1))

        assert len({event["id"] for event in await world.events()}) == 1
        assert (await find_domain("example.com", records=here.records)).check is not None
        assert world.entries() == 1

    async def test_organizations_domain_concerns_the_servers_without_their_own(self, world: World) -> None:
        """Each has its own event log and webhooks."""
        here = world.here
        second = await create_server(
            NewServer(name="Second"),
            organization=here.tenant.organization,
            records=here.records,
            rng=here.rng,
            now=here.clock(),
        )
        third = await create_server(
            NewServer(name="Third"),
            organization=here.tenant.organization,
            records=here.records,
            rng=here.rng,
            now=here.clock(),
        )
        await world.add(owner=third)
        shared = await world.add(owner=here.tenant.organization)
        world.txt[shared.name] = []

        await world.check(shared)

        events = await world.events()
        assert {event["server"] for event in events} == {here.server.id, second.id}
        assert len({event["id"] for event in events}) == 2

    async def test_trusted_domain_that_is_not_in_the_dns_is_left_alone(self, world: World) -> None:
        """The first domain of every trial installation."""
        world.missing.append(world.here.domain.name)
        checked = await world.check(world.here.domain)
        assert checked.domain.check is not None
        assert not checked.domain.check.exists
        assert await world.events() == []

    async def test_long_names_and_a_hostile_dns_fit(self, world: World) -> None:
        """Subjects have 200 characters, events 256 KB, items 400."""
        name = ".".join(["a" * 63] * 3 + ["b" * 50, "test"])
        domain = await world.add(name)
        world.txt |= {each: ["v=spf1 \x00\x1b" + "\U0001f600" * 5000] * 50 for each in world.txt}
        await world.check(domain)
        (event,) = await world.events()
        assert len(event["subject"]) <= 200
        assert len(json.dumps(event)) < 8000
        assert Event.from_json(json.dumps(event)).id


class TestDueChecks:
    async def test_mail_goes_first_and_slow_checks_are_put_off(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Name servers of strangers decide how long a check takes: they may not hold up the stage."""
        await world.add()
        monkeypatch.setattr("shared.flow.due_checks.BUDGET_S", 0.0)
        assert await world.tick(after=HOUR) == 1
        assert world.entries() == 1
        monkeypatch.undo()
        world.resolvers.clear()
        assert await world.tick(after=PUT_OFF) == 1
        assert world.resolvers[0].asked

    async def test_one_that_hangs_is_put_off_and_the_others_are_done(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A dead name server costs one run its budget, never its neighbours their check."""
        await world.add("slow.test")
        await world.add("fast.test")

        class Hanging(FakeResolver):
            async def cname(self, name: str) -> str | None:
                if "slow" in name:
                    await asyncio.Event().wait()
                return await super().cname(name)

        monkeypatch.setattr("shared.flow.due_checks.BUDGET_S", 0.05)
        world.resolver = lambda: Hanging(txt=world.txt)  # type: ignore[method-assign]
        await world.tick(after=HOUR)

        fast, slow = [await find_domain(name, records=world.here.records) for name in ("fast.test", "slow.test")]
        assert fast.check is not None
        assert slow.check is None
        assert world.entries() == 2
