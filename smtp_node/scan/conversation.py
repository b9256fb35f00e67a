"""A connection to a scanner: everything that comes back is bounded, whatever is at the other end."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.settings import ServiceAddress
from smtp_node.scan.scanner import GARBAGE, ScanFailed


@asynccontextmanager
async def conversation(address: ServiceAddress) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """Connect for the length of the block; nothing is waited for at its end.

    Raises:
        OSError: nobody listens there.
    """
    if address.path:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def whole_answer(reader: StreamReader, most_bytes: int) -> bytes:
    """Return everything up to the end of the stream.

    Raises:
        ScanFailed: it is longer than that.
    """
    answer = bytearray()
    while piece := await reader.read(most_bytes):
        answer += piece
        if len(answer) > most_bytes:
            raise ScanFailed(GARBAGE, f"an answer of over {most_bytes} bytes")
    return bytes(answer)
