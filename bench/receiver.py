"""A webhook receiver in a process of its own: ``receiver.py answer|hang``.

Prints its port; then, for each request that is answered, the seconds from the event's
moment to its arrival, as a line.  With ``hang`` it takes requests and never answers.
"""

import asyncio
import json
import sys
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


async def serve(*, hang: bool) -> None:
    """Take requests until the process is ended."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                if hang:
                    await asyncio.sleep(3600)
                writer.write(ANSWER)
                sys.stdout.write(f"{time.time() - json.loads(body)['timestamp']:.6f}\n")
                sys.stdout.flush()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(hang=sys.argv[1] == "hang"))
