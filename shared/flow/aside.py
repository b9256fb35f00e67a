"""Aside: where strangers' reports are read, so that other work of the process goes on meanwhile.

Bounces, complaints, DMARC and TLS reports are taken apart line by line, and some are made to
take as long as they can.  A thread shares the interpreter with everybody else; a node
that takes mail in has a process for it (``smtp_node/receive/reading_process.py``).
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")

SMALL_BYTES = 32_768
"""Bounces of up to this size are read within milliseconds, whatever they hold; nearly all real ones are smaller."""


class Aside(Protocol):
    """Somewhere to work on the bytes of one mail."""

    async def __call__(self, work: Callable[[bytes], T], raw: bytes) -> T:
        """Return what the work makes of the mail.

        Args:
            work: a function of a module, because it may be called in another process.
            raw: the mail.

        Raises:
            Unavailable: it could not be read now.
            MailError: whatever the work raises.
        """
        ...


async def in_thread(work: Callable[[bytes], T], raw: bytes) -> T:
    """Work in a thread."""
    return await asyncio.to_thread(work, raw)


async def unless_small(aside: Aside, work: Callable[[bytes], T], raw: bytes) -> T:
    """Work aside if the mail is large, else in a thread."""
    return await (in_thread if len(raw) <= SMALL_BYTES else aside)(work, raw)
