"""The pool must be as random as what it is filled from, and never give the same bytes twice."""

import threading

from shared.adapters.randomness import POOL_BYTES, PooledRandom


class TestPooledRandom:
    def test_numbers_have_the_bits_asked_for(self) -> None:
        """The highest bit must be used, and none above it."""
        rng = PooledRandom()

        drawn = [rng.getrandbits(13) for _ in range(2000)]

        assert max(drawn).bit_length() == 13
        assert rng.getrandbits(0) == 0
        assert rng.getrandbits(8 * POOL_BYTES * 2).bit_length() > 8 * POOL_BYTES

    def test_fractions_stay_below_one(self) -> None:
        """``random`` is [0, 1), which sampling relies on."""
        rng = PooledRandom()

        drawn = [rng.random() for _ in range(2000)]

        assert 0 <= min(drawn) < 0.1
        assert 0.9 < max(drawn) < 1

    def test_threads_never_get_the_same_bytes(self) -> None:
        """A repeated key or id would be a repeated secret."""
        rng = PooledRandom()
        drawn: list[int] = []

        def draw() -> None:
            drawn.extend([rng.getrandbits(96) for _ in range(2000)])

        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(set(drawn)) == len(drawn) == 8000

    def test_two_of_them_differ(self) -> None:
        """Each has a pool of its own."""
        assert PooledRandom().getrandbits(128) != PooledRandom().getrandbits(128)
