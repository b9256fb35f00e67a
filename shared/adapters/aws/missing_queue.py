"""Stands for a queue that the stack does not have yet: a node may be newer than its stack."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from shared.domain.errors import StorageUnavailable
from shared.ports import Depth, Outgoing, Received


class MissingQueue:
    """``Queue`` that is never available; whatever does not need it goes on."""

    def __init__(self, what: str) -> None:
        """Name it, for people."""
        self._what = what

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Refuse, unless there is nothing to send."""
        if messages:
            self._refuse()

    async def receive(
        self,
        limit: int,  # noqa: ARG002 - the port's
        *,
        wait: timedelta,  # noqa: ARG002 - the port's
        visibility: timedelta,  # noqa: ARG002 - the port's
    ) -> Sequence[Received]:
        """Refuse."""
        self._refuse()

    async def extend(self, receipts: Sequence[str], visibility: timedelta) -> None:
        """Ignore receipts, which are all of something else."""

    async def delete(self, receipts: Sequence[str]) -> None:
        """Ignore receipts, which are all of something else."""

    async def depth(self) -> Depth:
        """Nothing lies there."""
        return Depth(ready=0, delayed=0, in_flight=0, dead=0)

    def _refuse(self) -> NoReturn:
        raise StorageUnavailable(f"the stack has no queue of {self._what}: deploy its present template")
