"""Mail to addresses of ours that is made to stop, fill or deceive: it is kept, and changes nothing."""

import pytest

from shared.domain.event import EventKind
from shared.domain.message import Status
from tests.attack.test_bounce_bombs import BOMBS
from tests.fakes.installation import install
from tests.fakes.inward import RP, Post, dsn


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
