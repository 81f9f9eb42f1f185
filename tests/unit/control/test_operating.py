"""The verbs of those who run the machine."""

from pathlib import Path
from typing import Any

import trio

from tests.support.memstore import MemoryStore
from tierfs.clock import SystemClock
from tierfs.config import load
from tierfs.control.operating import OperatorVerbs
from tierfs.control.protocol import Request
from tierfs.control.verbs import Peer, Scope
from tierfs.errors import StoreErrorKind
from tierfs.index.env import Index, IndexSettings
from tierfs.objectstore.retrying import RetryingStore
from tierfs.objectstore.settings import RetrySettings

ROOT = Peer(pid=1, uid=0, gid=0)


def call(directory: Path, store: MemoryStore, verb: str, **args: Any) -> Any:
    async def main() -> Any:
        index = Index.open(directory / "index", clock=SystemClock(), settings=IndexSettings())
        try:
            group = OperatorVerbs(
                settings=load(None, {"export.quiet_s": "9s"}), store=RetryingStore(store, RetrySettings()), index=index
            )
            return await group.verbs[verb].handler(Request(1, verb, args), ROOT, lambda _: None)
        finally:
            index.close()

    return trio.run(main)


def test_the_bucket_is_asked_with_the_rights_of_the_daemon(tmp_path: Path) -> None:
    store = MemoryStore()
    store.fail_next("get", StoreErrorKind.ACCESS_DENIED)
    found = call(tmp_path, store, "examine")
    assert [one["verb"] for one in found["tried"] if one["error"]] == ["get"]
    assert not store.objects


def test_the_settings_in_use(tmp_path: Path) -> None:
    rows = {row["key"]: row for row in call(tmp_path, MemoryStore(), "settings")["settings"]}
    assert rows["export.quiet_s"] == {"key": "export.quiet_s", "value": '"9s"', "default": '"5s"', "is_default": False}


def test_strangers_may_do_none_of_it(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", clock=SystemClock(), settings=IndexSettings())
    store = RetryingStore(MemoryStore(), RetrySettings())
    group = OperatorVerbs(settings=load(None), store=store, index=index)
    assert {verb.scope for verb in group.verbs.values()} == {Scope.NOTHING}
    index.close()
