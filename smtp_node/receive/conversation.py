# ruff: noqa: N802 - aiosmtpd finds a command by its name, smtp_VERB
"""The commands of a session (RFC 5321 §4.1), from HELO to the reply after the final dot."""

import asyncio
import logging
import re

from shared.domain.errors import BadCredentials, Unavailable
from smtp_node.receive import replies
from smtp_node.receive.commands import parse_mail, parse_recipient
from smtp_node.receive.house import House
from smtp_node.receive.inflow import ClientGone, LineTooLong
from smtp_node.receive.inside import Grant
from smtp_node.receive.limits import Door
from smtp_node.receive.login import MECHANISMS, read_key
from smtp_node.receive.recipients import Denied, decide_recipient
from smtp_node.receive.replies import Reply
from smtp_node.receive.session import Session
from smtp_node.receive.taking import Transaction, take_message

log = logging.getLogger(__name__)

DENIALS = {
    replies.SUSPENDED: "server-suspended",
    replies.BAD_SERVER_TOKEN: "invalid-server-token",
    replies.BAD_ROUTE_TOKEN: "invalid-route-token",
    replies.ROUTE_REJECTS: "route-rejects",
    replies.NO_POSTMASTER: "no-postmaster",
    replies.POSTMASTER_MISSING: "postmaster-missing",
}
"""Postal's names of why a recipient was refused."""

_HELLO = re.compile(r"[!-~]{1,255}\Z")


class Conversation(Session):
    """One session: what the client has said so far, and what follows from it.

    =================  ==========================================================
    state              set by, and forgotten by
    =================  ==========================================================
    helo, extended     HELO, EHLO; STARTTLS
    grant              AUTH; STARTTLS, and when the credential is taken back
    transaction        MAIL, RCPT; HELO, EHLO, RSET, STARTTLS, the end of DATA
    =================  ==========================================================
    """

    def __init__(self, door: Door, house: House, loop: asyncio.AbstractEventLoop) -> None:
        self.helo = ""
        self.extended = False
        self.grant: Grant | None = None
        self.transaction: Transaction | None = None
        self.login_failures = 0
        super().__init__(door, house, loop)

    def _set_rset_state(self) -> None:
        self.transaction = None

    # --- Hello

    async def smtp_HELO(self, hostname: str) -> None:
        """Begin or begin anew, without extensions (RFC 5321 §4.1.1.1)."""
        if self._hello(hostname, extended=False):
            self.say(Reply(250, "", self.limits.hostname))

    async def smtp_EHLO(self, hostname: str) -> None:
        """Begin or begin anew, and say what we can."""
        if not self._hello(hostname, extended=True):
            return
        offers = [self.limits.hostname, f"SIZE {self.limits.max_message_bytes}", "PIPELINING", "8BITMIME", "SMTPUTF8"]
        if not self.over_tls:
            offers.append("STARTTLS")  # RFC 3207 §4.2: never once TLS is active
        if self._auth_refusal() is None:
            offers.append(f"AUTH {MECHANISMS}")
        offers.append("ENHANCEDSTATUSCODES")
        self.say_lines(250, offers)

    def _hello(self, hostname: str, *, extended: bool) -> bool:
        if extended and self.helo:
            self.junk += 1
        if not _HELLO.match(hostname):
            self.say(replies.BAD_HELLO)
            return False
        self.helo, self.extended = hostname, extended
        self._set_rset_state()
        return True

    async def smtp_STARTTLS(self, arg: str) -> None:
        """Put TLS around the session, which then begins anew (RFC 3207)."""
        if arg:
            self.say(replies.NO_ARGUMENT_ALLOWED)
        elif self.over_tls:
            self.client_error("tls-unavailable")
            self.say(replies.TLS_ACTIVE)
        else:
            self.say(replies.READY_FOR_TLS)
            await self.flush()
            # RFC 3207 §4.2: everything learned before must be forgotten.
            self.helo, self.extended, self.grant = "", False, None
            self._set_rset_state()
            if not await self.wrap_in_tls():
                raise ClientGone

    # --- Who is there

    async def smtp_AUTH(self, arg: str) -> None:
        """Let the client in by its key (RFC 4954)."""
        mechanism, _, initial = arg.partition(" ")
        if refusal := self._auth_refusal():
            self.say(refusal)
        elif not self.extended:
            self.say(replies.EHLO_FIRST)
        elif self.grant is not None:
            self.say(replies.ALREADY_AUTHENTICATED)
        elif self.transaction is not None:
            self.say(replies.NO_AUTH_IN_MAIL)
        else:
            try:
                key = await read_key(mechanism.upper(), initial.strip() or None, self._ask)
            except LineTooLong:
                key = replies.LINE_TOO_LONG
            if isinstance(key, Reply):
                self.say(key)
            else:
                await self._log_in(key)

    def _auth_refusal(self) -> Reply | None:
        if self.door is Door.SMTP:
            return replies.NO_AUTH_HERE
        on_this_machine = self.client is not None and self.client.loopback and self.limits.clear_auth_on_loopback
        return None if self.over_tls or on_this_machine else replies.TLS_FIRST_FOR_AUTH

    async def _ask(self, challenge: Reply) -> bytes:
        self.say(challenge)
        await self.flush()
        line = await self.inflow.line(self.limits.max_command_bytes)
        if line is None:
            raise ClientGone
        return line

    async def _log_in(self, key: str) -> None:
        # The answer to a wrong key must not tell, by its time, what was wrong with it.
        answer_at = self.loop.time() + self.limits.failed_login_delay.total_seconds()
        try:
            grant = await self.house.inside.by_key(key)
        except BadCredentials:
            await asyncio.sleep(answer_at - self.loop.time())
            self._login_failed()
        else:
            self.grant = grant
            self.login_failures = 0
            self.say(replies.granted(grant.tenant.organization.permalink, grant.tenant.server.permalink))

    def _login_failed(self) -> None:
        client = self.client
        now = self.loop.time()
        self.login_failures += 1
        self.client_error("invalid-credentials")
        self.note("login_refused")
        if client is not None:
            self.house.throttle.failed(client, now)
            if self.house.throttle.is_throttled(client, now):
                self.login_failures = self.limits.max_login_failures
        if self.login_failures >= self.limits.max_login_failures:
            self.hang_up(replies.TOO_MANY_LOGINS)
        else:
            self.say(replies.BAD_CREDENTIAL)

    async def _granted(self) -> Grant | None:
        """Return who the client is now: by its key, else by its network."""
        if self.grant is not None:
            self.grant = await self.house.inside.current(self.grant)
        if self.grant is not None or self.client is None:
            return self.grant
        return await self.house.inside.by_network(self.client.address)

    # --- A message

    async def smtp_MAIL(self, arg: str | None) -> None:
        """Begin a message: its envelope sender (RFC 5321 §4.1.1.2)."""
        if not self.helo:
            self.client_error("mail-from-out-of-order")
            self.say(replies.HELLO_FIRST)
            return
        if self.transaction is not None:
            self.say(replies.NESTED_MAIL)
            return
        sender = parse_mail(arg or "", limit_bytes=self.limits.max_message_bytes)
        if isinstance(sender, Reply):
            self.say(sender)
            return
        # Port 25 asks later, and only whose mail goes out: most is for addresses of ours.
        grant = None if self.door is Door.SMTP else await self._granted()
        # RFC 6409 §4.3 and RFC 8314 §3.3: who cannot log in before TLS is told to start it.
        if grant is None and self._auth_refusal() is replies.TLS_FIRST_FOR_AUTH:
            self.say(replies.TLS_FIRST)
            return
        self.transaction = Transaction(sender, grant)
        self.say(replies.SENDER_OK)

    async def smtp_RCPT(self, arg: str | None) -> None:
        """Add one recipient (RFC 5321 §4.1.1.3)."""
        transaction = self.transaction
        if transaction is None:
            self.client_error("rcpt-to-out-of-order")
            self.say(replies.MAIL_FIRST)
            return
        address = parse_recipient(arg or "", utf8=transaction.sender.utf8, hostname=self.limits.hostname)
        if isinstance(address, Reply):
            self.client_error("empty-rcpt-to" if address is replies.EMPTY_RECIPIENT else "invalid-rcpt-to")
            self.say(address)
            return
        try:
            inward = await self.house.inside.find_inward(address) if self.door is Door.SMTP else None
            if self.door is Door.SMTP and inward is None and transaction.grant is None:
                transaction.grant = await self._granted()
        except Unavailable as error:
            log.exception("recipient_not_looked_up", extra={"trace_id": self.trace_id})
            self.say(replies.reply_to(error))
            return
        decision = decide_recipient(door=self.door, grant=transaction.grant, inward=inward)
        if isinstance(decision, Denied):
            self.client_error(DENIALS.get(decision.reply, "authentication-required"))
            self.say(decision.reply)
            return
        reply = transaction.add(address, decision, self.limits)
        if reply is not replies.RECIPIENT_OK:
            transaction.overshoot += 1
            # Postfix smtpd_recipient_overshoot_limit: some clients name all before they look.
            self.errors += transaction.overshoot > self.limits.recipient_overshoot
        self.say(reply)

    async def smtp_DATA(self, arg: str) -> None:
        """Take the message and answer for it (RFC 5321 §4.1.1.4)."""
        transaction = self.transaction
        if arg:
            self.say(replies.NO_ARGUMENT_ALLOWED)
        elif transaction is None or not transaction.begun:
            self.client_error("data-out-of-order")
            self.say(replies.RECIPIENT_FIRST)
        else:
            self.in_message = True
            try:
                self.say(replies.GO_AHEAD)
                await self.flush()
                await take_message(self, transaction, helo=self.helo, authenticated=self.grant is not None)
            finally:
                self.in_message = False
                self._set_rset_state()

    # --- The rest

    async def smtp_RSET(self, arg: str) -> None:
        """Forget the message begun (RFC 5321 §4.1.1.5)."""
        self.junk += 1
        if arg:
            self.say(replies.NO_ARGUMENT_ALLOWED)
            return
        self._set_rset_state()
        self.say(replies.OK)

    async def smtp_NOOP(self, _arg: str) -> None:
        """Do nothing (RFC 5321 §4.1.1.9)."""
        self.junk += 1
        self.say(replies.OK)

    async def smtp_HELP(self, _arg: str) -> None:
        """Point to the documentation (RFC 5321 §4.1.1.8)."""
        self.junk += 1
        self.say(replies.HELP)

    async def smtp_VRFY(self, _arg: str) -> None:
        """Tell nothing about who exists (RFC 5321 §7.3)."""
        self.junk += 1
        self.say(replies.CANNOT_VERIFY)

    async def smtp_EXPN(self, _arg: str) -> None:
        """Tell nothing about lists (RFC 5321 §7.3)."""
        self.junk += 1
        self.say(replies.NO_EXPANSION)

    async def smtp_QUIT(self, _arg: str) -> None:
        """End the session (RFC 5321 §4.1.1.10)."""
        self.say(replies.GOODBYE)
        self.finished = True
