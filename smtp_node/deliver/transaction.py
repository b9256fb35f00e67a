"""One mail transaction over an open connection: MAIL, RCPT, DATA, body, final dot.

How a transaction ends, and what that says::

    Accepted    250 after the final dot: the remote has the message
    Declined    a reply that ends it, 4yz or 5yz, with the stage it came at
    Lost        no usable reply; ``after_dot`` says whether it may have been sent (RFC 1047)
    Unfit       the host does not take such a message; nothing was sent
    Withdrawn   after 354 the claim was no longer ours; the final dot was not sent
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from shared.domain.replies import Reply, Stage, Verdict, judge
from smtp_node.deliver.connection import Connection
from smtp_node.deliver.letter import Letter, wire_blocks
from smtp_node.deliver.limits import Timeouts
from smtp_node.deliver.protocol import Broken

DSN = "dsn"
PARAMETERS_REFUSED = frozenset({455, 501, 504, 555})
"""A parameter that is not possible now, wrong, not implemented or not known (RFC 5321 §4.2.2); or a bad address."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The remote took responsibility for the message."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Declined:
    """The remote said no."""

    stage: Stage
    reply: Reply
    permanent: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection broke, timed out or stopped making sense."""

    stage: Stage
    reason: str
    after_dot: bool = False


@dataclass(frozen=True, slots=True)
class Unfit:
    """The host announced that it cannot take this message."""

    enhanced_code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """We stopped ourselves before the final dot."""


Ended: TypeAlias = Accepted | Declined | Lost | Unfit | Withdrawn


async def transact(
    connection: Connection, letter: Letter, timeouts: Timeouts, *, still_ours: Callable[[], bool]
) -> Ended:
    """Send the letter; the connection may be used again if it says ``usable``.

    ``still_ours`` is asked after 354 and before each block of the body; False drops
    the connection.
    """
    unfit = _unfit(connection, letter)
    if unfit is not None:
        return unfit
    ended = await _carry_out(connection, letter, timeouts, still_ours)
    if _is_dsn_refused(connection, letter, ended):
        # Some hosts offer what they do not take.  The mail can do without: no reason to fail it.
        connection.conversation.note("the host offers DSN and refused it, so once more without")
        connection.extensions = {name: value for name, value in connection.extensions.items() if name != DSN}
        ended = await _carry_out(connection, letter, timeouts, still_ours)
    return ended


async def _carry_out(
    connection: Connection, letter: Letter, timeouts: Timeouts, still_ours: Callable[[], bool]
) -> Ended:
    if connection.needs_reset:
        # RFC 5321 §4.1.1.5: what an ended transaction left behind is cleared.
        ended = await _step(connection, Stage.RSET, "RSET", timeouts.greeting_s)
        if ended is not None:
            connection.finished = True
            return ended
    connection.messages += 1
    connection.needs_reset = True
    steps = (
        (Stage.MAIL, _mail_command(connection, letter), timeouts.mail_s),
        (Stage.RCPT, _rcpt_command(connection, letter), timeouts.rcpt_s),
        (Stage.DATA, "DATA", timeouts.data_s),
    )
    ended = await _converse(connection, steps)
    if ended is not None:
        return ended
    return await _send_body(connection, letter, timeouts, still_ours)


_Step: TypeAlias = tuple[Stage, str, float]


async def _converse(connection: Connection, steps: Sequence[_Step]) -> Declined | Lost | None:
    """Send the commands up to DATA, together if the host takes that (RFC 2920); None means: 354 came."""
    together = "pipelining" in connection.extensions
    if together:
        try:
            connection.protocol.write_ahead([line.encode("utf-8") for _, line, _ in steps])
        except Broken as exc:
            connection.abort()
            return Lost(Stage.MAIL, exc.reason)
    first: Declined | Lost | None = None
    for stage, line, timeout_s in steps:
        ended = await _step(connection, stage, line, timeout_s, written=together)
        first = first or ended
        if first is not None and (not together or isinstance(ended, Lost)):
            break
        if first is not None and ended is None and stage is Stage.DATA:
            # RFC 2920 §3.1: 354 although nobody is to get it.  Nothing was sent, nothing will be.
            connection.abort()
    return first


async def _step(
    connection: Connection, stage: Stage, line: str, timeout_s: float, *, written: bool = False
) -> Declined | Lost | None:
    """Send one command, or fetch its reply if it was written ahead; None means: go on."""
    try:
        reply = await connection.ask(stage, line, timeout_s, written=written)
    except Broken as exc:
        connection.abort()
        return Lost(stage, exc.reason)
    verdict = judge(reply, stage)
    if verdict is Verdict.GO_ON:
        return None
    if reply.code < 400:
        # A success that does not belong here: who knows which command it answers.
        connection.finished = True
    return Declined(stage, reply, verdict is Verdict.PERMANENT)


async def _send_body(
    connection: Connection, letter: Letter, timeouts: Timeouts, still_ours: Callable[[], bool]
) -> Ended:
    connection.conversation.note(f"<{letter.size_bytes} bytes>")
    try:
        reply = await connection.protocol.send_body(
            wire_blocks(letter.raw, added=letter.added),
            block_s=timeouts.block_s,
            dot_s=timeouts.dot_s,
            still_ours=still_ours,
        )
    except Broken as exc:
        where = "after the final dot" if exc.after_dot else "within the body"
        connection.conversation.note(f"{where}: {exc.reason}")
        connection.abort()
        return Lost(Stage.DOT, exc.reason, exc.after_dot)
    if reply is None:
        connection.conversation.note("the claim was no longer ours: connection dropped before the final dot")
        connection.abort()
        return Withdrawn()
    connection.heard(reply)
    verdict = judge(reply, Stage.DOT)
    if verdict is Verdict.GO_ON:
        connection.needs_reset = False
        return Accepted(reply)
    return Declined(Stage.DOT, reply, verdict is Verdict.PERMANENT)


def _unfit(connection: Connection, letter: Letter) -> Unfit | None:
    limit = connection.extensions.get("size", "").strip()
    # RFC 1870 §4: 0 or nothing means that there is no fixed limit.
    if limit.isascii() and limit.isdigit() and 0 < int(limit) < letter.size_bytes:
        return Unfit("5.3.4", f"the message has {letter.size_bytes} bytes and the host takes {limit}")
    if letter.needs_smtputf8 and "smtputf8" not in connection.extensions:
        # RFC 6531 §3.5: such an address cannot be written for this host.
        return Unfit("5.6.7", "the address has non-ASCII characters and the host does not offer SMTPUTF8")
    return None


def _is_dsn_refused(connection: Connection, letter: Letter, ended: Ended) -> bool:
    """Whether the host may mean the parameters of RFC 3461, and can be asked again."""
    return (
        _with_dsn(connection, letter)
        and connection.usable
        and isinstance(ended, Declined)
        and ended.stage in (Stage.MAIL, Stage.RCPT)
        and ended.reply.code in PARAMETERS_REFUSED
    )


def _with_dsn(connection: Connection, letter: Letter) -> bool:
    return DSN in connection.extensions and bool(letter.envelope_id)


def _mail_command(connection: Connection, letter: Letter) -> str:
    """Return MAIL with the parameters that the host offers and the message needs.

    Without 8BITMIME an 8-bit body is sent as it is: re-encoding would break its
    signature, and hosts that do not offer it pass it on all the same.  Likewise a
    head with raw UTF-8 to a host without SMTPUTF8, if the envelope is ASCII.
    """
    offered = connection.extensions
    line = f"MAIL FROM:<{letter.mail_from}>"
    if "size" in offered:
        line += f" SIZE={letter.size_bytes}"  # RFC 1870 §5
    if letter.eight_bit and "8bitmime" in offered:
        line += " BODY=8BITMIME"  # RFC 6152 §3
    if "smtputf8" in offered and (letter.needs_smtputf8 or letter.utf8_header):
        line += " SMTPUTF8"  # RFC 6531 §3.4
    if _with_dsn(connection, letter):
        line += f" ENVID={letter.envelope_id}"  # RFC 3461 §4.4
    return line


def _rcpt_command(connection: Connection, letter: Letter) -> str:
    """Return RCPT; with the address as we know it, so that a report from behind a forward can name it.

    Never with NOTIFY: without it failures and delays are reported (RFC 3461 §4.1), successes are not.
    """
    line = f"RCPT TO:<{letter.rcpt_to}>"
    if _with_dsn(connection, letter) and letter.rcpt_to.isascii():
        line += f" ORCPT=rfc822;{_xtext(letter.rcpt_to)}"  # RFC 3461 §4.2
    return line


def _xtext(text: str) -> str:
    """Return ASCII text in the encoding of RFC 3461 §4."""
    return "".join(char if "!" <= char <= "~" and char not in "+=" else f"+{ord(char):02X}" for char in text)
