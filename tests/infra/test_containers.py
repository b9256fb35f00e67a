"""Dockerfile and compose files: no engine builds or runs them here, so all that can be held without one is."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.settings import Settings
from standalone.parts import DRAIN
from tests.architecture.sources import ROOT
from tests.infra.yaml_files import read_yaml

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
DOCKERFILE = ROOT / "infra/node/Dockerfile"
COMPOSE = sorted((ROOT / "infra/compose").glob("*/docker-compose.yml"))
USER = "10001"


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions and their words, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, words) for name, _, words in (line.partition(" ") for line in lines)]


def words_of(name: str) -> list[str]:
    """Return the words of every such instruction."""
    return [words for each, words in instructions() if each == name]


class TestDockerfile:
    def test_copies_what_is_there_and_is_sent(self) -> None:
        """A file that was renamed, or that .dockerignore keeps back, is missed only in somebody's build."""
        ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
        sent = {line[1:] for line in ignore if line.startswith("!")}
        copied = [
            word.rstrip("/") for words in words_of("COPY") if "--from" not in words for word in words.split()[:-1]
        ]

        assert [name for name in copied if not (ROOT / name).exists()] == []
        assert set(copied) == sent

    def test_copies_every_package(self) -> None:
        """A new top-level package belongs into the image as well."""
        packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
        copied = {word.rstrip("/") for words in words_of("COPY") for word in words.split()}

        assert {name.rstrip("*") for name in packages["include"]} <= copied

    def test_starts_from_a_named_release(self) -> None:
        """What was built last year must be buildable again; `latest` is something else every month."""
        bases = {words.split()[0] for words in words_of("FROM")}

        assert bases == {"python:3.13-slim-bookworm"}

    def test_installs_only_what_is_pinned(self) -> None:
        """The same packages as `make setup`, each with its hash."""
        installs = [words for words in words_of("RUN") if " install " in words and "pip" in words]

        assert len(installs) == 2
        assert all("--require-hashes" in words or "--no-deps --no-build-isolation" in words for words in installs)

    def test_runs_as_nobody_special(self) -> None:
        """A number, so that the engine's `runAsNonRoot` can see it."""
        (user,) = words_of("USER")

        assert user == f"{USER}:{USER}"

    def test_says_how_it_is_and_ends_well(self) -> None:
        """The health check is a command of ours, and the signal is the one that drains."""
        (check,) = words_of("HEALTHCHECK")

        assert check.endswith('CMD ["edgepost", "health"]')
        assert words_of("STOPSIGNAL") == ["SIGTERM"]
        assert words_of("ENTRYPOINT") == ['["edgepost"]']


def services(path: Path) -> Mapping[str, Any]:
    """Return the services of a compose file."""
    found: Mapping[str, Any] = read_yaml(path)["services"]
    return found


def ours(path: Path) -> Iterator[Any]:
    """Yield the services that run our image."""
    yield from (each for each in services(path).values() if "edgepost:" in each["image"])


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.parent.name)
class TestCompose:
    def test_pins_its_images(self, path: Path) -> None:
        """An upgrade is a decision, not what happens at the next start."""
        images = {each["image"] for each in services(path).values()}

        assert f"${{IMAGE:-edgepost:{VERSION}}}" in images
        assert all(re.search(r":[\d.]+(-\w+)?\}?$", image) for image in images), images

    def test_mounts_and_builds_what_is_there(self, path: Path) -> None:
        """Docker makes an empty directory where a mounted file is missing."""
        beside = path.parent
        for service in services(path).values():
            for volume in service.get("volumes", []):
                source = volume.partition(":")[0]
                # `aws` is made by the operator, as the file's head says.
                assert not source.startswith(".") or (beside / source).exists() or source == "./aws", volume
            if build := service.get("build"):
                assert (beside / build["context"] / build["dockerfile"]).exists()
                assert (beside / build["context"]).resolve() == ROOT

    def test_volumes_are_declared(self, path: Path) -> None:
        """A volume without a name is lost with its container."""
        document = read_yaml(path)
        used = {
            volume.partition(":")[0] for each in document["services"].values() for volume in each.get("volumes", [])
        }

        assert {name for name in used if not name.startswith(".")} == set(document["volumes"])

    def test_settings_are_ones_that_start(self, path: Path) -> None:
        """The example as it stands, and what the file adds, must pass the checks that every start makes."""
        example = dict(
            line.split("=", 1)
            for line in (path.parent / "env.example").read_text().splitlines()
            if line and not line.startswith("#")
        )
        for service in ours(path):
            if "env_file" in service:
                found = Settings.from_env(example | service["environment"])
                assert found.hostname == "mail.example.com"

    def test_takes_no_rights_it_does_not_need(self, path: Path) -> None:
        """Ports below 1024 are published by the engine, so the process needs nothing."""
        for service in ours(path):
            if "command" in service and "entrypoint" not in service:
                assert service["cap_drop"] == ["ALL"]
                assert service["read_only"] is True
                assert service["security_opt"] == ["no-new-privileges:true"]
                assert int(service["stop_grace_period"].rstrip("s")) > DRAIN.total_seconds()

    def test_publishes_the_ports_that_the_image_listens_on(self, path: Path) -> None:
        """25 outside must be the port that takes mail inside."""
        declared = Settings()
        inside = {25: declared.smtp_port, 587: declared.submission_port, 465: declared.submissions_port}
        (ports,) = ([*each["ports"]] for each in ours(path) if "ports" in each)

        assert {f"{outer}:{inner}" for outer, inner in inside.items()} <= set(ports)


class TestNetwork:
    def test_only_caddy_is_believed(self) -> None:
        """The trusted proxy is one address, Caddy's; SMTP clients of the same network are not it."""
        found = services(ROOT / "infra/compose/standalone/docker-compose.yml")

        caddy = found["caddy"]["networks"]["front"]["ipv4_address"]
        edgepost = found["edgepost"]["networks"]["front"]["ipv4_address"]
        assert found["edgepost"]["environment"]["EDGEPOST_TRUSTED_PROXIES"] == f"{caddy}/32"
        assert found["caddy"]["environment"]["UPSTREAM"] == f"{edgepost}:8080"


class TestEmulators:
    def test_are_reachable_from_this_machine_only_and_pinned(self) -> None:
        """An emulator checks no permissions: whoever reaches it may do everything, run code included."""
        found = services(ROOT / "localstack/docker-compose.yml")

        assert {name: each["ports"] for name, each in found.items()} == {
            "localstack": ["127.0.0.1:4566:4566"],
            "ministack": ["127.0.0.1:4566:4566"],
        }
        assert found["localstack"]["image"] == "localstack/localstack:${LOCALSTACK_TAG:-4.14.0}"
        assert all(re.search(r":-\d+\.\d+\.\d+", each["image"]) for each in found.values())

    def test_ministack_is_the_version_that_tests_run(self) -> None:
        """Two versions would differ in what they take."""
        (pinned,) = re.findall(r"^ministack==(\S+)$", (ROOT / "requirements/ministack.in").read_text(), re.MULTILINE)

        assert f":-{pinned}" in services(ROOT / "localstack/docker-compose.yml")["ministack"]["image"]
