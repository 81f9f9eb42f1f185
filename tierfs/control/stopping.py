"""The end of a mount: who asks for it, and whether what is pending is uploaded first.

Checkpoints: every `async` method.
"""

import functools
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio
from attrs import define, field

from tierfs.control import mountpoint as mountpoints
from tierfs.errors import FsError, TierfsError
from tierfs.sync.exporter import Exporter

_log: Final = logging.getLogger(__name__)


@define
class Stop:
    """What ends the daemon of one mount, and how."""

    mountpoint: Path
    _drains: bool = field(default=True, init=False)
    _signalled: bool = field(default=False, init=False)
    _draining: trio.CancelScope | None = field(default=None, init=False)

    async def unmount(self, drain: bool, lazy: bool) -> None:
        """See `service.Daemon.request_unmount`."""
        # said before: the end of the mount is noticed before `_detach` returns
        before, self._drains = self._drains, drain
        try:
            await self._detach(lazy=lazy)
        except FsError:
            self._drains = before
            raise

    async def obey_signals(self, end_session: Callable[[], None]) -> None:
        """SIGTERM and SIGINT unmount cleanly; the second one stops the uploading that follows."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                _log.info("%s: unmounting", signal.Signals(number).name)
                if self._draining is not None or self._signalled:
                    self._drains = False
                    if self._draining is not None:
                        self._draining.cancel()
                    continue
                self._signalled = True
                # lazily: programs that are still inside keep their open files until the session ends below
                await self._detach(lazy=True)
                end_session()

    async def drain(self, exporter: Exporter, *, timeout_s: float, read_only: bool) -> None:
        """Uploads what is pending, unless somebody said to leave it. `timeout_s` 0: as long as it takes."""
        if self._drains and not read_only:
            with trio.move_on_after(timeout_s or float("inf")) as self._draining:
                exporter.hurry()
                try:
                    await exporter.sync(None)
                except TierfsError as error:
                    _log.error("the upload before the end did not finish: %s", error, extra={"event": "TFS1005"})
        left = exporter.pending()
        if left.count:
            _log.warning(
                "%d changes (%d bytes) are left for the next mount of this cache",
                left.count,
                left.bytes,
                extra={"event": "TFS1006"},
            )

    async def _detach(self, *, lazy: bool) -> None:
        """In a thread: the kernel asks this daemon while it unmounts."""
        await trio.to_thread.run_sync(functools.partial(mountpoints.detach, self.mountpoint, lazy=lazy))
