"""The loop over a client's commands, and when it has gone on long enough."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable

from smtp_node.receive import replies
from smtp_node.receive.connection import Connection
from smtp_node.receive.house import House
from smtp_node.receive.inflow import ClientGone, LineTooLong
from smtp_node.receive.limits import Door
from smtp_node.receive.metering import COMMANDS, EXCEPTIONS
from smtp_node.receive.replies import Reply

log = logging.getLogger(__name__)

WEB_VERBS = frozenset({"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT"})
"""A browser made to talk SMTP (Postfix smtpd_forbidden_commands): its headers must not become commands."""

FREE_COMMANDS = 10
"""Refusals and commands that send no mail, since the last message, before the others go first."""

_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Session(Connection):
    """Runs the ``smtp_*`` methods of a subclass, one command after the other."""

    def __init__(self, door: Door, house: House, loop: asyncio.AbstractEventLoop) -> None:
        self.finished = False
        """The client has said QUIT."""

        self.junk = 0
        """Commands that sent no mail, since the last accepted message."""

        self.without_mail_since = loop.time()
        super().__init__(door, house, loop)

    async def _serve(self) -> None:
        if self.client is not None and self.house.trouble.is_throttled(self.client, self.loop.time()):
            # Its sessions cost more than others: it may not begin one after the other.
            await asyncio.sleep(self.limits.trouble_pause.total_seconds())
        self.say(Reply(220, "", f"{self.limits.hostname} ESMTP Edgepost/{self.trace_id}"))
        while not (self._deaf or self.finished):
            if not self.inflow.has_line:
                await self.flush()
            try:
                line = await self.inflow.line(self.limits.max_command_bytes)
            except LineTooLong:
                self.say(replies.LINE_TOO_LONG)
            else:
                if line is None:
                    return
                await self._obey(line)
                if self.errors + self.junk > FREE_COMMANDS:
                    # Pipelined, they would all be obeyed at once: now one of one client is, in a round of the loop.
                    await self.flush()
                    async with self.house.chatter:
                        await asyncio.sleep(0)
            self._look_at_limits()

    async def _obey(self, line: bytes) -> None:
        """Carry out one command line; whatever goes wrong inside becomes a temporary refusal."""
        if _CONTROLS.search(line):
            self.say(replies.BAD_CHARACTERS)
            return
        try:
            verb, _, argument = line.decode("utf-8").partition(" ")
        except UnicodeDecodeError:
            self.say(replies.BAD_CHARACTERS)
            return
        verb = verb.upper()
        if verb in WEB_VERBS:
            self.hang_up(replies.NOT_SMTP)
            return
        method: Callable[[str], Awaitable[None]] | None = self._smtp_methods.get(verb)
        self.house.meter.count(COMMANDS, command=verb if method else "other")
        if method is None:
            self.client_error("invalid-command")
            self.say(replies.UNKNOWN_COMMAND)
            return
        try:
            await method(argument.strip(" \t"))
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - the session hook: one message's trouble must not end others
            self.say(self.unexpected(error))
            self._set_rset_state()  # type: ignore[no-untyped-call]  # aiosmtpd has no annotation here

    def unexpected(self, error: BaseException) -> Reply:
        """Log an error that nobody expected and return the reply to it."""
        self.house.meter.count(EXCEPTIONS, type="unexpected", error=type(error).__name__)
        log.error("smtp_command_failed", exc_info=error, extra={"trace_id": self.trace_id})
        return replies.UNEXPECTED

    def message_accepted(self) -> None:
        """Start counting errors, chatter and time anew: this client does real work."""
        self.errors = self.junk = 0
        self.without_mail_since = self.loop.time()

    def trouble(self) -> None:
        """Count what makes this client's next sessions wait."""
        if self.client is not None:
            self.house.trouble.failed(self.client, self.loop.time())

    def _look_at_limits(self) -> None:
        if self.errors > self.limits.max_errors:
            self.trouble()
            self.hang_up(replies.TOO_MANY_ERRORS)
        elif self.junk > self.limits.max_junk:
            self.trouble()
            self.hang_up(replies.TOO_MUCH_CHATTER)
        elif self.house.draining:
            self.hang_up(replies.SHUTTING_DOWN)
        elif self.loop.time() - self.without_mail_since >= self.limits.without_mail.total_seconds():
            self.hang_up(replies.IDLE_TOO_LONG)
        else:
            self.expect_within(self.limits.idle)
