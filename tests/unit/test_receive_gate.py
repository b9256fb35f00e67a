"""Counters that decide who may come in."""

from smtp_node.receive.gate import ConnectionGate, MemoryBudget, Throttle, client_at

ONE = client_at("192.0.2.1")
OTHER = client_at("192.0.2.2")
LOCAL = client_at("127.0.0.1")


class TestConnectionGate:
    def test_limits_one_client(self) -> None:
        """One client must leave room for the others."""
        gate = ConnectionGate(total=10, per_client=2)
        gate.enter(ONE)
        gate.enter(ONE)

        assert gate.refusal(ONE) == "client"
        assert gate.refusal(OTHER) == ""

    def test_limits_all_together(self) -> None:
        """Memory and file descriptors are finite."""
        gate = ConnectionGate(total=2, per_client=2)
        gate.enter(ONE)
        gate.enter(OTHER)

        assert gate.refusal(LOCAL) == "total"

    def test_this_machine_may_hold_all(self) -> None:
        """Its programs share one address."""
        gate = ConnectionGate(total=10, per_client=1)
        gate.enter(LOCAL)

        assert gate.refusal(LOCAL) == ""

    def test_leaving_makes_room_and_forgets(self) -> None:
        """Addresses seen once must not be kept for ever."""
        gate = ConnectionGate(total=10, per_client=1)
        gate.enter(ONE)
        gate.leave(ONE)

        assert gate.refusal(ONE) == ""
        assert gate.count == 0
        assert not gate._open


class TestThrottle:
    def test_throttles_after_so_many_failures(self) -> None:
        """Others stay as they are."""
        throttle = Throttle(after=2, window_s=60)
        throttle.failed(ONE, 0)
        assert not throttle.is_throttled(ONE, 1)
        throttle.failed(ONE, 1)

        assert throttle.is_throttled(ONE, 59)
        assert not throttle.is_throttled(OTHER, 59)

    def test_ends_with_the_window(self) -> None:
        """A repaired script is soon treated as new."""
        throttle = Throttle(after=1, window_s=60)
        throttle.failed(ONE, 0)

        assert not throttle.is_throttled(ONE, 60)

    def test_forgets_the_oldest_when_full(self) -> None:
        """A botnet must not fill our memory."""
        throttle = Throttle(after=1, window_s=60, most=2)
        for each in (ONE, OTHER, LOCAL):
            throttle.failed(each, 0)

        assert len(throttle) == 2
        assert not throttle.is_throttled(ONE, 1)


class TestMemoryBudget:
    def test_gives_no_more_than_there_is(self) -> None:
        """A refused request reserves nothing."""
        memory = MemoryBudget(10)

        assert memory.take(6)
        assert not memory.take(5)
        assert memory.take(4)
        memory.give_back(10)
        assert memory.held_bytes == 0
