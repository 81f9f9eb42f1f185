"""A store whose listings come in pages of a few keys, each of which takes a moment."""

import trio

from tests.support.memstore import MemoryStore
from tierfs.objectstore.base import ListPage


class SmallPages(MemoryStore):
    """`page_keys` at most in a page. `flat_lists` has (start_after or token, number of keys) of each flat one."""

    def __init__(self, page_keys: int = 3) -> None:
        super().__init__()
        self.page_keys = page_keys
        self.flat_lists: list[tuple[str, int]] = []
        self.delay_s = lambda: 0.001
        self._awaited: dict[int, trio.Event] = {}

    async def flat_listed(self, times: int) -> None:
        """Returns when there were so many flat listings."""
        if len(self.flat_lists) < times:
            await self._awaited.setdefault(times, trio.Event()).wait()

    async def list(
        self, prefix: str, *, delimited: bool, token: str = "", start_after: str = "", limit: int = 1000
    ) -> ListPage:
        limit = min(limit, self.page_keys)
        page = await super().list(prefix, delimited=delimited, token=token, start_after=start_after, limit=limit)
        if not delimited:
            self.flat_lists.append((token or start_after, len(page.objects)))
            if (awaited := self._awaited.pop(len(self.flat_lists), None)) is not None:
                awaited.set()
        return page
