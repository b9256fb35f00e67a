"""Tracked HTML in a real browser: the document is the same tree, and every link resolves to the same address."""

import base64
import http.server
import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from shared.tokens import CLICK
from smtp_node.deliver.tracking.rewrite import rewritten
from tests.e2e.programs import program
from tests.fakes.marking import BASE, HOST, LINK, SAMPLES, TOKENS, marking, parts

COMPARE = SAMPLES.parent / "compare_documents.html"
"""Reads both documents as a mail reader does, and names the first node that differs."""


def html_samples() -> dict[str, tuple[str, bytes, bytes]]:
    """Return charset, and HTML before and after, of every HTML part that is changed."""
    found: dict[str, tuple[str, bytes, bytes]] = {}
    for path in sorted(SAMPLES.glob("*.eml")):
        raw = path.read_bytes()
        pairs = zip(parts(raw), parts(rewritten(raw, marking())), strict=True)
        for number, ((head, before), (_, after)) in enumerate(pairs):
            if "text/html" in head and before != after:
                charset = re.search(r"charset=\"?([\w-]+)", head)
                # Marks vanish as told; without them both documents must be one.
                unmarked = re.sub(rb"(?i)\+notrack(?=://)", b"", before)
                found[f"{path.stem}-{number}"] = (charset[1] if charset else "", unmarked, after)
    return found


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Let Chromium compare all samples; give what it found."""
    chromium = program("chromium")
    folder = tmp_path_factory.mktemp("browser")
    listed = []
    for name, (charset, before, after) in html_samples().items():
        (folder / f"{name}.before").write_bytes(before)
        (folder / f"{name}.after").write_bytes(after)
        links = [match[0].decode() for match in LINK.finditer(after)]
        read = {link: TOKENS.read(CLICK, HOST, link.rpartition("/")[2]) for link in links}
        targets = {link: named.target for link, named in read.items() if named}
        listed.append({"name": name, "charset": charset, "targets": targets})
    (folder / "samples.json").write_text(json.dumps({"base": BASE, "samples": listed}))
    (folder / "compare.html").write_bytes(COMPARE.read_bytes())
    with _Served(folder) as port:
        done = subprocess.run(
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=30000",
                # Nothing but this server is reached.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--dump-dom", f"http://127.0.0.1:{port}/compare.html",
            ],
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip
    found = re.search(rb'id="result">([A-Za-z0-9+/=]+)<', done.stdout)
    assert found is not None, done.stderr.decode()[-2000:]
    return json.loads(base64.b64decode(found[1]))


class _Served:
    """A folder on a loopback port."""

    def __init__(self, folder: Path) -> None:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, directory=str(folder), **kwargs)

            def log_message(self, *_: Any) -> None:
                """Stay quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        return self._server.server_port

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.mark.slow
class TestInChromium:
    def test_the_documents_are_equal_but_for_links_and_pixel(self, compared: dict[str, Any]) -> None:
        """The recipient sees what the sender designed."""
        assert {name: each["differs"] for name, each in compared.items() if each["differs"]} == {}
        assert len(compared) >= 10
        assert all(each["nodes"] > 3 for each in compared.values())

    def test_each_shows_one_pixel(self, compared: dict[str, Any]) -> None:
        """It is an element of the document, not part of a text or a comment."""
        assert {name: each["pixels"] for name, each in compared.items()} == dict.fromkeys(compared, 1)
