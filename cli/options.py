"""Options that several commands have, each spelt and explained once."""

from typing import Annotated

import typer

AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output and nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", help="Delete without asking for the name.")]
InServer = Annotated[str, typer.Option("--server", help="Permalink of the server.", metavar="PERMALINK")]
InOrganization = Annotated[
    str, typer.Option("--organization", help="Permalink of the organization.", metavar="PERMALINK")
]
Permalink = Annotated[str, typer.Argument(help="Its permalink.", metavar="PERMALINK")]
NewName = Annotated[str, typer.Argument(help="A name for people.", metavar="NAME")]
NewPermalink = Annotated[
    str, typer.Option("--permalink", help="Permalink; made from the name if not given.", metavar="PERMALINK")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for those who ask later.")]
KeepHours = Annotated[
    int, typer.Option("--keep-hours", help="How long the secret before it signs too.", min=0, max=720)
]
MessageNumber = Annotated[int, typer.Argument(help="Id of the message.", metavar="ID")]


def typer_of(help_text: str) -> typer.Typer:
    """Return a group of commands that explains itself when called without one."""
    return typer.Typer(help=help_text, no_args_is_help=True, pretty_exceptions_enable=False)
