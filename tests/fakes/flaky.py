"""A store that is away while a test says so."""

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from shared.domain.errors import StorageUnavailable


class Flaky:
    """Passes every call on to another store, or raises ``StorageUnavailable`` while ``failing``."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.failing = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found = getattr(self.inner, name)
        if not iscoroutinefunction(found):
            return found  # type: ignore[no-any-return]

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.failing:
                raise StorageUnavailable(name)
            return await found(*args, **kwargs)

        return call
