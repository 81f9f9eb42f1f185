"""The verbs of those who run the machine."""

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.memstore import MemoryStore
from tierfs.clock import SystemClock
from tierfs.config import load
from tierfs.config.loading import with_option
from tierfs.control.arguments import Refusal
from tierfs.control.operating import OperatorVerbs
from tierfs.control.protocol import Request
from tierfs.control.restarting import Restart
from tierfs.control.verbs import Peer, Scope
from tierfs.errors import FsError, StoreErrorKind
from tierfs.index.env import Index, IndexSettings
from tierfs.objectstore.retrying import RetryingStore
from tierfs.objectstore.settings import RetrySettings


class Tuned:
    """Passes for `operating.Tuner`."""

    def __init__(self) -> None:
        self.settings = load(None, {"export.quiet_s": "9s"})

    def set(self, name: str, text: str) -> str:
        self.settings, key = with_option(self.settings, name, text)
        return key


class NoHolder:
    holder_pid = None


def group(index: Index, store: MemoryStore) -> OperatorVerbs:
    return OperatorVerbs(
        tuner=Tuned(),
        restart=Restart(check=(), index=index, connection=NoHolder(), clock=index.clock),
        store=RetryingStore(store, RetrySettings()),
        index=index,
    )


ROOT = Peer(pid=1, uid=0, gid=0)


def call(directory: Path, store: MemoryStore, verb: str, **args: Any) -> Any:
    async def main() -> Any:
        index = Index.open(directory / "index", clock=SystemClock(), settings=IndexSettings())
        try:
            return await group(index, store).verbs[verb].handler(Request(1, verb, args), ROOT, lambda _: None)
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
    assert rows["export.quiet_s"] == {
        "key": "export.quiet_s",
        "value": '"9s"',
        "default": '"5s"',
        "is_default": False,
        "is_live": True,
    }


def test_one_is_changed(tmp_path: Path) -> None:
    done = call(tmp_path, MemoryStore(), "settings_set", name="export.quiet_s", value="1min")
    assert done == {"key": "export.quiet_s", "before": '"9s"', "value": '"1min"'}
    for wrong in ({}, {"name": "export.quiet_s", "value": 3}):
        with pytest.raises(Refusal, match="both texts"):
            call(tmp_path, MemoryStore(), "settings_set", **wrong)


def test_a_restart_without_a_holder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FsError, match="mount again"):
        call(tmp_path, MemoryStore(), "restart")


def test_strangers_may_do_none_of_it(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", clock=SystemClock(), settings=IndexSettings())
    assert {verb.scope for verb in group(index, MemoryStore()).verbs.values()} == {Scope.NOTHING}
    index.close()
