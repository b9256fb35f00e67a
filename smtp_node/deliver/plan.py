"""What one attempt needs, decided before anything is connected."""

from dataclasses import dataclass, field

from shared.domain.job import Target, TLSMode, ToHost, ToMX
from shared.settings import SmartHost
from smtp_node.deliver.connection import Login, Peer
from smtp_node.deliver.route import Hop


@dataclass(frozen=True, slots=True)
class Plan:
    """One attempt at one message; the body is signed and final."""

    mail_from: str
    """Return path; empty for the null sender (RFC 5321 §4.5.5)."""

    rcpt_to: str
    raw: bytes = field(repr=False)
    target: Target
    ehlo: str
    added: bytes = b""
    """Fields that go before ``raw``."""

    envelope_id: str = ""
    """What reports on the message are to name it by (RFC 3461 §4.4): letters and digits; empty for nothing."""

    source_address: str | None = None
    """Local address to send from; None lets the system choose."""

    smart_host: SmartHost | None = None
    """Takes the place of MX hosts; a named target stays as it is."""

    @property
    def via_smart_host(self) -> bool:
        """Whether the operator's relay takes the mail."""
        return self.smart_host is not None and isinstance(self.target, ToMX)

    @property
    def destination(self) -> Target:
        """Where the mail really goes."""
        if self.smart_host is not None and self.via_smart_host:
            return ToHost(self.smart_host.host, self.smart_host.port, TLSMode(self.smart_host.tls))
        return self.target

    @property
    def destination_name(self) -> str:
        """The name of the destination in sentences, and for limits per destination."""
        target = self.destination
        return (target.domain if isinstance(target, ToMX) else target.name).lower().rstrip(".")

    def peer(self, hop: Hop) -> Peer:
        """Return how to connect to one of the destination's addresses."""
        login = None
        if self.smart_host is not None and self.via_smart_host and self.smart_host.username:
            login = Login(self.smart_host.username, self.smart_host.password)
        return Peer(hop.host, hop.address, hop.port, hop.tls, self.ehlo, self.source_address, login)
