"""messages/message and messages/deliveries, field by field as Postal answers."""

import base64
import hashlib
import random
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId
from shared.domain.message import Delivery, Evidence, Status
from shared.flow.record import Recording, record
from shared.ports import Update
from shared.store.delivery_rows import row_text
from shared.store.event_flushes import Flushes
from shared.store.events import Events
from shared.store.keys import message_key
from tests.fakes.api import API, open_api

FILE = {"name": "ü.bin", "content_type": "application/x-thing", "data": base64.b64encode(bytes(100)).decode()}


async def sent(api: API, **changes: Any) -> dict[str, Any]:
    """Send one message and return its id and token."""
    answer = await api.send(**changes)
    made: dict[str, Any] = answer["data"]["messages"]["user@dest.test"]
    return made


class TestShowMessage:
    async def test_without_expansions_only_the_name(self) -> None:
        """Postal answers with id and token alone."""
        api = await open_api()
        made = await sent(api)

        answer = await api.call("messages/message", {"id": made["id"]})

        assert answer["data"] == made

    async def test_true_asks_for_everything(self) -> None:
        """Every expansion, with Postal's names, types and defaults."""
        api = await open_api()
        made = await sent(api, html_body="<p>ü</p>", attachments=[FILE], subject="Grüße", tag="t")

        answer = await api.call("messages/message", {"id": made["id"], "_expansions": True})

        data = answer["data"]
        raw = await api.here.bodies.get((await api.here.message(made["id"])).body_key)
        assert raw is not None
        assert list(data) == [
            "id", "token", "status", "details", "inspection", "plain_body", "html_body", "attachments", "headers",
            "raw_message", "activity_entries",
        ]  # fmt: skip
        assert data["status"] == {
            "status": "Pending",
            "last_delivery_attempt": None,
            "held": False,
            "hold_expiry": None,
        }
        details = data["details"]
        assert details.pop("message_id").endswith("@rp.localhost")
        assert details == {
            "rcpt_to": "user@dest.test",
            "mail_from": "app@example.test",
            "subject": "Grüße",
            "timestamp": api.here.clock().timestamp(),
            "direction": "outgoing",
            "size": str(len(raw)),
            "bounce": False,
            "bounce_for_id": 0,
            "tag": "t",
            "received_with_ssl": True,
        }
        assert isinstance(details["timestamp"], float)
        assert data["inspection"] == {
            "inspected": False, "spam": False, "spam_score": 0.0, "threat": False, "threat_details": None,
        }  # fmt: skip
        assert (data["plain_body"], data["html_body"]) == ("Hi.", "<p>ü</p>")
        [file] = data["attachments"]
        assert (file["filename"], file["content_type"], file["size"]) == ("ü.bin", "application/x-thing", 100)
        assert file["hash"] == hashlib.sha1(bytes(100), usedforsecurity=False).hexdigest()
        assert [len(line) for line in file["data"].split("\n")] == [60, 60, 16, 0]
        assert data["headers"]["subject"] == ["Grüße"]
        assert base64.b64decode(data["raw_message"]) == raw
        assert data["activity_entries"] == {"loads": [], "clicks": []}

    async def test_named_expansions_come_alone(self) -> None:
        """A name that is no expansion is passed over."""
        api = await open_api()
        made = await sent(api)

        answer = await api.call(
            "messages/message", {"id": str(made["id"]), "_expansions": ["html_body", "status", "x", 1]}
        )

        assert list(answer["data"]) == ["id", "token", "status", "html_body"]
        assert answer["data"]["html_body"] is None

    async def test_a_body_past_its_retention_is_shown_as_empty(self) -> None:
        """The record lives longer than the body."""
        api = await open_api()
        made = await sent(api)
        api.here.clock.advance(timedelta(days=31))

        answer = await api.call("messages/message", {"id": made["id"], "_expansions": True})

        data = answer["data"]
        assert (data["plain_body"], data["raw_message"], data["attachments"], data["headers"]) == (None, None, [], {})

    @pytest.mark.parametrize("path", ["messages/message", "messages/deliveries"])
    @pytest.mark.parametrize("given", [None, "", " ", [], {}, False, [1], {"a": 1}])
    async def test_no_id_is_a_parameter_error(self, path: str, given: object) -> None:
        """In Postal an object as id reaches its SQL; here it is none."""
        api = await open_api()

        answer = await api.call(path, {"id": given})

        assert answer["status"] == "parameter-error"
        assert answer["data"] == {"message": "`id` parameter is required but is missing"}

    @pytest.mark.parametrize("path", ["messages/message", "messages/deliveries"])
    @pytest.mark.parametrize("given", [1, 0, -1, 2**53, 10**300, "01", "x", "1 OR 1=1", "\u0661", 1.5, True])
    async def test_an_unknown_id_is_said_back(self, path: str, given: object) -> None:
        """Postal's words, its code and the id as it was given."""
        api = await open_api()

        answer = await api.call(path, {"id": given})

        assert answer["status"] == "error"
        assert answer["data"] == {
            "message": "No message found matching provided ID",
            "id": given,
            "code": "MessageNotFound",
        }

    async def test_shows_who_opened_and_clicked(self) -> None:
        """activity_entries, oldest first, with texts for moments as Postal has them there only."""
        api = await open_api()
        made = await sent(api)
        server, at = api.here.server, api.here.clock()
        visit = {"ip": "192.0.2.7", "user_agent": "Mail/1", "class": "human"}
        hits = [
            Event(kind, server.id, MessageId(made["id"]), 0, at + timedelta(seconds=n), subject=f"{9 - n}", data=data)
            for n, (kind, data) in enumerate(
                [
                    (EventKind.OPENED, visit),
                    (EventKind.CLICKED, {**visit, "url": "https://a.test/"}),
                    (EventKind.OPENED, {}),
                ]
            )
        ]
        flushes = Flushes(api.here.records, clock=api.here.clock, rng=random.Random(1), kept=timedelta(days=45))
        recording = Recording(flushes, Events(api.here.records), api.here.directory)
        assert not (await record(hits, using=recording)).failed

        answer = await api.call("messages/message", {"id": made["id"], "_expansions": ["activity_entries"]})

        entries = answer["data"]["activity_entries"]
        moments = [f"{(at + timedelta(seconds=n)).isoformat(timespec='milliseconds')[:-6]}Z" for n in range(3)]
        who = {"ip_address": "192.0.2.7", "user_agent": "Mail/1"}
        assert entries["loads"] == [
            {**who, "timestamp": moments[0]},
            {"ip_address": None, "user_agent": None, "timestamp": moments[2]},
        ]
        assert entries["clicks"] == [{"url": "https://a.test/", **who, "timestamp": moments[1]}]


class TestShowDeliveries:
    async def test_shows_the_history(self) -> None:
        """Output stripped, seconds and timestamps as floats, oldest first."""
        api = await open_api()
        made = await sent(api)
        at = api.here.clock() + timedelta(seconds=2)
        rows = {
            "d1": Delivery(11, 1, Status.SOFT_FAIL, "Later", " 450 later \n", at, "abcd1234"),
            "d2": Delivery(
                12, 2, Status.SENT, "Sent", "250 ok", at, "efgh5678", timedelta(seconds=0.25), Evidence(tls="TLSv1.3 x")
            ),
        }
        message = await api.here.message(made["id"])
        key = message_key(api.here.server, message.direction, message.id)
        changes = {name: row_text(row) for name, row in rows.items()}
        await api.here.records.update(Update(key, set={**changes, "deliveries": 2}))

        answer = await api.call("messages/deliveries", {"id": made["id"]})

        assert answer["data"] == [
            {
                "id": 11, "status": "SoftFail", "details": "Later", "output": "450 later", "sent_with_ssl": False,
                "log_id": "abcd1234", "time": None, "timestamp": at.timestamp(),
            },
            {
                "id": 12, "status": "Sent", "details": "Sent", "output": "250 ok", "sent_with_ssl": True,
                "log_id": "efgh5678", "time": 0.25, "timestamp": at.timestamp(),
            },
        ]  # fmt: skip

    async def test_a_new_message_has_none(self) -> None:
        """An empty list, not an error."""
        api = await open_api()

        answer = await api.call("messages/deliveries", {"id": (await sent(api))["id"]})

        assert answer["data"] == []
