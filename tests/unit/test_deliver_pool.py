import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.job import TLSMode, ToHost
from shared.domain.outcome import HardFail, Sent
from smtp_node.deliver.limits import PoolLimits
from tests.fakes.mx import SinkMX
from tests.fakes.mx_script import Step
from tests.unit.test_deliver_send import PLAN, ours, sending


class TestReuse:
    async def test_the_next_message_takes_the_same_connection(self) -> None:
        """A handshake costs more than a message; no RSET is needed after a completed one (RFC 5321 §4.1.1.5)."""
        async with SinkMX() as mx, sending(mx) as sender:
            outcomes = [await sender.send(PLAN, still_ours=ours) for _ in range(3)]

            assert all(isinstance(outcome, Sent) for outcome in outcomes)
            assert [len(mx.sessions), len(mx.transactions)] == [1, 3]
            assert "RSET" not in mx.sessions[0].commands
            assert "used again, message 3" in outcomes[2].evidence.conversation  # type: ignore[union-attr]

    async def test_a_refused_message_is_cleared_away(self) -> None:
        """What it left behind must not become part of the next one."""
        async with SinkMX(rcpt=Step(reply="550 no", times=1)) as mx, sending(mx) as sender:
            assert isinstance(await sender.send(PLAN, still_ours=ours), HardFail)
            assert isinstance(await sender.send(PLAN, still_ours=ours), Sent)

            assert "RSET" in mx.sessions[0].commands
            assert mx.transactions[0].rcpts == ["b@d.test"]

    async def test_not_between_different_needs(self) -> None:
        """Another source address, EHLO name or TLS mode is another connection."""
        async with SinkMX() as mx, sending(mx) as sender:
            plans = [
                PLAN,
                replace(PLAN, source_address="127.0.0.9"),
                replace(PLAN, ehlo="other.test"),
                replace(PLAN, target=ToHost("mx.test", mx.port, TLSMode.NONE)),
            ]
            for plan in plans:
                await sender.send(plan, still_ours=ours)

            assert len(mx.sessions) == 4

    async def test_a_name_does_not_matter_without_certificates(self) -> None:
        """Many domains have names of their own for one host."""
        async with SinkMX() as mx, sending(mx) as sender:
            for name in ("mx.test", "mx0.d.test"):
                await sender.send(replace(PLAN, target=ToHost(name, mx.port, TLSMode.NONE)), still_ours=ours)

            assert len(mx.sessions) == 1

    async def test_never_by_two_at_once(self) -> None:
        """Two transactions on one connection would mix."""
        async with SinkMX() as mx, sending(mx) as sender:
            await asyncio.gather(*(sender.send(PLAN, still_ours=ours) for _ in range(5)))

            assert len(mx.sessions) == 5
            assert sender._pool.idle == 5

    @pytest.mark.parametrize(
        "step", [Step(then="drop"), Step(then="reset"), Step(reply="421 idle"), Step(reply="452 4.5.3 enough")]
    )
    async def test_a_stale_one_is_replaced_unnoticed(self, step: Step) -> None:
        """Hosts close what idles, and limit messages per connection, each in its own way."""
        async with SinkMX(mail=[Step(times=1), replace(step, times=1)]) as mx, sending(mx) as sender:
            outcomes = [await sender.send(PLAN, still_ours=ours) for _ in range(2)]

            assert [type(outcome) for outcome in outcomes] == [Sent, Sent]
            assert len(mx.sessions) == 2

    async def test_lost_after_the_dot_is_never_repeated(self) -> None:
        """On a kept connection neither: that would make duplicates."""
        async with SinkMX(dot=[Step(times=1), Step(then="drop", times=1)]) as mx, sending(mx) as sender:
            await sender.send(PLAN, still_ours=ours)
            outcome = await sender.send(PLAN, still_ours=ours)

            assert outcome.maybe_sent  # type: ignore[union-attr]
            assert len(mx.sessions) == 1


class TestLimits:
    async def test_closed_after_so_many_messages(self) -> None:
        """Hosts dislike connections that never end."""
        async with SinkMX() as mx, sending(mx, limits=PoolLimits(max_messages=2)) as sender:
            for _ in range(3):
                await sender.send(PLAN, still_ours=ours)

            assert len(mx.sessions) == 2

    async def test_closed_when_unused(self) -> None:
        """An idle connection takes a place on both sides."""
        async with SinkMX() as mx, sending(mx, limits=PoolLimits(max_idle=timedelta(0))) as sender:
            await sender.send(PLAN, still_ours=ours)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

            assert sender._pool.idle == 0
            await sender.close()
            assert mx.sessions[0].commands[-1] == "QUIT"

    async def test_the_oldest_goes_when_there_are_too_many(self) -> None:
        """Sockets are bounded whatever the number of destinations."""
        async with SinkMX() as mx, sending(mx, limits=PoolLimits(max_idle_connections=2)) as sender:
            await asyncio.gather(*(sender.send(PLAN, still_ours=ours) for _ in range(5)))

            assert sender._pool.idle == 2


class TestClose:
    async def test_says_quit(self) -> None:
        """RFC 5321 §4.1.1.10: a client must not close without it."""
        async with SinkMX() as mx, sending(mx) as sender:
            await sender.send(PLAN, still_ours=ours)
            await sender.close()

            assert mx.sessions[0].commands[-1] == "QUIT"
            assert sender._pool.idle == 0

    async def test_does_not_wait_for_rude_hosts(self) -> None:
        """Nothing depends on the reply."""
        async with SinkMX(quit=Step(then="silence")) as mx, sending(mx) as sender:
            await sender.send(PLAN, still_ours=ours)

            await asyncio.wait_for(sender.close(), 5)
