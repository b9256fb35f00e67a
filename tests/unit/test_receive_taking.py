"""How messages of many sessions come in beside each other."""

import asyncio
from types import SimpleNamespace

from smtp_node.receive.content import Content
from smtp_node.receive.gate import MemoryBudget
from smtp_node.receive.inflow import PIECE_BYTES, Inflow
from smtp_node.receive.limits import ReceiveLimits
from smtp_node.receive.taking import read_message

SESSIONS = 20
LARGE = b"\r\n" + b"x\r\n" * 500_000 + b".\r\n"


def session(raw: bytes, turn: asyncio.Lock) -> SimpleNamespace:
    """Return what a session has while its message comes in; all of it is here already."""
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    return SimpleNamespace(
        limits=ReceiveLimits(hostname="mx.example.test"),
        loop=asyncio.get_running_loop(),
        inflow=Inflow(reader),
        house=SimpleNamespace(turn=turn),
        expect_until=lambda *_: None,
    )


class TestReadMessage:
    async def test_large_messages_take_turns(self) -> None:
        """In each round of the loop one piece of one of them: a small mail waits for that and not for all."""
        turn, memory = asyncio.Lock(), MemoryBudget(2 * SESSIONS * len(LARGE))
        contents = [Content(len(LARGE), memory) for _ in range(SESSIONS)]
        reading = [asyncio.create_task(read_message(session(LARGE, turn), each)) for each in contents]
        await asyncio.sleep(0)

        grown: list[int] = []
        while not all(task.done() for task in reading):
            before = memory.held_bytes
            await asyncio.sleep(0)
            grown.append(memory.held_bytes - before)

        assert [task.result() for task in reading] == [True] * SESSIONS
        assert [each.take() for each in contents] == [LARGE[:-3]] * SESSIONS
        assert max(grown) <= PIECE_BYTES

    async def test_small_messages_do_not_wait_for_large_ones(self) -> None:
        """Whoever holds the turn."""
        turn = asyncio.Lock()
        await turn.acquire()
        content = Content(1000, MemoryBudget(1000))

        assert await read_message(session(b"Hi.\r\n.\r\n", turn), content)
        assert content.take() == b"Hi.\r\n"
