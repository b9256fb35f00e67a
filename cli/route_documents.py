"""Routes as documents, in the words that ``--json`` keeps stable."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

from cli.webhook_documents import answer_document
from shared.domain.routes import AddressTarget, HTTPTarget, Route, SMTPTarget, Target
from shared.flow.route_secrets import urls_with_login
from shared.flow.route_trial import Tried
from shared.ports import Keyring
from shared.settings import Settings


def route_row(route: Route, settings: Settings) -> dict[str, Any]:
    """Return a route as a list shows it, with the address at the route domain that leads to it too."""
    return {
        "route": route.address,
        "mode": route.mode.value,
        "spam_mode": route.spam_mode.value,
        "forward_address": f"{route.token}@{settings.route_domain}",
        "endpoints": [_name(each) for each in route.targets],
        "created_at": route.created_at.isoformat(timespec="milliseconds"),
    }


def route_document(route: Route, settings: Settings, keyring: Keyring) -> dict[str, Any]:
    """Return a route with the options of its endpoints, without what is secret."""
    logins = urls_with_login(route, keyring)
    return route_row(route, settings) | {
        "previous_secret_until": _at(route.previous_until),
        "endpoint_options": [_options(each, logins) for each in route.targets],
    }


def route_for_people(document: Mapping[str, Any]) -> str:
    """Return lines for people."""
    shown = {name: document[name] for name in ("route", "mode", "spam_mode", "forward_address", "created_at")}
    shown |= {name: document[name] for name in ("previous_secret_until", "secret") if document.get(name)}
    width = max(map(len, shown))
    lines = [f"{name.replace('_', ' '):{width}}  {value}" for name, value in shown.items()]
    return "\n".join([*lines, *(_endpoint_line(each) for each in document["endpoint_options"])])


def _endpoint_line(options: Mapping[str, Any]) -> str:
    words = [options["encoding"], options["format"], options["tls"] and f"TLS {options['tls']}"]
    if options["timeout_s"]:
        words += [
            "with attachments" if options["attachments"] else "without attachments",
            "replies taken apart" if options["strip_replies"] else "",
            f"answers within {options['timeout_s']} s",
            "with login" if options["login"] else "",
        ]
    said = ", ".join(word for word in words if word)
    return f"to {options['endpoint']}" + (f"  ({said})" if said else "")


def tried_document(tried: Tried) -> dict[str, Any]:
    """Return what an endpoint said to a made-up mail."""
    return {"endpoint": tried.url, **answer_document(tried.answer)}


def _name(target: Target) -> str:
    match target:
        case HTTPTarget(url):
            return url
        case SMTPTarget(host, port, _):
            return f"smtp://[{host}]:{port}" if ":" in host else f"smtp://{host}:{port}"
        case AddressTarget(address):
            return address
        case _:
            assert_never(target)


def _options(target: Target, logins: frozenset[str]) -> dict[str, Any]:
    http = target if isinstance(target, HTTPTarget) else None
    return {
        "endpoint": _name(target),
        "encoding": http.encoding.value if http else None,
        "format": http.format.value if http else None,
        "attachments": http.attachments if http else None,
        "strip_replies": http.strip_replies if http else None,
        "timeout_s": http.timeout_s if http else None,
        "login": http.url in logins if http else None,
        "tls": target.tls.value if isinstance(target, SMTPTarget) else None,
    }


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
