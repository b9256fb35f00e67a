"""Sinks with an event loop of their own, for tests that block."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from tests.fakes.mx import SinkMX
from tests.fakes.mx_script import Step


@contextlib.contextmanager
def sink(**script: Step) -> Iterator[SinkMX]:
    """Run a sink on 127.0.0.1; what it does at each stage may be told."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = SinkMX(**script)
    try:
        asyncio.run_coroutine_threadsafe(made.__aenter__(), loop).result(10)
        yield made
        asyncio.run_coroutine_threadsafe(made.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
