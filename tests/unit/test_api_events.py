"""The event log by the API, and replay: a reader sees everything once, and may go back."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.event import Event, EventKind
from shared.domain.event_schemas import event_schemas
from shared.domain.ids import ServerId
from shared.domain.postal_signature import new_private_key
from shared.flow.record import Recording, record
from shared.flow.replay import Wanted, replay
from shared.flow.servers import suspend_server
from shared.store.event_flushes import READ_AFTER, Flushes
from shared.store.event_log import EventLog
from shared.store.events import Events
from shared.store.postal_key import PostalKey
from tests.fakes.api import API, api_over
from tests.fakes.installation import Installation, install
from tests.fakes.json_schema import problems
from tests.fakes.notifying import Hooks, handing_on_of, open_hooks

KEPT = timedelta(days=45)


async def recorded(here: Installation, *events: Event) -> None:
    """Record events and wait until they may be read."""
    flushes = Flushes(here.records, clock=here.clock, rng=random.Random(4), kept=KEPT)
    assert not (await record(events, using=Recording(flushes, Events(here.records), here.directory))).failed
    here.clock.advance(READ_AFTER + timedelta(seconds=1))


async def some(here: Installation, number: int, kind: EventKind = EventKind.DELIVERED) -> Sequence[Event]:
    """Accept messages and record an event of each."""
    events = []
    for each in range(number):
        message = await here.accept_one(f"user{each}@dest.test")
        events.append(Event(kind, message.server_id, message.id, 1, here.clock(), "ok", "250 ok"))
    await recorded(here, *events)
    return events


@pytest.fixture
async def api() -> API:
    """The API over a fresh installation."""
    return api_over(await install())


class TestEvents:
    async def test_pages_lead_through_everything(self, api: API) -> None:
        """A reader that keeps the cursor sees each event once, whatever the size of its steps."""
        events = await some(api.here, 7)
        seen, cursor, more = [], "", True
        while more:
            answer = (await api.client.get("/api/v2/events", params={"cursor": cursor, "limit": 3})).json()
            seen += answer["events"]
            cursor, more = answer["cursor"], answer["more"]

        later = await some(api.here, 1, EventKind.OPENED)
        rest = (await api.client.get("/api/v2/events", params={"cursor": cursor})).json()

        assert sorted(each["uuid"] for each in seen) == sorted(str(each.id) for each in events)
        assert [each["uuid"] for each in rest["events"]] == [str(each.id) for each in later]

    async def test_an_event_is_what_a_webhook_carries(self, api: API) -> None:
        """One form to read, however it comes."""
        await some(api.here, 1)

        [event] = (await api.client.get("/api/v2/events")).json()["events"]

        assert list(problems(event, event_schemas()["MessageDelivered"])) == []

    async def test_filters_by_name(self, api: API) -> None:
        """In either dialect's words."""
        await some(api.here, 2)
        await some(api.here, 1, EventKind.OPENED)

        answers = [
            (await api.client.get("/api/v2/events", params={"event": names})).json()["events"]
            for names in ("MessageOpened", "MessageLoaded, MessageSent", "")
        ]

        assert [len(each) for each in answers] == [1, 3, 3]

    async def test_a_reader_may_begin_at_a_moment(self, api: API) -> None:
        """Rewinding is why the log is there."""
        await some(api.here, 1)
        api.here.clock.advance(timedelta(days=3))
        await some(api.here, 1)

        recent = (await api.client.get("/api/v2/events")).json()["events"]
        since = (api.here.clock() - timedelta(days=4)).isoformat()
        all_of_them = (await api.client.get("/api/v2/events", params={"since": since})).json()["events"]

        assert (len(recent), len(all_of_them)) == (1, 2)

    async def test_the_key_is_the_credential(self, api: API) -> None:
        """In our header or as a bearer token; without one nothing is said."""
        url = "/api/v2/events"
        bearer = {"x-server-api-key": "", "authorization": f"Bearer {api.here.key}"}

        assert (await api.client.get(url, headers=bearer)).status_code == 200
        assert (await api.client.get(url, headers={"x-server-api-key": ""})).status_code == 401
        assert (await api.client.get(url, headers={"x-server-api-key": "wrong"})).status_code == 401

    @pytest.mark.parametrize(
        "params",
        [
            {"cursor": "x"},
            {"cursor": "../../"},
            {"cursor": "0" * 101},
            {"limit": "0"},
            {"limit": "501"},
            {"since": "yesterday"},
            {"since": "2026-01-01T00:00:00"},
            {"event": "Nonsense"},
        ],
    )
    async def test_what_makes_no_sense_is_422(self, api: API, params: dict[str, str]) -> None:
        """An edited cursor is refused or leads to the caller's own events, never to others'."""
        assert (await api.client.get("/api/v2/events", params=params)).status_code == 422

    async def test_others_events_are_not_there(self, api: API) -> None:
        """Not even with a cursor of their log."""
        here = api.here
        await some(here, 1)
        [event] = await some(here, 1)
        await recorded(here, replace(event, server_id=ServerId(99)))

        answer = (await api.client.get("/api/v2/events")).json()

        assert len(answer["events"]) == 2

    async def test_a_suspended_server_may_read(self, api: API) -> None:
        """It has to find out why."""
        here = api.here
        await suspend_server("main", "abuse", records=here.records, events=here.events, now=here.clock())
        here.clock.advance(timedelta(minutes=1))

        assert (await api.client.get("/api/v2/events")).status_code == 200


class TestDocuments:
    async def test_openapi_describes_what_there_is(self, api: API) -> None:
        """Clients are made from it."""
        document = (await api.client.get("/api/v2/openapi.json")).json()

        assert {"/api/v2/events", "/api/v2/events/schemas", "/api/v2/uploads"} <= set(document["paths"])
        assert set(document["components"]["securitySchemes"]) == {"APIKeyHeader", "HTTPBearer"}

    async def test_schemas_are_served(self, api: API) -> None:
        """Without a key: they are no secret."""
        answer = await api.client.get("/api/v2/events/schemas", headers={"x-server-api-key": ""})

        assert answer.json() == json.loads(json.dumps(event_schemas()))

    async def test_postals_key_is_published_and_stays(self, api: API) -> None:
        """Where Postal publishes it; a receiver keeps it for long (well_known_controller.rb)."""
        records, keyring = api.here.records, api.here.stores.keyring
        before = (await api.client.get("/.well-known/jwks.json")).json()
        signers = [await PostalKey(records, keyring).signer(new_private_key) for _ in range(2)]
        first = (await api.client.get("/.well-known/jwks.json", headers={"x-server-api-key": ""})).json()

        assert before == {"keys": []}
        assert first == signers[0].key_set() == signers[1].key_set()
        assert set(first["keys"][0]) == {"kty", "n", "e", "kid", "use", "alg"}


class TestReplay:
    async def _replay(self, hooks: Hooks, **wanted: object) -> int:
        here = hooks.here
        now = here.clock()
        endpoint, *_ = await hooks.notifying.endpoints.of(here.server.id)
        asked = Wanted(**{"since": now - timedelta(days=1), "until": now, **wanted})  # type: ignore[arg-type]
        log = EventLog(here.records, kept=KEPT)
        return await replay(asked, endpoint=endpoint, server=here.server, log=log, using=handing_on_of(here), now=now)

    async def test_sends_again_with_the_same_ids(self) -> None:
        """Also what was delivered before: whoever asks for it has lost it."""
        hooks = await open_hooks()
        await hooks.endpoint()
        events = await some(hooks.here, 3)
        await hooks.tell(*events)
        await hooks.deliver()

        number = await self._replay(hooks)
        await hooks.deliver()

        assert number == 3
        assert sorted(hooks.ids()) == sorted([str(each.id) for each in events] * 2)

    async def test_by_kind_by_id_by_message_and_by_time(self) -> None:
        """A developer sends one event again, an operator an hour."""
        hooks = await open_hooks()
        await hooks.endpoint()
        first = await some(hooks.here, 2)
        hooks.here.clock.advance(timedelta(hours=5))
        await some(hooks.here, 2, EventKind.OPENED)
        now = hooks.here.clock()

        assert await self._replay(hooks, kinds={EventKind.OPENED}) == 2
        assert await self._replay(hooks, event_ids={str(first[1].id)}) == 1
        assert await self._replay(hooks, message_id=first[0].message_id) == 1
        assert await self._replay(hooks, since=now - timedelta(hours=1)) == 2
        assert await self._replay(hooks, until=now - timedelta(hours=2)) == 2
