"""Mail that came in is kept once, whatever breaks between two steps."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.errors import StorageUnavailable
from shared.domain.event import EventKind
from shared.domain.routes import RouteMode
from shared.flow.reserve_incoming import MAX_BELIEVED
from tests.fakes.installation import install
from tests.fakes.inward import RP, Limit, Limited, Post, dsn


@pytest.fixture
async def post() -> Post:
    """An installation that mail comes to."""
    return Post(await install())


class TestKeepIncoming:
    @pytest.mark.parametrize("calls", range(12))
    async def test_a_crash_at_any_step_leaves_one_copy_and_one_event(self, post: Post, calls: int) -> None:
        """The client heard no 250, so it comes again with the same bytes."""
        message = await post.sent()
        address = f"{await post.token(message)}@{RP}"
        before = await post.incoming()
        stores, broken = post.breaking_after(calls)

        crashed = False
        try:
            await post.take(address, dsn(), stores=stores)
        except StorageUnavailable:
            crashed = True
        post.here.clock.advance(timedelta(seconds=70))
        await post.take(address, dsn())

        assert crashed is broken()
        assert len(await post.incoming()) == len(before) + 1
        assert [each.kind for each in await post.events()] == [EventKind.BOUNCED]

    async def test_a_reservation_whose_body_never_came_is_given_it(self, post: Post) -> None:
        """Both are written at once, so a crash may leave either."""
        address = f"{await post.token(await post.sent())}@{RP}"
        stores = replace(post.here.stores, bodies=Limited(post.here.stores.bodies, Limit(0)))

        with pytest.raises(StorageUnavailable):
            await post.take(address, dsn(), stores=stores)
        kept = await post.take(address, dsn())

        assert kept is not None
        assert await post.here.stores.bodies.get(kept.body_key) is not None

    async def test_a_letter_without_an_id_is_never_taken_for_a_repetition(self, post: Post) -> None:
        """Two letters of the same words may be two."""
        route = await post.route(RouteMode.ACCEPT)

        for _ in range(2):
            await post.take(route.address, b"Subject: The kettle boils\r\n\r\nAgain.\r\n")

        assert len(await post.incoming()) == 2

    async def test_a_bounce_without_an_id_is_kept_once_however_often_it_is_tried(self, post: Post) -> None:
        """While a queue is away it comes every few minutes: it must not use up what is kept about its message."""
        message = await post.sent()
        address = f"{await post.token(message)}@{RP}"
        bounce = dsn().replace(b"Message-ID: <dsn@mx.dest.test>\r\n", b"")

        for _ in range(MAX_BELIEVED + 1):
            broken = replace(post.here.stores, events=Limited(post.here.stores.events, Limit(0)))
            with pytest.raises(StorageUnavailable):
                await post.take(address, bounce, stores=broken)
        await post.take(address, bounce)

        assert len(await post.incoming()) == 1
        assert [each.kind for each in await post.events()] == [EventKind.BOUNCED]
