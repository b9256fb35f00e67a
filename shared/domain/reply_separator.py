"""What of a text is a person's reply, and what is the mail that it quotes.

The eleven patterns of Postal (app/lib/reply_separator.rb), applied in its order.  White
space that may cross lines is bounded here: a text of empty lines would otherwise
take time that grows with the square of its length.
"""

import re

MAX_TEXT = 64 * 1024
"""Characters looked at; what lies behind them stays with the reply."""

_ALL = re.MULTILINE | re.DOTALL  # Ruby's /m; its ^ and $ are always those of lines
_LINE = re.MULTILINE
_BEFORE = r"^>*\s{0,20}"

_RULES = (
    re.compile(r"^-{2,10} $.*", _ALL),
    re.compile(_BEFORE + r"----- ?Original Message ?-----.*", _ALL),
    re.compile(_BEFORE + r"From:[^\r\n]*[\r\n]+Sent:.*", _ALL),
    re.compile(_BEFORE + r"From:[^\r\n]*[\r\n]+Date:.*", _ALL),
    re.compile(_BEFORE + r"-----Urspr.ngliche Nachricht----- .*", _ALL),
    re.compile(_BEFORE + r"Le[^\r\n]{10,200}a .crit ?:\s*$.*", _LINE),
    re.compile(_BEFORE + r"__________________.*", _ALL),
    re.compile(_BEFORE + r"On.{10,200}wrote:\s*$.*", _ALL),
    re.compile(_BEFORE + r"Sent from my.*", _ALL),
    re.compile(_BEFORE + r"=== Please reply above this line ===.*", _ALL),
    re.compile(r"(?:^>.*\n?){10,}", _LINE),
)


def separate(text: str | None) -> tuple[str, str | None]:
    """Return the reply, and what was taken from it or None.

    Args:
        text: of the mail; None if it has none.
    """
    if text is None:
        return "", None
    rest = text.replace("\r", "")
    looked_at, beyond = rest[:MAX_TEXT], rest[MAX_TEXT:]
    taken: list[str] = []

    def take(found: re.Match[str]) -> str:
        taken.append(found[0])
        return ""

    for rule in _RULES:
        looked_at = rule.sub(take, looked_at)
    # The last one found stands first, as in Postal.
    replies = "".join(f"{each}\n" for each in reversed(taken)).strip()
    return (looked_at + beyond).strip(), replies or None
