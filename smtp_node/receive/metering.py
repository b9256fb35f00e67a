"""What the SMTP door counts; names as Postal's where it has them (app/lib/smtp_server)."""

from typing import Protocol

CONNECTIONS = "postal_smtp_server_connections_total"
TLS_CONNECTIONS = "postal_smtp_server_tls_connections_total"
EXCEPTIONS = "postal_smtp_server_exceptions_total"
"""Labels ``type`` and ``error``."""

COMMANDS = "postal_smtp_server_commands_total"
"""Label ``command``: one of the commands we know, or ``other``."""

CLIENT_ERRORS = "postal_smtp_server_client_errors"
"""Label ``error``, such as ``invalid-credentials``."""

MESSAGES = "postal_smtp_server_messages_total"
"""Labels ``type`` (``outgoing`` or ``incoming``) and ``tls`` (``yes`` or ``no``)."""

REFUSED_CONNECTIONS = "edgepost_smtp_refused_connections_total"
"""Label ``reason``: ``client`` or ``total`` limit."""

CLOSED_SESSIONS = "edgepost_smtp_closed_sessions_total"
"""Sessions that we ended; label ``reason`` is the enhanced code of the 421 or refusal."""


class Meter(Protocol):
    """Counts things; never fails and never waits."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to the counter of that name and labels."""
        ...


class NullMeter:
    """Counts nothing."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Forget it."""
