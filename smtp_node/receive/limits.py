"""How much the SMTP door takes from one client, from one session, and in all."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from shared.domain.submission import MAX_RECIPIENTS
from shared.settings import Network, Settings

MB = 1024 * 1024


class Door(StrEnum):
    """A kind of listening port."""

    SMTP = "smtp"
    """Port 25: mail from other hosts; no AUTH, no relaying."""

    SUBMISSION = "submission"
    """Port 587: STARTTLS, then AUTH (RFC 6409)."""

    SUBMISSIONS = "submissions"
    """Port 465: TLS from the first byte, then AUTH (RFC 8314 §3.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveLimits:
    """What ``ReceiveService`` is set up with; the defaults are Postfix's where it has them."""

    hostname: str
    """In greetings and in loop detection."""

    max_message_bytes: int = 25 * MB
    max_connections: int = 1000
    max_connections_per_client: int = 50
    """By address, for IPv6 by /64 network; loopback may hold all."""

    proxies: tuple[Network, ...] = ()
    """Whose connections must begin with a PROXY header; empty: nobody's."""

    clear_auth_on_loopback: bool = False
    """Offer AUTH without TLS to clients on this machine."""

    max_recipients: int = MAX_RECIPIENTS
    max_inward_recipients: int = 100
    """Of them at addresses of ours: each is a message of its own (RFC 5321 §4.5.3.1.8 asks for 100)."""

    recipient_overshoot: int = 1000
    """Refused recipients above the limit before they count as errors."""

    max_errors: int = 20
    """Permanent refusals since the last accepted message (smtpd_hard_error_limit)."""

    max_junk: int = 100
    """Commands that send no mail, since the last accepted one (smtpd_junk_command_limit)."""

    max_command_bytes: int = 2048
    """RFC 5321 §4.5.3.1.4 asks for 512 and more with extensions; Postfix's line limit."""

    max_text_line_bytes: int = 64 * 1024
    max_drained_bytes: int = 256 * MB
    """Of a message over the limit, read to its end so that the client sees the 552."""

    max_bytes_in_memory: int = 512 * MB
    """Of all messages that have come in and are not stored yet; above it a message gets 452."""

    max_bytes_in_work: int = 64 * MB
    """Of large messages that are checked and stored at once, whose copies this bounds; others wait for their turn."""

    work_wait: timedelta = timedelta(minutes=4)
    """For its turn; then 451.  Clients wait 10 minutes for the reply to the final dot (RFC 5321 §4.5.3.2.6)."""

    idle: timedelta = timedelta(minutes=5)
    """RFC 5321 §4.5.3.2.7: at least 5 minutes."""

    without_mail: timedelta = timedelta(hours=1)
    """Of a session since its start or its last accepted message."""

    data_pause: timedelta = timedelta(minutes=3)
    """Between two pieces of a message (RFC 5321 §4.5.3.2.5)."""

    data_grace: timedelta = timedelta(minutes=1)
    """After it a message must have come at ``min_data_rate`` on average."""

    min_data_rate: int = 500
    """Bytes a second (smtpd_min_data_rate)."""

    handshake: timedelta = timedelta(seconds=30)
    max_login_failures: int = 3
    """In one session; one for a client that has failed too often before."""

    throttle_after: int = 20
    """Failed logins of one client within ``throttle_window``."""

    throttle_window: timedelta = timedelta(minutes=10)
    trouble_after: int = 5
    """Sessions of one client that were ended for what it did, within ``trouble_window``."""

    trouble_window: timedelta = timedelta(minutes=1)
    trouble_pause: timedelta = timedelta(seconds=1)
    """Before such a client's next session is greeted (smtpd_error_sleep_time)."""

    failed_login_delay: timedelta = timedelta(milliseconds=500)
    """Every failed login is answered after exactly this, whatever was wrong."""

    @classmethod
    def of(cls, settings: Settings) -> "ReceiveLimits":
        """Return the limits that the installation's settings ask for."""
        return cls(
            hostname=settings.hostname,
            max_message_bytes=settings.max_message_bytes,
            max_connections=settings.max_connections,
            max_connections_per_client=settings.max_connections_per_client,
            clear_auth_on_loopback=settings.clear_auth_on_loopback,
            proxies=settings.trusted_proxies if settings.smtp_proxy_protocol else (),
        )
