"""Mail to addresses of ours that is made to stop, fill or deceive: it is kept, and changes nothing."""

import pytest

from shared.domain.errors import EnoughReported
from shared.domain.event import EventKind
from shared.domain.message import Message, Status
from shared.domain.routes import HTTPTarget, RouteMode
from shared.flow.reserve_incoming import MAX_BELIEVED, MAX_UNBELIEVED
from shared.flow.routes import NewRoute, create_route
from tests.attack.test_bounce_bombs import BOMBS
from tests.fakes.installation import install
from tests.fakes.inward import RP, Post, complaint, dsn


@pytest.fixture
async def post() -> Post:
    """An installation that mail comes to."""
    return Post(await install())


class TestBombs:
    @pytest.mark.parametrize("name", BOMBS)
    async def test_a_bomb_at_a_return_path_is_kept_and_changes_nothing(self, name: str) -> None:
        """Attacks M1 and S16: whatever is sent, the next bounce is still understood."""
        post = Post(await install())
        message = await post.sent()
        address = f"{await post.token(message)}@{RP}"

        assert await post.take(address, BOMBS[name]) is not None
        assert await post.status(message) is Status.SENT
        assert await post.events(EventKind.BOUNCED) == []

        await post.take(address, dsn())
        assert len(await post.events(EventKind.BOUNCED)) == 1


ANSWER = b"From: user@dest.test\r\nSubject: Out of office %d\r\nMessage-ID: <%d@dest.test>\r\n\r\nI am away.\r\n"


async def taken(post: Post, address: str, mails: list[bytes]) -> list[Message]:
    """Send mails until one is refused, and return what was kept; all must be refused after it."""
    kept: list[Message] = []
    refused = 0
    for raw in mails:
        try:
            message = await post.take(address, raw)
        except EnoughReported:
            refused += 1
        else:
            assert not refused
            assert message is not None
            kept.append(message)
    return kept


class TestFloods:
    @pytest.mark.parametrize("kind", ["bounces", "answers", "complaints", "without ids", "to unsubscribe"])
    async def test_one_return_path_takes_only_so_many_mails(self, post: Post, kind: str) -> None:
        """Whoever got one mail has one valid address, and cannot fill the store through it."""
        message, other = await post.sent(), await post.sent("other@dest.test")
        token = await post.token(message)
        wanted = range(MAX_UNBELIEVED + 15)
        most = MAX_UNBELIEVED if kind in ("answers", "without ids") else MAX_BELIEVED
        mails = {
            "bounces": [dsn(unique=str(number)) for number in wanted],
            "answers": [ANSWER % (number, number) for number in wanted],
            "complaints": [complaint(unique=str(number), head=f"X-Edgepost-Report: {token}") for number in wanted],
            "without ids": [b"Subject: %d\r\n\r\n\r\n" % number for number in wanted],
            "to unsubscribe": [
                b"Subject: %d\r\nMessage-ID: <%d@x.test>\r\n\r\n" % (number, number) for number in wanted
            ],
        }[kind]
        address = f"{'unsubscribe+' if kind == 'to unsubscribe' else ''}{token}@{RP}"
        bodies = len(post.here.bodies)

        kept = await taken(post, address, mails)

        assert len(kept) == most
        assert len(await post.incoming()) == most
        assert len(post.here.bodies) == bodies + most
        assert len(await post.events(EventKind.BOUNCED, EventKind.COMPLAINED, EventKind.UNSUBSCRIBED)) <= 1
        assert await post.take(f"{await post.token(other)}@{RP}", dsn("other@dest.test")) is not None

    async def test_the_same_place_is_found_again_when_all_are_taken(self, post: Post) -> None:
        """What was kept is answered with 250 however often it comes, also by another way to the message."""
        message = await post.sent()
        address = f"{await post.token(message)}@{RP}"
        first = await post.take(address, dsn())
        await taken(post, address, [dsn(unique=str(number)) for number in range(MAX_BELIEVED + 5)])

        again = await post.take(address, dsn())

        assert again == first
        with pytest.raises(EnoughReported):
            await post.take(
                f"{post.here.server.token}@{RP}",
                dsn(unique="new", head=f"X-Edgepost-Report: {address.partition('@')[0]}"),
            )

    @pytest.mark.parametrize("report", [dsn(), complaint("user@dest.test")])
    async def test_no_number_of_notices_keeps_out_a_report(self, post: Post, report: bytes) -> None:
        """Hosts tell of a delay each hour, and then that it failed; whoever asks for it gets a hundred answers."""
        message = await post.sent()
        address = f"{await post.token(message)}@{RP}"
        delays = [dsn(action="delayed", status="4.4.1", unique=str(number)) for number in range(MAX_UNBELIEVED)]
        answers = [ANSWER % (number, number) for number in range(MAX_UNBELIEVED)]
        assert len(await taken(post, address, delays + answers)) == MAX_UNBELIEVED

        assert await post.take(address, report) is not None

        assert len(await post.events(EventKind.BOUNCED, EventKind.COMPLAINED)) == 1

    async def test_bounces_keep_out_no_complaint(self, post: Post) -> None:
        """Each kind tells something else."""
        message = await post.sent()
        address = f"{await post.token(message)}@{RP}"
        await taken(post, address, [dsn(unique=str(number)) for number in range(MAX_BELIEVED + 1)])

        await post.take(address, complaint("user@dest.test"))

        assert [each.kind for each in await post.events(EventKind.COMPLAINED)] == [EventKind.COMPLAINED]

    async def test_a_route_for_the_rest_is_flooded_no_further(self, post: Post) -> None:
        """The route would pass each mail on to the customer's endpoint."""
        here = post.here
        targets = [HTTPTarget("https://hooks.example.test/a"), HTTPTarget("https://hooks.example.test/b")]
        wanted = NewRoute(address="__returnpath__", targets=targets)
        await create_route(
            wanted,
            server=here.server,
            allowed=(),
            records=here.records,
            keyring=here.stores.keyring,
            rng=here.rng,
            now=here.clock(),
        )
        address = f"{await post.token(await post.sent())}@{RP}"

        kept = await taken(post, address, [ANSWER % (number, number) for number in range(MAX_UNBELIEVED + 5)])

        assert len(kept) == MAX_UNBELIEVED
        assert len(await post.incoming()) == MAX_UNBELIEVED * len(targets)  # a copy for each, or for none

    async def test_a_bounce_writes_no_more_than_other_mail(self, post: Post) -> None:
        """The bound counts nothing: it is where the reservation lies."""
        message, route = await post.sent(), await post.route(RouteMode.ACCEPT)
        address = f"{await post.token(message)}@{RP}"

        def writes(before: int) -> int:
            return post.here.records.writes - before

        at = post.here.records.writes
        await post.take(route.address, ANSWER % (1, 1))
        ordinary, at = writes(at), post.here.records.writes
        await post.take(address, ANSWER % (2, 2))

        assert writes(at) == ordinary
