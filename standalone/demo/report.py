"""What the tour says: a line for each step, or one JSON document at the end."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape


class Report:
    """Collects the steps and shows them as they happen.

    Args:
        as_json: print nothing until ``close``, then one document.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(quiet=as_json, highlight=False, emoji=False)
        self._steps: list[dict[str, Any]] = []
        self._problem = ""

    def done(self, what: str, *details: str, **facts: object) -> None:
        """Note a step that worked: a sentence, lines below it, and values for the JSON document."""
        self._steps.append({"step": what, "ok": True, "details": list(details), **facts})
        self._console.print(f"[bold green]✓[/] {escape(what)}", soft_wrap=True)
        self.lines(details)

    def lines(self, lines: Sequence[str]) -> None:
        """Show lines as they are, indented and dim."""
        for line in lines:
            self._console.print(f"    [dim]{escape(line)}[/]", soft_wrap=True)

    def failed(self, problem: str) -> None:
        """Note what went wrong: the tour ends here."""
        self._problem = problem
        self._steps.append({"step": "failed", "ok": False, "details": problem.splitlines()})
        self._console.print(f"[bold red]✗[/] {escape(problem)}", soft_wrap=True)

    def close(self) -> int:
        """Print the end and return the exit status: 0 if every step worked."""
        if self._as_json:
            print(json.dumps({"ok": not self._problem, "steps": self._steps}, indent=2))
        elif not self._problem:
            self._console.print("\nEverything worked. Nothing was left behind.")
        return 1 if self._problem else 0
