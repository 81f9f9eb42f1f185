"""What is said to do about an export that failed: nothing that is not known to be true."""

import pytest
import trio
from trio.testing import MockClock

from tierfs.errors import StoreErrorKind
from tierfs.model import IntentKind
from tierfs.sync.report import PendingSummary, Reporter, advice


@pytest.mark.parametrize(
    ("kind", "work", "said"),
    [
        (StoreErrorKind.ACCESS_DENIED, IntentKind.RECONCILE, "credentials may write"),
        (StoreErrorKind.ACCESS_DENIED, IntentKind.DELETE, "credentials may write, copy and delete"),
        (StoreErrorKind.ARCHIVED, IntentKind.RECONCILE, "tierctl restore"),
        (StoreErrorKind.KEY_TOO_LONG, IntentKind.RECONCILE, "Shorten the path"),
        (StoreErrorKind.THROTTLED, IntentKind.RECONCILE, "safe on the local disk"),
        (StoreErrorKind.PERMANENT, IntentKind.DELETE, "object stays in the bucket"),
        (StoreErrorKind.PERMANENT, IntentKind.MOVE_TREE, "old or its new key"),
    ],
)
def test_advice(kind: StoreErrorKind, work: IntentKind, said: str) -> None:
    assert said in advice(kind, work)


@pytest.mark.parametrize("work", list(IntentKind))
def test_every_kind_of_work_has_a_word_and_a_local_failure_none(work: IntentKind) -> None:
    assert advice(StoreErrorKind.PERMANENT, work)
    assert advice(None, work) == ""


def test_what_is_left_is_counted_twice_a_second_at_most() -> None:
    told: list[tuple[int, int]] = []
    counts: list[int] = []

    def survey() -> PendingSummary:
        counts.append(len(counts))
        return PendingSummary(counts[-1], 10, 0, None, ())

    async def tell(count: int, size_bytes: int) -> None:
        told.append((count, size_bytes))

    async def main() -> None:
        reporter = Reporter(tell, survey)
        for _ in range(100):
            await reporter.tell()
            await trio.sleep(0.01)
        await Reporter(None, survey).tell()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert told == [(0, 10), (1, 10)]
    assert len(counts) == 2
