"""What doctor finds out about a bucket, over stores that refuse one thing or all."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.support.memstore import MemoryStore
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import Always, Capabilities, ObjectMeta, ObjectStore
from tierfs.objectstore.examination import Examination, Tried, examine
from tierfs.objectstore.retrying import RetryingStore
from tierfs.objectstore.settings import RetrySettings

Kind = StoreErrorKind
VERBS = ["list", "put", "head", "get", "multipart", "delete"]


class DatedStore(MemoryStore):
    """With a clock, which is the server's."""

    def __init__(self, now_s: Callable[[], float | None]) -> None:
        super().__init__()
        self.now_s = now_s

    async def server_time_s(self) -> float | None:
        await trio.lowlevel.checkpoint()
        return self.now_s()


def run(store: ObjectStore, *, read_only: bool = False, **named: Any) -> Examination:
    async def main() -> Examination:
        return await examine(store, "1-2-3", read_only=read_only, **named)

    return trio.run(main)


def refused(found: Examination) -> dict[str, str]:
    return {one.verb: one.error for one in found.tried if one.error}


def test_all_is_allowed_and_nothing_stays() -> None:
    store = MemoryStore()
    found = run(store, capabilities=Capabilities(warnings=["no tags: x"]))
    assert [one.verb for one in found.tried] == VERBS and not refused(found)
    assert found.warnings == ["no tags: x"] and found.ahead_s is None
    assert not store.objects and not trio.run(store.list_uploads, "")


@pytest.mark.parametrize(
    ("method", "verb"),
    [("put", "put"), ("head", "head"), ("get", "get"), ("begin_upload", "multipart"), ("delete", "delete")],
)
def test_each_verb_is_refused_by_itself(method: str, verb: str) -> None:
    store = MemoryStore()
    store.fail_next(method, Kind.ACCESS_DENIED)
    assert refused(run(store))[verb] == "ACCESS_DENIED"


def test_what_could_not_be_written_is_not_asked_for() -> None:
    store = MemoryStore()
    store.fail_next("put", Kind.ACCESS_DENIED)
    assert [one.verb for one in run(store).tried] == ["list", "put", "multipart", "delete"]


def test_what_concerns_all_is_told_once() -> None:
    store = MemoryStore()
    store.fail_next("put", Kind.BAD_CREDENTIALS)
    found = run(store)
    assert [(one.verb, one.error) for one in found.tried] == [("list", ""), ("put", "BAD_CREDENTIALS")]


def test_nothing_is_repeated() -> None:
    store = MemoryStore()
    store.fail_next("put", Kind.UNAVAILABLE)
    assert refused(run(RetryingStore(store, RetrySettings()))) == {"put": "UNAVAILABLE"}


def test_who_only_reads_writes_nothing() -> None:
    store = MemoryStore()
    trio.run(_put, store, "a/object")
    before = dict(store.requests)
    found = run(store, read_only=True)
    assert [one.verb for one in found.tried] == ["list", "head", "get"] and not refused(found)
    assert {name: count for name, count in store.requests.items() if count != before.get(name)} == {
        "list": 1,
        "head": 1,
        "get": 1,
    }


async def _put(store: MemoryStore, key: str) -> None:
    await store.put(key, b"x", ObjectMeta(), Always())


def test_the_clock_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierfs.objectstore.examination.time.time", lambda: 1000.5)
    assert run(DatedStore(lambda: 940.0)).ahead_s == 60.0
    assert run(DatedStore(lambda: None)).ahead_s is None


def test_a_clock_that_cannot_be_asked_is_not_known() -> None:
    def fail() -> float:
        raise StoreError(Kind.UNAVAILABLE, "away")

    found = run(DatedStore(fail))
    assert found.ahead_s is None and not refused(found)


def test_it_travels_as_json() -> None:
    found = Examination([Tried("put", "ACCESS_DENIED", "no")], -3.5, ["no tags: x"])
    assert Examination.from_json(found.as_json()) == found
