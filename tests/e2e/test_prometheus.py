"""Prometheus scrapes an installation with the configuration that guides print for Postal."""

import contextlib
import json
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Installation, until
from tests.e2e.programs import program, run

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-prometheus")]

GUIDE = """\
# prometheus.yml scrape config
scrape_configs:
  - job_name: postal
    static_configs:
      - targets: ['postal.example.com:5000']
    metrics_path: /metrics
    bearer_token: your-postal-api-key
"""
OFTEN = "global:\n  scrape_interval: 1s\n"
"""In place of once a minute, so that the test need not wait."""


def _configuration(installation: Installation, directory: Path) -> Path:
    """Write the guide's text with our address and key in place of the made-up ones."""
    file = directory / "prometheus.yml"
    address, key = f"127.0.0.1:{installation.tree.ports['http']}", installation.secrets["api_key"]
    text = GUIDE.replace("postal.example.com:5000", address).replace("your-postal-api-key", key)
    file.write_text(OFTEN + text)
    return file


@contextlib.contextmanager
def _prometheus(configuration: Path) -> Iterator[str]:
    """Run Prometheus and yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = [
        program("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={configuration.parent / 'tsdb'}",
        f"--web.listen-address={address}",
    ]
    with (configuration.parent / "prometheus.log").open("wb") as output:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait(30)


def _query(url: str, expression: str) -> Sequence[Mapping[str, Any]]:
    """Return what Prometheus knows; nothing while it still starts."""
    question = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{question}", timeout=5) as answer:  # noqa: S310  # loopback
            found: Sequence[Mapping[str, Any]] = json.loads(answer.read())["data"]["result"]
    except OSError:
        return []
    return found


class TestScrapeConfiguration:
    def test_the_guides_text_is_valid(self, installation: Installation, tmp_path: Path) -> None:
        """A typing error here would look like one of ours below."""
        said = run(program("promtool"), "check", "config", str(_configuration(installation, tmp_path)))

        assert "SUCCESS" in said

    def test_prometheus_scrapes_with_a_servers_api_key(self, installation: Installation, tmp_path: Path) -> None:
        """Whoever moves from Postal changes address and key, nothing else."""
        message_id = installation.send("scraped@example.com")
        installation.until_status(message_id, "Sent")

        with _prometheus(_configuration(installation, tmp_path)) as url:
            up = until(lambda: _query(url, 'up{job="postal"} == 1'), "Prometheus to scrape", timeout_s=30)
            sent = _query(url, 'edgepost_delivery_attempts_total{outcome="Sent"}')

        assert [each["value"][1] for each in up] == ["1"]
        assert {each["metric"]["server"] for each in sent} == {str(installation.secrets["server"]["id"])}
        assert float(sent[0]["value"][1]) >= 1


class TestFigures:
    @pytest.mark.parametrize("secret", ["metrics_token", "api_key"])
    def test_promtool_finds_nothing_to_criticise(self, installation: Installation, secret: str) -> None:
        """Its rules are what dashboards and alarms rely on: types, names, help texts."""
        installation.until_status(installation.send("counted@example.com"), "Sent")
        token = installation.secrets[secret]
        url = f"{installation.tree.url}/metrics"
        figures = run(program("curl"), "-sSf", "-H", f"Authorization: Bearer {token}", url)

        run(program("promtool"), "check", "metrics", stdin=figures)

        assert "edgepost_messages_accepted_total" in figures
