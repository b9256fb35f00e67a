"""The simulator: everything happens, nothing leaves, and no attempt tells anything twice."""

import json
from datetime import timedelta

import pytest

from shared.domain.errors import InvalidValue
from shared.domain.message import Status
from shared.domain.simulator import DOMAIN, is_simulated
from shared.flow.claim import Claimed
from shared.settings import Settings
from smtp_node.deliver.heartbeat import InHand
from tests.fakes.installation import RAW, Installation, install
from tests.unit.test_deliver_worker import ScriptedSender, worker_of


async def course(here: Installation, recipient: str, **changes: object) -> tuple[Status, list[str]]:
    """Send a message its whole course and return its status and the kinds of its events."""
    sender = ScriptedSender()
    message = await here.accept_one(recipient, **changes)
    worker = worker_of(here, sender)
    [received] = await here.work.receive(10, wait=timedelta(0), visibility=timedelta(seconds=30))
    await worker.jobs.work(received, InHand("default", here.work, received.receipt))
    here.clock.advance(timedelta(seconds=5))
    assert not sender.plans, "something would have left"
    kinds = sorted(json.loads(each)["kind"] for each in await here.take_events())
    return (await here.message(message.id)).status, kinds


class TestCourse:
    @pytest.mark.parametrize(
        ("name", "status", "kinds"),
        [
            ("delivered", Status.SENT, ["delivered"]),
            ("DELIVERED+some.tag", Status.SENT, ["delivered"]),
            ("hardbounce", Status.SENT, ["bounced", "delivered"]),
            ("softbounce", Status.SENT, ["bounced", "delivered"]),
            ("complaint", Status.SENT, ["complained", "delivered"]),
            ("open", Status.SENT, ["delivered", "opened"]),
            ("click", Status.SENT, ["clicked", "delivered", "opened"]),
            ("delayed", Status.SOFT_FAIL, ["delayed"]),
            ("suppressed", Status.HELD, ["held"]),
            ("whoever", Status.HARD_FAIL, ["failed"]),
        ],
    )
    async def test_of_each_recipient(self, name: str, status: Status, kinds: list[str]) -> None:
        """These are what documentation promises a developer."""
        assert await course(await install(), f"{name}@{DOMAIN}") == (status, kinds)

    async def test_test_mode_delivers_to_anybody(self) -> None:
        """By the request, or by a header."""
        header = b"X-Edgepost-Test-Mode: yes\r\n" + RAW

        assert await course(await install(), "user@dest.test", test_mode=True) == (Status.SENT, ["delivered"])
        assert await course(await install(), "user@dest.test", raw=header) == (Status.SENT, ["delivered"])

    async def test_a_misspelt_switch_is_refused(self) -> None:
        """Mail that was meant as a test must not go out."""
        here = await install()

        with pytest.raises(InvalidValue):
            await here.accept_one(raw=b"X-Edgepost-Test-Mode: si\r\n" + RAW)

    async def test_the_header_is_not_sent_on(self) -> None:
        """It is meant for us."""
        here = await install()
        message = await here.accept_one(raw=b"X-Edgepost-Test-Mode: no\r\n" + RAW)

        body = await here.bodies.get(message.body_key)

        assert body is not None
        assert b"Test-Mode" not in body
        assert not message.test_mode

    async def test_a_repeated_attempt_has_the_same_events(self) -> None:
        """A node that died before it settled has told already what follows."""
        here = await install()
        message = await here.accept_one(f"click@{DOMAIN}")
        attempts = worker_of(here, ScriptedSender()).jobs.attempts
        for _ in range(2):
            await attempts._simulate(Claimed(here.tenant, message))
            here.clock.advance(timedelta(minutes=1))

        events = [json.loads(each) for each in await here.take_events()]

        assert len(events) == 4
        assert len({each["id"] for each in events}) == 2


class TestAccepted:
    async def test_is_an_event_only_if_somebody_wants_it(self) -> None:
        """Each costs a row."""
        for settings, expected in (
            (Settings(), []),
            (Settings(accepted_events="always"), ["accepted"]),
            (Settings(accepted_events="never"), []),
        ):
            here = await install(settings)
            await here.accept_one()
            assert [json.loads(each)["kind"] for each in await here.take_events()] == expected


class TestIsSimulated:
    @pytest.mark.parametrize("address", [f"a@x.{DOMAIN}", f"a@{DOMAIN}.com", "a@example.com"])
    def test_only_exactly_our_domain(self, address: str) -> None:
        """Nobody's real mail may be swallowed."""
        assert not is_simulated(address)
