"""What is noted of requests: durations always, and who asked for what while somebody watches."""

from typing import Any

import trio
from attrs import frozen

from tierfs.fuse.observer import Observer
from tierfs.telemetry.oplog import NOBODY, Operation


@frozen
class Context:
    uid: int
    pid: int


def looked_at(*_: Any) -> Any:
    raise AssertionError("nobody watches")


def watched(*requests: tuple[str, dict[str, Any]]) -> list[Operation]:
    """What is told of requests of these names and arguments."""

    async def main() -> list[Operation]:
        observer = Observer()
        await observer.log.after(None, 10)
        observer.opened(3, 1000, 4242)
        for name, about in requests:
            request = observer.begin(lambda about=about: about, lambda about: "/d/f")  # type: ignore[misc]
            observer.end(request, name, 0, "", 10)
        return (await observer.log.after(0, 10)).operations

    return trio.run(main)


def test_while_nobody_watches_only_durations_are_noted() -> None:
    observer = Observer()
    watched = observer.begin(looked_at, looked_at)
    assert watched is None
    observer.end(watched, "read", 0, "EIO", 0)
    assert observer.meters.operations["read"].as_json()["failures"] == {"EIO": 1}


def test_who_asks_is_the_caller_or_who_opened_the_handle() -> None:
    told = watched(
        ("lookup", {"ctx": Context(7, 8)}),
        ("read", {"fh": 3}),
        ("read", {"fh": 4}),
        ("create", {"ctx": Context(7, -1)}),
    )
    assert [(each.uid, each.pid) for each in told] == [(7, 8), (1000, 4242), (NOBODY, NOBODY), (7, NOBODY)]
    assert {(each.path, each.size_bytes) for each in told} == {("d/f", 10)}


def test_a_request_to_the_store_is_timed_and_marks_the_operation_that_waits_for_it() -> None:
    async def main() -> list[Operation]:
        observer = Observer()
        await observer.log.after(None, 10)
        request = observer.begin(lambda: {}, lambda about: "/f")
        observer.asked("head", 5_000_000, "not_found")
        observer.end(request, "lookup", 0, "", 0)
        assert observer.meters.requests["head"].as_json()["failures"] == {"not_found": 1}
        return (await observer.log.after(0, 10)).operations

    assert [each.tier for each in trio.run(main)] == ["bucket"]
