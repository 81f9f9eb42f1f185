"""What happened between two looks at the figures."""

import pytest

from tests.support.figures import figures, timing
from tierfs.cli.rates import Rates, quantile_s, since_start

BEFORE = figures()
LATER_NS = BEFORE["time_ns"] + 2_000_000_000


def later(**others: object) -> Rates:
    return Rates(BEFORE, figures(time_ns=LATER_NS, uptime_s=102.0, **others))


def test_numbers_grow_by_second() -> None:
    rates = later(written_bytes=BEFORE["written_bytes"] + 3000, read_bytes={"local": 10 << 20, "bucket": 1 << 20})
    assert rates.seconds == pytest.approx(2)
    assert rates.per_s("written_bytes") == pytest.approx(1500)
    assert rates.per_s("read_bytes", "local") == pytest.approx((1 << 20) / 2)
    assert rates.per_s("read_bytes", "bucket") == 0


def test_the_hit_share_is_of_the_reads_of_the_time_between() -> None:
    assert later().hit_share is None
    assert later(reads={"local": 93, "bucket": 11}).hit_share == pytest.approx(0.75)


def test_work_is_what_was_done_since_and_the_longest_first() -> None:
    operations = {
        "lookup": timing(50_000, 70_000, 90_000, errors=("ENOENT",)),
        "read": timing(2_000_000),
        "open": timing(8_000_000, 9_000_000, errors=("EIO",)),
    }
    work = later(operations=operations).work("operations")
    assert [(each.name, each.number, each.failures) for each in work] == [("open", 2, 1), ("lookup", 1, 0)]
    assert work[1].total_s == pytest.approx(90e-6) and sum(work[1].buckets) == 1
    assert sum(later(operations=operations).all_buckets("operations")) == 3
    assert later().work("operations") == [] and later().all_buckets("operations") == []


def test_a_daemon_that_began_anew_is_counted_from_its_start() -> None:
    rates = Rates(BEFORE, figures(time_ns=LATER_NS, uptime_s=1.0, written_bytes=500))
    assert rates.seconds == pytest.approx(1) and rates.per_s("written_bytes") == pytest.approx(500)
    assert {each.name for each in rates.work("operations")} == {"lookup", "read"}


def test_since_the_start() -> None:
    rates = since_start(BEFORE)
    assert rates.seconds == pytest.approx(100) and rates.hit_share == pytest.approx(0.9)
    assert [(each.name, each.failures) for each in rates.work("requests")] == [("get", 1)]


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ([0, 0, 0], 0.5, None),
        ([4, 0, 0], 0.5, 0.5),
        ([0, 4, 0], 0.25, 1.25),
        ([1, 1, 0], 1.0, 2.0),
        ([1, 0, 9], 0.99, 2.0),
    ],
)
def test_a_quantile_lies_within_its_bucket(buckets: list[int], share: float, expected: float | None) -> None:
    assert quantile_s([1.0, 2.0], buckets, share) == (pytest.approx(expected) if expected is not None else None)
