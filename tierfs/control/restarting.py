"""A planned restart of the daemon: the mount stays, programs see a pause.

The daemon ends as if it were killed, which is what the holder starts another one for, and which loses nothing (see
`fuse.takeover`). What a plan adds: whether the next daemon could start at all is tried out before, by its own program
and settings, and a restart that would end the mount is refused.

Checkpoints: while the next daemon is tried out.
"""

import errno
import json
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio

from tierfs.clock import Clock
from tierfs.errors import FsError, TierfsError
from tierfs.index import settings as stored
from tierfs.index.env import Index
from tierfs.units import NS_PER_S

CHECK_LIMIT_S: Final = 60.0
# the holder gives up at the sixth life within a minute: some are left for crashes
RESTARTS_MAX: Final = 3
WITHIN_S: Final = 60.0
_ROW: Final = "restarts"
_log: Final = logging.getLogger(__name__)


class Held(Protocol):
    """The kernel connection."""

    @property
    def holder_pid(self) -> int | None:
        """None: nobody starts another daemon."""
        ...


def die() -> None:
    """By SIGKILL: no handler runs and nothing unmounts."""
    os.kill(os.getpid(), signal.SIGKILL)


class Restart:
    """Restarts the daemon of one mount."""

    def __init__(
        self, *, check: Sequence[str], index: Index, connection: Held, clock: Clock, end: Callable[[], None] = die
    ) -> None:
        """`check` is the command that tries the next daemon out, empty where nobody would start one."""
        self._check = check
        self._index = index
        self._connection = connection
        self._clock = clock
        self._end = end

    async def run(self) -> None:
        """Does not return, unless with an error: FsError where it cannot be done, TierfsError where the next daemon
        would not start."""
        if self._connection.holder_pid is None or not self._check:
            raise FsError(
                errno.EOPNOTSUPP,
                "nobody would start another daemon: that takes the native holder and mount.restart; "
                "unmount and mount again instead",
            )
        if os.getpid() == 1:
            raise FsError(errno.EOPNOTSUPP, "the daemon is the first process of its container, which would end with it")
        await self._try_out()
        now_ns = self._clock.now_ns()
        recent = [at for at in self._recent() if 0 <= now_ns - at < WITHIN_S * NS_PER_S]
        if len(recent) >= RESTARTS_MAX:
            raise FsError(errno.EAGAIN, f"{len(recent)} restarts within the last minute: wait for a minute")
        with self._index.transaction() as txn:
            stored.put(txn, _ROW, json.dumps([*recent, now_ns]).encode())
        # the next daemon has nothing to replay then, and is there sooner
        self._index.commit()
        _log.info("restart: the next daemon takes over", extra={"event": "TFS1007"})
        self._end()

    def _recent(self) -> list[int]:
        record = stored.get(self._index, _ROW)
        return list(json.loads(record)) if record is not None else []

    async def _try_out(self) -> None:
        try:
            with trio.move_on_after(CHECK_LIMIT_S) as limit:
                done = await trio.run_process(
                    self._check, stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True, check=False
                )
        except OSError as error:
            raise TierfsError(
                f"the next daemon would not start: {self._check[0]}: {error.strerror}; this one goes on",
                errno=errno.EIO,
            ) from None
        if limit.cancelled_caught:
            raise TierfsError(
                f"the next daemon was not ready to start within {CHECK_LIMIT_S:g} s; this one goes on",
                errno=errno.ETIMEDOUT,
            )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
            raise TierfsError(f"the next daemon would not start: {said[-1]}; this one goes on", errno=errno.EIO)
