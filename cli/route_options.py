"""Options of ``edgepost route create`` and ``update``: how they are written, and what they mean."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from shared.domain.job import TLSMode
from shared.domain.routes import TIMEOUTS_S, Encoding, PayloadFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.route_changes import TargetOptions
    from shared.domain.routes import Target

Word = TypeVar("Word", bound=StrEnum)

Address = Annotated[
    str, typer.Argument(help="NAME@DOMAIN; * for all other names; or __returnpath__.", metavar="NAME@DOMAIN")
]
HTTP = Annotated[
    list[str] | None,
    typer.Option(
        "--http", help="URL that gets the mail, also https://user:password@host/; may be repeated.", metavar="URL"
    ),
]
SMTP = Annotated[
    list[str] | None, typer.Option("--smtp", help="Host that gets the mail; may be repeated.", metavar="HOST:PORT")
]
Forward = Annotated[
    list[str] | None, typer.Option("--address", help="Address that gets the mail; may be repeated.", metavar="ADDR")
]
TLS = Annotated[
    str, typer.Option(help="For --smtp: starttls (must; usual), opportunistic, tls (from the first byte) or none.")
]
EncodingWord = Annotated[str, typer.Option("--encoding", help="For --http: BodyAsJSON (usual) or FormData.")]
FormatWord = Annotated[str, typer.Option("--format", help="For --http: Hash (usual) or RawMessage.")]
Attachments = Annotated[
    bool | None,
    typer.Option("--attachments/--no-attachments", help="For --http: whether a hash has the files; yes if not given."),
]
StripReplies = Annotated[
    bool | None,
    typer.Option("--strip-replies/--keep-replies", help="For --http: give what a reply quotes apart; no if not given."),
]
Timeout = Annotated[
    int | None,
    typer.Option(
        "--timeout", help="For --http: seconds to answer in; 30 if not given.", min=TIMEOUTS_S[0], max=TIMEOUTS_S[-1]
    ),
]
ModeWord = Annotated[str, typer.Option("--mode", help="Accept, Hold, Bounce or Reject, in place of endpoints.")]
SpamWord = Annotated[str, typer.Option("--spam-mode", help="What becomes of spam: Mark (usual), Quarantine or Fail.")]


def targets_of(http: list[str] | None, smtp: list[str] | None, forward: list[str] | None) -> "Sequence[Target]":
    """Return the endpoints that were given.

    Raises:
        InvalidValue: one that is no host, port or address.
    """
    from shared.domain.routes import HTTPTarget, address_target, smtp_target

    return [*map(HTTPTarget, http or ()), *map(smtp_target, smtp or ()), *map(address_target, forward or ())]


def options_of(
    encoding: str, payload: str, tls: str, *, attachments: bool | None, replies: bool | None, timeout: int | None
) -> "TargetOptions":
    """Return the options of endpoints that were given.

    Raises:
        InvalidValue: a word that is none of an option's.
    """
    from shared.domain.route_changes import TargetOptions

    return TargetOptions(
        encoding=one_of(Encoding, encoding),
        format=one_of(PayloadFormat, payload),
        attachments=attachments,
        strip_replies=replies,
        timeout_s=timeout,
        tls=one_of(TLSMode, tls),
    )


def one_of(choices: "type[Word]", word: str) -> "Word | None":
    """Return the choice that a word means, whatever its case; None for no word.

    Raises:
        InvalidValue: it means none.
    """
    from shared.domain.errors import InvalidValue

    if not word:
        return None
    found = next((each for each in choices if each.value.lower() == word.lower()), None)
    if found is None:
        raise InvalidValue(f"{word} is none of {', '.join(each.value for each in choices)}")
    return found
