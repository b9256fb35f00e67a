"""Webhook endpoints and their attempts as documents, in the words that ``--json`` keeps stable."""

from datetime import datetime
from typing import Any

from shared.domain.endpoint import Endpoint
from shared.domain.event_names import event_name
from shared.network import HTTPAnswer
from shared.store.parcels import Tried

SHOWN_BYTES = 500


def endpoint_document(endpoint: Endpoint) -> dict[str, Any]:
    """Return an endpoint without its secret."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "dialect": endpoint.dialect.value,
        "events": _events(endpoint),
        "enabled": endpoint.enabled,
        "disabled_reason": None if endpoint.enabled else endpoint.disabled_reason or None,
        "headers": list(endpoint.header_names),
        "failing_since": _at(endpoint.failing_since),
        "paused_until": _at(endpoint.paused_until),
        "previous_secret_until": _at(endpoint.previous_until),
        "created_at": _at(endpoint.created_at),
    }


def endpoint_row(endpoint: Endpoint) -> dict[str, Any]:
    """Return an endpoint as a list shows it."""
    document = endpoint_document(endpoint)
    return {name: document[name] for name in ("id", "url", "dialect", "events", "enabled", "failing_since")}


def attempt_document(tried: Tried) -> dict[str, Any]:
    """Return one attempt to deliver one event."""
    return {
        "at": _at(tried.at),
        "event": tried.name,
        "event_id": tried.event_id,
        "attempt": tried.attempt,
        "status": tried.status or None,
        "took_ms": tried.took_ms,
        "answer": tried.answer or None,
    }


def answer_document(answer: HTTPAnswer) -> dict[str, Any]:
    """Return what an endpoint said to a made-up event."""
    return {
        "delivered": answered(answer),
        "status": answer.status or None,
        "took_ms": round(answer.took.total_seconds() * 1000),
        "answer": answer.error or answer.body[:SHOWN_BYTES].decode("utf-8", "replace") or None,
    }


def answered(answer: HTTPAnswer) -> bool:
    """Whether an endpoint took what it was sent."""
    return 200 <= answer.status < 300


def _events(endpoint: Endpoint) -> list[str]:
    """Return the names it is told of; empty for all."""
    return sorted(event_name(kind, endpoint.dialect) or kind.value for kind in endpoint.kinds)


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
