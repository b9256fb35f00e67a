"""Many small requests in few large ones, without a network."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from shared.adapters.aws.coalescing import MOST_BYTES, Coalescer, NotDone
from shared.domain.errors import StorageUnavailable


class Requests:
    """Takes requests and keeps them; entries that are listed as bad fail."""

    def __init__(self, bad: Sequence[str] = ()) -> None:
        self.bad = bad
        self.made: list[list[str]] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def carry_out(self, entries: Sequence[str]) -> Sequence[NotDone | None]:
        """Keep the request, and end it when it may."""
        self.made.append(list(entries))
        self.begun.set()
        await self.may_end.wait()
        return [
            NotDone(StorageUnavailable, f"no {entry}", OSError(entry)) if entry in self.bad else None
            for entry in entries
        ]


def coalescer(requests: Requests, window_s: float = 0.01) -> Coalescer[str]:
    """Return one that makes these requests."""
    return Coalescer(requests.carry_out, len, window_s)


class TestAdd:
    async def test_a_hundred_callers_share_ten_requests(self) -> None:
        """Each request costs the same, whatever is in it."""
        requests = Requests()
        together = coalescer(requests)

        await asyncio.gather(*(together.add([str(n)]) for n in range(100)))

        assert len(requests.made) == 10
        assert sorted(int(entry) for each in requests.made for entry in each) == list(range(100))

    async def test_a_request_is_no_larger_than_allowed(self) -> None:
        """SQS counts the bytes of a batch together."""
        requests = Requests()
        together = coalescer(requests)
        large = "x" * (MOST_BYTES // 2)

        await asyncio.gather(*(together.add([large]) for _ in range(5)))

        assert [len(each) for each in requests.made] == [2, 2, 1]

    async def test_one_caller_with_many_needs_no_window_for_full_requests(self) -> None:
        """Only the rest waits for company."""
        requests = Requests()
        adding = asyncio.create_task(coalescer(requests, window_s=60).add([str(n) for n in range(25)]))

        for _ in range(5):
            await asyncio.sleep(0)

        assert [len(each) for each in requests.made] == [10, 10]
        adding.cancel()

    async def test_returns_only_when_its_own_entries_are_done(self) -> None:
        """An acknowledgement of others is none."""
        requests = Requests()
        requests.may_end.clear()
        adding = asyncio.create_task(coalescer(requests, 0).add(["a"]))
        await requests.begun.wait()

        assert not adding.done()
        requests.may_end.set()
        await adding

    async def test_each_caller_gets_its_own_error(self) -> None:
        """One tenant's bad message must not fail another's good one."""
        together = coalescer(Requests(bad=["bad", "worse"]))

        outcomes = await asyncio.gather(
            *(together.add([entry]) for entry in ("good", "bad", "worse")), return_exceptions=True
        )

        assert outcomes[0] is None
        assert [str(each) for each in outcomes[1:]] == ["no bad", "no worse"]
        assert isinstance(outcomes[1].__cause__, OSError)

    async def test_a_caller_that_goes_away_leaves_the_others(self) -> None:
        """A client that hangs up must not cancel a request that carries others' entries."""
        requests = Requests()
        together = coalescer(requests)
        leaving, staying = asyncio.create_task(together.add(["a"])), asyncio.create_task(together.add(["b"]))
        await asyncio.sleep(0)

        leaving.cancel()

        await staying
        assert requests.made == [["a", "b"]]

    async def test_an_unexpected_error_reaches_every_caller(self) -> None:
        """Nobody waits for ever because of a mistake of ours."""

        async def broken(_: Sequence[str]) -> Sequence[NotDone | None]:
            raise ZeroDivisionError

        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
        together = Coalescer(broken, len, 0)

        outcomes = await asyncio.gather(together.add(["a"]), together.add(["b"]), return_exceptions=True)

        assert [str(each) for each in outcomes] == ["a request ended with ZeroDivisionError"] * 2

    def test_works_under_one_loop_after_another(self) -> None:
        """A function runs a loop for each invocation; what the last one left behind must not matter."""
        requests_made = 0

        async def carry_out(entries: Sequence[str]) -> Sequence[NotDone | None]:
            nonlocal requests_made
            requests_made += 1
            return [None] * len(entries)

        together = Coalescer(carry_out, len, 0.5)

        async def leave_early() -> None:
            await asyncio.wait([asyncio.ensure_future(together.add(["left behind"]))], timeout=0.01)

        asyncio.run(leave_early())
        asyncio.run(asyncio.wait_for(together.add(["x"]), 5))

        assert requests_made == 1

    def test_works_in_several_threads_at_once(self) -> None:
        """Standalone runs functions in threads, each with a loop of its own, on one queue."""
        seen: list[str] = []

        async def carry_out(entries: Sequence[str]) -> Sequence[NotDone | None]:
            seen.extend(entries)
            return [None] * len(entries)

        together = Coalescer(carry_out, len, 0.001)

        async def many(name: str) -> None:
            await asyncio.gather(*(together.add([f"{name}{n}"]) for n in range(50)))

        threads = [threading.Thread(target=lambda name=name: asyncio.run(many(name))) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(seen) == sorted(f"{name}{n}" for name in "abcd" for n in range(50))

    async def test_nothing_makes_no_request(self) -> None:
        """An empty list is done at once."""
        requests = Requests()

        await coalescer(requests).add([])

        assert requests.made == []


@pytest.mark.parametrize("window_s", [0, 0.005])
async def test_entries_of_one_turn_go_together_whatever_the_window(window_s: float) -> None:
    """Without a window there is no wait, but what is there already shares a request."""
    requests = Requests()
    together = coalescer(requests, window_s)

    await asyncio.gather(*(together.add([str(n)]) for n in range(9)))

    assert len(requests.made) == 1
