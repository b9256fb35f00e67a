"""``edgepost demo``: sends, delivers, signs and survives a kill, on one machine and without a network.

Everything is thrown away at the end: ports, data, processes.  The peers are
small ones of our own (``SmallDNS``, ``SmallMX``); Edgepost itself runs whole, as
``edgepost serve`` would.
"""

import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from standalone.demo import tracking
from standalone.demo.dns import SmallDNS, Table
from standalone.demo.mx import Arrived, SmallMX
from standalone.demo.report import Report
from standalone.demo.sending import API, SENDING_DOMAIN, WELCOME, NotSent, receipt, send_by_smtp
from standalone.demo.signatures import signatures
from standalone.demo.tree import Tree, TreeFailed

MAIL_BEFORE_KILL = 60
MAIL_IN_KILL = 200
SENDERS = 8

ARRIVAL_S = 30.0
REPEAT_S = 90.0
"""A request that died keeps its Idempotency-Key "in progress" for a minute."""

AFTER_KILL_S = 120.0
"""A node that was killed held a lease of 30 s on what it was sending; then a takeover sends it."""

SHOWN = (b"received", b"dkim-signature", b"from", b"to", b"subject", b"date", b"message-id", b"x-custom-header")

ZONE: Table = {
    "example.com": {"MX": ["10 mx.demo.test."]},
    "example.net": {"MX": ["10 mx.demo.test."]},
    "mx.demo.test": {"A": ["127.0.0.1"]},
}
"""The whole "internet" of the tour: two domains whose mail goes to one loopback host."""


class StepFailed(Exception):
    """A step did not do what it shows; the text says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the steps play on."""

    tree: Tree
    mx: SmallMX
    report: Report

    def api(self) -> API:
        """Return the API where it listens now (each start gets new ports)."""
        return API(self.tree.url, self.tree.secrets()["api_key"])


def tour(json: bool) -> int:  # noqa: FBT001  # the flag of a command
    """Play all steps and return the exit status: 0, or 1 with what failed.

    Args:
        json: print one JSON document instead of lines as they happen.
    """
    report = Report(as_json=json)
    try:
        with _ended_by_sigterm(), _stage(report) as stage:
            published = show_start(stage)
            show_api(stage)
            show_smtp(stage)
            show_signatures(stage, published)
            show_tracking(stage)
            show_kill(stage)
            show_stop(stage)
    except (StepFailed, TreeFailed, NotSent) as exc:
        report.failed(str(exc))
    except KeyboardInterrupt:
        report.failed("interrupted")
    return report.close()


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM end the tour as Ctrl-C does, so that it leaves nothing behind either."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _stage(report: Report) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="edgepost-demo-") as directory, SmallDNS(ZONE) as dns, SmallMX() as mx:
        settings = {
            "first_domain": SENDING_DOMAIN,
            "dns_servers": f"127.0.0.1:{dns.port}",
            "delivery_port": str(mx.port),
            "allow_networks": "smtp:127.0.0.0/8",
        }
        with Tree(Path(directory, "data"), settings) as tree:
            yield Stage(tree, mx, report)


def show_start(stage: Stage) -> dict[str, str]:
    """Show the ports, add a tracking domain, and return the DKIM records to publish, as TXT values by name."""
    ports = ", ".join(f"{name} {port}" for name, port in stage.tree.ports.items())
    stage.report.done("Edgepost runs, with an admin, a server, an API key and an SMTP login", f"ports: {ports}")
    shown = stage.tree.run("domain", "show", SENDING_DOMAIN)
    records = {record["name"]: record["value"] for record in shown["records"] if "_domainkey" in record["name"]}
    if not records:
        raise StepFailed(f"edgepost domain show {SENDING_DOMAIN} lists no DKIM record")
    lines = [f"{name} TXT {value[:60]}…" for name, value in records.items()]
    stage.report.done(f"The records that {SENDING_DOMAIN} must publish are known, DKIM among them", *lines)
    # Before the first delivery: nodes look again after five seconds only.
    server = stage.tree.secrets()["server"]["permalink"]
    stage.tree.run("track-domain", "add", tracking.HOST, "--server", server, "--trusted")
    return records


def show_api(stage: Stage) -> None:
    """Send the guides' example over HTTP and show its deliveries."""
    ids = stage.api().send(WELCOME)
    (recipient, message_id), *_ = ids.items()
    stage.report.done("Sent over HTTP: POST /api/v1/send/message", f"{recipient}: id {message_id}")
    _mail_for(stage, recipient)
    rows = _final_deliveries(stage, message_id)
    lines = [f"{row['status']}: {row['details']} ({row['output']})" for row in rows]
    if rows[-1]["status"] != "Sent":
        raise StepFailed(f"the message to {recipient} ended as {rows[-1]['status']}: {rows[-1]['details']}")
    stage.report.done("Delivered, and the API tells how: /api/v1/messages/deliveries", *lines)


def show_smtp(stage: Stage) -> None:
    """Send over submission with STARTTLS and AUTH."""
    login = stage.tree.secrets()["smtp"]
    cipher = send_by_smtp(stage.tree.ports["submission"], login["username"], login["password"], receipt())
    mail = _mail_for(stage, "ada@example.net")
    if b"\r\n.\r\nA line" not in mail.raw:
        raise StepFailed("the mail sent over SMTP did not arrive as it was sent")
    stage.report.done("Sent over SMTP with STARTTLS and AUTH, and delivered unchanged", cipher)


def show_signatures(stage: Stage, published: dict[str, str]) -> None:
    """Show the head of the first mail as received and check both signatures with dkimpy."""
    mail = _mail_for(stage, WELCOME["to"][0])
    found = signatures(mail.raw, published)
    problems = [f"{one.algorithm}: {one.problem or 'does not verify'}" for one in found if not one.verified]
    algorithms = {one.algorithm for one in found}
    if problems or algorithms != {"rsa-sha256", "ed25519-sha256"}:
        raise StepFailed(f"the signatures found were {sorted(algorithms)}; {'; '.join(problems) or 'all verify'}")
    lines = [f"{one.algorithm} d={one.domain} s={one.selector}: verified" for one in found]
    stage.report.done("Both DKIM signatures verify against the published records", *lines)
    stage.report.lines(_shown_head(mail.raw))


def show_tracking(stage: Stage) -> None:
    """Open a message and follow its link, as the recipient would, and find both in the event log."""
    stage.api().send(tracking.OFFER)
    marks = tracking.marks_in(_mail_for(stage, tracking.RECIPIENT).raw)
    if marks is None:
        raise StepFailed("the delivered message has no tracked link or no pixel")
    opened, _ = tracking.visit(stage.tree.ports["http"], marks.pixel)
    clicked, target = tracking.visit(stage.tree.ports["http"], marks.link)
    forged, _ = tracking.visit(stage.tree.ports["http"], marks.link[:-1])
    if (opened, clicked, target, forged) != (200, 307, tracking.TARGET, 404):
        raise StepFailed(f"pixel {opened}, link {clicked} to {target!r}, forged link {forged}")
    stage.report.done(
        "Opened and clicked under the customer's own name; a forged link leads nowhere",
        f"{tracking.HOST}{marks.link[:24]}… → {target}",
    )
    deadline = time.monotonic() + ARRIVAL_S
    while len(found := tracking.visits(stage.api())) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    names = sorted(event["event"] for event in found)
    if names != ["MessageLinkClicked", "MessageOpened"]:
        raise StepFailed(f"the event log has {names} within {ARRIVAL_S:.0f} s")
    lines = [f"{event['event']}: {event['payload']['visitor']}" for event in found]
    stage.report.done("Both are in the event log: /api/v2/events", *lines)


def _shown_head(raw: bytes) -> list[str]:
    head = raw.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b"\r\n ")
    lines = []
    shown = False
    for line in head.split(b"\r\n"):
        if not line.startswith(b" "):
            shown = line.partition(b":")[0].lower() in SHOWN
        if shown:
            lines.append("| " + line.decode("utf-8", "replace"))
    return lines


def show_kill(stage: Stage) -> None:
    """Kill -9 everything in the middle of many messages, start again, and find all of them delivered."""
    wanted = [f"customer-{number}@example.com" for number in range(MAIL_IN_KILL)]
    everyone = frozenset(wanted)
    with ThreadPoolExecutor(SENDERS) as pool:
        api = stage.api()
        sent = {
            recipient: pool.submit(api.send, _mail_to(recipient), idempotency_key=recipient) for recipient in wanted
        }
        try:
            stage.mx.wait_for(everyone, MAIL_BEFORE_KILL, timeout_s=ARRIVAL_S)
        finally:
            stage.tree.kill()
    acknowledged = {recipient for recipient, reply in sent.items() if _worked(reply)}
    before = stage.mx.wait_for(everyone, 0, timeout_s=0)
    stage.report.done(
        f"Killed with kill -9 in the middle of {MAIL_IN_KILL} messages",
        f"{len(acknowledged)} acknowledged, {before} delivered at that moment",
    )

    stage.tree.start()
    with ThreadPoolExecutor(SENDERS) as pool:
        again = [pool.submit(_send_again, stage, each) for each in wanted if each not in acknowledged]
    for request in again:
        request.result()
    arrived = stage.mx.wait_for(everyone, MAIL_IN_KILL, timeout_s=AFTER_KILL_S)
    if arrived < MAIL_IN_KILL:
        raise StepFailed(f"after the restart only {arrived} of {MAIL_IN_KILL} messages arrived")
    repeats = sum(mail.recipients[0] in everyone for mail in stage.mx.arrived()) - MAIL_IN_KILL
    stage.report.done(
        f"Started again: all {MAIL_IN_KILL} messages arrived",
        f"{MAIL_IN_KILL - len(acknowledged)} whose answer was lost were sent again with the same Idempotency-Key",
        f"{repeats} arrived twice: sent, but not yet noted as sent, when the kill came (RFC 1047)",
        acknowledged=len(acknowledged),
        arrived=arrived,
        repeats=repeats,
    )


def show_stop(stage: Stage) -> None:
    """End as an operator would, and show that it ends well."""
    status = stage.tree.stop()
    if status:
        raise StepFailed(f"edgepost serve ended with status {status} after SIGTERM")
    stage.report.done("Stopped with SIGTERM, everything drained")


def _mail_to(recipient: str) -> dict[str, object]:
    return {
        "to": [recipient],
        "from": f"noreply@{SENDING_DOMAIN}",
        "subject": "Your order",
        "plain_body": "It is on its way.",
    }


def _worked(reply: Future[Mapping[str, int]]) -> bool:
    return reply.exception() is None


def _send_again(stage: Stage, recipient: str) -> None:
    """Repeat a request whose answer was lost, until it is answered."""
    deadline = time.monotonic() + REPEAT_S
    while True:
        try:
            stage.api().send(_mail_to(recipient), idempotency_key=recipient)
        except NotSent:
            # The killed request may still count as in progress: that is a "not yet".
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _mail_for(stage: Stage, recipient: str) -> Arrived:
    if not stage.mx.wait_for(frozenset([recipient]), 1, timeout_s=ARRIVAL_S):
        raise StepFailed(f"the mail to {recipient} did not arrive within {ARRIVAL_S:.0f} s:\n{stage.tree.log_end()}")
    return next(mail for mail in stage.mx.arrived() if recipient in mail.recipients)


def _final_deliveries(stage: Stage, message_id: int) -> list[dict[str, object]]:
    deadline = time.monotonic() + ARRIVAL_S
    while not (rows := stage.api().deliveries(message_id)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if not rows:
        raise StepFailed(f"message {message_id} has no delivery within {ARRIVAL_S:.0f} s")
    return [dict(row) for row in rows]
