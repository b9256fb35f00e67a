"""One command from its start to its exit status.

| exit status | meaning |
| --- | --- |
| 0 | done |
| 1 | refused, not found, storage not available, or bad news |
| 2 | wrong settings or wrong use |
"""

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import typer

from cli.printing import Answer, print_answer, print_error

if TYPE_CHECKING:
    from cli.wiring import Tools
    from shared.settings import Settings

FAILED = 1
MISCONFIGURED = 2


def run(work: "Callable[[Tools], Awaitable[Answer]]", *, as_json: bool) -> None:
    """Open the stores, do the work, print its answer, and leave with the right exit status."""
    settings = read_settings(as_json=as_json)

    import asyncio

    from cli.wiring import opened
    from shared.domain.errors import MailError

    async def whole() -> Answer:
        async with opened(settings) as tools:
            return await work(tools)

    try:
        answer = asyncio.run(whole())
    except MailError as exc:
        print_error(type(exc).__name__, str(exc), as_json=as_json)
        raise typer.Exit(FAILED) from exc
    print_answer(answer, as_json=as_json)
    if answer.failed:
        raise typer.Exit(FAILED)


def read_settings(*, as_json: bool) -> "Settings":
    """Return the settings of the environment; if they are wrong, list all problems and leave."""
    from shared.settings import Settings, SettingsError

    try:
        return Settings.from_env(os.environ)
    except SettingsError as exc:
        print_error("SettingsError", str(exc), problems=exc.problems, as_json=as_json)
        raise typer.Exit(MISCONFIGURED) from exc


def typed_name(name: str, *, yes: bool, as_json: bool) -> str:
    """Return the name as the user types it, or the right one if ``--yes`` was given.

    Raises:
        InvalidValue: nobody can be asked, because a program reads the output.
    """
    from shared.domain.errors import InvalidValue

    if yes:
        return name
    if as_json:
        raise InvalidValue("deleting with --json needs --yes too")
    answer: str = typer.prompt(f"This cannot be undone. Type the name, {name!r}, to delete it", err=True)
    return answer
