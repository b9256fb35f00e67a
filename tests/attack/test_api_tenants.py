"""One server's key and another server's messages: they do not exist for each other."""

import pytest

from shared.domain.tenancy import CredentialType
from shared.flow.credentials import NewCredential, create_credential
from shared.flow.servers import NewServer, create_server
from tests.fakes.api import API, api_over, open_api


async def neighbour(api: API, kind: CredentialType = CredentialType.API) -> API:
    """Return the same installation as another server of the same organization sees it."""
    here = api.here
    made = {"records": here.records, "rng": here.rng, "now": here.clock()}
    server = await create_server(NewServer(name="Other"), organization=here.tenant.organization, **made)  # type: ignore[arg-type]
    issued = await create_credential(NewCredential(type=kind, name="other"), server=server, **made)  # type: ignore[arg-type]
    other = api_over(here)
    other.client.headers["x-server-api-key"] = issued.key
    return other


class TestIsolation:
    @pytest.mark.parametrize("path", ["messages/message", "messages/deliveries"])
    async def test_anothers_message_looks_like_none(self, path: str) -> None:
        """The answers for a foreign id and an unknown id differ in nothing but the id."""
        api = await open_api()
        other = await neighbour(api)
        [made] = (await api.send())["data"]["messages"].values()

        foreign = await other.call(path, {"id": made["id"], "_expansions": True})
        unknown = await other.call(path, {"id": 4242, "_expansions": True})

        assert foreign["data"].pop("id") == made["id"]
        assert unknown["data"].pop("id") == 4242
        assert (foreign["status"], foreign["data"]) == (unknown["status"], unknown["data"])

    async def test_anothers_domain_cannot_be_sent_from(self) -> None:
        """A domain of one server is nothing to the other, also in the same organization."""
        other = await neighbour(await open_api())

        assert (await other.send())["data"]["code"] == "UnauthenticatedFromAddress"

    async def test_the_same_idempotency_key_of_two_servers_is_two_keys(self) -> None:
        """Keys are chosen by applications, which know nothing of each other."""
        api = await open_api()
        other = await neighbour(api)
        await api.send(http={"Idempotency-Key": "1"})

        answer = await other.send(http={"Idempotency-Key": "1"})

        assert answer["data"]["code"] == "UnauthenticatedFromAddress"

    async def test_an_smtp_key_opens_no_api(self) -> None:
        """A key of one type never works at another door."""
        other = await neighbour(await open_api(), CredentialType.SMTP)

        assert (await other.send())["data"]["code"] == "InvalidServerAPIKey"
