"""Delivery rows as short texts: a settled message fits in one write unit of DynamoDB.

A row is a list of fields as JSON, deflated against a dictionary of what SMTP
conversations are made of (RFC 1950 §2.2, FDICT), in base 85 so that it is a text
of ASCII without quotes.  A typical conversation over TLS of 1.3 KB takes some 350
characters.  The first character names the form: rows written by any release are
readable for ever, so neither a form nor its dictionary is ever changed; a better
one is added with the next number.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from shared.domain.message import Delivery, Evidence, Status
from shared.domain.moments import from_ms, to_ms

MAX_ROW_BYTES = 65_536
"""A row inflates to no more; what `Delivery` allows is a fifth of it."""

_DICTIONARY_1 = """\
Held HoldCancelled Bounced HardFail SoftFail ","",0,"","","",0,"","",""]
The node that made this attempt went away before its end; the message may be sent more than once.\
The hold on this message has been removed without action.Raw message has been removed. Cannot send message.\
Given up after attempts. Credential is configured to hold all messages authenticated by it.\
Server is in development mode. the connection was lost the connection was refused the connection timed out\
 the host took too long to answer no connection: Network is unreachable No route to host\
; connecting again without TLS TLS failed: certificate verify failed handshake failed wrong version number\
 the host refused the connection the host refused our greeting instead of a greeting: \
No SMTP servers were available for . Tried  and Permanent SMTP delivery error when sending to \
Temporary SMTP delivery error when sending to ; it may have been sent; the message may be sent more than once. \
550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the recipient's \
email address for typos or unnecessary spaces. For more information, go to https://support.google.com/mail/?p=\
NoSuchUser 550 5.7.1 Service unavailable, Client host blocked using Spamhaus. Message rejected due to content \
554 5.7.1 550 5.7.26 This mail is unauthenticated 552 5.2.2 Mailbox full 452 4.2.2 The recipient's inbox is out \
of storage space. 450 4.2.0 Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/\
 421 4.7.0 Try again later, closing connection. 421 4.7.28 Our system has detected an unusual rate of \
unsolicited mail originating from your IP address. 451 4.7.1 Greylisting in action, please come back later \
451 4.3.0 Temporary lookup failure User unknown in virtual mailbox table local recipient table\
 550 5.4.1 Recipient address rejected: Access denied. \
S: 220 mx.google.com ESMTP - gsmtp S: 250-mx.google.com at your service, [ gmail-smtp-in.l.google.com \
S: 250 2.1.0 OK S: 250 2.1.5 OK S: 354 Go ahead S: 250 2.0.0 OK \
.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready at  +0000 S: 250-SIZE 157286400 \
S: 250 2.1.0 Sender OK S: 250 2.1.5 Recipient OK S: 354 Start mail input; end with <CRLF>.<CRLF> \
S: 250 2.6.0 [InternalId=, Hostname=.prod.outlook.com] bytes in  KB/sec Queued mail for delivery -> 250 2.1.5 \
mx-aol.mail.gm0.yahoodns.net sender ok recipient ok ok dirdel S: 250-SIZE 41943040 mx01.mail.icloud.com \
S: 250-XFORWARD S: 250-AUTH PLAIN LOGIN S: 250-BINARYMIME S: 250-HELP S: 250-PIPECONNECT S: 250-DSN S: 250-ETRN \
S: 250-VRFY S: 250-LIMITS RCPTMAX= S: 250 HELP S: 250 CHUNKING S: 250 SMTPUTF8 S: 250 Accepted S: 250 OK id= \
S: 354 Enter message, ending with "." on a line by itself ESMTP Exim \
TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384 ECDHE-RSA-AES128-GCM-SHA256 TLSv1.3 TLS_AES_128_GCM_SHA256 \
TLS_CHACHA20_POLY1305_SHA256 TLSv1.3 TLS_AES_256_GCM_SHA384","* connecting to mx1. mail. [\
* on a kept connection to * the kept connection is of no use; connecting again\\n\
]:25 from \\nS: 220 . ESMTP Postfix (Debian/GNU)\\nC: EHLO mail.\\nS: 250-mail.\\nS: 250-PIPELINING\\n\
S: 250-SIZE 10240000\\nS: 250-VRFY\\nS: 250-ETRN\\nS: 250-STARTTLS\\nS: 250-SIZE 35882577\\nS: 250-8BITMIME\\n\
S: 250-STARTTLS\\nS: 250-ENHANCEDSTATUSCODES\\nS: 250-8BITMIME\\nS: 250-DSN\\nS: 250-PIPELINING\\n\
S: 250-CHUNKING\\nS: 250 SMTPUTF8\\nC: STARTTLS\\n* now TLSv1.3 TLS_AES_256_GCM_SHA384\\nC: EHLO mail.\\nS: 250-\
\\nC: MAIL FROM:<@rp. SIZE= BODY=8BITMIME SMTPUTF8\\nS: 250 2.1.0 Ok\\nC: RCPT TO:<\
>\\nS: 250 2.1.5 Ok\\nC: DATA\\nS: 354 End data with <CR><LF>.<CR><LF>\\n* < bytes>\\n\
S: 250 2.0.0 Ok: queued as "],1,"Sent","Message for  accepted by :25 (.com) (from ","250 2.0.0 Ok: queued as \
",250,"2.0.0","TLSv1.3 TLS_AES_256_GCM_SHA384","* connecting to """

_FORM = "1"
_DICTIONARIES: Mapping[str, bytes] = {"1": _DICTIONARY_1.encode("ascii")}

_PRIMED = zlib.compressobj(9, memLevel=6, zdict=_DICTIONARIES[_FORM])
"""Has read the dictionary: a copy of it is made in a tenth of the time, with less memory and the same result."""


class UnreadableRow(ValueError):
    """The text is no delivery row, or of a form that only a newer release knows."""


def row_text(delivery: Delivery) -> str:
    """Return the row as it stands in its message's item: printable ASCII without quotes or backslashes."""
    evidence = delivery.evidence
    fields = [
        delivery.id,
        to_ms(delivery.at),
        delivery.log_id,
        None if delivery.duration is None else delivery.duration // timedelta(microseconds=1),
        delivery.attempt,
        delivery.status.value,
        delivery.details,
        delivery.output,
        evidence.mx,
        evidence.mx_address,
        evidence.source_address,
        evidence.smtp_code,
        evidence.enhanced_code,
        evidence.tls,
        evidence.conversation,
    ]
    raw = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    deflate = _PRIMED.copy()
    return _FORM + base64.b85encode(deflate.compress(raw) + deflate.flush()).decode("ascii")


def row_of(text: str) -> Delivery:
    """Return the row that ``row_text`` wrote, of this release or an older one.

    Raises:
        UnreadableRow: this is no row.
    """
    try:
        inflate = zlib.decompressobj(zdict=_DICTIONARIES[text[:1]])
        raw = inflate.decompress(base64.b85decode(text[1:]), MAX_ROW_BYTES)
        if not inflate.eof or inflate.unused_data:
            raise UnreadableRow("the row is cut off, too long, or followed by something else")
        return _delivery(json.loads(raw.decode("utf-8", "surrogatepass")))
    except (KeyError, ValueError, TypeError, zlib.error) as exc:
        raise UnreadableRow("this is not a delivery row") from exc


def _delivery(fields: Any) -> Delivery:  # noqa: ANN401  # JSON: a list of fifteen in all rows of form 1
    (
        row_id,
        at_ms,
        log_id,
        took_us,
        attempt,
        status,
        details,
        output,
        mx,
        mx_address,
        source_address,
        smtp_code,
        enhanced_code,
        tls,
        conversation,
    ) = fields
    return Delivery(
        id=row_id,
        attempt=attempt,
        status=Status(status),
        details=details,
        output=output,
        at=from_ms(at_ms),
        log_id=log_id,
        duration=None if took_us is None else timedelta(microseconds=took_us),
        evidence=Evidence(mx, mx_address, source_address, smtp_code, enhanced_code, tls, conversation),
    )
