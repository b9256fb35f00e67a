"""What is secret about a route: what signs its requests, and the logins of its HTTP endpoints.

A user and password in a URL (``https://user:password@host/``, as Postal has them) are taken
out of it when it is given, wrapped and stored with the route: neither a list nor a message's
record shows them.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from shared.domain.endpoint import checked_url
from shared.domain.errors import InvalidValue
from shared.domain.routes import HTTPTarget, Route, Target, secret_context
from shared.ports import Keyring
from shared.settings import Network

MAX_LOGIN = 500


def split_targets(
    targets: Sequence[Target], allowed: Sequence[Network]
) -> tuple[tuple[Target, ...], Mapping[str, str]]:
    """Return the targets with plain, checked URLs, and ``user:password`` by URL.

    Args:
        targets: as somebody gave them.
        allowed: private networks that URLs may name.

    Raises:
        InvalidValue: a URL that cannot be used, or one twice with two logins.
    """
    found: list[Target] = []
    logins: dict[str, str] = {}
    for each in targets:
        if not isinstance(each, HTTPTarget):
            found.append(each)
            continue
        url, login = _split(each.url)
        url = checked_url(url, allowed)
        if login and logins.setdefault(url, login) != login:
            raise InvalidValue("one URL is given with two passwords")
        found.append(replace(each, url=url))
    return tuple(found), logins


def _split(text: str) -> tuple[str, str]:
    """Return the URL without its user information (RFC 3986 §3.2.1), and that, decoded."""
    url = text.strip()
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, ""  # refused with everything else that is no URL
    before, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, ""
    try:
        user, colon, password = (unquote(each, errors="strict") for each in before.partition(":"))
    except UnicodeDecodeError:
        user = colon = password = ""
    login = f"{user}:{password}"
    # RFC 7617 §2: neither has control characters, and the user no colon.
    if not user or not colon or ":" in user or not login.isprintable() or len(login) > MAX_LOGIN:
        raise InvalidValue("a login in a URL is user:password@, what is special in either written as %XX, in UTF-8")
    return parts._replace(netloc=host).geturl(), login


def wrapped_logins(route: Route, logins: Mapping[str, str], keyring: Keyring) -> str:
    """Return the logins in the form in which they are stored; empty for none."""
    return keyring.wrap(json.dumps(dict(logins)).encode(), context=_logins_context(route)) if logins else ""


def authorization(route: Route, url: str, keyring: Keyring) -> Mapping[str, str]:
    """Return the header that logs in at one of the route's endpoints (RFC 7617); none where it has no login.

    Raises:
        InvalidValue: the logins do not open under this master key.
    """
    if not route.logins:
        return {}
    found: Any = json.loads(keyring.unwrap(route.logins, context=_logins_context(route)))  # ours
    login = cast("dict[str, str]", found).get(url)
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}


def urls_with_login(route: Route, keyring: Keyring) -> frozenset[str]:
    """Return the URLs for which the route has a login.

    Raises:
        InvalidValue: the logins do not open under this master key.
    """
    if not route.logins:
        return frozenset()
    return frozenset(json.loads(keyring.unwrap(route.logins, context=_logins_context(route))))


def route_secrets(route: Route, keyring: Keyring, now: datetime) -> Sequence[str]:
    """Return the secrets that sign now: the newest first.

    Raises:
        InvalidValue: one does not open under this master key.
    """
    wrapped = [route.secret] if route.secret else []
    if route.previous_secret and route.previous_until is not None and now < route.previous_until:
        wrapped.append(route.previous_secret)
    return [keyring.unwrap(each, context=secret_context(route)).decode() for each in wrapped]


def _logins_context(route: Route) -> str:
    return f"route-logins:{route.server_id}:{route.address}"
