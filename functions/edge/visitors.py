"""Who asks for a pixel or a link: a person, or a machine on the way.

The rules are data, read from top to bottom; the first that fits decides.  They
follow what the operators say of their machines, and what these send.  Both numbers
are kept everywhere: hits of people, and all hits.
"""

from collections.abc import Mapping
from typing import NamedTuple

HUMAN = "human"
PRIVACY_PROXY = "privacy_proxy"
LINK_SCANNER = "link_scanner"
PREFETCH = "prefetch"


class Visitor(NamedTuple):
    """What kind of visitor it is, and why we think so."""

    kind: str
    reason: str


PREFETCH_HEADERS = (
    # Fetch Standard §2.2.7 and older forms of it.
    ("sec-purpose", "prefetch"),
    ("purpose", "prefetch"),
    ("x-purpose", "preview"),
    ("x-moz", "prefetch"),
)

EXACT_USER_AGENTS = (
    # Apple's Mail Privacy Protection loads every image soon after delivery, read or not.
    ("mozilla/5.0", PRIVACY_PROXY, "Apple Mail Privacy Protection"),
    ("", LINK_SCANNER, "no user agent"),
)

USER_AGENTS = (
    # Gmail's proxy loads an image when the message is opened, and for the first time only.
    ("googleimageproxy", PRIVACY_PROXY, "Gmail image proxy"),
    ("yahoomailproxy", PRIVACY_PROXY, "Yahoo Mail image proxy"),
    ("yahoo! slurp", LINK_SCANNER, "Yahoo crawler"),
    ("barracuda", LINK_SCANNER, "Barracuda"),
    ("mimecast", LINK_SCANNER, "Mimecast"),
    ("proofpoint", LINK_SCANNER, "Proofpoint"),
    ("symantec", LINK_SCANNER, "Symantec"),
    ("trendmicro", LINK_SCANNER, "Trend Micro"),
    ("sophos", LINK_SCANNER, "Sophos"),
    ("safelinks", LINK_SCANNER, "Microsoft Safe Links"),
    ("microsoft office existence discovery", LINK_SCANNER, "Microsoft Office"),
    ("bingpreview", LINK_SCANNER, "Bing preview"),
    ("skypeuripreview", LINK_SCANNER, "Skype preview"),
    ("facebookexternalhit", LINK_SCANNER, "Facebook preview"),
    ("slackbot", LINK_SCANNER, "Slack preview"),
    ("telegrambot", LINK_SCANNER, "Telegram preview"),
    ("whatsapp", LINK_SCANNER, "WhatsApp preview"),
    ("headlesschrome", LINK_SCANNER, "headless browser"),
    ("phantomjs", LINK_SCANNER, "headless browser"),
    ("crawler", LINK_SCANNER, "crawler"),
    ("spider", LINK_SCANNER, "crawler"),
    ("bot/", LINK_SCANNER, "crawler"),
    ("+http", LINK_SCANNER, "names its operator"),
    ("python", LINK_SCANNER, "program"),
    ("go-http-client", LINK_SCANNER, "program"),
    ("java/", LINK_SCANNER, "program"),
    ("okhttp", LINK_SCANNER, "program"),
    ("apache-httpclient", LINK_SCANNER, "program"),
    ("libwww-perl", LINK_SCANNER, "program"),
    ("curl/", LINK_SCANNER, "program"),
    ("wget/", LINK_SCANNER, "program"),
    ("node-fetch", LINK_SCANNER, "program"),
    ("axios/", LINK_SCANNER, "program"),
)
"""Parts of user agents in lower case."""


def visitor_of(user_agent: str, headers: Mapping[str, str]) -> Visitor:
    """Return who asks; whom no rule knows is a person.

    Args:
        user_agent: as sent.
        headers: of the request, names in lower case.
    """
    for name, value in PREFETCH_HEADERS:
        if value in headers.get(name, "").lower():
            return Visitor(PREFETCH, f"{name} header")
    agent = user_agent.strip().lower()
    for exact, kind, reason in EXACT_USER_AGENTS:
        if agent == exact:
            return Visitor(kind, reason)
    for part, kind, reason in USER_AGENTS:
        if part in agent:
            return Visitor(kind, reason)
    return Visitor(HUMAN, "no rule applies")
