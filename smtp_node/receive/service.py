"""The SMTP door as a whole: serves sockets, and stops without cutting a message."""

import asyncio
import logging
import random
import socket
from asyncio import AbstractServer
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

from shared.room import Room
from smtp_node.receive.conversation import Conversation
from smtp_node.receive.gate import ConnectionGate, MemoryBudget, Throttle
from smtp_node.receive.house import House
from smtp_node.receive.inside import Inside
from smtp_node.receive.limits import Door, ReceiveLimits
from smtp_node.receive.metering import Meter, NullMeter
from smtp_node.receive.replies import SHUTTING_DOWN
from smtp_node.receive.tls import TLSContexts
from smtp_node.receive.tls_listener import TLSListener

log = logging.getLogger(__name__)

BACKLOG = 1024
AFTER_CUT = timedelta(seconds=2)
"""What acceptances may still take once their sessions are cut."""


class ReceiveService:
    """Speaks SMTP on sockets that the caller has bound; runs on asyncio and on uvloop.

    Args:
        limits: sizes, times and numbers.
        inside: what happens to logins and messages.
        tls: certificates for STARTTLS and port 465.
        rng: names sessions; nothing secret comes from it.
        meter: counts.
    """

    def __init__(
        self,
        limits: ReceiveLimits,
        inside: Inside,
        *,
        tls: TLSContexts,
        rng: random.Random,
        meter: Meter | None = None,
    ) -> None:
        self._house = House(
            limits=limits,
            inside=inside,
            tls=tls,
            meter=meter or NullMeter(),
            rng=rng,
            gate=ConnectionGate(total=limits.max_connections, per_client=limits.max_connections_per_client),
            throttle=Throttle(after=limits.throttle_after, window_s=limits.throttle_window.total_seconds()),
            trouble=Throttle(after=limits.trouble_after, window_s=limits.trouble_window.total_seconds()),
            memory=MemoryBudget(limits.max_bytes_in_memory),
            large=Room(
                limits.max_bytes_in_work,
                wait_s=limits.work_wait.total_seconds(),
                most_waiting=limits.max_connections,
            ),
        )
        self._listeners: list[AbstractServer | TLSListener] = []

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._house.gate.count

    @property
    def draining(self) -> bool:
        """Whether it is being stopped."""
        return self._house.draining

    async def start(self, sockets: Mapping[str, Sequence[socket.socket]]) -> None:
        """Serve bound sockets: ``smtp`` (25), ``submission`` (587), ``submissions`` (465).

        The service closes them when it stops.

        Raises:
            ValueError: another kind of socket.
        """
        # aiosmtpd writes each command and address to this logger at info, which ours must not show.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        loop = asyncio.get_running_loop()
        for name, bound in sockets.items():
            door = Door(name)
            make = partial(Conversation, door, self._house, loop)
            for each in bound:
                each.setblocking(False)
                if door is Door.SUBMISSIONS:
                    each.listen(BACKLOG)
                    self._listeners.append(TLSListener(each, self._house, make))
                else:
                    self._listeners.append(await loop.create_server(make, sock=each, backlog=BACKLOG))
                log.info("smtp_listening", extra={"door": door.value, "address": str(each.getsockname())})

    async def stop(self, drain: timedelta) -> None:
        """Take no more, let messages that are coming in finish, then close everything.

        Idle sessions get 421 4.3.2 at once, the others after their message.

        Args:
            drain: how long the messages may take; what is left then is cut and will be sent again.
        """
        house = self._house
        house.draining = True
        for listener in self._listeners:
            listener.close()
        for session in list(house.sessions):
            if not session.in_message:
                session.hang_up(SHUTTING_DOWN)
        await self._wait(drain)
        left = list(house.sessions)
        for session in left:
            session.cut()
        await self._wait(AFTER_CUT)
        self._listeners.clear()
        log.info("smtp_stopped", extra={"cut_sessions": len(left)})

    async def _wait(self, longest: timedelta) -> None:
        sessions = {session.work for session in self._house.sessions if session.work is not None}
        if work := sessions | self._house.acceptances:
            await asyncio.wait(work, timeout=longest.total_seconds())
