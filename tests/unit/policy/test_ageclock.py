"""Ages go on as the machine counts, whatever is done to the wall clock."""

from tierfs.policy.ageclock import BELIEVED_AFTER_S, AgeClock, advanced, started

NOW = 1_700_000_000.0
YEAR = 365 * 86_400.0
MINUTE = 60.0


def steps(clock: AgeClock, count: int, *, wall_step_s: float = MINUTE, step_s: float = MINUTE) -> AgeClock:
    for _ in range(count):
        clock = advanced(clock, clock.wall_s + wall_step_s, clock.uptime_s + step_s, clock.boot_id)
    return clock


def test_it_follows_a_wall_clock_that_goes_steadily() -> None:
    clock = steps(started(NOW, 100.0, 1), 1000)
    assert clock.now_s == NOW + 1000 * MINUTE and not clock.has_jumped


def test_a_wall_clock_that_is_slewed_is_followed() -> None:
    clock = steps(started(NOW, 100.0, 1), 100, wall_step_s=MINUTE + 5)
    assert clock.now_s == NOW + 100 * (MINUTE + 5)


def test_a_jump_ages_nobody() -> None:
    for jump_s in (YEAR, -YEAR, 10 * YEAR, 3600.0, -3600.0):
        before = started(NOW, 100.0, 1)
        clock = advanced(before, NOW + jump_s, 160.0, 1)
        assert clock.has_jumped and clock.now_s == NOW + MINUTE
        clock = steps(clock, 60)
        assert clock.has_jumped and clock.now_s == NOW + 61 * MINUTE


def test_a_wall_clock_that_is_set_right_again_is_believed_at_once() -> None:
    clock = steps(advanced(started(NOW, 0.0, 1), NOW + YEAR, MINUTE, 1), 9)
    clock = advanced(clock, NOW + 11 * MINUTE, 11 * MINUTE, 1)
    assert not clock.has_jumped and clock.now_s == NOW + 11 * MINUTE


def test_a_wall_clock_that_has_gone_steadily_for_a_day_is_believed() -> None:
    for jump_s in (YEAR, -YEAR):
        clock = advanced(started(NOW, 0.0, 1), NOW + jump_s, MINUTE, 1)
        minutes = int(BELIEVED_AFTER_S / MINUTE)
        assert steps(clock, minutes - 1).now_s == NOW + BELIEVED_AFTER_S
        clock = steps(clock, minutes)
        assert not clock.has_jumped and clock.now_s == clock.wall_s == NOW + jump_s + BELIEVED_AFTER_S


def test_a_wall_clock_that_jumps_again_and_again_is_never_believed() -> None:
    clock = started(NOW, 0.0, 1)
    hours = 100
    for hour in range(1, hours + 1):
        clock = advanced(clock, NOW + hour * YEAR, hour * 3600.0, 1)
    assert clock.has_jumped and clock.now_s == NOW + hours * 3600.0


def test_after_a_restart_of_the_machine_a_week_is_believed_and_a_year_is_not() -> None:
    before = started(NOW, 5000.0, 1)
    assert advanced(before, NOW + 6 * 86_400, 10.0, 2).now_s == NOW + 6 * 86_400
    clock = advanced(before, NOW + YEAR, 10.0, 2)
    assert clock.has_jumped and clock.now_s == NOW
    clock = advanced(before, 0.0, 10.0, 2)  # a machine without a battery
    assert clock.has_jumped and clock.now_s == NOW
