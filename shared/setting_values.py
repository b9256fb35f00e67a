"""The forms a setting's text may have: what is expected, and how it is read.

A form never repeats the text it could not read, because the text may be a
secret, and it lets no library's message through for the same reason.
"""

import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network
T = TypeVar("T")

LINK_LOCAL = (ip_network("169.254.0.0/16"), ip_network("::ffff:169.254.0.0/112"))
"""Where clouds keep their metadata service (RFC 3927), also as a mapped address (RFC 4291 §2.5.5.2)."""

MASTER_KEY_BYTES = 32


class WrongValue(ValueError):
    """The text cannot be read; the message continues a sentence that starts with the setting's name."""


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """What a setting's text looks like: ``expects`` for people, ``read`` for the program."""

    expects: str
    """Continues "must be", such as "a whole number from 0 to 65535"."""

    read: Callable[[str], T]
    """Returns the value; any ValueError means that the text is not as expected."""

    def __call__(self, text: str) -> T:
        """Return the value.

        Raises:
            WrongValue: the text is not as expected; never repeats it.
        """
        try:
            return self.read(text)
        except WrongValue:
            raise
        except ValueError:
            # The cause may quote a secret, so it is not chained.
            raise WrongValue(f"must be {self.expects}") from None


def _matching(pattern: str, text: str) -> re.Match[str]:
    """Return the match of the whole text; ValueError if there is none."""
    if found := re.fullmatch(pattern, text):
        return found
    raise ValueError


def _within(value: T, *, fits: bool) -> T:
    """Return the value if it fits; ValueError if not."""
    if not fits:
        raise ValueError
    return value


def listed(text: str) -> tuple[str, ...]:
    """Return the parts of a list separated by commas, without spaces and empty parts."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


# --- Plain values

TEXT: Form[str] = Form("text", str)

ANSWERS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _yes_no(text: str) -> bool:
    if text.lower() not in ANSWERS:
        raise ValueError
    return ANSWERS[text.lower()]


YES_NO: Form[bool] = Form("yes or no", _yes_no)


def integer(least: int, most: int) -> Form[int]:
    """Expect a whole number, both ends included."""

    def read(text: str) -> int:
        value = int(_matching(r"[0-9]{1,12}", text)[0])
        return _within(value, fits=least <= value <= most)

    return Form(f"a whole number from {least} to {most}", read)


def number(least: float, most: float) -> Form[float]:
    """Expect a decimal number, both ends included."""

    def read(text: str) -> float:
        value = float(_matching(r"[0-9]{1,9}(\.[0-9]{1,6})?", text)[0])
        return _within(value, fits=least <= value <= most)

    return Form(f"a number from {least:.10g} to {most:.10g}", read)


UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}


def shown(span: timedelta) -> str:
    """Return a time span as settings write it, in the largest unit that divides it: ``90m``."""
    letter, unit = next(each for each in UNITS.items() if not span % each[1])
    return f"{span // unit}{letter}"


def span(least: timedelta, most: timedelta) -> Form[timedelta]:
    """Expect a time with its unit, both ends included."""

    def read(text: str) -> timedelta:
        found = _matching(r"([0-9]{1,6})([smhd])", text)
        value = int(found[1]) * UNITS[found[2]]
        return _within(value, fits=least <= value <= most)

    return Form(f"a time such as 30s, 5m, 12h or 7d, from {shown(least)} to {shown(most)}", read)


def one_of(*choices: str) -> Form[str]:
    """Expect one of these words."""
    return Form(f"one of {', '.join(choices)}", lambda text: _within(text, fits=text in choices))


def several_of(*choices: str) -> Form[tuple[str, ...]]:
    """Expect one or more of these words, each once, separated by commas."""

    def read(text: str) -> tuple[str, ...]:
        chosen = listed(text)
        return _within(chosen, fits=bool(chosen) and set(chosen) <= set(choices) and len(set(chosen)) == len(chosen))

    return Form(f"a list of {', '.join(choices)}, each at most once", read)


WORDS: Form[tuple[str, ...]] = Form(
    "names of letters, digits, - and _, separated by commas",
    lambda text: tuple(
        _matching(r"[A-Za-z0-9_-]{1,64}", part)[0] for part in listed(_matching(r".*[^\s,].*", text)[0])
    ),
)

PATH: Form[Path] = Form("a path", lambda text: Path(_matching(r"[^\0]+", text)[0]))
OPTIONAL_PATH: Form[Path | None] = Form("a path", lambda text: PATH(text) if text else None)

# --- Secrets

TOKEN: Form[str] = Form(
    # RFC 6750 §2.1: what a bearer token may hold.
    "letters, digits and -._~+/=, without spaces",
    lambda text: _matching(r"[A-Za-z0-9._~+/-]*=*", text)[0],
)


HEADER_SECRET: Form[str] = Form(
    "printable characters of ASCII, without spaces", lambda text: _matching(r"[!-~]{0,200}", text)[0]
)


def _master_key(text: str) -> str:
    # Both alphabets of RFC 4648 count (§4 and §5): keys are made with different commands.
    raw = b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    return _within(text, fits=not text or len(raw) == MASTER_KEY_BYTES)


MASTER_KEY: Form[str] = Form(f"{MASTER_KEY_BYTES} bytes in base64", _master_key)

# --- Names and addresses


def _hostname(text: str) -> str:
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123 §2.1
    return _matching(rf"(?=.{{1,253}}$){label}(\.{label})*", text)[0]


def _address_or_hostname(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return str(ip_address(bare)) if ":" in bare or re.fullmatch(r"[0-9.]+", bare) else _hostname(bare)


def _route_address(text: str) -> str:
    if not text:
        return text
    name, _, domain = text.rpartition("@")
    return f"{_matching('[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?', name)[0]}@{_hostname(domain)}"


ROUTE_ADDRESS: Form[str] = Form("the address of a route, such as operator@example.com", _route_address)
HOSTNAME: Form[str] = Form("a host name in lower case, such as mail.example.com", _hostname)
LISTEN_ADDRESS: Form[str] = Form("an IP address or a host name", _address_or_hostname)


def _url(text: str) -> str:
    parts = urlsplit(text)
    plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    return _within(text.rstrip("/"), fits=bool(plain and not parts.query and not parts.fragment and parts.port != 0))


URL: Form[str] = Form("a URL such as https://mail.example.com, without user, query and fragment", _url)


def _endpoint(text: str) -> tuple[str, int]:
    # RFC 3986 §3.2.2: an IPv6 address needs brackets when a port follows.
    if text.count(":") > 1 and not text.startswith("["):
        return str(ip_address(text)), 53
    found = _matching(r"(\[[^\]]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?", text)
    port = int(found[2] or 53)
    return _address_or_hostname(found[1]), _within(port, fits=0 < port < 65536)


ENDPOINTS: Form[tuple[tuple[str, int], ...]] = Form(
    "host:port, several separated by commas, IPv6 as [address]:port",
    lambda text: tuple(_endpoint(part) for part in listed(text)),
)


class ServiceAddress(NamedTuple):
    """Where a program of the operator's listens: a port of a host, or a socket in the file system."""

    host: str
    port: int
    path: str = ""
    """Of the socket; host and port are empty then."""


def _service(text: str) -> ServiceAddress | None:
    if not text:
        return None
    if text.startswith("/"):
        return ServiceAddress("", 0, _matching(r"/[^\0]{1,106}", text)[0])  # what sockaddr_un(7) has room for
    found = _matching(r"(\[[^\]]+\]|[^:\[\]]+):([0-9]{1,5})", text)
    port = int(found[2])
    return ServiceAddress(_address_or_hostname(found[1]), _within(port, fits=0 < port < 65536))


SERVICE: Form[ServiceAddress | None] = Form("HOST:PORT, IPv6 as [address]:port, or the path of a socket", _service)

OPTIONAL_URL: Form[str] = Form(URL.expects, lambda text: URL(text) if text else "")


class SourceAddress(NamedTuple):
    """An address of this machine to deliver from, and the name it says in EHLO (RFC 5321 §4.1.1.1)."""

    address: str
    ehlo: str


def _source_addresses(text: str) -> tuple[SourceAddress, ...]:
    found: list[SourceAddress] = []
    for part in listed(text):
        address, _, name = part.partition("=")
        found.append(SourceAddress(str(ip_address(address.strip())), _hostname(name.strip())))
    if len({each.address for each in found}) < len(found):
        raise WrongValue("names an address twice")
    return tuple(found)


SOURCE_ADDRESSES: Form[tuple[SourceAddress, ...]] = Form(
    "address=name pairs such as 192.0.2.1=mail.example.com, separated by commas", _source_addresses
)


def _queues(text: str) -> tuple[tuple[str, str], ...]:
    found = [part.partition("=") for part in listed(text)]
    pairs = tuple((WORDS(pool.strip())[0], URL(url.strip())) for pool, _, url in found)
    if len(dict(pairs)) < len(pairs):
        raise WrongValue("names a pool twice")
    return pairs


QUEUES: Form[tuple[tuple[str, str], ...]] = Form("pool=URL pairs, separated by commas", _queues)

# --- Networks

NETWORKS: Form[tuple[Network, ...]] = Form(
    "networks such as 10.0.0.0/8, separated by commas", lambda text: tuple(ip_network(part) for part in listed(text))
)


@dataclass(frozen=True, slots=True)
class AllowedNetworks:
    """Private networks that may be reached, by protocol."""

    smtp: tuple[Network, ...] = ()
    http: tuple[Network, ...] = ()


def _overlap(one: Network, other: Network) -> bool:
    first, second = one.network_address, other.network_address
    return one.version == other.version and (first in other or second in one)


def _allowed_networks(text: str) -> AllowedNetworks:
    found: dict[str, list[Network]] = {"smtp": [], "http": []}
    for part in listed(text):
        protocols = [part[:4]] if part.startswith(("smtp:", "http:")) else list(found)
        network = ip_network(part[5:] if len(protocols) == 1 else part)
        # Cloud metadata lives there: only an address named in full may be reached.
        if network.num_addresses > 1 and any(_overlap(network, each) for each in LINK_LOCAL):
            raise WrongValue("may name addresses in 169.254.0.0/16 only one by one, as /32")
        for protocol in protocols:
            found[protocol].append(network)
    return AllowedNetworks(tuple(found["smtp"]), tuple(found["http"]))


ALLOWED_NETWORKS: Form[AllowedNetworks] = Form("smtp:CIDR, http:CIDR or CIDR, separated by commas", _allowed_networks)
