"""What a new installation says to its operator: how to send the first message."""

import json
from collections.abc import Mapping

from shared.flow.initialize import FirstRun
from shared.settings import Settings

RESERVED_ENDS = (".test", ".example", ".invalid", ".localhost")
"""Names that exist in no DNS (RFC 2606 §2)."""


def welcome(made: FirstRun, ports: Mapping[str, int], *, settings: Settings) -> str:
    """Return the lines that ``serve`` shows on a terminal, an example to paste among them.

    Args:
        made: what the first start made; its secrets are in the text while their file exists.
        ports: of the doors, by name: ``http``, ``submission``.
        settings: of this installation.
    """
    names = made.installation
    url = f"http://{reachable(settings.http_host)}:{ports['http']}"
    file = settings.data_dir.absolute() / "first-run.json"
    if made.secrets is None:
        return f"Edgepost answers at {url}. The secrets of the first start are no longer in {file}."
    document = made.document()
    return "\n".join(
        [
            f"Edgepost answers at {url}. First secrets, also in {file};",
            "delete that file once you have kept them:",
            "",
            f"  admin          {document['admin']['email']}   password {document['admin']['password']}",
            f"  admin token    {document['admin_token']}",
            f"  organization   {names.organization}",
            f"  server         {names.server} (id {names.server_id})",
            f"  API key        {document['api_key']}",
            f"  SMTP           {reachable(settings.smtp_host)}:{ports['submission']} with STARTTLS",
            f"                 user {document['smtp']['username']}   password {document['smtp']['password']}",
            "",
            "Send a message:",
            "",
            send_example(document["api_key"], domain=names.domain, url=url),
            "",
            domain_hint(names.domain, names.server),
        ]
    )


def reachable(host: str) -> str:
    """Return under which address a program on this machine reaches a listener."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # these listen on all
    return f"[{address}]" if ":" in address else address


def send_example(api_key: str, *, domain: str, url: str) -> str:
    """Return a command that sends one message by the API, ready to paste into a shell."""
    body = {
        "to": ["you@example.com"],
        "from": f"Edgepost <hello@{domain}>",
        "subject": "Hello from Edgepost",
        "plain_body": "It works.",
    }
    return "\n".join(
        [
            f"  curl {url}/api/v1/send/message \\",
            f"    -H 'X-Server-API-Key: {api_key}' \\",
            "    -H 'Content-Type: application/json' \\",
            f"    -d '{json.dumps(body)}'",
        ]
    )


def domain_hint(domain: str, server: str) -> str:
    """Return why mail from the first domain may not arrive, and what to do about it."""
    if domain.endswith(RESERVED_ENDS):
        why = f"{domain} is a made-up domain: it is trusted here, but real mailboxes refuse mail from it"
    else:
        why = f"{domain} is trusted here without its DNS, but mailboxes look for its SPF and DKIM records"
    return (
        f"Put an address of yours in place of you@example.com. {why}.\n"
        "To reach them, add a domain of yours and publish the records that this prints:\n"
        f"  edgepost domain add YOUR-DOMAIN --server {server}"
    )
