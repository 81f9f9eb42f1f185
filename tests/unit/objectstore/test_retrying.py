"""Repeats, pauses, budgets, and the search for a write whose answer was lost. Time is trio's mock clock."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve, frozen

from tests.support.memstore import MemoryStore
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import Always, IfAbsent, IfMatch, ObjectMeta
from tierfs.objectstore.retrying import RetryingStore, TokenBucket
from tierfs.objectstore.settings import RetrySettings

Kind = StoreErrorKind
SETTINGS = RetrySettings(budget_s=10, first_backoff_s=1, max_backoff_s=4)


@frozen
class Fail:
    """A planned failure; `applied` = the request takes effect and its answer is lost."""

    kind: StoreErrorKind
    applied: bool = False
    http_status: int = 0


class Unreliable:
    """A store that does what its inner store does, and fails as planned: one list of plans a method."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.plans: dict[str, list[Fail | None]] = {}
        self.calls: list[str] = []

    def plan(self, method: str, *failures: Fail | None) -> None:
        self.plans[method] = list(failures)

    def __getattr__(self, method: str) -> Any:
        target = getattr(self.inner, method)
        if not callable(target):
            return target

        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(method)
            planned = self.plans.get(method)
            failure = planned.pop(0) if planned else None
            if failure is None or failure.applied:
                result = await target(*arguments, **named)
                if method == "begin_upload":
                    result = Unreliable(result)
                    result.plans, result.calls = self.plans, self.calls
                if failure is None:
                    return result
            raise StoreError(failure.kind, "planned", http_status=failure.http_status)

        return call


def op(op_id: str) -> ObjectMeta:
    return ObjectMeta(user={"tierfs-op": op_id})


def run(test: Callable[[RetryingStore, Unreliable], Awaitable[None]], settings: RetrySettings = SETTINGS) -> float:
    """Runs a test on a fresh store whose pauses have full length; returns the seconds that passed."""

    async def main() -> float:
        inner = Unreliable(MemoryStore())
        await test(RetryingStore(inner, settings, uniform=lambda _low, high: high), inner)
        return trio.current_time()

    clock = trio.testing.MockClock(autojump_threshold=0)
    started_s = clock.current_time()
    return trio.run(main, clock=clock) - started_s


def failing(kind: StoreErrorKind) -> Any:
    return pytest.raises(StoreError, check=lambda error: error.kind is kind)


@pytest.mark.parametrize("kind", [Kind.THROTTLED, Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.UNCLEAR, Kind.CORRUPT])
def test_a_read_is_repeated_after_what_may_pass(kind: StoreErrorKind) -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        await inner.inner.put("k", b"body", op("1"), Always())
        inner.plan("get", Fail(kind), Fail(kind))
        assert bytes((await store.get("k", 0, 4, if_match="")).data) == b"body"
        assert inner.calls == ["get"] * 3

    assert run(test) == pytest.approx(1 + 2)


def test_calls_and_the_bytes_that_they_bring_are_counted() -> None:
    calls, received = [], []

    async def main() -> None:
        store = RetryingStore(MemoryStore(), SETTINGS, on_call=calls.append, on_received=received.append)
        await store.put("k", b"body", op("1"), Always())
        await store.get("k", 1, 4, if_match="")
        await store.get_whole("k", if_match="", limit_bytes=10)

    trio.run(main)
    assert calls == ["put", "get", "get_whole"]
    assert received == [3, 4]


def test_each_attempt_is_timed_and_what_it_sent_is_counted() -> None:
    answers: list[tuple[str, int, str]] = []
    sent: list[int] = []

    async def main() -> None:
        inner = MemoryStore()
        store = RetryingStore(inner, SETTINGS, on_answer=lambda *answer: answers.append(answer), on_sent=sent.append)
        await store.put("k", b"body", op("1"), Always())
        inner.fail_next("get", Kind.TIMEOUT)
        await store.get("k", 1, 4, if_match="")
        upload = await store.begin_upload("m", op("2"))
        await upload.put_part(1, b"part")
        await upload.abort()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [(verb, error) for verb, _, error in answers] == [
        *(("put", ""), ("get", "timeout"), ("get", "")),
        *(("begin_upload", ""), ("put_part", ""), ("abort", "")),
    ]
    assert all(duration_ns >= 0 for _, duration_ns, _ in answers)
    assert sent == [4, 4]


@pytest.mark.parametrize("kind", [kind for kind in Kind if not kind.value[-1]])
def test_a_read_that_fails_for_good_is_not_repeated(kind: StoreErrorKind) -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("head", Fail(kind))
        with failing(kind):
            await store.head("k")
        assert inner.calls == ["head"]

    assert run(test) == 0


def test_pauses_double_up_to_their_ceiling_and_the_budget_ends_them() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("head", *[Fail(Kind.UNAVAILABLE)] * 20)
        with failing(Kind.UNAVAILABLE):
            await store.head("k")
        assert len(inner.calls) == 4

    # 1 + 2 + 4; a further 4 would end after the budget of 10
    assert run(test) == pytest.approx(7)


def test_a_budget_of_nothing_repeats_nothing() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("head", Fail(Kind.UNAVAILABLE))
        with failing(Kind.UNAVAILABLE):
            await store.head("k")

    assert run(test, evolve(SETTINGS, budget_s=0)) == 0


def test_the_check_at_mount_has_a_budget_of_its_own() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("check", *[Fail(Kind.UNAVAILABLE)] * 20)
        with failing(Kind.UNAVAILABLE):
            await store.check()

    assert run(test, evolve(SETTINGS, check_budget_s=3)) == pytest.approx(3)


def test_a_body_that_stays_corrupt_is_given_up() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("get_whole", *[Fail(Kind.CORRUPT)] * 20)
        with failing(Kind.CORRUPT):
            await store.get_whole("k", if_match="", limit_bytes=1)
        assert len(inner.calls) == SETTINGS.corrupt_attempts

    run(test)


def test_jitter_is_asked_for_the_whole_range() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    async def main() -> float:
        inner = Unreliable(MemoryStore())
        inner.plan("head", *[Fail(Kind.THROTTLED)] * 3)
        with failing(Kind.NOT_FOUND):
            await RetryingStore(inner, SETTINGS, uniform=uniform).head("k")
        return trio.current_time()

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(main, clock=clock) == pytest.approx(clock.current_time())
    assert asked == [(0, 1), (0, 2), (0, 4)]


# -- writes


@pytest.mark.parametrize("kind", [Kind.UNCLEAR, Kind.TIMEOUT])
@pytest.mark.parametrize("is_over", [False, True])
def test_a_put_whose_answer_was_lost_is_found(kind: StoreErrorKind, is_over: bool) -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        old = await inner.inner.put("k", b"old", op("0"), Always()) if is_over else None
        inner.plan("put", Fail(kind, applied=True))
        written = await store.put("k", b"new", op("1"), IfMatch(old.etag) if old else IfAbsent())
        head = await inner.inner.head("k")
        assert (written.etag, written.last_modified_ns) == (head.etag, head.last_modified_ns)
        assert inner.calls == ["put", "head"]

    assert run(test) == 0


def test_a_put_that_did_not_happen_is_sent_again() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("put", Fail(Kind.UNCLEAR), Fail(Kind.UNAVAILABLE))
        written = await store.put("k", b"new", op("1"), IfAbsent())
        assert (await inner.inner.head("k")).etag == written.etag
        assert inner.calls == ["put", "head", "put", "put"]

    assert run(test) == pytest.approx(1 + 2)


def test_a_repeat_that_meets_its_own_late_success_is_no_conflict() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        # the first is still on its way when the HEAD looks, and arrives before the second
        inner.plan("put", Fail(Kind.UNCLEAR, applied=True))
        inner.plan("head", Fail(Kind.NOT_FOUND))
        await store.put("k", b"new", op("1"), IfAbsent())
        assert inner.calls == ["put", "head", "put", "head"]

    run(test)


def test_a_412_on_the_first_try_may_be_the_clients_own_repeat() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("put", Fail(Kind.PRECONDITION_FAILED, applied=True, http_status=412))
        await store.put("k", b"new", op("1"), IfAbsent())
        assert inner.calls == ["put", "head"]

    run(test)


def test_anothers_write_is_a_conflict_at_once() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        await inner.inner.put("k", b"theirs", op("theirs"), Always())
        with failing(Kind.PRECONDITION_FAILED):
            await store.put("k", b"ours", op("ours"), IfAbsent())
        assert inner.calls == ["put", "head"]
        assert bytes((await inner.inner.get_whole("k", if_match="", limit_bytes=9)).data) == b"theirs"

    assert run(test) == 0


def test_an_unclear_write_over_anothers_ends_as_a_conflict() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        old = await inner.inner.put("k", b"old", op("0"), Always())
        await inner.inner.put("k", b"theirs", op("theirs"), Always())
        inner.plan("put", Fail(Kind.UNCLEAR))
        with failing(Kind.PRECONDITION_FAILED):
            await store.put("k", b"ours", op("ours"), IfMatch(old.etag))

    run(test)


def test_a_409_is_a_race_and_sent_again() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("put", Fail(Kind.PRECONDITION_FAILED, http_status=409))
        await store.put("k", b"new", op("1"), IfAbsent())
        assert inner.calls == ["put", "head", "put"]

    run(test)


def test_without_an_op_id_an_unclear_write_stays_unclear() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("put", Fail(Kind.UNCLEAR, applied=True))
        with failing(Kind.UNCLEAR):
            await store.put("k", b"new", ObjectMeta(), IfAbsent())
        assert inner.calls == ["put"]
        inner.plan("put", Fail(Kind.UNCLEAR))
        await store.put("k2", b"new", ObjectMeta(), Always())

    run(test)


def test_a_write_that_nobody_can_look_for_keeps_its_own_error() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("put", Fail(Kind.UNCLEAR))
        inner.plan("head", Fail(Kind.ACCESS_DENIED))
        with failing(Kind.UNCLEAR):
            await store.put("k", b"new", op("1"), IfAbsent())

    run(test)


def test_a_completion_whose_answer_was_lost_is_found() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        upload = await store.begin_upload("k", op("1"))
        inner.plan("put_part", Fail(Kind.UNAVAILABLE), Fail(Kind.UNCLEAR, applied=True))
        await upload.put_part(1, b"body")
        inner.plan("complete", Fail(Kind.UNCLEAR, applied=True))
        inner.plan("head", Fail(Kind.NOT_FOUND))  # too early
        written = await upload.complete(IfAbsent())
        # the second completion finds no upload any more, and the object is ours
        assert inner.calls[-4:] == ["complete", "head", "complete", "head"]
        assert written.etag == (await inner.inner.head("k")).etag

    run(test)


def test_a_completion_of_an_upload_that_somebody_dropped_fails() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        upload = await store.begin_upload("k", op("1"))
        await upload.put_part(1, b"body")
        ((key, upload_id, _started_ns),) = await inner.inner.list_uploads("")
        await inner.inner.abort_upload(key, upload_id)
        with failing(Kind.NOT_FOUND):
            await upload.complete(IfAbsent())
        await upload.abort()

    assert run(test) == 0


@pytest.mark.parametrize("meta", [None, op("2")])
def test_a_copy_whose_answer_was_lost_is_found(meta: ObjectMeta | None) -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        source = await inner.inner.put("source", b"body", op("1"), Always())
        inner.plan("copy", Fail(Kind.UNCLEAR, applied=True))
        await store.copy("source", "k", if_match=source.etag, condition=IfAbsent(), meta=meta)
        assert inner.calls.count("copy") == 1
        assert (await inner.inner.head("k")).size_bytes == 4

    run(test)


def test_a_plain_copy_is_not_taken_for_another_object_at_its_key() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        source = await inner.inner.put("source", b"body", op("1"), Always())
        await inner.inner.put("k", b"else", op("1"), Always())
        with failing(Kind.PRECONDITION_FAILED):
            await store.copy("source", "k", if_match=source.etag, condition=IfAbsent())
        assert bytes((await inner.inner.get_whole("k", if_match="", limit_bytes=9)).data) == b"else"

    run(test)


def test_a_plain_copy_of_a_version_that_is_gone_is_no_success() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        old = await inner.inner.put("source", b"old!", op("1"), Always())
        new = await inner.inner.put("source", b"new!", op("2"), Always())
        await inner.inner.copy("source", "k", if_match=new.etag, condition=IfAbsent())
        with failing(Kind.PRECONDITION_FAILED):
            await store.copy("source", "k", if_match=old.etag, condition=Always())

    run(test)


def test_a_change_of_metadata_that_was_lost_is_found() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        first = await inner.inner.put("k", b"body", op("1"), Always())
        inner.plan("copy", Fail(Kind.UNCLEAR, applied=True))
        await store.copy("k", "k", if_match=first.etag, condition=Always(), meta=op("2"))
        assert inner.calls == ["copy", "head"]

    run(test)


def test_a_delete_is_repeatable() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        written = await inner.inner.put("k", b"body", op("1"), Always())
        inner.plan("delete", Fail(Kind.UNCLEAR, applied=True))
        await store.delete("k", if_match=written.etag)
        assert inner.calls == ["delete", "delete"]

    run(test)


def test_of_a_batch_only_what_may_pass_is_sent_again() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        sent: list[list[str]] = []

        async def delete_many(keys: list[str]) -> dict[str, StoreError]:
            sent.append(list(keys))
            if len(sent) == 1:
                return {"b": StoreError(Kind.THROTTLED, "slow down"), "c": StoreError(Kind.ACCESS_DENIED, "no")}
            return {}

        inner.inner.delete_many = delete_many
        assert list(await store.delete_many(["a", "b", "c"])) == ["c"]
        assert sent == [["a", "b", "c"], ["b"]]

    run(test)


# -- the token bucket


def test_tokens_run_out_and_trickle_back() -> None:
    bucket = TokenBucket(RetrySettings(burst_tokens=2, tokens_per_s=4, tokens_per_success=0.5))
    assert [bucket.take(100.0) for _ in range(4)] == [0, 0, 0.25, 0.5]
    assert bucket.take(101.0) == 0  # four came, two were promised, one is left after this
    bucket.give_back()
    assert [bucket.take(101.0) for _ in range(3)] == [0, 0, 0.25]
    bucket.succeeded()
    bucket.succeeded()
    assert bucket.take(101.0) == 0.25
    assert [bucket.take(1000.0) for _ in range(3)] == [0, 0, 0.25]  # never more than the burst


def test_an_outage_is_met_with_a_trickle_however_many_call() -> None:
    """500 callers at once: what is repeated stays within burst and trickle, and all end in time."""

    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("head", *[Fail(Kind.UNAVAILABLE)] * 10_000)

        async def call() -> None:
            with failing(Kind.UNAVAILABLE):
                await store.head("k")

        async with trio.open_nursery() as nursery:
            for _ in range(500):
                nursery.start_soon(call)
        repeats = len(inner.calls) - 500
        assert 50 <= repeats <= 50 + 10 * SETTINGS.budget_s

    settings = evolve(SETTINGS, burst_tokens=50, tokens_per_s=10)
    assert run(test, settings) <= settings.budget_s


def test_a_caller_in_a_pause_can_be_cancelled() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("head", *[Fail(Kind.UNAVAILABLE)] * 20)
        with trio.move_on_after(1.5) as scope:
            await store.head("k")
        assert scope.cancelled_caught
        assert len(inner.calls) == 2

    assert run(test) == pytest.approx(1.5)


def test_an_outage_lasts_from_the_first_failure_to_the_next_answer() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        assert store.outage is None
        inner.plan("get_whole", *[Fail(Kind.UNAVAILABLE)] * 100)
        with pytest.raises(StoreError):
            await store.get_whole("k", if_match="", limit_bytes=1)
        outage = store.outage
        assert outage is not None
        assert "planned" in outage.reason
        inner.plan("list", Fail(Kind.THROTTLED), Fail(Kind.TIMEOUT))
        with trio.move_on_after(0.5):
            await store.list("", delimited=True)
        assert store.outage == outage
        inner.plan("get_whole")
        with pytest.raises(StoreError):
            await store.get_whole("k", if_match="", limit_bytes=1)
        assert store.outage is None, "no such key is an answer"

    run(test)


def test_a_write_that_nobody_answers_is_an_outage_too() -> None:
    async def test(store: RetryingStore, inner: Unreliable) -> None:
        inner.plan("put", Fail(Kind.BAD_CREDENTIALS))
        with pytest.raises(StoreError):
            await store.put("k", b"x", op("1"), IfAbsent())
        assert store.outage is not None
        await store.put("k", b"x", op("2"), IfAbsent())
        assert store.outage is None

    run(test)
