"""A whole installation for end-to-end tests: the process tree, and a small internet around it.

Nothing here sleeps for a fixed time: ``until`` asks again and again, and gives up
with a sentence on what it waited for.
"""

import contextlib
import os
import signal
import smtplib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from shared.adapters.opening import close_stores, open_stores
from shared.ports import Stores
from shared.settings import Settings
from standalone.demo.sending import API, NotSent
from standalone.demo.tree import Tree
from tests.e2e.internet import NETWORK, Internet

DOMAIN = "yourdomain.com"
"""The sending domain of the examples that guides print."""

SENDER = f"noreply@{DOMAIN}"
PATIENCE_S = 90.0
"""Longer than a lease (30 s) and the time that an unfinished request blocks its key (60 s)."""

POLL_S = 0.02


def until(question: Callable[[], object], what: str, *, timeout_s: float = PATIENCE_S) -> Any:
    """Return the first true answer.

    Raises:
        AssertionError: there was none in time; says what was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:.0f} s in vain: {what}")
        time.sleep(POLL_S)
    return answer


class Installation:
    """Edgepost, running, and the internet that it sees."""

    def __init__(self, tree: Tree, internet: Internet) -> None:
        self.tree = tree
        self.internet = internet

    @property
    def secrets(self) -> Mapping[str, Any]:
        """Return what the first start wrote."""
        return self.tree.secrets()

    def api(self, key: str = "") -> API:
        """Return the API with the first server's key or another; ask again after a restart."""
        return API(self.tree.url, key or self.secrets["api_key"])

    def send(self, recipient: str, *, key: str = "", idempotency_key: str = "", **fields: Any) -> int:
        """Send a message to one recipient and return its id."""
        message = {"to": [recipient], "from": SENDER, "subject": "Test", "plain_body": "Hello"} | fields
        return self.api(key).send(message, idempotency_key=idempotency_key)[recipient]

    def status(self, message_id: int) -> str:
        """Return what has become of a message so far, in Postal's words."""
        found = self.api().call("messages/message", {"id": message_id, "_expansions": ["status"]})
        return str(found["status"]["status"])

    def until_status(self, message_id: int, *wanted: str, timeout_s: float = PATIENCE_S) -> Sequence[Mapping[str, Any]]:
        """Wait for one of the statuses and return the deliveries."""
        until(
            lambda: self.status(message_id) in wanted,
            f"message {message_id} to become {' or '.join(wanted)}",
            timeout_s=timeout_s,
        )
        return self.api().deliveries(message_id)

    def until_delivered(self, recipients: Sequence[str], *, timeout_s: float = PATIENCE_S) -> None:
        """Wait until each recipient has mail at some MX."""
        wanted = set(recipients)

        def all_there() -> bool:
            return wanted <= self.internet.copies().keys()

        try:
            until(all_there, "all mail to arrive", timeout_s=timeout_s)
        except AssertionError as exc:
            missing = sorted(wanted - self.internet.copies().keys())
            raise AssertionError(f"{len(missing)} never arrived, such as {missing[:5]}\n{self.tree.log_end()}") from exc

    def submission(self, door: str = "submission", login: Mapping[str, str] | None = None) -> smtplib.SMTP:
        """Return a client that is logged in at a submission port, over TLS."""
        login = login or self.secrets["smtp"]
        port = self.tree.ports[door]
        client = smtplib.SMTP("127.0.0.1", port, timeout=30) if door == "submission" else None
        if client is None:
            client = smtplib.SMTP_SSL("127.0.0.1", port, timeout=30, context=trusting())
        else:
            client.starttls(context=trusting())
        client.login(login["username"], login["password"])
        return client

    def part_pid(self, name: str) -> int:
        """Return the process id of a part that runs; 0 if it does not."""
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "cmdline").read_bytes().decode().split("\0")
                if parent == self.tree.pid and "standalone.part" in words and name in words:
                    return int(entry.name)
        return 0

    def kill_part(self, name: str) -> None:
        """Kill -9 one part; the supervisor starts it again."""
        os.kill(until(lambda: self.part_pid(name), f"part {name} to run"), signal.SIGKILL)

    @contextlib.contextmanager
    def stores(self) -> Iterator[Stores]:
        """Open the installation's stores in this process too."""
        settings = Settings.from_env(self.tree.environment)
        try:
            yield open_stores(settings, caller="test")
        finally:
            close_stores()

    def published(self, domain: str = DOMAIN) -> dict[str, str]:
        """Return the DKIM records of a domain as TXT values by name."""
        records = self.tree.run("domain", "show", domain)["records"]
        return {record["name"]: record["value"] for record in records if "_domainkey" in record["name"]}


def trusting() -> ssl.SSLContext:
    """Return a context that takes the installation's self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def running(directory: Path, **settings: str) -> Iterator[Installation]:
    """Run an installation and its internet; everything is gone at the end."""
    with Internet() as internet:
        ours = {
            "first_domain": DOMAIN,
            "dns_servers": f"127.0.0.1:{internet.dns_port}",
            "delivery_port": str(internet.mx_port),
            "allow_networks": f"smtp:{NETWORK}.0/24",
        }
        with Tree(directory / "data", ours | settings) as tree:
            yield Installation(tree, internet)


def addresses(name: str, count: int, domain: str = "example.com") -> list[str]:
    """Return so many different addresses."""
    return [f"{name}-{number}@{domain}" for number in range(count)]


SENDERS = 8
"""Requests that a mailing has under way at once."""


class Mailing:
    """Sends one message to each of many recipients from several threads, through kills and restarts.

    Args:
        installation: where to send.
        recipients: one message each.
        repeat: send again, with the same idempotency key, until it is acknowledged;
            without it a request that got no answer is given up.
    """

    def __init__(
        self, installation: Installation, recipients: Sequence[str], *, repeat: bool, senders: int = SENDERS
    ) -> None:
        self._installation = installation
        self.size = len(recipients)
        self._repeat = repeat
        self._up = threading.Event()
        self._up.set()
        self._lock = threading.Lock()
        self._ids: dict[str, set[int]] = {}
        self._pool = ThreadPoolExecutor(senders)
        self._tasks = [self._pool.submit(self._send, recipient) for recipient in recipients]

    def __enter__(self) -> Self:
        """Return itself; sending has begun."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Wait for the end; what a sender could not do is raised here."""
        self._up.set()
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for task in self._tasks:
                task.result()

    def _send(self, recipient: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self._up.wait(PATIENCE_S)
            try:
                key = recipient if self._repeat else ""
                message_id = self._installation.send(recipient, idempotency_key=key)
            except NotSent:
                if not self._repeat:
                    return
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
            else:
                with self._lock:
                    self._ids.setdefault(recipient, set()).add(message_id)
                return

    @contextlib.contextmanager
    def interrupted(self) -> Iterator[None]:
        """Keep senders from starting new requests while the installation is down; those under way go on."""
        self._up.clear()
        try:
            yield
        finally:
            self._up.set()

    def all_sent(self) -> bool:
        """Return whether every message that was accepted has been recorded as sent."""
        with self._lock:
            ids = [message_id for ids in self._ids.values() for message_id in ids]
        return all(self._installation.status(message_id) == "Sent" for message_id in ids)

    @property
    def ids(self) -> Mapping[str, set[int]]:
        """The ids that the answers named, by recipient; a repeated request must name the same."""
        with self._lock:
            return dict(self._ids)

    @property
    def acknowledged(self) -> list[str]:
        """The recipients whose message was accepted."""
        with self._lock:
            return list(self._ids)

    @property
    def done(self) -> bool:
        """Whether every request has ended."""
        return all(task.done() for task in self._tasks)


SINK_LAG_S = 1.0
"""The sink may read a final dot from its buffer after the sender has died."""


def unexplained(internet: Internet, kills: Sequence[float], *, window_s: float = 2.0) -> Counter[str]:
    """Return the recipients who got mail twice though no kill came right after the first copy's 250.

    Only mail whose final dot was out and whose 250 was not yet recorded may come
    twice (RFC 1047); the sink knows when it wrote its 250.
    """
    found: Counter[str] = Counter()
    for recipient, times in internet.times().items():
        for first in sorted(times)[:-1]:
            if not any(-SINK_LAG_S <= kill - first <= window_s for kill in kills):
                found[recipient] += 1
    return found
