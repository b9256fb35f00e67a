"""``edgepost track-domain`` and ``edgepost token-keys`` on a data directory of their own."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.dns_server import FakeDNS
from tests.unit.test_cli_commands import data_dir, fails, run, say, server

__all__ = ["data_dir", "server"]

NAME = "track.example.test"


class TestTrackDomain:
    def test_add_prints_what_to_publish(self, server: str) -> None:
        """The names of the document stay."""
        added = run("track-domain", "add", NAME, "--server", server)

        assert added == {
            "domain": NAME,
            "sending_domain": None,
            "verified_at": None,
            "trusted": False,
            "dns_status": None,
            "dns_error": None,
            "checked_at": None,
            "opens": True,
            "clicks": True,
            "excluded": [],
            "records": [
                {
                    "type": "CNAME",
                    "name": NAME,
                    "value": "track.localhost",
                    "purpose": added["records"][0]["purpose"],
                }
            ],
        }
        assert run("track-domain", "show", NAME) == added
        text = say("track-domain", "show", NAME)
        assert f"edgepost track-domain verify {NAME}" in text
        assert f"CNAME  {NAME}\n  track.localhost\n" in text

    def test_trusted_needs_no_dns(self, server: str) -> None:
        """For tests, and for the operator's own names."""
        assert run("track-domain", "add", NAME, "--server", server, "--trusted")["trusted"]
        assert run("track-domain", "verify", NAME)["verified"]

    def test_verify_asks_the_dns(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """And says what it found instead."""
        run("track-domain", "add", NAME, "--server", server)

        async def verified(target: str, status: int) -> str:
            async with FakeDNS({NAME: {"CNAME": target, "ttl": 1}}) as dns:
                monkeypatch.setenv("EDGEPOST_DNS_SERVERS", f"127.0.0.1:{dns.port}")
                return str((await asyncio.to_thread(run, "track-domain", "verify", NAME, status=status))["explanation"])

        assert "is a CNAME of 'elsewhere.test'" in asyncio.run(verified("elsewhere.test", 1))
        assert asyncio.run(verified("track.localhost", 0)) == f"{NAME} is verified: links may carry it"

    def test_update_list_delete(self, server: str) -> None:
        """What is given changes, the rest stays."""
        run("track-domain", "add", NAME, "--server", server)
        changed = run("track-domain", "update", NAME, "--clicks", "off", "--exclude", "a.test", "--exclude", "*.gov")
        assert (changed["opens"], changed["clicks"], changed["excluded"]) == (True, False, ["a.test", "*.gov"])
        assert run("track-domain", "update", NAME, "--exclude-none")["excluded"] == []

        [listed] = run("track-domain", "list", "--server", server)["track_domains"]
        assert (listed["domain"], listed["clicks"]) == (NAME, False)
        assert run("track-domain", "delete", NAME, "--yes") == {"deleted": NAME}
        assert run("track-domain", "list", "--server", server) == {"track_domains": []}
        assert fails("track-domain", "show", NAME) == ("NotFound", f"there is no tracking domain {NAME}")

    def test_refusals_have_codes(self, server: str) -> None:
        """Programs read them."""
        assert fails("track-domain", "add", "localhost", "--server", server)[0] == "InvalidValue"
        assert fails("track-domain", "add", NAME, "--server", "nobody")[0] == "NotFound"
        run("track-domain", "add", NAME, "--server", server)
        assert fails("track-domain", "add", NAME, "--server", server)[0] == "NameTaken"

    def test_a_server_may_use_the_installations_own(self, server: str) -> None:
        """Off unless somebody says so."""
        assert run("server", "show", server)["shared_tracking"] is False
        assert run("server", "update", server, "--shared-tracking")["shared_tracking"] is True


class TestTokenKeys:
    def test_rotate_and_list_show_ids_only(self, data_dir: Path) -> None:
        """The keys themselves are nobody's to see."""
        assert run("token-keys", "list") == {"current": None, "keys": []}
        first = run("token-keys", "rotate")
        second = run("token-keys", "rotate")

        assert [key["id"] for key in second["keys"]] == [first["current"], second["current"]]
        assert [key["signs"] for key in second["keys"]] == [False, True]
        assert run("token-keys", "list") == second
        assert set(second["keys"][0]) == {"id", "signs"}

    def test_initialize_makes_the_first(self, data_dir: Path) -> None:
        """So that every part finds the same one."""
        run("initialize")

        assert len(run("token-keys", "list")["keys"]) == 1
