"""Mail that comes to the port 25 of a deployed stack's node."""

import json
import re
import smtplib
from base64 import b64encode
from random import Random
from textwrap import wrap
from typing import Any

from tests.e2e.deployed_world import World
from tests.e2e.harness import DOMAIN
from tests.e2e.receiver import Receiver

ANN = "ann@example.net"


def route(world: World, name: str, *words: str) -> Any:
    """Make a route of the first server and return what the command printed."""
    return world.deployment.edgepost("route", "create", f"{name}@{DOMAIN}", "--server", "main", *words)


def bring(world: World, recipient: str, raw: bytes, *, sender: str = ANN) -> None:
    """Bring a mail to port 25 as some host does."""
    with smtplib.SMTP("127.0.0.1", world.node.ports["smtp"], local_hostname="mx.example.net") as client:
        assert client.sendmail(sender, [recipient], raw) == {}


def mail(unique: str, *, filler: int = 0) -> bytes:
    """Return a mail of Ann's; ``filler`` bytes that nothing compresses make its head larger."""
    noise = "\r\n ".join(wrap(b64encode(Random(3).randbytes(filler)).decode(), 76))
    head = f"X-Noise: {noise}\r\n" if filler else ""
    return f"{head}From: {ANN}\r\nSubject: Help\r\nMessage-ID: <{unique}@example.net>\r\n\r\nIt is broken.\r\n".encode()


def return_path(world: World, recipient: str) -> str:
    """Return the envelope sender of the mail that reached a recipient."""
    found = re.search(r"<([^>]+)>", world.internet.to(recipient)[-1].mail)
    assert found
    return found[1]


def told(world: World, unique: str) -> list[bytes]:
    """Return the bounces that Ann was sent for one of her mails."""
    return [each.raw for each in world.internet.to(ANN) if f"In-Reply-To: <{unique}@".encode() in each.raw]


def taken(receiver: Receiver, unique: str) -> list[tuple[dict[str, str], bytes]]:
    """Return the requests that carried one of Ann's mails."""
    return [each for each in list(receiver.taken) if json.loads(each[1])["message_id"] == f"{unique}@example.net"]
