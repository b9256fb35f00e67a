"""The API over an installation in memory, and a client that speaks to it without a network."""

from dataclasses import dataclass, replace
from typing import Any

import httpx

from functions.api.app import build_app
from functions.api.services import Services
from shared.settings import Settings
from tests.fakes.installation import Installation, install


@dataclass(slots=True)
class API:
    """One installation and the HTTP client of its one server."""

    here: Installation
    client: httpx.AsyncClient

    async def call(self, path: str, parameters: object = None, **headers: str) -> Any:
        """POST parameters as JSON and return the envelope of an answer that must have status 200."""
        answer = await self.client.post(f"/api/v1/{path}", json=parameters, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def send(self, http: dict[str, str] | None = None, **changes: object) -> Any:
        """Call send/message with good parameters, changed as told (``_from`` for ``from``); None leaves one out."""
        parameters: dict[str, object] = {
            "to": ["user@dest.test"],
            "from": "App <app@example.test>",
            "subject": "Hello",
            "plain_body": "Hi.",
        }
        parameters |= {name.removeprefix("_"): value for name, value in changes.items()}
        asked = {name: value for name, value in parameters.items() if value is not None}
        return await self.call("send/message", asked, **(http or {}))

    async def sent_raw(self, answer: Any) -> bytes:
        """Return the stored bytes of the message of an answer."""
        [first, *_] = answer["data"]["messages"].values()
        message = await self.here.message(first["id"])
        raw = await self.here.bodies.get(message.body_key)
        assert raw is not None
        return raw


def services_of(here: Installation) -> Services:
    """Return the API's services over an installation."""
    return Services(using=here.acceptance, clock=here.clock)


async def open_api(settings: Settings | None = None) -> API:
    """Return a fresh installation with its API."""
    return api_over(await install(settings))


def api_over(here: Installation, *, raises: bool = True, **changes: Any) -> API:
    """Return the API over an installation, some services replaced; the client sends the API key with every call."""
    app = build_app(replace(services_of(here), **changes))
    # An error that leaves the application fails the test, unless ``raises`` is off.
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=raises, client=("192.0.2.7", 4711))
    headers = {"x-server-api-key": here.key}
    return API(here, httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers))
