"""A store whose client dies: from then on it hears nothing of him, whatever he still does to tidy up."""

import inspect
from typing import Any

import trio


class MortalStore:
    """Every method of another store (or upload), until `is_dead`; then each request waits for ever."""

    def __init__(self, inner: Any, life: "MortalStore | None" = None) -> None:
        self._inner = inner
        self._life = life or self
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def request(*args: Any, **kwargs: Any) -> Any:
            if self._life.is_dead:
                await trio.sleep_forever()
            answer = await found(*args, **kwargs)
            return MortalStore(answer, self._life) if name == "begin_upload" else answer

        return request
