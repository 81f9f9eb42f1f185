"""Plays a history of two mounts and an outside client on one bucket, and checks how it ends.

After the last step nothing fails any more, everything is closed, and both mounts upload and compare until nothing
changes. Then each mount shows the names and bytes of the bucket, so does a new one, nothing is left to do, and no
version that is due (see ledger) is lost.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio
import trio.testing

from tests.model.ledger import Ledger
from tests.model.mount_side import TAG_BYTES, MountSide
from tests.model.outside import Outside
from tests.model.shared_bucket import SharedBucket
from tests.model.steps import (
    BEFORE,
    OUTSIDE,
    A,
    Append,
    B,
    Chmod,
    Close,
    Cut,
    Deliver,
    Evict,
    Fail,
    HeldWrite,
    Hold,
    Kill,
    Link,
    MakeDirectory,
    Poll,
    Remove,
    RemoveDirectory,
    Rename,
    Setup,
    Slow,
    Step,
    Sync,
    Wait,
    Write,
)
from tests.support.clocks import jump_when_idle, wait_until_idle
from tests.support.sync_rig import in_order
from tierfs.errors import TierfsError
from tierfs.namespace.changes import RenameMode

_MODES = {"replace": RenameMode.REPLACE, "noreplace": RenameMode.NOREPLACE, "exchange": RenameMode.EXCHANGE}
_ROUNDS_MAX = 12
_LATE_AFTER_ALL_S = 60.0
_CUSHION_S = 0.0002  # who waits for idleness comes before the clock
_LIMIT_S = 1e6  # who waits for what never comes fails
_MEMORY = Path("/dev/shm")  # the index commits often, and no power fails here
_LOGGER = logging.getLogger("tierfs")


class History:
    """One bucket, two mounts, and what happens to them."""

    def __init__(self, directory: Path, setup: Setup, nursery: trio.Nursery) -> None:
        self.limiters: list[trio.CapacityLimiter] = []
        self._ledger = Ledger()
        self._bucket = SharedBucket(nursery)
        self._sides = {name: self._side(name, at, directory, setup, nursery) for at, name in enumerate((A, B), 1)}
        self._fresh = self._side("fresh", 3, directory, setup, nursery)
        self._outside = Outside(self._bucket, self._ledger)
        self._number = 0

    def _side(self, name: str, number: int, directory: Path, setup: Setup, nursery: trio.Nursery) -> MountSide:
        return MountSide(name, number, directory, self._bucket, setup, self._ledger, self.limiters, nursery)

    # ---- steps ----

    async def play(self, steps: Sequence[Step]) -> None:
        """All of them; what is refused has not happened."""
        for step in steps:
            self._number += 1
            with contextlib.suppress(TierfsError):
                await self._play(step)

    def _tags(self, by: str, count: int) -> bytes:
        return b"".join(f"{by[0]}{self._number:04}{at:02}\n".encode() for at in range(count))

    async def _play(self, step: Step) -> None:
        match step:
            case Wait(seconds):
                await self._wait(seconds)
            case Slow(seconds):
                self._bucket.latency_s = seconds
            case Fail(method, how, times):
                self._bucket.fail(method, how, times)
            case Kill(by):
                await self._sides[by].kill()
            case _ if step.by == OUTSIDE:
                self._play_outside(step)
            case _:
                await self._play_mount(self._sides[step.by], step)

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await trio.sleep(seconds)
        else:
            await wait_until_idle(self.limiters, cushion_s=0)

    def _play_outside(self, step: Step) -> None:
        match step:
            case Write(by, path, tags):
                self._outside.write(path, self._tags(by, tags))
            case Append(by, path, tags):
                self._outside.append(path, self._tags(by, tags))
            case Cut(_, path, tags):
                self._outside.cut(path, tags * TAG_BYTES, self._number)
            case Remove(_, path):
                self._outside.remove(path)
            case Rename(_, path, to, _):
                self._outside.copy(path, to)
                self._outside.remove(path)
            case Link(_, path, to):
                self._outside.copy(path, to)
            case MakeDirectory(_, path):
                self._outside.make_directory(path)
            case RemoveDirectory(_, path):
                self._outside.remove_directory(path)
            case Chmod(_, path, mode):
                self._outside.chmod(path, mode)
            case _:
                raise TypeError(f"nobody can do {step} from outside")

    async def _play_mount(self, side: MountSide, step: Step) -> None:
        match step:
            case Write(by, path, tags, truncates):
                await side.write(path, self._tags(by, tags), truncates=truncates)
            case Append(by, path, tags):
                await side.append(path, self._tags(by, tags))
            case Cut(_, path, tags):
                await side.cut(path, tags * TAG_BYTES, self._number)
            case Remove(_, path):
                await side.remove(path)
            case Rename(_, path, to, mode):
                await side.rename(path, to, _MODES[mode])
            case Link(_, path, to):
                await side.link(path, to)
            case MakeDirectory(_, path):
                await side.make_directory(path)
            case RemoveDirectory(_, path):
                await side.remove_directory(path)
            case Chmod(_, path, mode):
                await side.chmod(path, mode)
            case _:
                await self._play_daemon(side, step)

    async def _play_daemon(self, side: MountSide, step: Step) -> None:
        match step:
            case Hold(_, path, writes):
                await side.hold(path, writes=writes)
            case HeldWrite(by):
                await side.held_write(self._tags(by, 1))
            case Close():
                await side.close()
            case Evict(_, path):
                await side.evict(path)
            case Sync():
                await side.sync()
            case Poll():
                await side.poll()
            case Deliver(_, at, twice):
                await side.deliver(at, twice=twice)
            case _:
                raise TypeError(f"no mount can do {step}")

    # ---- the end ----

    async def settle(self) -> None:
        """Until nothing changes any more."""
        self._bucket.calm()
        await trio.sleep(_LATE_AFTER_ALL_S)
        for _ in range(_ROUNDS_MAX):
            before = self._bucket.changes
            for side in self._sides.values():
                await side.settle()
            left = [text for side in self._sides.values() if (text := await side.unsettled())]
            if self._bucket.changes == before and not left:
                return
        raise AssertionError(f"the mounts do not come to rest: {left}")

    async def check(self) -> None:
        """See the module."""
        expected = self._bucket_view()
        for side in (*self._sides.values(), self._fresh):
            assert await side.view() == expected, f"{side.name} does not show the bucket"
            assert await side.unsettled() == ""
        lost = self._ledger.lost([body for body in expected.values() if body is not None])
        assert lost == [], f"lost: {lost} of {expected}"
        rest = [key for key in self._bucket.objects if key.startswith((".tierfs/aside/", ".tierfs/spill/"))]
        assert rest == []

    def _bucket_view(self) -> dict[str, bytes | None]:
        return self._outside.view()


@contextlib.contextmanager
def _no_unforeseen_error() -> Iterator[None]:
    """The daemon goes on after an error that nobody foresaw, and logs it: here it fails."""
    unforeseen: list[logging.LogRecord] = []

    class _Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info:
                unforeseen.append(record)

    collector = _Collector()
    _LOGGER.addHandler(collector)
    try:
        yield
    finally:
        _LOGGER.removeHandler(collector)
    for record in unforeseen:
        assert record.exc_info is not None and record.exc_info[1] is not None
        raise record.exc_info[1]


def run(setup: Setup, steps: Sequence[Step]) -> None:
    """Plays a history and checks its end."""
    clock = trio.testing.MockClock()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            history = History(Path(directory), setup, nursery)
            nursery.start_soon(lambda: jump_when_idle(clock, history.limiters, cushion_s=_CUSHION_S))
            with trio.fail_after(_LIMIT_S):
                await history.play([*BEFORE, *steps])
                await history.settle()
                await history.check()
            nursery.cancel_scope.cancel()

    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as directory, _no_unforeseen_error():
        in_order(main, clock)
