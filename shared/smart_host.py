"""Smart hosts: relays that take mail in place of the recipients' MX hosts, and how a setting names them."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.setting_values import HOSTNAME, LISTEN_ADDRESS, Form, WrongValue

FORM = "smtp://user:password@host:port?tls=starttls or smtps://user:password@host:port"
TLS_MODES = ("none", "opportunistic", "starttls", "tls")
POSTAL_TLS_MODES = {"auto": "opportunistic", "startls": "starttls", "ssl": "tls"}
"""What Postal's ``ssl_mode`` says otherwise, its misspelling included (app/models/smtp_endpoint.rb, SSL_MODES)."""

DEFAULT_PORTS = {"tls": 465}
SUBMISSION_PORT = 587
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class SmartHost:
    """A relay that takes all mail instead of the recipients' MX hosts."""

    host: str
    port: int
    tls: str
    """``none``, ``opportunistic``, ``starttls`` or ``tls``, as in shared.domain.job.TLSMode."""

    username: str = ""
    password: str = field(default="", repr=False)


def parse_smart_host(value: str) -> SmartHost | None:
    """Read ``smtp[s]://user:password@host:port?tls=…``; empty means none.

    ``smtps`` means TLS from the first byte on port 465 (RFC 8314 §3.3); ``smtp``
    means port 587 with STARTTLS, or what ``tls`` says.  Postal's ``ssl_mode`` is
    understood too.

    Raises:
        ValueError: not such a URL, or a password that would go in the clear.
    """
    return SMART_HOST(value)


def _smart_host(text: str) -> SmartHost | None:
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise WrongValue(f"must be {FORM}")
    if parts.path not in ("", "/") or parts.fragment or re.search(r"\s", text):
        raise WrongValue(
            "has characters that must be percent-encoded in a user name or password, such as / ? # or space"
        )
    host = LISTEN_ADDRESS(parts.hostname) if ":" in parts.hostname else HOSTNAME(parts.hostname)
    tls = _tls_mode(parts.scheme, parts.query)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(username) != bool(password):
        raise WrongValue("must have both a user name and a password, or neither")
    # RFC 4954 §4: plain passwords go only through TLS; our own machine is no network.
    if password and tls in ("none", "opportunistic") and host not in LOOPBACK:
        raise WrongValue("has a password, so tls must be starttls or tls")
    # A port that is no number makes urlsplit raise ValueError, whose text may quote the password.
    port = parts.port if parts.port is not None else DEFAULT_PORTS.get(tls, SUBMISSION_PORT)
    if port == 0:
        raise WrongValue("must have a port from 1 to 65535")
    return SmartHost(host, port, tls, username, password)


def _tls_mode(scheme: str, query: str) -> str:
    asked = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    if set(asked) - {"tls", "ssl_mode"}:
        raise WrongValue("may be followed by ?tls=… only; a ? in a password must be percent-encoded")
    mode = (asked.get("tls") or asked.get("ssl_mode") or "").lower()
    tls = POSTAL_TLS_MODES.get(mode, mode) or ("tls" if scheme == "smtps" else "starttls")
    if tls not in TLS_MODES:
        raise WrongValue(f"has a tls mode that is not one of {', '.join(TLS_MODES)}")
    if scheme == "smtps" and tls != "tls":
        raise WrongValue("says smtps, so tls must be tls or left out")
    return tls


def _pool_smart_hosts(text: str) -> tuple[tuple[str, SmartHost], ...]:
    found: dict[str, SmartHost] = {}
    for part in text.split():
        pool, _, url = part.partition("=")
        host = _smart_host(url)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", pool) or host is None:
            raise WrongValue(f"must be {POOL_SMART_HOSTS.expects}")
        if pool in found:
            raise WrongValue("names a pool twice")
        found[pool] = host
    return tuple(found.items())


SMART_HOST: Form[SmartHost | None] = Form(FORM, _smart_host)
POOL_SMART_HOSTS: Form[tuple[tuple[str, SmartHost], ...]] = Form(
    "pool=smtp://user:password@host:port pairs separated by spaces", _pool_smart_hosts
)
