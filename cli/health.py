"""``edgepost health``: what ``serve`` or ``node`` on this machine says of itself, without opening any store."""

import json
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

if TYPE_CHECKING:
    from shared.settings import Settings

TIMEOUT_S = 6
"""Longer than the store has to take a write and give it back (standalone.health)."""


def health(settings: "Settings") -> str:
    """Return ``OK``, or in a few words why not."""
    from cli.welcome import reachable

    url = f"http://{reachable(settings.http_host)}:{_http_port(settings)}/health"
    try:
        with urlopen(url, timeout=TIMEOUT_S) as reply:
            text: str = reply.read(100).decode("ascii", "replace").strip()
            return "OK" if text.startswith("OK") else f"unexpected answer from {url}"
    except (URLError, OSError, ValueError) as exc:
        return f"no healthy server at {url}: {_why(exc)}"


def _why(exc: Exception) -> str:
    reason = getattr(exc, "reason", exc)
    if isinstance(reason, ConnectionRefusedError):
        return "nothing listens there; `edgepost serve` starts it"
    return str(reason)


def _http_port(settings: "Settings") -> int:
    """Return the real port, which is noted at start because port 0 means any."""
    try:
        return int(json.loads((settings.data_dir / "ports.json").read_text())["http"])
    except (OSError, ValueError, KeyError, TypeError):
        return settings.http_port
