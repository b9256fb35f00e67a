"""How an application sends: the tour's two front doors, with the standard library alone."""

import json
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from http.client import HTTPException
from typing import Any

SENDING_DOMAIN = "yourdomain.com"

WELCOME: Mapping[str, Any] = {
    "to": ["user@example.com"],
    "from": "noreply@yourdomain.com",
    "subject": "Welcome to our app!",
    "html_body": "<h1>Welcome!</h1><p>Thanks for signing up.</p>",
    "text_body": "Welcome! Thanks for signing up.",
    "reply_to": "support@yourdomain.com",
    "headers": {"X-Custom-Header": "value"},
}
"""The example that self-hosting guides for Postal print, unchanged."""

TIMEOUT_S = 30.0


class NotSent(Exception):
    """A door refused or did not answer; the text says what it said."""


@dataclass(frozen=True, slots=True)
class API:
    """The v1 API with one server's key (Postal's wire form)."""

    url: str
    key: str

    def call(self, path: str, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401  # JSON
        """Return ``data`` of a successful answer.

        Raises:
            NotSent: no answer, or one whose status is not ``success``.
        """
        request = urllib.request.Request(  # noqa: S310  # a loopback URL of our own
            f"{self.url}/api/v1/{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "X-Server-API-Key": self.key, **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
                answer = json.loads(reply.read())
        except (OSError, HTTPException, ValueError) as exc:
            raise NotSent(f"{path}: {exc}") from exc
        if answer["status"] != "success":
            raise NotSent(f"{path}: {answer['data']}")
        return answer["data"]

    def send(self, message: Mapping[str, Any], *, idempotency_key: str = "") -> Mapping[str, int]:
        """Send one message and return the id of each recipient's; the same key again gives the same ids."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        data = self.call("send/message", message, headers=headers)
        return {recipient: message["id"] for recipient, message in data["messages"].items()}

    def deliveries(self, message_id: int) -> Sequence[Mapping[str, Any]]:
        """Return what was tried so far for a message, oldest first."""
        found: Sequence[Mapping[str, Any]] = self.call("messages/deliveries", {"id": message_id})
        return found


def send_by_smtp(port: int, username: str, password: str, message: EmailMessage) -> str:
    """Send over submission with STARTTLS and AUTH and return the TLS version and cipher used.

    Raises:
        NotSent: the server refused, or broke off.
    """
    # The tour's certificate is self-signed: encryption is shown, not trust.
    context = ssl._create_unverified_context()  # noqa: S323, SLF001
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=TIMEOUT_S) as client:
            client.starttls(context=context)
            client.login(username, password)
            client.send_message(message)
            cipher = client.sock.cipher() if isinstance(client.sock, ssl.SSLSocket) else None
    except (OSError, smtplib.SMTPException) as exc:
        raise NotSent(f"SMTP: {exc}") from exc
    return f"{cipher[1]} {cipher[0]}" if cipher else "no TLS"


def receipt() -> EmailMessage:
    """Return the message that the tour sends by SMTP."""
    message = EmailMessage()
    message["From"] = f"Shop <orders@{SENDING_DOMAIN}>"
    message["To"] = "Ada Lovelace <ada@example.net>"
    message["Subject"] = "Your receipt"
    message.set_content("Thank you for your order.\n.\nA line with a single dot above must not end the mail.\n")
    return message
