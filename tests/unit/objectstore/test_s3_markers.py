"""Markers on a server that puts directories of its own over them."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import Always, ListPage, ObjectInfo, ObjectMeta, Written
from tierfs.objectstore.s3_markers import Markers, metadata_key
from tierfs.objectstore.s3_runner import Runner


class _Forgetful:
    """Runner and requests in one: the first `losses` markers that are put are none."""

    def __init__(self, losses: int) -> None:
        self._losses = losses
        self.keys: list[str] = []

    def full(self, key: str) -> str:
        return key

    async def read(self, ask: Callable[[Any], Any]) -> Any:
        return ask(self)

    write = read

    def put(self, full: str, *_: object) -> Written:
        if full.endswith("/") and self._losses:
            self._losses -= 1
        else:
            self.keys.append(full)
        return Written("e")

    def list_page(self, prefix: str, **_: object) -> ListPage:
        return ListPage([ObjectInfo(key, 0, "e", 0) for key in self.keys if key.startswith(prefix)], [])


def _put(server: _Forgetful) -> Written:
    markers = Markers(cast(Runner, server))
    return trio.run(markers.put, "d/", ObjectMeta(user={"tierfs-op": "1"}), Always())


@pytest.mark.parametrize("losses", [0, 1, 2])
def test_a_marker_that_the_server_loses_is_written_again(losses: int) -> None:
    server = _Forgetful(losses)
    assert _put(server) == Written("e")
    assert server.keys == [metadata_key("d/"), "d/"]


def test_a_marker_that_never_shows_is_told() -> None:
    with pytest.raises(StoreError) as caught:
        _put(_Forgetful(losses=99))
    assert caught.value.kind is StoreErrorKind.UNCLEAR
