"""What hosts write when they refuse mail, and which category each phrase means: data, no code.

The first group with a match decides, so phrases that name a cause stand before those
that only refuse.  All are matched without regard to case, white space as one space.
"""

import re

from shared.domain.bounce.report import Category

_GROUPS: tuple[tuple[Category, tuple[str, ...]], ...] = (
    (
        # The mailbox has too many, not the connection.
        Category.MAILBOX_FULL,
        (
            r"(user|mail ?box|account|recipient)\b.{0,20}\bhas too many (messages|mails)|zu ?viele mails|"
            r"number of messages in .{0,30}mail ?box",
        ),
    ),
    (
        Category.RATE_LIMITED,
        (
            r"receiving mail (at a rate|too quickly)",
            r"rate[- ]?limit",
            r"too many (messages|mails|recipients|connections|concurrent|sessions|errors)",
            r"exceeded .{0,40}(rate|hourly|daily|per hour|sending|connection)",
            r"(temporarily|message) (deferred|throttled)",
            r"sending .{0,20}too (fast|many)",
            r"unusual rate|frequency limit",
            r"\bTSS?0\d\b",
            r"max(imum)? (number of )?(connections|recipients)",
        ),
    ),
    (
        Category.MAILBOX_FULL,
        (
            r"(mail ?box|inbox|account|user|folder|postfach|mail drop|maildrop)('s)?\b.{0,40}\b(is |has |was )?"
            r"(over ?quota|full|exceed|quota|voll|too large|limit)",
            r"over[ -]?(disk[ -]?)?quota",
            r"quota (was |is |has been |would be )?exceed",
            r"exceed(s|ed|ing)? .{0,40}(quota|storage|disk|mailbox|mail box|limit on (his|her|their))",
            r"(not enough|insufficient|out of) .{0,20}(disk |storage |system )?(space|storage|quota)",
            r"full mail ?box",
            r"mail ?box (size )?limit",
            r"disk (quota|full|space)",
            r"quota violation",
            r"no space left",
            r"storage .{0,20}(exceeded|full|limit)",
            r"(not|n't) have enough (disk )?(space|room)|space (is )?not enough",
            r"mail ?folder is full|bo[iî]te .{0,30}satur[ée]e|caixa .{0,30}cheia|casella .{0,30}piena|postvak .{0,30}vol\b|"
            r"skrzynk.{0,30}(pełna|przepełnion)|ящик .{0,30}заполнен|一杯|いっぱい|已满|已滿",
            r"bo[iî]te .{0,30}pleine",
            r"buz[oó]n .{0,30}lleno",
            r"казва пълна|ящик .{0,20}переполнен",
        ),
    ),
    (
        Category.TOO_LARGE,
        (
            r"(message|mail|e-?mail|size|content|attachment).{0,50}(too (big|large)|exceed.{0,40}(size|limit|max(imum)? (allowed|permitted|message|mail)))",
            r"(exceed|over|larger|greater).{0,40}(max(imum)?|fixed|allowed|permitted|message|size) .{0,20}(size|limit)",
            r"(mail|message) size|\bsize limit|class=size",
            r"552 .{0,30}size",
        ),
    ),
    (
        Category.VIRUS,
        (
            r"\bvirus\b",
            r"\b(malware|infected|trojan|worm)\b",
            r"(attachment|file).{0,30}(blocked|not allowed|prohibited|forbidden|banned|type)",
            r"(dangerous|executable|banned|prohibited).{0,20}(attachment|content|file)",
            r"security issue.{0,60}(attachment|content)",
        ),
    ),
    (
        Category.AUTHENTICATION,
        (
            r"\b(spf|dkim|dmarc|arc)\b.{0,80}(fail|reject|not|polic|verif|required|violat)",
            r"(fail|reject|not|violat|polic|due to).{0,80}\b(spf|dkim|dmarc)\b",
            r"unauthenticated (e-?mail|mail|sender)",
            r"(not|isn't|is not) (properly )?authenticated",
            r"sender (policy framework|id)",
            r"(does not|doesn't|do not) (meet|pass) .{0,30}authentication",
        ),
    ),
    (
        Category.RELAY_DENIED,
        (
            r"rela(y|ying) .{0,30}(denied|not (allowed|permitted|authorized)|prohibited|refused|access)",
            r"(not allowed|unable|not permitted|cannot|don't|not authorized|prohibited) to relay",
            r"\bas a relay\b|no relay|relay not|we do not relay|not a gateway",
            r"authentication (is )?required|without authentication",
            r"rcpthosts",
            r"must (authenticate|be authenticated)",
        ),
    ),
    (
        Category.SPAM_BLOCK,
        (
            r"\bspam",
            r"\bjunk\b",
            r"unsolicited",
            r"bulk (e-?)?mail",
            r"black ?list|block ?list|blocklist|denylist|deny list",
            r"\b(rbl|dnsbl|dnsrbl|spamhaus|spamcop|barracuda|sorbs|uceprotect|surbl|uribl|proofpoint|cloudmark|senderscore)",
            r"(poor|bad|low) (sender )?reputation|reputation",
            r"your (ip|host|server|network|mail server|domain) .{0,60}(blocked|banned|refused|listed|blacklist)",
            r"(ip|host|address|client|sender) .{0,60}\b(is |has been |was )?(blocked|banned|listed)\b",
            r"blocked (using|by|due|for|at)",
            r"\bS(3140|3150|1|775)\b",
            r"content (rejected|filter|restriction|policy)",
            r"(message|mail|content) .{0,30}(looks|appears|seems|identified|classified|considered|detected|scored)",
            r"phish",
            r"high[- ]?probability",
        ),
    ),
    (
        # What is wrong with the sender says nothing of the recipient.
        Category.POLICY,
        (
            r"(unroute?able|invalid|bad|unknown|illegal|undeliverable|unresolvable|forged) (sender|return[- ]path|envelope sender)",
            r"\bsender('s)?( e-?mail)?( address| domain)? (is |was )?(rejected|refused|denied|invalid|unknown|verif|not "
            r"(allowed|accepted|valid|verified|exist))",
            r"\bptr record|reverse dns|domain of sender|not accepting (mail|messages|e-?mail) (with|from)",
        ),
    ),
    (
        Category.MAILBOX_DISABLED,
        (
            r"(mail ?box|account|user|address|recipient|e-?mail)\b.{0,50}\b(disabled|inactive|suspended|deactivated|"
            r"locked|expired|not active|closed|cancel+ed|blocked|frozen|dormant|discontinued|terminated)",
            r"(disabled|inactive|suspended|deactivated|not active|expired) .{0,30}(mail ?box|account|user|recipient)",
            r"not (currently )?accepting (mail|messages|e-?mail)(?! (?:with|from))",
            r"has been (disabled|suspended|deactivated|terminated|discontinued|locked)",
            r"no longer (in use|active|accepts|available|valid|works|with|on server|employed|monitored)",
        ),
    ),
    (
        Category.MOVED,
        (
            r"(has|have) (moved|changed)",
            r"new (e-?mail )?address",
            r"no longer .{0,30}(this|here) .{0,20}please (try|use)",
            r"address (has )?changed",
            r"try <[^<> ]{3,100}>",
        ),
    ),
    (
        Category.DNS,
        (
            r"name (service|server) error|(host|domain) (or domain )?(name )?(was )?(not found|unknown|lookup fail)|(unknown|no such) (mail )?(host|domain)",
            r"nxdomain|null mx|(no|find an?|any) (a or |a/)?mx (record|host)|domain .{0,40}(does not|doesn'?t) (exist|resolve|accept)|invalid (host|domain)",
            r"name or service not known|no address associated with hostname|illegal host/domain|all relevant mx records|unrouteable mail domain|couldn't find any host",
        ),
    ),
    (
        Category.UNKNOWN_USER,
        (
            r"(user|recipient|mail ?box|mail drop|address|account|addressee|userid|login|alias|member|person|inbox)"
            r"('s)?\b.{0,60}\b(unknown|unavailable|invalid|doesn'?t exist|does ?n[o']t exist|not exist|not found|"
            r"not known|not recogni[sz]ed|rejected|not valid|not listed|cannot be found|could not be found|non-?existent|"
            r"couldn't be found|wasn't found|not in|undeliverable|is wrong|not (a )?local|not have an account|"
            r"not present|not registered|doesn't have|no such|not match|unrouteable|n'existe|no existe|existiert nicht)",
            r"(unknown|invalid|no such|bad|incorrect|unrecogni[sz]ed|nonexistent|non-existent|undeliverable|illegal|"
            r"unroute?able|not a valid|no valid|unregistered|wrong|incorrectly addressed|no) "
            r"(local |destination |e-?mail |internet |final |delivery |local-part |virtual |hosted |to |recipient ){0,2}"
            r"(user|recipient|mail ?box|address|account|addressee|alias|userid|usernames?|name|person|login)",
            r"(no|not a) (such )?(mail ?box|user|account|person|recipient|one) (here|by that name|at|named|with|on)",
            r"sorry, no mailbox here",
            r"(doesn'?t|does not|do not) (have an? |exist)",
            r"(user|recipient) .{0,30}not .{0,20}(domino|local|directory|system|server)",
            r"no (mail|mailbox|user|account|recipient).{0,30}(here|by that name|found|exists)",
            r"not (our|a) (customer|user|valid recipient)",
            r"(is|are|was) not (listed|known|found|our|a known|a valid|recogni[sz]ed)",
            r"no existe|n'existe pas|n'existe|inconnu|existiert nicht|unbekannt|desconocido|non esiste|onbekend|"
            r"не существует|не найден|存在し|見つかり|リストにありません|不存在",
            r"bad recipient|not unique\. several matches|not a valid user",
            r"recipients? (address )?rejected",
            r"access denied.{0,40}\bAS\(|recipient address rejected: access denied",
            r"mailbox unavailable",
            r"not our customer|unable to find|can'?t create output|mailbox not found|(is a )?deactivated",
            r"cannot find (your )?recipient|not listed in",
            r"\bRCPT\b.{0,60}\b(failed|rejected|refused)\b",
        ),
    ),
    (
        Category.LOOP,
        (
            r"mail (forwarding )?loop",
            r"(too many|exceeded|maximum) .{0,20}(hops|hop count|received|forwards)",
            r"\bloop(s|ing|ed)?\b (detected|back|found)?",
            r"hop ?count",
            r"routing loop",
        ),
    ),
    (
        Category.DNS,
        (
            r"(host|domain|name|dns|mx|server|a record|site)\b.{0,60}\b(unknown|not found|doesn'?t exist|does not exist|"
            r"lookup|look up|no (such|mx|a) |error|nxdomain|not resolve|couldn'?t|cannot be (found|resolved)|invalid|"
            r"no data|does not accept mail)",
            r"(unknown|no such|unrouteable|unresolvable|invalid|unresolved|couldn'?t find( any)?|can'?t find|cannot find) "
            r"(mail )?(host|domain|mx|dns)",
            r"null mx|nxdomain|servfail|no (answer from dns|mx (record|host)|mail (server|exchanger))",
            r"illegal host/domain",
            r"unable to (route|resolve)|all relevant mx records point",
        ),
    ),
    (
        Category.CONNECTION,
        (
            r"(connection|connect|connecting|connected|session|conversation)\b.{0,60}\b(refused|timed? ?out|reset|lost|dropped|fail|"
            r"closed|unsuccess|died|error|establish|unreachable|not)",
            r"(network|host|server|destination) .{0,20}(is )?(unreachable|not respond|down|not reachable|unavailable)",
            r"(unable|couldn'?t|could not|cannot|can'?t|failed|fails) to (connect|reach|contact|establish|communicate)",
            r"timed? ?out|no route to host|not respond",
            r"(did not|didn'?t) accept our requests? to connect|(socket|connect) error|lost connection|no answer from host|bad connection|operation timed",
            r"couldn't establish",
        ),
    ),
    (
        Category.EXPIRED,
        (
            r"(has|have|had) (been )?(in the queue|undeliverable|undelivered|expired)",
            r"(queue|message|mail|delivery|retry) (time|timeout|lifetime|expir|timed out)",
            r"(giving|given|gave|give) up",
            r"failing for a long time|expired|time ?limit|too long|(number of|maximum) (retries|delivery attempts)",
            r"could not be delivered (for|within|in|after) (more than |the last )?\d",
            r"been in the queue too long",
            r"retry timeout",
        ),
    ),
    (
        Category.POLICY,
        (
            r"polic(y|ies)",
            r"(access|permission|authori[sz]ation|message|mail|e-?mail|sender|delivery).{0,40}\b(denied|not (allowed|permitted|"
            r"authori[sz]ed|accepted)|rejected|refused|blocked|prohibited|restricted|discarded)",
            r"not (allowed|permitted|authori[sz]ed)",
            r"administrative(ly)? (prohibition|denied|reject)",
            r"(local|security) reasons?",
            r"restrict(ed|ion)|permission|prohibit|refuse|reject|denied|blocked",
        ),
    ),
    (
        Category.PROTOCOL,
        (
            r"(syntax|protocol|command|sequence).{0,20}error|bad sequence|not implemented|unrecogni[sz]ed command",
            r"(invalid|malformed|missing|bad|illegal) (header|message|mime|from|date|line|8-?bit)",
            r"8 ?bit|smtputf8|line too long",
        ),
    ),
    (
        Category.SYSTEM,
        (
            r"(system|server|internal|configuration|local|software|hardware|i/o|resource|database) .{0,20}(error|fail|problem|"
            r"misconfigur|shortage|trouble|busy|not configured)",
            r"(can'?t|cannot|could not|unable to) (open|create|write|read|lock|execute|run|append)",
            r"(unknown mailer|command (died|failed|unavailable)|exit(ed)? (code|status|with)|operating system|ldap|mysql)",
            r"temporar(y|ily) .{0,40}(error|fail|problem|unavail|reject|lookup)|try again later|service (un|not )available",
        ),
    ),
)

PHRASES = tuple((category, re.compile("|".join(phrases), re.IGNORECASE)) for category, phrases in _GROUPS)
