"""Which programs bring files in, and when a breaker trips and closes."""

from tierfs.policy.recalls import Breaker, Program, Recall, RecallRule, after_open, first

UPDATEDB = RecallRule("updatedb*", None, Recall.FAIL)
BACKUP = RecallRule("", 34, Recall.READ_THROUGH)
STORM = RecallRule("", None, Recall.READ_THROUGH, limit_files=10, window_s=100.0)


def test_the_first_rule_that_names_the_program_counts() -> None:
    rules = (UPDATEDB, BACKUP)
    assert first(rules, Program(0, ("updatedb.plocat",))) is UPDATEDB
    assert first(rules, Program(34, ("pool-1", "updatedb"))) is UPDATEDB
    assert first(rules, Program(34, ("tar",))) is BACKUP
    assert first(rules, Program(0, ("tar",))) is None
    assert first((UPDATEDB,), Program(0)) is None, "a program that cannot be told"
    assert first((STORM,), Program(0)) is STORM


def opened(breaker: Breaker, times: list[float]) -> Breaker:
    for now_s in times:
        breaker = after_open(breaker, STORM, now_s)
    return breaker


def test_a_program_that_stays_below_its_limit_never_trips_it() -> None:
    assert not opened(Breaker(), [10.0 * step for step in range(1000)]).is_open


def test_a_burst_of_the_limit_passes_and_the_next_file_trips_it() -> None:
    burst = opened(Breaker(), [5.0] * 10)
    assert not burst.is_open
    assert after_open(burst, STORM, 5.0).is_open


def test_it_closes_when_the_program_has_slowed_down_by_half() -> None:
    storm = opened(Breaker(), [0.0] * 1000)
    assert storm.is_open and storm.level == 20.0, "who stops is not shut out for good"
    assert opened(storm, [100.0]).is_open
    assert not opened(storm, [170.0]).is_open
    still = opened(storm, [10.0 * step for step in range(1, 100)])
    assert still.is_open, "as fast as the limit is not slower"
