"""A DNS server of a few lines: answers the tour's questions from a table, and nothing else.

It exists so that the tour needs no network.  Only UDP and only what one zone
of a handful of records needs; a name that is not in the table does not exist.
"""

import socketserver
import threading
from collections.abc import Mapping, Sequence
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Table = Mapping[str, Mapping[str, Sequence[str]]]
"""Lower-case name without final dot, then record type, then values as in a zone file.

A name ``*.example.com`` answers for every name below it that has no entry (RFC 4592).
"""

TTL_S = 60


def answer(question: bytes, table: Table) -> bytes | None:
    """Return the reply to a question in wire form; None for what is no question (RFC 1035 §4.1)."""
    try:
        query = dns.message.from_wire(question)
    except dns.exception.DNSException:
        return None
    if not query.question or query.flags & dns.flags.QR:
        return None
    asked = query.question[0]
    kind = dns.rdatatype.to_text(asked.rdtype)
    records = _records(asked.name.to_text(omit_final_dot=True).lower(), table)
    reply = dns.message.make_response(query, recursion_available=True)
    if records is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif kind in records:
        reply.answer.append(dns.rrset.from_text(asked.name, TTL_S, "IN", kind, *records[kind]))
    return reply.to_wire()


def _records(name: str, table: Table) -> Mapping[str, Sequence[str]] | None:
    if name in table:
        return table[name]
    while "." in name:
        _, _, name = name.partition(".")
        if f"*.{name}" in table:
            return table[f"*.{name}"]
    return None


class _Questions(socketserver.BaseRequestHandler):
    """Answers one datagram."""

    table: Table

    def handle(self) -> None:
        question, socket = self.request
        if reply := answer(question, self.table):
            socket.sendto(reply, self.client_address)


class SmallDNS:
    """Serves a table on a loopback port that the system chooses; a context manager with ``port``.

    Runs in a thread of its own, so that the caller may block.
    """

    def __init__(self, table: Table) -> None:
        handler = type("_QuestionsToTable", (_Questions,), {"table": table})
        self._server = socketserver.UDPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="dns", daemon=True)
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        """Start answering."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread and close the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
