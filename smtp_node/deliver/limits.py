"""How long a remote host may take, and how many connections it gets."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The waits of RFC 5321 §4.5.3.2, which are minimums, in seconds.

    Shorter ones make duplicates: a host that needs nine minutes to scan a message
    has accepted it, whether we wait for the answer or not.  Postal reads for 30 s.
    """

    connect_s: float = 30
    """Until the connection stands; also for a TLS handshake (Postfix smtp_connect_timeout)."""

    greeting_s: float = 300
    """§4.5.3.2.1; also for EHLO, STARTTLS, AUTH and RSET, for which the RFC names none."""

    mail_s: float = 300
    """§4.5.3.2.2."""

    rcpt_s: float = 300
    """§4.5.3.2.3."""

    data_s: float = 120
    """§4.5.3.2.4: until 354."""

    block_s: float = 180
    """§4.5.3.2.5: until the host has taken the next block of the body."""

    dot_s: float = 600
    """§4.5.3.2.6: until the reply to the final dot."""

    quit_s: float = 5
    """Our own: nothing depends on the reply to QUIT."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How connections are kept and shared."""

    max_idle: timedelta = timedelta(seconds=15)
    """An unused connection is closed after this."""

    max_messages: int = 100
    """Messages over one connection, after which it is closed (Postfix smtp_connection_reuse_count_limit)."""

    max_idle_connections: int = 500
    """Unused connections in all; beyond this the oldest is closed."""
