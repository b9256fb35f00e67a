"""How mail systems report failures without RFC 3464: data, one entry a format.

An entry names the line that announces the failed recipients and how an address
stands in the lines after it; a blank entry for ``address`` takes any address.  Where
the returned message begins is recognised for all formats alike (``notice.py``).
Order matters only where one announcement contains another.
"""

import re
from dataclasses import dataclass

from shared.domain.bounce.report import Category


@dataclass(frozen=True, slots=True)
class Format:
    """One system's form of a failure notice."""

    name: str
    begins: re.Pattern[str]
    """The announcing line; the recipient may stand in it."""

    address: re.Pattern[str] | None = None
    """Group 1 holds an address; None: every address of a line counts."""

    hint: Category | None = None
    """What the announcement itself says of the cause."""

    most_lines: int = 60
    """Recipients stand at most so many lines below."""

    domain: str = ""
    """Completes addresses that the system gives without one."""


def _f(
    name: str, begins: str, address: str = "", *, hint: Category | None = None, most_lines: int = 60, domain: str = ""
) -> Format:
    return Format(
        name,
        re.compile(begins, re.IGNORECASE),
        re.compile(address, re.IGNORECASE) if address else None,
        hint,
        most_lines,
        domain,
    )


ALONE = re.compile(r"[\s*>-]{0,12}<?([^\s@<>]{1,64}@[^\s@<>:;,]{1,253}?)>?[\s.:;,]{0,4}\s*\Z")
"""A line with an address and nothing else."""

_ANGLE = r"<([^\s<>]{1,320})>"
_ANGLE_FIRST = r"^\s{0,8}<([^\s<>]{1,320})>"
_FIRST = r"^\s{0,12}([^\s@<>()]{1,64}@[^\s@<>():;,]{1,253})"

FORMATS = (
    _f("envelope-in-text", r"^\s{0,8}rcpt to:", r"rcpt to:\s{0,3}<?([^\s@<>]{1,64}@[^\s@<>:;,]{1,253})", most_lines=10),
    # --- MTAs of the Unix world
    _f("qmail", r"this is the qmail-send program", _ANGLE_FIRST),
    _f(
        "qmail-ldap",
        r"(i'm afraid i wasn't able to deliver your message|i wasn't able to deliver (your|the following) message)",
        _ANGLE_FIRST,
    ),
    _f(
        "ezmlm-or-qmail-relative",
        r"this is the (e-?mail|mail|smtp|deliver) (server|program|system|delivery program) at",
        "",
    ),
    _f(
        "exim",
        r"a message that you sent (could not be delivered|was rejected|has not been delivered)",
        r"^\s{1,8}([^\s@<>()]{1,64}@[^\s@<>():;,]{1,253})",
    ),
    _f("smail", r"failed addresses follow:", r"<?([^\s@<>]{1,64}@[^\s@<>]{1,253})>?"),
    _f(
        "postfix",
        r"(i'm sorry to have to inform you that (the message returned|your message)|this is the (mail system|postfix program) at host)",
        _ANGLE_FIRST,
    ),
    _f(
        "sendmail",
        r"the following addresses (had|have) (permanent|fatal|delivery|transient non-fatal)",
        r"^\s{0,8}<?([^\s@<>()]{1,64}@[^\s@<>()]{1,253})>?\s*$",
    ),
    _f(
        "sendmail-transcript",
        r"-{3,} ?transcript of session follows",
        r"(?:rcpt to:\s{0,3}<|^\s{0,4}\d{3}[ -](?:[245]\.\d\.\d{1,3} )?<)([^\s<>]{1,320})>",
    ),
    _f(
        "courier",
        r"unable to deliver your message to the following recipients|this is a delivery status notification from",
        r"^\s{0,8}<([^\s<>]{1,320})>",
    ),
    _f(
        "courier-esmtp",
        r"your message .{0,60}could not be delivered to the following (addresses|recipients)|the original message (follows|was received)",
        _ANGLE,
    ),
    _f(
        "opensmtpd",
        r"(an error has occurred while attempting to deliver|the (e-?mail|message) .{0,80}(could not be delivered to the following recipient|was not delivered))|below is a list of (recipients|addresses)",
        _FIRST,
    ),
    _f(
        "zmailer",
        r"following is a .{0,40}(report|diagnostic)|this is a collection of reports|processing errors",
    ),
    _f(
        "pmdf",
        r"(this report relates to a message you sent|your message cannot be delivered to the following recipients)",
        r"(?:recipient address|original address|address):\s{0,20}<?([^\s@<>]{1,64}@[^\s@<>]{1,253})",
    ),
    _f(
        "smtp32",
        r"(user mailbox exceeds allowed size|unknown user|undeliverable to|unknown host|invalid final delivery userid)[^:]{0,40}:\s{0,4}<?[^\s@<>]{1,64}@",
        r":\s{0,4}<?([^\s@<>]{1,64}@[^\s@<>]{1,253})",
        most_lines=10,
    ),
    _f(
        "mmdf",
        r"(your message could not be delivered to|could not be delivered for) .{0,80}(because|reason|address)",
        "",
    ),
    _f("meta1-citadel", r"a message you sent could not be delivered to (some|the following)", _FIRST),
    _f(
        "surgemail",
        r"(your message cannot be delivered to the following|your message was not delivered)",
        r"(?:address[:\s]{1,6}<?|^\s{0,8}<?)([^\s@<>()]{1,64}@[^\s@<>():;,]{1,253})",
    ),
    _f("xmail", r"\[00\] xmail bounce|xmail bounce:", r"rcpt=\[([^\]\s]{1,320})\]"),
    _f(
        "james",
        r"error occurred while (attempting|trying) to deliver the message|failed recipients?:|hi\. this is the james mail server at|unfortunately, your message .{0,40}james",
        r"^\s{0,8}<?([^\s@<>()]{1,64}@[^\s@<>():;,]{1,253})",
    ),
    # --- Windows and groupware
    _f(
        "exchange",
        r"(did not reach the following recipient|your message did not reach some or all|the following recipient\(?s?\)? (could|cannot) ?n?o?t? ?be reached|could not be reached)",
        "",
    ),
    _f(
        "exchange-2007",
        r"delivery has failed to these (recipients|distribution lists)|delivery to the following recipients? (failed|was aborted)",
        "",
    ),
    _f(
        "microsoft-smtp",
        r"(this is an automatically generated delivery status notification|the email below could not be delivered to the following user)",
        "",
    ),
    _f(
        "domino",
        r"(was not delivered to:|failure message|delivery failure report)",
        r"([^\s@<>\"',;:()\[\]]{1,64}@[^\s@<>\"',;:()\[\]]{1,253})",
        most_lines=8,
    ),
    _f(
        "lotus-notes",
        r"user .{0,120} \(?.{0,120}not listed in (public|domino|the)",
        r"user .{0,40}?\(?([^\s@<>()]{1,64}@[^\s@<>()]{1,253})\)?",
        hint=Category.UNKNOWN_USER,
        most_lines=4,
    ),
    _f(
        "novell-groupwise",
        r"(the message that you sent was undeliverable to the following|undeliverable to the following)",
        "",
    ),
    _f(
        "mdaemon",
        r"(the following data may be used to|the following addresses did not receive a copy|the attached message had permanent (fatal )?delivery errors|no such user here)",
        "",
    ),
    _f(
        "imail",
        r"(undelivered mail returned|delivery failed .{0,40}attempts?|delivery failed)[: ]",
        r":?\s{0,4}<?([^\s@<>:]{1,64}@[^\s@<>]{1,253})>?",
    ),
    _f("mailenable", r"message could not be delivered to some recipients", r"\[?smtp:([^\s\]]{1,320})\]?"),
    _f(
        "smartermail",
        r"could not deliver message to the following recipient",
        r"(?:failed recipient|recipient):\s{0,4}<?([^\s<>]{1,320})",
    ),
    _f(
        "communigate", r"failed to deliver to ['<\"]?[^\s@]{1,64}@", r"to ['<\"]?([^\s@<>'\"]{1,64}@[^\s@<>'\"]{1,253})"
    ),
    _f(
        "merak-icewarp",
        r"(this message was undeliverable|your message was not delivered) .{0,80}(reason|because|following)",
        "",
    ),
    _f("hmailserver", r"your message did not reach some or all of the intended recipients", ""),
    _f("kerio", r"(could|can) ?not be delivered to (the following )?(recipient|address)", ""),
    _f(
        "argosoft-mercury",
        r"(with reference to your message with the subject|the local mail transport system has reported)",
        "",
    ),
    _f("first-class", r"unknown (internet )?user|\[?firstclass", ""),
    _f("lsmtp", r"--> error description", r"error-for:\s{1,8}<?([^\s@<>]{1,64}@[^\s@<>]{1,253})"),
    _f("mailmarshal", r"mailmarshal|your message:?.{0,60}(from|to):", ""),
    # --- Mailbox providers and filters
    _f(
        "yahoo",
        r"(unable to deliver message to the following address|message from yahoo|wasn't able to deliver the following message)",
        r"(?:^\s{0,8}<|^to:\s{0,3}<?)([^\s@<>]{1,64}@[^\s@<>]{1,253})>?",
    ),
    _f(
        "gmail",
        r"delivery to the following recipients? (failed|has been)|message not delivered|address not found|message blocked|your message wasn't delivered to|recipient inbox full|there was a (temporary )?problem delivering your message",
        "",
    ),
    _f(
        "aol",
        r"your mail to the following recipients could not be delivered|the mail you sent could not be delivered",
        r"^\s{0,12}<?([\w.+-]{3,32}(?:@[\w.-]{1,253})?)>?\s*$",
        domain="aol.com",
    ),
    _f(
        "mail.ru",
        r"this message was created automatically by (mail\.ru|mail delivery)|(following|below) (message|address).{0,40}mail\.ru|не (может быть|было) доставлено",
        "",
    ),
    _f(
        "gmx",
        r"(this message was created automatically by mail delivery|one or more of its recipients|eine oder mehrere|mail delivery (system|software)|konnte nicht zugestellt)",
        r"^\s{0,8}[\"'<]?([^\s@<>()\"']{1,64}@[^\s@<>():;,\"']{1,253})[\"'>:]{0,3}",
    ),
    _f("t-online-1und1", r"(a message that you have sent|a message .{0,20}could not be delivered to one or more)", ""),
    _f(
        "mimecast",
        r"(mimecast|one or more of the recipients .{0,40}rejected|the (e-?mail|message) (administrator|you sent).{0,80}(blocked|rejected|held))",
        "",
    ),
    _f("barracuda", r"(barracuda|your message to:? ?.{0,200}was blocked by our)", ""),
    _f("messagelabs", r"(messagelabs|this is the mail delivery agent at)", ""),
    _f("postini-mxlogic", r"the following address(es)? failed", _ANGLE),
    _f("interscan", r"(message from interscan|unable to deliver message to)", _ANGLE),
    _f(
        "trend-symantec-gateway",
        r"(unable to deliver|could not deliver|failed to deliver).{0,40}(following|intended|these) (recipient|address)",
        "",
    ),
    _f(
        "amazon-workmail",
        r"(technical details of (permanent|temporary) failure|an error occurred while trying to deliver the mail to the following recipients)",
        "",
    ),
    _f("facebook", r"your (e-?mail|message) (to|could not be delivered to) .{0,60}facebook", ""),
    _f(
        "dovecot-lda",
        r"your message to <?[^\s@<>]{1,64}@[^\s@<>]{1,253}>? was automatically rejected",
        r"your message to <?([^\s@<>]{1,64}@[^\s@<>]{1,253})>?",
    ),
    _f(
        "verizon-ims",
        r"(unable to deliver your message|delivery failed)[:.]?$|intended recipient:|error message:",
        r"([^\s@<>]{1,64}@[^\s@<>:;,]{1,253})",
    ),
    _f(
        "au-kddi",
        r"(your mail sent on: .{0,80}could not be delivered|could not be delivered to .{0,60}(ezweb|au\.com))|each of the following",
        "",
    ),
    _f("docomo", r"(the mail system.{0,80}docomo|unknown user: .{0,60}docomo)", ""),
    _f("earthlink", r"sorry, unable to deliver your message to", ""),
    _f(
        "prodigy",
        r"user'?s mailbox is full:",
        r":\s{0,4}<?([^\s@<>]{1,64}@[^\s@<>]{1,253})",
        hint=Category.MAILBOX_FULL,
    ),
    _f(
        "list-of-failed",
        r"here is your list of failed recipients|-{3,} ?failed recipients ?-{3,}|list of undelivered|failed to deliver .{0,20}to the following",
        "",
    ),
    _f("eyou", r"this is the deliver program at|^message delivery failed", ""),
    _f("demon", r"addressed to '[^'\s@]{1,64}@", r"addressed to '([^'\s]{1,320})'"),
    _f(
        "could-not-be-delivered-to",
        r"(could ?n[o']t|can ?not|can't|was not|has not been|unable to|failed to) (be )?deliver(ed)?( (your|the|this) (message|mail|e-?mail))? to",
        most_lines=6,
    ),
    _f(
        "undeliverable-address",
        r"undeliverable address:|failed recipient:|failed address:|invalid recipient:|final recipient:",
        r"(?:address|recipient):\s{0,12}<?([^\s@<>]{1,64}@[^\s@<>]{1,253})",
    ),
)
