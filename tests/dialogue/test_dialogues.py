"""Every script in ``scripts/``, on asyncio's loop and on uvloop."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from tests.dialogue.script import SCRIPTS, play

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class TestDialogues:
    @pytest.mark.parametrize("loop_factory", LOOPS.values(), ids=LOOPS.keys())
    @pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
    def test_goes_as_written(self, script: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        """Each script guards what its comment says."""
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(play(script.name, script.read_text()))
