"""Write docs/events.md and docs/event-schemas.json from the code: ``python docs/make_events.py``."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that the script runs without an installed project

from shared.domain.event import EventKind  # noqa: E402  # after the path is known
from shared.domain.event_names import EDGEPOST_NAMES, POSTAL_NAMES, Dialect  # noqa: E402
from shared.domain.event_schemas import WHEN, event_schemas  # noqa: E402
from shared.domain.ids import OrganizationId, ServerId  # noqa: E402
from shared.domain.sample_event import sample_notice  # noqa: E402
from shared.domain.tenancy import Mode, Organization, Server, Tenant  # noqa: E402
from shared.domain.webhook_payload import webhook_body  # noqa: E402

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TENANT = Tenant(
    Server(
        id=ServerId(1),
        organization_id=OrganizationId(1),
        name="Main",
        permalink="main",
        token="abcdef",  # noqa: S106  # of a server in an example
        mode=Mode.LIVE,
        created_at=AT,
        shards=(),
    ),
    Organization(OrganizationId(1), "Example", "example", AT),
)

HEAD = """\
# Events

Everything that happens to a message, a domain or a server is an event. Events are kept for `EDGEPOST_EVENT_RETENTION`
(45 days), sent to [webhooks](webhooks.md), and read at any time from the [event log](#the-event-log).

An event is `{"event", "timestamp", "payload", "uuid"}`. `uuid` is the same wherever and however often it is told: keep
it for a few days and pass over what you have seen. `timestamp` is when it happened, in seconds since 1970.
`payload.message.metadata` and `tag` are what you gave with the message, by the API or by SMTP headers.

Fields may be added, so pass over what you do not know; none is ever removed or changes its type. The schemas are in
[event-schemas.json](event-schemas.json) and served at `/api/v2/events/schemas`; the examples below are checked against
them. This page is made from the code by `make docs`.

## The event log

```sh
curl -sS "$API/api/v2/events?event=MessageBounced,SpamComplaint&limit=100" -H "X-Server-API-Key: $KEY"
```

`{"events": […], "cursor": "…", "more": true}`: oldest first, in the order of recording. Ask again with `cursor`; when
`more` is false, after some seconds. The key may also be a bearer token.

| parameter | default | meaning |
| --- | --- | --- |
| `cursor` | – | of the page before; good for as long as events are kept |
| `since` | a day ago | where to begin without a cursor: a moment with its zone, such as `2026-03-01T12:00:00Z` |
| `event` | all | names, separated by commas |
| `limit` | 100 | 1 to 500 |

A cursor skips nothing: events younger than five seconds are not shown, and one that is being recorded is waited for.
A key reads the events of its own server, also when the server is suspended.

## All events

`MessageAccepted` costs a row of the log for each message, so it is made only if an endpoint of the server wants it, or
`EDGEPOST_ACCEPTED_EVENTS=always`. It is also the one event that can be lost: what was accepted is delivered even if the
events queue does not answer at that moment.
"""


def events_page() -> str:
    """Return docs/events.md."""
    lines = [HEAD.rstrip("\n"), "", "| event | in Postal's dialect | when |", "| --- | --- | --- |"]
    for kind in EventKind:
        postal = f"`{POSTAL_NAMES[kind]}`" if kind in POSTAL_NAMES else "–"
        name = EDGEPOST_NAMES[kind]
        lines.append(f"| [`{name}`](#{name.lower()}) | {postal} | {WHEN[kind]} |")
    for kind in EventKind:
        body = webhook_body(sample_notice(kind, TENANT, AT), Dialect.EDGEPOST) or b""
        example = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
        lines += ["", f"### {EDGEPOST_NAMES[kind]}", "", WHEN[kind], "", "```json", example, "```"]
    return "\n".join(lines) + "\n"


def schemas_file() -> str:
    """Return docs/event-schemas.json."""
    return json.dumps(event_schemas(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, text in (("events.md", events_page()), ("event-schemas.json", schemas_file())):
        (ROOT / "docs" / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/{name}")
