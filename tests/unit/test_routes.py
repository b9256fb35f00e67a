"""Routes: names, wildcards, tags, modes; who may have one; and the commands."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.domain.errors import InvalidValue, NameTaken, NotFound
from shared.domain.ids import ServerId
from shared.domain.job import TLSMode
from shared.domain.routes import (
    AddressTarget,
    HTTPTarget,
    Route,
    RouteMode,
    SMTPTarget,
    Target,
    checked_route,
    names_for,
    smtp_target,
    split_local,
)
from shared.flow.routes import NewRoute, create_route, delete_route, find_route, list_routes
from shared.flow.servers import NewServer, create_server, remove_server
from shared.store.routes import Routes
from tests.fakes.installation import Installation, install

URL = HTTPTarget("https://hooks.example.com/mail")


async def make(here: Installation, address: str, *targets: Target, mode: RouteMode = RouteMode.ENDPOINT) -> Route:
    """Make a route of the one server."""
    made = await create_route(
        NewRoute(address=address, mode=mode, targets=targets),
        server=here.server,
        allowed=(),
        records=here.records,
        keyring=here.stores.keyring,
        rng=random.Random(5),
        now=here.clock(),
    )
    return made.route


class TestNames:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("Support@Example.Test", ("support", "example.test")),
            ("*@example.test", ("*", "example.test")),
            ("a.b-c@example.test", ("a.b-c", "example.test")),
            ("__returnpath__", ("__returnpath__", "")),
        ],
    )
    def test_are_taken_in_postals_forms(self, text: str, found: tuple[str, str]) -> None:
        """Postal: ``[a-z0-9-.]*``, ``*``, or the return path's own name."""
        assert checked_route(text) == found

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "support",
            "@example.test",
            "a+b@example.test",
            "a b@example.test",
            "**@example.test",
            "a@",
            "é@x.test",
            "__returnpath__@example.test",
            "-a@example.test",
            "a@b@example.test",
            "a\n@example.test",
        ],
    )
    def test_others_are_refused(self, text: str) -> None:
        """A name that no RCPT can ask for would never get mail."""
        with pytest.raises(InvalidValue):
            checked_route(text)

    @pytest.mark.parametrize(
        ("address", "names"),
        [
            ("support@example.test", ["support", "*"]),
            ("Support+Ticket7@example.test", ["support", "*"]),
            ("+x@example.test", ["*"]),
            ("o'brien@example.test", ["*"]),
        ],
    )
    def test_a_name_goes_before_the_wildcard(self, address: str, names: list[str]) -> None:
        """Postal: the name before the plus sign, then ``*``."""
        assert list(names_for(address)[1]) == names

    def test_the_tag_stays_as_written(self) -> None:
        """Applications put tokens there."""
        assert split_local("Support+Ticket7+x") == ("support", "Ticket7+x")


class TestTargets:
    @pytest.mark.parametrize(
        ("text", "target"),
        [
            ("mail.example.com:2525", SMTPTarget("mail.example.com", 2525)),
            ("Mail.Example.com", SMTPTarget("mail.example.com", 25)),
            ("192.0.2.1:25", SMTPTarget("192.0.2.1", 25)),
            ("[2001:db8::1]:25", SMTPTarget("2001:db8::1", 25)),
        ],
    )
    def test_hosts(self, text: str, target: SMTPTarget) -> None:
        """TLS is asked for unless somebody says otherwise."""
        assert smtp_target(text) == target
        assert target.tls is TLSMode.STARTTLS

    @pytest.mark.parametrize("text", ["", ":25", "mail.example.com:0", "m.example:70000", "a b:25", "u@h:25", "h:x"])
    def test_other_hosts_are_refused(self, text: str) -> None:
        """What is no host would fail for every mail."""
        with pytest.raises(InvalidValue):
            smtp_target(text)


class TestCreateRoute:
    async def test_is_found_by_address_tag_and_token(self) -> None:
        """The three ways mail comes to a route."""
        here = await install()
        made = await make(here, "support@example.test", URL, SMTPTarget("mail.example.com"), AddressTarget("a@b.test"))
        store = Routes(here.records)

        assert await store.for_address("support@example.test") == made
        assert await store.for_address("Support+7@example.test") == made
        assert await store.by_token(made.token.upper()) == made
        assert await store.for_address("other@example.test") is None
        assert made.token.islower()

    async def test_the_wildcard_takes_the_rest(self) -> None:
        """A name of its own wins."""
        here = await install()
        support = await make(here, "support@example.test", mode=RouteMode.REJECT)
        rest = await make(here, "*@example.test", URL)
        store = Routes(here.records)

        assert await store.for_address("support@example.test") == support
        assert await store.for_address("anything@example.test") == rest

    async def test_an_address_has_one_route_in_the_installation(self) -> None:
        """Two organizations may have a domain of the same name; mail can only go to one."""
        here = await install()
        await make(here, "support@example.test", URL)

        with pytest.raises(NameTaken):
            await make(here, "support@example.test", URL)

    async def test_each_server_has_a_return_path_route_of_its_own(self) -> None:
        """Postal's check was installation-wide: the second server could not have one."""
        here = await install()
        other = await create_server(
            NewServer(name="Other"),
            organization=here.tenant.organization,
            records=here.records,
            rng=random.Random(9),
            now=here.clock(),
        )

        await make(here, "__returnpath__", URL)
        made = await create_route(
            NewRoute(address="__returnpath__", targets=[URL]),
            server=other,
            allowed=(),
            records=here.records,
            keyring=here.stores.keyring,
            rng=random.Random(6),
            now=here.clock(),
        )

        assert await Routes(here.records).get(other.id, "", "__returnpath__") == made.route

    @pytest.mark.parametrize(
        ("address", "mode", "targets"),
        [
            ("a@example.test", RouteMode.ENDPOINT, []),
            ("a@example.test", RouteMode.HOLD, [URL]),
            ("a@example.test", RouteMode.ENDPOINT, [HTTPTarget("http://169.254.169.254/")]),
            ("a@example.test", RouteMode.ENDPOINT, [HTTPTarget("ftp://x.test/")]),
            ("a@example.test", RouteMode.ENDPOINT, [URL] * 11),
            ("*@example.test", RouteMode.ENDPOINT, [URL, SMTPTarget("mail.example.com")]),
            ("__returnpath__", RouteMode.ENDPOINT, [AddressTarget("a@b.test")]),
            ("__returnpath__", RouteMode.HOLD, []),
        ],
    )
    async def test_refuses(self, address: str, mode: RouteMode, targets: list[Target]) -> None:
        """Postal's rules, and the guard against URLs that lead inside."""
        here = await install()

        with pytest.raises(InvalidValue):
            await make(here, address, *targets, mode=mode)

    async def test_a_domain_of_somebody_else_is_none(self) -> None:
        """Nobody may take another tenant's mail."""
        here = await install()

        with pytest.raises(NotFound):
            await make(here, "a@stranger.test", URL)


class TestOthers:
    async def test_another_servers_route_looks_like_none(self) -> None:
        """Tenants cannot see each other."""
        here = await install()
        await make(here, "support@example.test", URL)
        stranger = await create_server(
            NewServer(name="Other"),
            organization=here.tenant.organization,
            records=here.records,
            rng=random.Random(9),
            now=here.clock(),
        )

        with pytest.raises(NotFound):
            await find_route("support@example.test", server=stranger, records=here.records)

    async def test_deleting_frees_address_and_token(self) -> None:
        """Twice is once."""
        here = await install()
        made = await make(here, "support@example.test", URL)
        await delete_route(made, records=here.records)
        await delete_route(made, records=here.records)

        assert await Routes(here.records).by_token(made.token) is None
        assert (await list_routes(here.server, records=here.records))[0] == []
        await make(here, "support@example.test", URL)

    async def test_a_removed_server_takes_its_routes_along(self) -> None:
        """Another server may then have the address."""
        here = await install()
        await make(here, "support@example.test", URL)

        await remove_server(here.server, records=here.records)

        assert await Routes(here.records).for_address("support@example.test") is None

    async def test_a_route_of_a_server_that_is_gone_is_not_stored(self) -> None:
        """It would take mail that nobody sees."""
        here = await install()
        made = await make(here, "support@example.test", URL)
        orphan = Route(ServerId(5), "x", "example.test", "abcdefgh", RouteMode.ACCEPT, made.created_at)

        assert not await Routes(here.records).add(orphan)


def run(*arguments: str, status: int = 0) -> Any:
    """Run a command with --json and return its document."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


class TestCommands:
    def test_create_list_show_delete(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The whole life of a route."""
        for name in list(os.environ):
            if name.startswith("EDGEPOST_"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("EDGEPOST_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("EDGEPOST_DKIM_ALGORITHMS", "ed25519")
        run("org", "create", "Acme")
        run("server", "create", "Main", "--organization", "acme")
        run("domain", "add", "example.com", "--server", "main", "--trusted")

        endpoints = ["--http", "https://a.example/x", "--smtp", "h.example:26"]
        made = run("route", "create", "help@example.com", "--server", "main", *endpoints)
        held = run("route", "create", "*@example.com", "--server", "main", "--mode", "hold")
        listed = run("route", "list", "--server", "main")["routes"]
        run("route", "delete", "help@example.com", "--server", "main")

        assert made["endpoints"] == ["https://a.example/x", "smtp://h.example:26"]
        assert made["forward_address"].endswith("@routes.localhost")
        assert (held["mode"], held["endpoints"]) == ("Hold", [])
        assert [each["route"] for each in listed] == ["*@example.com", "help@example.com"]
        assert run("route", "show", "help@example.com", "--server", "main", status=1)["error"]["code"] == "NotFound"
        wrong = run("route", "create", "x@example.com", "--server", "main", "--mode", "eat", status=1)
        assert wrong["error"]["code"] == "InvalidValue"
