"""A node that is newer than its stack: what the stack does not have yet is unavailable, and nothing else."""

from datetime import timedelta

import pytest

from shared.adapters.aws.missing_queue import MissingQueue
from shared.domain.errors import StorageUnavailable
from shared.ports import Depth, Outgoing


class TestMissingQueue:
    async def test_refuses_for_now_what_needs_it(self) -> None:
        """Events that somebody subscribed to wait until the stack is deployed anew."""
        queue = MissingQueue("webhooks")

        with pytest.raises(StorageUnavailable, match="webhooks"):
            await queue.send([Outgoing("{}")])
        with pytest.raises(StorageUnavailable):
            await queue.receive(1, wait=timedelta(0), visibility=timedelta(0))

    async def test_lets_everything_else_go_on(self) -> None:
        """Nobody's mail waits for it."""
        queue = MissingQueue("webhooks")

        await queue.send([])
        await queue.extend(["x"], timedelta(0))
        await queue.delete(["x"])

        assert await queue.depth() == Depth(0, 0, 0, 0)
