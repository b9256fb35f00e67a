"""The lock by which processes take turns."""

import fcntl
import os
import threading
from pathlib import Path

from shared.adapters.embedded.write_lock import WriteLock


def turnstile_is_taken(database: Path) -> bool:
    """Say whether somebody stands in the turnstile, waiting for the lock."""
    descriptor = os.open(f"{database}.turn", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class TestHeld:
    def test_who_waits_comes_before_who_just_had_it(self, tmp_path: Path) -> None:
        """A process that writes without pause must not keep the others out."""
        database = tmp_path / "edgepost.db"
        busy, waiting = WriteLock(database), WriteLock(database)
        order: list[str] = []

        def write_once() -> None:
            with waiting.held():
                order.append("waiting")

        other = threading.Thread(target=write_once)
        with busy.held():
            other.start()
            while not turnstile_is_taken(database):
                pass
        with busy.held():
            order.append("busy again")
        other.join()

        assert order == ["waiting", "busy again"]
        busy.close()
        waiting.close()
