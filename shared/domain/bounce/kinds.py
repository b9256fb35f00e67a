"""Mail to a return path that is no bounce: answers of machines and of people, and warnings of delay."""

import re
from collections.abc import Sequence

from shared.domain.bounce.content import Content
from shared.domain.bounce.report import Kind

MAX_JUDGED = 8000
"""Characters of a text that are looked at."""

_CHALLENGE_HEADERS = ("x-boxtrapper", "x-challenge", "x-tmda-challenge", "x-spamarrest-challenge", "x-ask-version")
_AUTO_HEADERS = (
    "x-autoreply",
    "x-autorespond",
    "x-autoresponder",
    "x-auto-reply",
    "x-auto-response-from",
    "x-mail-autoreply",
    "x-mailer-autoreply",
    "x-vacation",
    "x-sieve-vacation",
    "x-amazon-auto-reply",
    "x-msg-autoreply",
    "delivered-by-the-graces-of",
    "x-facebook-notify",
)

_CHALLENGE = re.compile(
    r"(please |must |need to )?(confirm|verify|authenticate|validate) (that )?(you|your)( e-?mail| message| address| sen|r mail| are)"
    r"|spam ?arrest|challenge[/ -]?response|boxtrapper|sender verification|your (e-?mail|message|mail) requires (verification|confirmation)"
    r"|verification (request|required)|(click|follow|visit|reply).{0,60}(so that|to (have|get|ensure|confirm|prove|deliver|release)).{0,40}"
    r"(message|mail|human|delivered|sender|person)|whitelist|unknown sender|held (for|until) .{0,30}(confirm|approv|verif)",
    re.IGNORECASE,
)

_AUTO_SUBJECT = re.compile(
    r"^\s*(auto(matic|mated)?[ -]?(reply|response|respond|antwort|:)|automatische (antwort|afwezig)|abwesen|out[ -]of[ -](the[ -])?office|"
    r"ooo\b|vacation|on (leave|holiday|vacation)|away (from|message|notice)|réponse automatique|absence du bureau|absent|"
    r"respuesta autom|fuera de (la )?oficina|ausencia|resposta autom|risposta automatica|fuori sede|assente|afwezig|"
    r"autosvar|automatiskt? svar|frånvaro|fravær|poissa|автоответ|nieobecno|automatyczna|自動返信|自动回复|不在|"
    r"thank you for (your|contacting)|(we|i) (have )?received your|your (request|message|ticket|e-?mail|case) (has been |was )?received|"
    r"\[?(ticket|case|request)\b.{0,40}(received|created|opened)|re: .{0,80}(auto|out of office))",
    re.IGNORECASE,
)

_AUTO_BODY = re.compile(
    r"(i am|i'm|i will be|currently|am) (currently )?(out of (the )?office|on (vacation|holiday|leave)|away)|"
    r"limited access to (my )?e-?mail|(will|shall) (reply|respond|get back|answer).{0,60}(return|soon|possible|back|hours|days)|"
    r"this is an auto(mated|matic)[ -](reply|response|acknowledg)|do not reply to this (automat|message)|"
    r"we have received your (message|e-?mail|request|mail)|nicht im (büro|hause)|bin ich .{0,40}(erreichbar|zurück)",
    re.IGNORECASE,
)

_DELAY = re.compile(
    r"(delivery|message|mail|it|attempts?|system|we|retr|server) .{0,60}\b(will|shall) (continue|keep|be retried|be re-?tried|retry|"
    r"try again|still|be attempted|attempt)|"
    r"warning message only|you do not need to (resend|re-send|take any action|do anything)|do not need to resend|"
    r"no (further )?action is (required|needed)|(has|have) been delayed|delivery (is |has been |was )?delayed|delayed mail|"
    r"(not|n't) (yet )?been delivered (yet)?.{0,80}(will|still|continue|retr)|not yet been delivered|still (being )?(try|retr|attempt|in the queue)|"
    r"transient (failure|error).{0,80}(retry|continue)|delivery .{0,30}temporarily (deferred|delayed|suspended)|"
    r"will keep trying|keeps? trying|continue to try|continue trying|wird weiter(hin)? versuch",
    re.IGNORECASE,
)
_DELAY_SUBJECT = re.compile(
    r"delay|warning: (message|could not send|mail)|still (being|trying|undeliver)|verzögert|deferred", re.IGNORECASE
)
_GIVEN_UP = re.compile(
    r"permanent|(giving|given|gave|give) up|will not (be retried|try|attempt|be attempted|retry)|has failed|failed permanently|"
    r"undeliverable|returned to sender|final",
    re.IGNORECASE,
)

_REPLY_SUBJECT = re.compile(r"\s*(re|aw|wg|fwd?|sv|antw|odp|rif|tr|回复|转发)\s?(\[\d{1,3}\])?\s?[:：]", re.IGNORECASE)

_DAEMON = re.compile(
    r"mailer[-_. ]?daemon|post[-_ ]?master|mail[-_. ]?delivery|delivery[-_. ]?(sub)?system|mail(er)?[-_ ]?(system|robot|administrator|service)|"
    r"mdaemon|\bmda\b|bounce|undeliver|returned|system administrator|administrator@|\bmta\b|mailadmin|mailsystem|double-bounce|"
    r"maildaemon|no-?reply@.*(mail|bounce)|exim|emailserver|mailgate",
    re.IGNORECASE,
)
_FAILURE_SUBJECT = re.compile(
    r"undeliver|un-?deliverable|returned (mail|to sender|message|e-?mail)|(mail|message|delivery|e-?mail|delivering|deliver|smtp).{0,40}"
    r"(fail|error|status|problem|notif|not delivered|could not|couldn|unable|return|reject|report|unsuccess|bounce|block|refus|undeliver)|"
    r"(fail|failed|failure|error|problem|unable|could not|couldn't|can't|cannot|rejected|non|not|unsuccessful|bounced?).{0,30}"
    r"(deliver|mail|message|send)|unzustellbar|nicht zustellbar|delivery status|nondeliver|non[- ]delivery|bounce|"
    r"unknown (user|address|recipient)|mailbox (full|unavail|quota|exceed)|non remis|échec|no entregado|недостав|не достав|"
    r"mancata consegna|zwrot|配信不能|退信|user unknown|returning|over quota|quota",
    re.IGNORECASE,
)


def answer_kind(content: Content) -> Kind | None:
    """Return what an automatic answer is, or None if it does not look like one."""
    headers = content.headers
    subject = content.header("subject")
    text = "\n".join(content.lines[:60])[:MAX_JUDGED]
    if any(name in headers for name in _CHALLENGE_HEADERS) or (
        not _FAILURE_SUBJECT.search(subject) and (_CHALLENGE.search(subject) or _CHALLENGE.search(text))
    ):
        return Kind.CHALLENGE
    if any(name in headers for name in _AUTO_HEADERS) or _AUTO_SUBJECT.search(subject):
        return Kind.AUTO_REPLY
    if content.header("precedence").strip().lower() in ("auto_reply", "auto-reply", "vacation"):
        return Kind.AUTO_REPLY
    if content.header("x-auto-response-suppress") and not _FAILURE_SUBJECT.search(subject):
        return Kind.AUTO_REPLY
    if _AUTO_BODY.search(text) and not looks_like_failure(content):
        return Kind.AUTO_REPLY
    return None


def is_reply(content: Content) -> bool:
    """Whether a person answers or forwards, whatever that person writes about failures."""
    return bool(
        _REPLY_SUBJECT.match(content.header("subject"))
        or ("in-reply-to" in content.headers and not _FAILURE_SUBJECT.search(content.header("subject")))
    )


def is_delay(subject: str, notice: Sequence[str]) -> bool:
    """Whether the notice only says that the mail is still being tried."""
    text = "\n".join(notice)[:MAX_JUDGED]
    if not _DELAY.search(text):
        return False
    return bool(_DELAY_SUBJECT.search(subject)) or not _GIVEN_UP.search(text)


def looks_like_failure(content: Content) -> bool:
    """Whether sender or subject are those of a failure notice."""
    return is_from_daemon(content) or has_failure_subject(content)


def has_failure_subject(content: Content) -> bool:
    """Whether the subject is that of a failure notice."""
    return bool(_FAILURE_SUBJECT.search(content.header("subject")))


def is_from_daemon(content: Content) -> bool:
    """Whether a mail system signs as the author; a person's mail names one."""
    author = content.header("from").strip()
    return bool(author.endswith("<>") or _DAEMON.search(author) or "x-failed-recipients" in content.headers)
