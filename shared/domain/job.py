"""The job on a work queue: one attempt at one message, and where to take it.

The wire form is JSON and versioned, because old jobs outlive an upgrade::

    {"v": 1, "server": 7, "message": 245…, "attempt": 1, "target": {"mx": "example.com"}}
    {"v": 1, …, "target": {"host": "mail.example.com", "port": 25, "tls": "opportunistic"}}
    {"v": 1, …, "target": {"inbound": "6f1c…"}, "incoming": true}
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from shared.domain.errors import InvalidValue
from shared.domain.ids import MessageId, ServerId

VERSION = 1


class TLSMode(StrEnum):
    """How to protect a connection to a named host."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    """STARTTLS if offered, certificate not checked (RFC 7435)."""

    STARTTLS = "starttls"
    """STARTTLS or no delivery, certificate checked."""

    TLS = "tls"
    """TLS from the first byte (RFC 8314), certificate checked."""


@dataclass(frozen=True, slots=True)
class ToMX:
    """Deliver to the mail exchangers of a domain."""

    domain: str


@dataclass(frozen=True, slots=True)
class ToHost:
    """Deliver to one named host."""

    name: str
    port: int
    tls: TLSMode


Target: TypeAlias = ToMX | ToHost
"""Where a node takes mail."""


@dataclass(frozen=True, slots=True)
class ToInbound:
    """Give to the inbound function: to an HTTP endpoint, or to do what the route's mode says."""

    lane: str = ""
    """The same for the same endpoint, so that a dead one takes nothing from the others; empty without one."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt to be made."""

    server_id: ServerId
    message_id: MessageId
    attempt: int
    target: Target | ToInbound
    prefer_ip: str = ""
    """The source address that a greylisting host saw first."""

    handed_back: bool = False
    """A node without that address has passed the job on once; the next one takes it."""

    incoming: bool = False
    """The message came in for a route; incoming and outgoing ones lie apart."""

    def to_json(self) -> str:
        """Return the wire form."""
        target: dict[str, object]
        match self.target:
            case ToMX(domain):
                target = {"mx": domain}
            case ToHost(name, port, tls):
                target = {"host": name, "port": port, "tls": tls.value}
            case ToInbound(lane):
                target = {"inbound": lane}
        body: dict[str, object] = {
            "v": VERSION,
            "server": self.server_id,
            "message": self.message_id,
            "attempt": self.attempt,
            "target": target,
        }
        if self.prefer_ip:
            body["prefer_ip"] = self.prefer_ip
        if self.handed_back:
            body["handed_back"] = True
        if self.incoming:
            body["incoming"] = True
        return json.dumps(body, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Read the wire form.

        Raises:
            InvalidValue: not a job, or of a version this release does not know.
        """
        try:
            body = json.loads(text)
            if body["v"] != VERSION:
                raise InvalidValue(f"job version {body['v']} is not {VERSION}")
            raw = body["target"]
            target: Target | ToInbound
            if "mx" in raw:
                target = ToMX(str(raw["mx"]))
            elif "inbound" in raw:
                target = ToInbound(str(raw["inbound"]))
            else:
                target = ToHost(str(raw["host"]), int(raw["port"]), TLSMode(raw["tls"]))
            return cls(
                server_id=ServerId(int(body["server"])),
                message_id=MessageId(int(body["message"])),
                attempt=int(body["attempt"]),
                target=target,
                prefer_ip=str(body.get("prefer_ip", "")),
                handed_back=bool(body.get("handed_back", False)),
                incoming=bool(body.get("incoming", False)),
            )
        except (ValueError, KeyError, TypeError) as exc:
            raise InvalidValue("this is not a job") from exc
