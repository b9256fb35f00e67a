"""Every reply of the SMTP door: code, enhanced code, words.

The words are Postal's wherever it has the reply (app/lib/smtp_server/client.rb),
because clients search for them; the enhanced code (RFC 3463, RFC 2034) is put
in between.  The peer gets a fixed sentence, the log gets the cause.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.domain import errors
from shared.domain.dns import LookupFailed
from shared.domain.errors import MailError


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply line of RFC 5321 §4.2."""

    code: int
    enhanced: str
    """RFC 3463; empty for greetings, EHLO, 334 and 354 (RFC 2034 §4)."""

    text: str
    raw: bytes = field(init=False, repr=False, compare=False)
    """As it goes on the wire, CRLF included."""

    def __post_init__(self) -> None:
        words = f"{self.code} {self.enhanced} {self.text}" if self.enhanced else f"{self.code} {self.text}"
        object.__setattr__(self, "raw", words.encode("ascii") + b"\r\n")

    @property
    def is_refusal(self) -> bool:
        """Whether it counts against the client: a permanent failure (RFC 5321 §4.2.1)."""
        return self.code >= 500


OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "OK")
RECIPIENT_OK = Reply(250, "2.1.5", "OK")
GO_AHEAD = Reply(354, "", "Go ahead")
READY_FOR_TLS = Reply(220, "2.0.0", "Ready to start TLS")
GOODBYE = Reply(221, "2.0.0", "Closing Connection")
HELP = Reply(214, "2.0.0", "See RFC 5321; this server's limits are in Edgepost's docs/smtp.md")
CANNOT_VERIFY = Reply(252, "2.5.0", "Cannot VRFY user, but will accept message and attempt delivery")

# --- Wrong words, wrong order
UNKNOWN_COMMAND = Reply(502, "5.5.1", "Invalid/unsupported command")
NO_EXPANSION = Reply(502, "5.5.1", "EXPN is not offered")
LINE_TOO_LONG = Reply(500, "5.5.2", "Command line too long")
BAD_CHARACTERS = Reply(500, "5.5.2", "Command has characters that are not allowed")
NO_ARGUMENT_ALLOWED = Reply(501, "5.5.4", "This command takes no argument")
BAD_HELLO = Reply(501, "5.5.4", "HELO/EHLO needs a host name")
HELLO_FIRST = Reply(503, "5.5.1", "EHLO/HELO first please")
EHLO_FIRST = Reply(503, "5.5.1", "EHLO first please")
NESTED_MAIL = Reply(503, "5.5.1", "MAIL FROM was already given")
MAIL_FIRST = Reply(503, "5.5.1", "EHLO/HELO and MAIL FROM first please")
RECIPIENT_FIRST = Reply(503, "5.5.1", "HELO/EHLO, MAIL FROM and RCPT TO before sending data")
BAD_PROXY_LINE = Reply(502, "5.5.1", "Proxy Error")
NOT_SMTP = Reply(502, "5.5.1", "This is not a web server")

# --- Addresses and parameters
BAD_SENDER = Reply(501, "5.1.7", "Invalid MAIL FROM")
BAD_RECIPIENT = Reply(501, "5.1.3", "Invalid RCPT TO")
EMPTY_RECIPIENT = Reply(501, "5.1.3", "RCPT TO should not be empty")
BAD_PARAMETER = Reply(501, "5.5.4", "Parameter has a wrong value or is given twice")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Parameter is not recognized or not implemented")
# RFC 6531 §3.5: 553 with X.6.7 where an address needs SMTPUTF8 that was not asked for.
UTF8_NOT_ASKED = Reply(553, "5.6.7", "Address needs SMTPUTF8, which was not given with MAIL FROM")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")

# --- Who may send
TLS_ACTIVE = Reply(503, "5.5.1", "TLS is already active")
TLS_FIRST = Reply(530, "5.7.0", "Must issue a STARTTLS command first")  # RFC 3207 §4
TLS_FIRST_FOR_AUTH = Reply(538, "5.7.11", "Encryption required, use STARTTLS first")  # RFC 4954 §6
NO_AUTH_HERE = Reply(502, "5.5.1", "AUTH is not offered on this port, use the submission port (587 or 465)")
NO_AUTH_IN_MAIL = Reply(503, "5.5.1", "AUTH is not allowed during a mail transaction")  # RFC 4954 §4
ALREADY_AUTHENTICATED = Reply(503, "5.5.1", "Already authenticated")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "Unrecognized authentication type, use PLAIN or LOGIN")
AUTH_ABORTED = Reply(501, "5.7.0", "Authentication aborted")
BAD_BASE64 = Reply(501, "5.5.2", "Cannot decode base64")
AUTH_PROTOCOL_ERROR = Reply(535, "5.7.8", "Authenticated failed - protocol error")
BAD_CREDENTIAL = Reply(535, "5.7.8", "Invalid credential")
AUTHENTICATION_REQUIRED = Reply(530, "5.7.0", "Authentication required")
RELAYING_DENIED = Reply(550, "5.7.1", "Relaying denied")
BAD_SERVER_TOKEN = Reply(550, "5.1.1", "Invalid server token")
BAD_ROUTE_TOKEN = Reply(550, "5.1.1", "Invalid route token")
ROUTE_REJECTS = Reply(550, "5.7.1", "Route does not accept incoming messages")
NO_POSTMASTER = Reply(550, "5.1.1", "No mailbox for postmaster here, see this installation's web site")
# RFC 3463 §3.4: X.3.5 is a system that is not set up rightly.
POSTMASTER_MISSING = Reply(451, "4.3.5", "Mailbox of postmaster is not set up rightly, please try again")
IN_ANOTHER_MESSAGE = Reply(452, "4.5.3", "Recipients here and elsewhere need a message each")
SUSPENDED = Reply(535, "5.7.1", "Mail server has been suspended")

# --- The message itself
BAD_LINE_ENDS = Reply(550, "5.6.0", "Message has NUL bytes or invalid line ends, lines must end with CRLF")
TEXT_LINE_TOO_LONG = Reply(554, "5.6.0", "Message has a line that is too long")
LOOP_DETECTED = Reply(550, "5.4.6", "Loop detected")
SPAM = Reply(550, "5.7.1", "Message refused as spam")
THREAT = Reply(550, "5.7.1", "Message refused, a virus scanner found a threat in it")
HEAD_TOO_LARGE = Reply(552, "5.3.4", "Message header too large (maximum size 512KB)")
NO_REPORT = Reply(550, "5.6.0", "This address takes reports only")
NO_ROOM = Reply(452, "4.3.1", "Too much mail at the moment, please try again")

# --- The end of a session; RFC 5321 §3.8: 421 may come at any time
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections from your address")
TOO_BUSY = Reply(421, "4.3.2", "Too many connections, please try again later")
SHUTTING_DOWN = Reply(421, "4.3.2", "Service is shutting down, please try again")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors")
TOO_MUCH_CHATTER = Reply(421, "4.7.0", "Too many commands without mail")
TOO_MANY_LOGINS = Reply(421, "4.7.0", "Too many failed logins, please try again later")
IDLE_TOO_LONG = Reply(421, "4.4.2", "Timeout, closing connection")
STORAGE_TOO_SLOW = Reply(421, "4.3.0", "Message could not be stored in time, please try again")
TOO_SLOW = Reply(421, "4.4.2", "Data comes too slowly, closing connection")

# Not knowing is temporary: a wrong 5yz loses mail.
UNEXPECTED = Reply(451, "4.3.0", "Temporary failure, please try again")

OF_ERRORS: Mapping[type[MailError], Reply] = {
    errors.BadCredentials: BAD_CREDENTIAL,
    errors.ServerSuspended: SUSPENDED,
    errors.SenderNotAllowed: Reply(530, "5.7.1", "From/Sender name is not valid"),
    errors.NoRecipients: Reply(554, "5.5.1", "No valid recipients"),
    errors.TooManyRecipients: TOO_MANY_RECIPIENTS,
    errors.MessageTooLarge: Reply(552, "5.3.4", "Message too large"),
    errors.MalformedMessage: Reply(550, "5.6.0", "Message has malformed header lines or line ends"),
    errors.IdempotencyKeyReused: Reply(554, "5.5.0", "Idempotency-Key was used before, for another message"),
    errors.NotFound: Reply(550, "5.1.0", "Not found"),
    errors.NameTaken: Reply(554, "5.5.0", "Name is already in use"),
    errors.InvalidValue: Reply(554, "5.6.0", "Message has an invalid address or header value"),
    errors.NotPermitted: Reply(550, "5.7.1", "Not permitted"),
    errors.EnoughReported: Reply(552, "5.2.2", "Enough mail has come about this message"),
    errors.WrongState: Reply(554, "5.5.0", "Not possible in the present state"),
    errors.StorageUnavailable: Reply(451, "4.3.0", "Storage is not available, please try again"),
    errors.StillInProgress: Reply(451, "4.3.0", "The same message is still being accepted, please try again"),
    LookupFailed: Reply(451, "4.4.3", "DNS gave no answer, please try again"),
    errors.Refused: Reply(554, "5.0.0", "Message refused"),
}
"""What a door says to each error that may cross it (shared/domain/errors.py)."""


def reply_to(error: BaseException) -> Reply:
    """Return the reply to an error: the most exact one of the table, else a temporary one."""
    for kind in type(error).__mro__:
        if (reply := OF_ERRORS.get(kind)) is not None:
            return reply
    return UNEXPECTED


def too_large(limit_bytes: int) -> Reply:
    """Return Postal's reply to a message over the limit, with the limit in it."""
    return Reply(552, "5.3.4", f"Message too large (maximum size {limit_bytes // (1024 * 1024)}MB)")


def granted(organization: str, server: str) -> Reply:
    """Return Postal's reply to a good login; both are permalinks."""
    return Reply(235, "2.7.0", f"Granted for {organization}/{server}")


def queued(message_id: int) -> Reply:
    """Return the reply to an accepted message: the id of its first recipient's."""
    return Reply(250, "2.0.0", f"OK queued as {message_id}")
