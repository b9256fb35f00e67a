"""Every setting, read once from the environment into one frozen value.

``docs/settings.md`` is made from this file (``make docs``), and a test holds them
together.  A bad value never stops at the first: ``SettingsError`` lists all.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from shared import setting_values as form
from shared.setting_values import AllowedNetworks, Form, Network, ServiceAddress, SourceAddress
from shared.smart_host import POOL_SMART_HOSTS, SMART_HOST, SmartHost, parse_smart_host

__all__ = [
    "PREFIX",
    "AllowedNetworks",
    "Network",
    "ServiceAddress",
    "Settings",
    "SettingsError",
    "SmartHost",
    "SourceAddress",
    "parse_smart_host",
    "variable",
]

T = TypeVar("T")

PREFIX = "EDGEPOST_"
FOREIGN_PREFIXES = ("EDGEPOST_TEST_", "EDGEPOST_BENCH_")
"""Tell tests and benchmarks where they find things; a program that they start inherits them and looks away."""


class SettingsError(Exception):
    """One or more settings are wrong; ``problems`` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def setting(default: str, doc: str, value: Form[T]) -> T:
    """Declare one setting; the field's name in capitals is the variable's.

    Args:
        default: as text, in the form that the environment would have.
        doc: a sentence for people, with the unit where the form does not say it.
        value: the form of its text.
    """
    made: Any = field(default=value(default), metadata={"default": default, "doc": doc, "form": value})
    return made  # type: ignore[no-any-return]  # field() pretends to be the value, as in dataclasses


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration; ``docs/settings.md`` shows it as a table."""

    # --- Where things are kept
    data_dir: Path = setting("./data", "Directory of standalone's files: database, keys, certificates.", form.PATH)
    backend: str = setting("embedded", "Storage: `embedded` (SQLite) or `aws`.", form.one_of("embedded", "aws"))
    stack: str = setting("", "Name of the AWS stack whose outputs configure a node or the command line.", form.TEXT)
    records_table: str = setting("", "DynamoDB table of records. Empty: the stack's output.", form.TEXT)
    bodies_table: str = setting("", "DynamoDB table of small bodies. Empty: the stack's output.", form.TEXT)
    bodies_bucket: str = setting("", "S3 bucket of large bodies. Empty: the stack's output.", form.TEXT)
    events_queue: str = setting("", "URL of the SQS queue of events. Empty: the stack's output.", form.TEXT)
    webhooks_queue: str = setting("", "URL of the SQS queue of webhooks. Empty: the stack's output.", form.TEXT)
    inbound_queue: str = setting("", "URL of the SQS queue of incoming mail. Empty: the stack's output.", form.TEXT)
    work_queues: tuple[tuple[str, str], ...] = setting(
        "", "URLs of the SQS queues of jobs, one for each IP pool. Empty: the stack's output.", form.QUEUES
    )
    secrets_path: str = setting(
        "",
        "Path of the SSM parameters that hold secrets, as `/edgepost/production`. Empty: the stack's output.",
        form.TEXT,
    )
    durability: str = setting(
        "normal",
        "`normal`: nothing acknowledged is lost when a process is killed. `full`: nor when the power fails"
        " (an fsync for each group of writes).",
        form.one_of("normal", "full"),
    )
    master_key: str = setting(
        "", "Key that wraps all stored secrets: 32 bytes in base64. Wins over the file.", form.MASTER_KEY
    )
    master_key_file: Path | None = setting(
        "",
        "File of the master key. Empty: `master.key` in the data directory, made at first start. Not used on AWS.",
        form.OPTIONAL_PATH,
    )

    # --- HTTP
    http_host: str = setting(
        "127.0.0.1", "Address that HTTP listens on; put a reverse proxy with TLS before it.", form.LISTEN_ADDRESS
    )
    http_port: int = setting("8080", "Port of the API, health and metrics.", form.integer(0, 65535))
    public_url: str = setting("http://localhost:8080", "URL under which users reach the API.", form.URL)
    trusted_proxies: tuple[Network, ...] = setting(
        "", "Networks whose X-Forwarded-For and PROXY lines count.", form.NETWORKS
    )
    edge_proxy: str = setting(
        "none",
        "What stands before the tracking functions on AWS: `cloudfront` makes its headers for host and client count.",
        form.one_of("none", "cloudfront"),
    )
    admin_token: str = setting("", "Bearer token of the management API. Empty: made at first start.", form.TOKEN)
    metrics_token: str = setting("", "Bearer token of `/metrics`. Empty: made at first start.", form.TOKEN)

    # --- SMTP in
    smtp_host: str = setting("127.0.0.1", "Address that all SMTP ports listen on.", form.LISTEN_ADDRESS)
    smtp_port: int = setting("2525", "Port for mail from other servers; 25 in production.", form.integer(0, 65535))
    submission_port: int = setting(
        "2587", "Port for submission with STARTTLS; 587 in production.", form.integer(0, 65535)
    )
    submissions_port: int = setting("2465", "Port for submission over TLS; 465 in production.", form.integer(0, 65535))
    smtp_proxy_protocol: bool = setting(
        "no",
        "Whether connections of trusted proxies to the ports 25 and 587 begin with a PROXY line (version 1 or 2)."
        " Then they must.",
        form.YES_NO,
    )
    tls_cert: Path | None = setting(
        "",
        "Certificate chain for SMTP (PEM), read again when it changes. Empty: self-signed, made once.",
        form.OPTIONAL_PATH,
    )
    tls_key: Path | None = setting("", "Private key of the certificate (PEM).", form.OPTIONAL_PATH)
    clear_auth_on_loopback: bool = setting("no", "Allow AUTH without TLS to clients on this machine.", form.YES_NO)
    max_message_bytes: int = setting(
        "26214400", "Largest message, in bytes, through any door.", form.integer(65536, 52428800)
    )
    max_connections_per_client: int = setting(
        "50", "SMTP connections one address may hold at once; loopback may hold all.", form.integer(1, 10000)
    )
    max_connections: int = setting("1000", "SMTP connections at once, all ports together.", form.integer(10, 100000))

    # --- Names
    hostname: str = setting(
        "localhost", "Name of this installation in SMTP greetings, EHLO and Received.", form.HOSTNAME
    )
    return_path_domain: str = setting(
        "rp.localhost", "Domain of envelope senders, where bounces come back.", form.HOSTNAME
    )
    route_domain: str = setting("routes.localhost", "Domain of route addresses.", form.HOSTNAME)
    postmaster: str = setting(
        "",
        "Address of a route that gets the mail to `postmaster@` and `abuse@` the names above. Empty: it is refused.",
        form.ROUTE_ADDRESS,
    )
    track_domain: str = setting("track.localhost", "Domain of tracking links where a customer has none.", form.HOSTNAME)
    first_domain: str = setting(
        "example.test", "First sending domain, made at first start and trusted without DNS.", form.HOSTNAME
    )

    # --- Delivery
    dns_servers: tuple[tuple[str, int], ...] = setting(
        "", "Servers for every DNS look-up, as `host:port,…`. Empty: the system's.", form.ENDPOINTS
    )
    delivery_port: int = setting("25", "Port on the recipients' MX hosts.", form.integer(1, 65535))
    delivery_ipv6: bool = setting("yes", "Whether this node delivers over IPv6 too.", form.YES_NO)
    source_addresses: tuple[SourceAddress, ...] = setting(
        "",
        "Source address and EHLO name pairs for delivery, as `192.0.2.1=mail.example.com,…`."
        " Empty: the system chooses, EHLO is the hostname.",
        form.SOURCE_ADDRESSES,
    )
    smart_host: SmartHost | None = setting(
        "", "Relay for all mail instead of MX, as `smtp[s]://user:password@host:port?tls=…`.", SMART_HOST
    )
    pool_smart_hosts: tuple[tuple[str, SmartHost], ...] = setting(
        "",
        "Relays per IP pool, as `pool=smtp://…` separated by spaces. Any other pool: the relay for all mail, or MX.",
        POOL_SMART_HOSTS,
    )
    ip_pools: tuple[str, ...] = setting("default", "IP pools this node works for, separated by commas.", form.WORDS)
    allow_networks: AllowedNetworks = setting(
        "",
        "Private networks that may be reached, as `smtp:CIDR,http:CIDR,CIDR`. Without it, never.",
        form.ALLOWED_NETWORKS,
    )
    delivery_connections: int = setting(
        "500", "Deliveries one node works on at once, waiting ones included.", form.integer(1, 10000)
    )
    delivery_connections_per_domain: int = setting(
        "20", "Of these, at most so many to one destination.", form.integer(1, 1000)
    )
    dkim_algorithms: tuple[str, ...] = setting(
        "rsa,ed25519", "Keys made for a new domain; each signs every message.", form.several_of("rsa", "ed25519")
    )
    domain_check: timedelta = setting(
        "1h",
        "How long after a sending domain was verified, or its DNS records changed, they are looked at again;"
        " the wait grows to 24 times this while nothing changes.",
        form.span(timedelta(minutes=1), timedelta(days=7)),
    )
    max_attempts: int = setting("18", "Attempts before a soft failure becomes final.", form.integer(1, 100))
    first_retry: timedelta = setting(
        "5m", "Wait after the first soft failure.", form.span(timedelta(seconds=10), timedelta(days=1))
    )
    retry_growth: float = setting("1.3", "Factor by which each further wait grows.", form.number(1, 5))
    accepted_events: str = setting(
        "subscribed",
        "Whether an accepted message is an event: `subscribed`, if an endpoint of its server wants to be told;"
        " `always` or `never`. Each event costs a row of the log.",
        form.one_of("subscribed", "always", "never"),
    )
    hold_expiry: timedelta = setting(
        "7d", "How long a held message waits for release.", form.span(timedelta(minutes=1), timedelta(days=365))
    )
    body_retention: timedelta = setting(
        "30d", "How long raw messages are kept.", form.span(timedelta(days=2), timedelta(days=3650))
    )
    message_retention: timedelta = setting(
        "60d", "How long message records and deliveries are kept.", form.span(timedelta(days=2), timedelta(days=3650))
    )
    event_retention: timedelta = setting(
        "45d", "How long the event log is kept.", form.span(timedelta(days=2), timedelta(days=3650))
    )

    # --- Suppression lists
    suppress_bad_addresses: bool = setting(
        "yes", "Suppress an address at once that a host says does not exist, is disabled or has moved.", form.YES_NO
    )
    suppress_hard_failures: int = setting(
        "2",
        "Suppress an address after so many hard failures of any kind within the window; 0 never.",
        form.integer(0, 10),
    )
    suppress_window: timedelta = setting(
        "24h", "How long hard failures count together.", form.span(timedelta(minutes=1), timedelta(days=30))
    )
    suppress_exhausted: bool = setting("yes", "Suppress an address when all attempts have failed softly.", form.YES_NO)
    suppress_complaints: bool = setting("yes", "Suppress an address whose owner complained of spam.", form.YES_NO)
    suppress_unsubscribes: bool = setting(
        "yes", "Suppress an address for the tag of the mail it unsubscribed from.", form.YES_NO
    )
    suppression_expiry: timedelta = setting(
        "30d",
        "How long an address stays suppressed after bounces and failures; complaints and unsubscriptions never expire.",
        form.span(timedelta(minutes=1), timedelta(days=3650)),
    )

    # --- Scanning for spam and viruses
    rspamd_url: str = setting(
        "", "Where rspamd takes mail, as `http://127.0.0.1:11333`. It is asked instead of spamd.", form.OPTIONAL_URL
    )
    rspamd_password: str = setting("", "Password of rspamd, if it asks for one.", form.HEADER_SECRET)
    spamd: ServiceAddress | None = setting(
        "", "Where SpamAssassin's spamd listens, as `127.0.0.1:783` or `/run/spamd.sock`.", form.SERVICE
    )
    clamd: ServiceAddress | None = setting(
        "", "Where ClamAV's clamd listens, as `127.0.0.1:3310` or `/run/clamav/clamd.ctl`.", form.SERVICE
    )
    spam_timeout: timedelta = setting(
        "15s",
        "How long a mail waits for rspamd or spamd; after that it passes as not checked.",
        form.span(timedelta(seconds=1), timedelta(minutes=2)),
    )
    virus_timeout: timedelta = setting(
        "30s",
        "How long a mail waits for clamd; after that it passes as not checked.",
        form.span(timedelta(seconds=1), timedelta(minutes=2)),
    )

    # --- Running it
    log_level: str = setting("info", "Least severe log line written.", form.one_of("debug", "info", "warning", "error"))
    time_factor: float = setting(
        "1",
        "Tests only: divides retry, hold and domain check times and the every-minute tick.",
        form.number(1, 1000000),
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read and check everything; an empty variable counts as unset.

        Raises:
            SettingsError: with every problem found, unknown ``EDGEPOST_`` names included.
        """
        problems: list[str] = []
        values: dict[str, Any] = {}  # one value per field, each of its own type
        wrong: set[str] = set()
        known = {variable(each): each for each in fields(cls)}
        for name, text in sorted(environ.items()):
            if not name.startswith(PREFIX) or name.startswith(FOREIGN_PREFIXES):
                continue
            if name not in known:
                problems.append(f"{name} is not a setting; see docs/settings.md")
                continue
            each = known[name]
            try:
                values[each.name] = each.metadata["form"](text) if text else each.default
            except form.WrongValue as exc:
                # The value itself is not repeated: it may be a secret.
                problems.append(f"{name} {exc}")
                wrong.add(each.name)
        settings = cls(**values)
        # What was unreadable has its default here, so rules about it would mislead.
        problems += [rule.problem for rule in RULES if not wrong & set(rule.about) and not rule.holds(settings)]
        if problems:
            raise SettingsError(problems)
        return settings


def variable(declared: "Field[Any]") -> str:
    """Return the environment variable of a field of ``Settings``."""
    return PREFIX + declared.name.upper()


class Rule(NamedTuple):
    """What two or more settings must be to each other."""

    about: tuple[str, ...]
    holds: Callable[[Settings], bool]
    problem: str


def _ports_differ(one: str, other: str) -> Rule:
    def holds(settings: Settings) -> bool:
        host = {"http_port": settings.http_host}
        same_host = host.get(one, settings.smtp_host) == host.get(other, settings.smtp_host)
        port = getattr(settings, one)
        # Port 0 lets the system choose, a different one each time.
        return not same_host or port == 0 or port != getattr(settings, other)

    names = (one, other, "http_host", "smtp_host")
    return Rule(names, holds, f"{PREFIX}{one.upper()} and {PREFIX}{other.upper()} must be different ports")


def _trying_time_s(settings: Settings) -> float:
    """Return the sum of all waits between attempts, with the most jitter (shared.domain.retry)."""
    first = settings.first_retry.total_seconds() * 1.1
    return sum(first * settings.retry_growth**number for number in range(settings.max_attempts - 1))


RULES = (
    *(
        _ports_differ(*pair)
        for pair in combinations(("http_port", "smtp_port", "submission_port", "submissions_port"), 2)
    ),
    Rule(
        ("smtp_proxy_protocol", "trusted_proxies"),
        lambda settings: bool(settings.trusted_proxies) or not settings.smtp_proxy_protocol,
        "EDGEPOST_SMTP_PROXY_PROTOCOL needs EDGEPOST_TRUSTED_PROXIES: it says whose lines count",
    ),
    Rule(
        ("tls_cert", "tls_key"),
        lambda settings: bool(settings.tls_cert) == bool(settings.tls_key),
        "EDGEPOST_TLS_CERT and EDGEPOST_TLS_KEY must be given together",
    ),
    Rule(
        ("body_retention", "message_retention"),
        lambda settings: settings.body_retention <= settings.message_retention,
        "EDGEPOST_BODY_RETENTION may not be longer than EDGEPOST_MESSAGE_RETENTION: a body needs its record",
    ),
    Rule(
        ("hold_expiry", "body_retention"),
        lambda settings: settings.hold_expiry <= settings.body_retention,
        "EDGEPOST_HOLD_EXPIRY may not be longer than EDGEPOST_BODY_RETENTION: releasing needs the body",
    ),
    Rule(
        ("max_attempts", "first_retry", "retry_growth", "body_retention"),
        lambda settings: _trying_time_s(settings) <= settings.body_retention.total_seconds(),
        "EDGEPOST_MAX_ATTEMPTS, EDGEPOST_FIRST_RETRY and EDGEPOST_RETRY_GROWTH together try for longer than"
        " EDGEPOST_BODY_RETENTION keeps the body",
    ),
)
"""Checked when each setting by itself is right; ``holds`` is asked with all settings."""
