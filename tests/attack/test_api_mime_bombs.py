"""Messages made to choke parsers, sent and read through the API: an answer within a second."""

import base64
import time

import pytest

from tests.fakes.api import open_api
from tests.unit.test_mime_reading import BOMBS

HEAD = b"From: app@example.test\r\n"


class TestMIMEBombs:
    @pytest.mark.parametrize("name", BOMBS)
    async def test_are_refused_or_shown(self, name: str) -> None:
        """Sent raw and read back with every expansion."""
        api = await open_api()
        data = base64.b64encode(HEAD + BOMBS[name]).decode()
        started = time.process_time()

        answer = await api.call("send/raw", {"rcpt_to": ["a@b.test"], "mail_from": "app@example.test", "data": data})

        assert answer["status"] in ("success", "error")
        if answer["status"] == "success":
            [made] = answer["data"]["messages"].values()
            shown = await api.call("messages/message", {"id": made["id"], "_expansions": True})
            assert shown["status"] == "success"
        assert time.process_time() - started < 2
