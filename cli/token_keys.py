"""``edgepost token-keys …``."""

from typing import TYPE_CHECKING, Any

from cli.options import AsJSON, typer_of
from cli.printing import Answer
from cli.running import run

if TYPE_CHECKING:
    from cli.wiring import Tools
    from shared.tokens import TokenKeys

commands = typer_of("Keys that sign links, pixels and return paths; the keys themselves are never shown.")


@commands.command("list")
def list_all(as_json: AsJSON = False) -> None:
    """List the keys by their ids; old ones stay good for what they signed."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.token_keys import known_keys

        keys = known_keys(tools.token_keys())
        return Answer({"current": None, "keys": []} if keys is None else _document(keys))

    run(work, as_json=as_json)


@commands.command()
def rotate(as_json: AsJSON = False) -> None:
    """Make a new key that signs from now on; everything takes it within two minutes."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.token_keys import rotate_keys

        keys = rotate_keys(tools.token_keys(), tools.rng.randbytes)
        return Answer(_document(keys), said="Rotated. Links signed with older keys go on working.")

    run(work, as_json=as_json)


def _document(keys: "TokenKeys") -> dict[str, Any]:
    return {
        "current": keys.current,
        "keys": [{"id": key_id, "signs": key_id == keys.current} for key_id in keys.keys],
    }
