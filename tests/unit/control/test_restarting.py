"""A planned restart: tried out first, refused where it would end the mount."""

import errno
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from tierfs.control.restarting import RESTARTS_MAX, WITHIN_S, Restart
from tierfs.errors import FsError, TierfsError
from tierfs.index.env import Index, IndexSettings
from tierfs.units import NS_PER_S

GOOD = [sys.executable, "-c", ""]
BAD = [sys.executable, "-c", "import sys; print('a warning', file=sys.stderr); sys.exit('tierfs: no such bucket')"]


class At:
    """A clock that stands."""

    def __init__(self, now_s: float) -> None:
        self._now_ns = 1_700_000_000 * NS_PER_S + int(now_s * NS_PER_S)

    def now_ns(self) -> int:
        return self._now_ns


class Connection:
    holder_pid: int | None = 7


class Ended(Exception):
    """What the daemon's end is here."""


def end() -> None:
    raise Ended


def restarts(directory: Path, times: Sequence[float], *, check: Sequence[str] = GOOD, holder: int | None = 7) -> int:
    """Asks at these times; returns how many of them ended a daemon. Raises what the last one said."""
    connection = Connection()
    connection.holder_pid = holder
    ended = 0

    async def main(at_s: float) -> None:
        index = Index.open(directory / "index", clock=At(at_s), settings=IndexSettings())
        try:
            await Restart(check=check, index=index, connection=connection, clock=index.clock, end=end).run()
        finally:
            index.close()

    for at_s in times:
        try:
            trio.run(main, at_s)
        except Ended:
            ended += 1
    return ended


def test_the_daemon_ends_when_the_next_one_could_start(tmp_path: Path) -> None:
    assert restarts(tmp_path, [0]) == 1


@pytest.mark.parametrize(("check", "holder"), [((), 7), (GOOD, None)])
def test_without_somebody_to_start_another_it_is_refused(
    tmp_path: Path, check: Sequence[str], holder: int | None
) -> None:
    with pytest.raises(FsError, match="unmount and mount again") as refused:
        restarts(tmp_path, [0], check=check, holder=holder)
    assert refused.value.errno == errno.EOPNOTSUPP


def test_the_first_process_of_a_container_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierfs.control.restarting.os.getpid", lambda: 1)
    with pytest.raises(FsError, match="first process of its container"):
        restarts(tmp_path, [0])


def test_a_daemon_that_would_not_start_is_told_in_its_words_and_this_one_goes_on(tmp_path: Path) -> None:
    with pytest.raises(TierfsError, match="tierfs: no such bucket; this one goes on"):
        restarts(tmp_path, [0], check=BAD)


def test_a_program_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(TierfsError, match="would not start"):
        restarts(tmp_path, [0], check=[str(tmp_path / "absent")])


def test_more_than_the_holder_bears_are_refused(tmp_path: Path) -> None:
    """Over the lives of the daemons, since each of them counts its own only."""
    with pytest.raises(FsError, match="wait for a minute"):
        restarts(tmp_path, [0] * (RESTARTS_MAX + 1))
    assert restarts(tmp_path, [WITHIN_S + 1]) == 1
