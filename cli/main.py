"""The ``edgepost`` command.

Modules are imported by the command that needs them, so that a command which only
prints something is there at once.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from cli import (
    credentials,
    domains,
    messages,
    organizations,
    reports,
    routes,
    servers,
    suppressions,
    token_keys,
    track_domains,
    webhooks,
)
from cli.options import AsJSON, Permalink
from cli.printing import Answer, print_answer, say
from cli.running import FAILED, read_settings, run

if TYPE_CHECKING:
    from cli.wiring import Tools

app = typer.Typer(
    help="Edgepost: a self-hosted email delivery platform. Settings come from the environment; see docs/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(organizations.commands, name="org")
app.add_typer(servers.commands, name="server")
app.add_typer(domains.commands, name="domain")
app.add_typer(track_domains.commands, name="track-domain")
app.add_typer(token_keys.commands, name="token-keys")
app.add_typer(credentials.commands, name="credential")
app.add_typer(messages.commands, name="message")
app.add_typer(suppressions.commands, name="suppression")
app.add_typer(routes.commands, name="route")
app.add_typer(reports.commands, name="report")
app.add_typer(webhooks.commands, name="webhook")


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def version(as_json: AsJSON = False) -> None:
    """Print the version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        found = version_of("edgepost")
    except PackageNotFoundError:
        found = "unknown"  # run from a source tree that was not installed
    if as_json:
        print_answer(Answer({"version": found}), as_json=True)
    else:
        say(found)


@app.command()
def serve() -> None:
    """Run the whole of Edgepost on this machine until it is told to stop."""
    settings = read_settings(as_json=False)

    from functools import partial

    from cli.welcome import welcome
    from standalone.serve import serve as run_all

    raise typer.Exit(run_all(settings, welcome=partial(welcome, settings=settings)))


@app.command()
def node() -> None:
    """Run an SMTP node on an installation's store until it is told to stop: SMTP in and out, health and metrics."""
    settings = read_settings(as_json=False)

    from standalone.serve import serve_node

    raise typer.Exit(serve_node(settings))


@app.command()
def health(as_json: AsJSON = False) -> None:
    """Ask the Edgepost on this machine whether it can do its work; exit status 0 if it can, else 1."""
    settings = read_settings(as_json=as_json)

    from cli.health import health as ask

    found = ask(settings)
    print_answer(Answer({"health": found}), as_json=as_json)
    if found != "OK":
        raise typer.Exit(FAILED)


@app.command()
def initialize(as_json: AsJSON = False) -> None:
    """Make an admin, an organization, a server, a domain and keys, once; then print what was made."""

    async def work(tools: "Tools") -> Answer:
        from cli.wiring import first_run

        made = await first_run(tools)
        return Answer(made.document(), said=_first_words(made_now=made.created, known=made.secrets is not None))

    run(work, as_json=as_json)


def _first_words(*, made_now: bool, known: bool) -> str:
    if made_now:
        return "Made. The secrets are also in first-run.json in the data directory; delete it once you have kept them."
    return "There already." if known else "There already; its secrets were deleted with first-run.json."


@app.command()
def status(as_json: AsJSON = False) -> None:
    """Show servers, queues and held mail, and whether `serve` runs."""

    async def work(tools: "Tools") -> Answer:
        from cli.status import status as look

        return await look(tools)

    run(work, as_json=as_json)


@app.command("test-mail")
def send_test_mail(
    address: Annotated[str, typer.Argument(help="Where to send it.", metavar="ADDRESS")],
    server: Annotated[str, typer.Option("--server", help="Permalink; the first server if not given.")] = "",
    sender: Annotated[str, typer.Option("--from", help="From address, at a verified domain of the server.")] = "",
    timeout: Annotated[int, typer.Option("--timeout", help="Seconds to follow it.", min=1, max=3600)] = 60,
    as_json: AsJSON = False,
) -> None:
    """Send a small message and print every step until it is delivered or refused."""

    async def work(tools: "Tools") -> Answer:
        from datetime import timedelta

        from cli.trial import send_trial

        def quiet(_: str) -> None:
            """Say nothing: only the document is wanted."""

        return await send_trial(
            address,
            server=server,
            sender=sender,
            wait=timedelta(seconds=timeout),
            say=quiet if as_json else say,
            tools=tools,
        )

    run(work, as_json=as_json)


@app.command("unsuspend-server")
def unsuspend_server(permalink: Permalink, as_json: AsJSON = False) -> None:
    """Lift the suspension of a server; the same as `server unsuspend`."""
    servers.unsuspend(permalink, as_json=as_json)


@app.command()
def demo(as_json: AsJSON = False) -> None:
    """Show sending and delivery on throw-away ports and in a throw-away directory."""
    from standalone.demo.tour import tour

    raise typer.Exit(tour(as_json))
