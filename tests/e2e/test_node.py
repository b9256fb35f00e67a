"""``edgepost node``: SMTP in and out on a store that an installation made, without API and functions."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from standalone.demo.tree import Tree, command, environment
from tests.e2e.harness import DOMAIN, SENDER, Installation, until
from tests.e2e.internet import NETWORK, Internet

pytestmark = pytest.mark.e2e

RECIPIENT = "node@example.com"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running node on a store that was initialized first."""
    with Internet() as internet:
        settings = {
            "first_domain": DOMAIN,
            "dns_servers": f"127.0.0.1:{internet.dns_port}",
            "delivery_port": str(internet.mx_port),
            "allow_networks": f"smtp:{NETWORK}.0/24",
            "metrics_token": "figures",
        }
        tree = Tree(tmp_path_factory.mktemp("node") / "data", settings, runs="node")
        tree.run("initialize")
        with tree:
            yield Installation(tree, internet)


def answer(url: str, token: str = "") -> tuple[int, str]:
    """Return status and body of a GET."""
    reply = httpx.get(url, headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=10)
    return reply.status_code, reply.text


class TestNode:
    def test_takes_mail_by_smtp_and_delivers_it(self, node: Installation) -> None:
        """This is what a node is for; only the store stands between its two halves."""
        with node.submission() as client:
            client.sendmail(SENDER, [RECIPIENT], f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: Hi\r\n\r\nHi.\r\n")

        node.until_delivered([RECIPIENT])

    @pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/readyz", 200), ("/metrics", 401)])
    def test_says_how_it_is(self, node: Installation, path: str, status: int) -> None:
        """Containers and load balancers ask by HTTP."""
        assert answer(node.tree.url + path)[0] == status

    def test_shows_its_figures(self, node: Installation) -> None:
        """Each node is scraped by itself; queues belong to the installation, and a node may not ask for their depth."""
        status, text = answer(f"{node.tree.url}/metrics", "figures")

        assert status == 200
        assert 'edgepost_part_up{part="deliver"} 1.0' in text
        assert "edgepost_queue_messages{" not in text

    @pytest.mark.parametrize("path", ["/", "/api/v1/send/message", "/api/v2/openapi.json", "/health/../x"])
    def test_has_no_api(self, node: Installation, path: str) -> None:
        """What a node does not need, nobody can attack there."""
        assert answer(node.tree.url + path)[0] == 404

    def test_runs_no_functions(self, node: Installation) -> None:
        """On AWS Lambda consumes the events; a node that did it too would be one more bill."""
        assert node.part_pid("deliver")
        assert not node.part_pid("consumers")


class TestHealthCommand:
    def test_follows_the_node(self, node: Installation) -> None:
        """A container image needs no curl for its HEALTHCHECK; a stopped node is not well, and says so by 1."""
        there = environment({"data_dir": str(node.tree.data_dir)})

        def ask() -> "subprocess.CompletedProcess[str]":
            return subprocess.run(command("health"), env=there, capture_output=True, text=True, check=False)

        well = ask()
        stopped = node.tree.stop()
        gone = ask()
        node.tree.start()

        assert (well.returncode, well.stdout.split()) == (0, ["health", "OK"])
        assert stopped == 0
        assert gone.returncode == 1
        assert "no healthy server at http://127.0.0.1:" in gone.stdout

    def test_prints_a_document(self, node: Installation) -> None:
        """Programs read it with --json, as every command."""
        until(lambda: answer(f"{node.tree.url}/health")[0] == 200, "the node to be well")

        assert node.tree.run("health") == {"health": "OK"}


class TestCannotStart:
    def test_on_a_store_without_installation(self, tmp_path: Path) -> None:
        """Two nodes that each made first things would have two admins; a node makes none."""
        settings = environment({"data_dir": str(tmp_path / "data"), "http_port": "0", "smtp_port": "0"})

        done = subprocess.run(command("node"), env=settings, capture_output=True, text=True, check=False, timeout=60)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "edgepost: This store has no installation yet, and a node does not make one:"
            " run `edgepost initialize` first\n"
        )
