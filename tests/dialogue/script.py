r"""SMTP conversations as text files, played against a real service.

::

    # why this conversation matters
    Port: submission            smtp, submission or submissions
    Limit: max_errors=3         a field of ReceiveLimits; spans in seconds
    S: 220                      a whole reply must start like this
    S: 250 has AUTH PLAIN       ... and one of its lines must contain this
    S: 250 lacks AUTH           ... or none
    S: 5* or closed             any 5yz, or the end of the connection
    C: EHLO client.example.test a line, CRLF is added; {plain:KEY} becomes AUTH PLAIN's Base64
    C(raw): "a\n.\n"              a Python string, sent as it is
    TLS                         the handshake
    Close                       the client closes
    Accepted: 1                 how many messages were handed in or taken in, in all
"""

import ast
import asyncio
import re
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path

from smtp_node.receive.limits import ReceiveLimits
from tests.dialogue.door import LIMITS, Doors, open_doors
from tests.dialogue.wire import Wire, plain, trusting_context

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@dataclass(frozen=True, slots=True)
class Step:
    """One line that does something."""

    number: int
    verb: str
    text: str


def read_script(text: str) -> list[Step]:
    """Return the steps of a script."""
    steps = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        verb, _, rest = line.partition(":")
        steps.append(Step(number, verb.strip(), rest.strip()))
    return steps


async def play(name: str, text: str) -> None:
    """Play a script; an AssertionError names the line that did not come as written."""
    steps = read_script(text)
    limits = LIMITS
    for step in steps:
        if step.verb == "Limit":
            limits = _with_limit(limits, step.text)
    port = next(step.text for step in steps if step.verb == "Port")
    async with open_doors(limits) as doors:
        wire = await doors.connect(port)
        for step in steps:
            await _do(step, wire, doors, name)


async def _do(step: Step, wire: Wire, doors: Doors, name: str) -> None:
    where = f"{name}:{step.number}"
    match step.verb:
        case "Port" | "Limit":
            pass
        case "C":
            await wire.send(_filled(step.text).encode() + b"\r\n")
        case "C(raw)":
            await wire.send(ast.literal_eval(step.text).encode("latin-1"))
        case "TLS":
            await wire.writer.start_tls(trusting_context())
        case "Close":
            await wire.close()
        case "S":
            reply = await wire.reply()
            assert _matches(step.text, reply), f"{where}: wanted {step.text!r}, got {reply!r}"
        case "Accepted":
            await asyncio.sleep(0)
            count = len(doors.inside.submissions) + len(doors.inside.taken_in)
            assert count == int(step.text), f"{where}: {count} messages were accepted"
        case _:
            raise AssertionError(f"{where}: no such step: {step.verb}")


def _matches(wanted: str, reply: str) -> bool:
    for choice in wanted.split(" or "):
        if choice == "closed":
            if not reply:
                return True
            continue
        start, has, inside = choice.partition(" has ")
        start, lacks, absent = start.partition(" lacks ")
        pattern = re.escape(start).replace(r"\*", ".*")
        if re.match(pattern, reply) and (not has or inside in reply) and (not lacks or absent not in reply):
            return True
    return False


def _filled(text: str) -> str:
    return re.sub(r"\{plain:([^}]*)\}", lambda found: plain(found[1]), text)


def _with_limit(limits: ReceiveLimits, text: str) -> ReceiveLimits:
    name, _, value = text.partition("=")
    known = {each.name: getattr(limits, each.name) for each in fields(limits)}
    as_span = isinstance(known[name], timedelta)
    return replace(limits, **{name: timedelta(seconds=float(value)) if as_span else int(value)})
