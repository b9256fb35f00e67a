"""A DNS server on loopback (UDP and TCP) that answers from a small zone.

The zone maps names to records and, where wanted, to a misbehaviour::

    {"example.test": {"MX": [[10, "mx.example.test"]], "TXT": ["v=spf1 -all"], "ttl": 60},
     "mx.example.test": {"A": ["127.0.0.1"]},
     "alias.test": {"CNAME": "example.test"},
     "1.0.0.127.in-addr.arpa": {"PTR": "mx.example.test"},
     "broken.test": {"fail": "SERVFAIL"}}

``fail`` is an rcode's name, ``timeout`` (no answer) or ``truncate`` (UDP answers are
cut, TCP ones are whole).  Names that are not there, and have nothing below, are
NXDOMAIN.  As a program: ``python -m tests.fakes.dns_server --zone zone.json --port 0``
prints its port; the file is read again when it changes.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

KINDS = ("MX", "A", "AAAA", "TXT", "PTR", "CNAME")
DEFAULT_TTL_S = 60


class FakeDNS(asyncio.DatagramProtocol):
    """``async with FakeDNS(zone) as server:`` then ask ``server.address``."""

    def __init__(self, zone: Mapping[str, Mapping[str, Any]], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.zone = {name.lower().rstrip("."): dict(records) for name, records in zone.items()}
        self.host, self.port = host, port
        self.asked: Counter[tuple[str, str]] = Counter()
        """How often each (name, type) was asked."""

        self.asked_by_tcp = 0
        self.hold: asyncio.Event | None = None
        """If set, answers wait for it."""

        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Where to ask."""
        return self.host, self.port

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, self.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._server.close()
        for task in list(self._tasks):
            task.cancel()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question, in its own task."""
        task = asyncio.get_running_loop().create_task(self._answer_udp(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_udp(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.hold is not None:
            await self.hold.wait()
        answer = self._answer(dns.message.from_wire(data), udp=True)
        if answer is not None:
            self._udp.sendto(answer.to_wire(), addr)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            size = int.from_bytes(await reader.readexactly(2))
            self.asked_by_tcp += 1
            answer = self._answer(dns.message.from_wire(await reader.readexactly(size)), udp=False)
            if answer is not None:
                wire = answer.to_wire()
                writer.write(len(wire).to_bytes(2) + wire)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, query: dns.message.Message, *, udp: bool) -> dns.message.Message | None:
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        records = self.zone.get(name)
        if records is None:
            below = any(other.endswith("." + name) for other in self.zone)
            answer.set_rcode(dns.rcode.NOERROR if below else dns.rcode.NXDOMAIN)
            return answer
        match records.get("fail", ""):
            case "timeout":
                return None
            case "truncate" if udp:
                answer.flags |= dns.flags.TC
                return answer
            case "" | "truncate":
                self._add(answer, name, kind)
            case rcode:
                answer.set_rcode(dns.rcode.from_text(rcode))
        return answer

    def _add(self, answer: dns.message.Message, name: str, kind: str, depth: int = 0) -> None:
        """Add the records; aliases are followed as a recursive server does, unless ``follow`` is false."""
        records = self.zone.get(name, {})
        ttl_s = records.get("ttl", DEFAULT_TTL_S)
        if "CNAME" in records:
            answer.answer.append(dns.rrset.from_text(name + ".", ttl_s, "IN", "CNAME", records["CNAME"] + "."))
            if depth < 5 and records.get("follow", True):
                self._add(answer, records["CNAME"].lower(), kind, depth + 1)
            return
        if texts := _texts(kind, records.get(kind, [])):
            answer.answer.append(dns.rrset.from_text(name + ".", ttl_s, "IN", kind, *texts))


def _texts(kind: str, values: Any) -> Sequence[str]:
    found = values if isinstance(values, list) else [values]
    match kind:
        case "MX":
            return [f"{preference} {host.rstrip('.')}." for preference, host in found]
        case "TXT":
            return [" ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255)) for text in found]
        case "PTR":
            return [f"{host.rstrip('.')}." for host in found]
        case "A" | "AAAA":
            return found
    return []


async def _main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="A DNS server that answers from a small zone.")
    parser.add_argument("--zone", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    chosen = parser.parse_args(arguments)
    async with FakeDNS(json.loads(chosen.zone.read_text()), port=chosen.port) as server:
        print(server.port, flush=True)  # noqa: T201  # whoever started it reads the port
        read_at = chosen.zone.stat().st_mtime_ns
        while True:
            await asyncio.sleep(0.1)
            changed_at = chosen.zone.stat().st_mtime_ns
            if changed_at != read_at:
                server.zone, read_at = FakeDNS(json.loads(chosen.zone.read_text())).zone, changed_at


if __name__ == "__main__":
    try:
        asyncio.run(_main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(0)
