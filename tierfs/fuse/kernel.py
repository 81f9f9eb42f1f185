"""The kernel connection of one mount: through the native holder where that works, else pyfuse3's own.

It is what the rest of the daemon knows of the kernel: whom to tell what to forget (`namespace.notify.Notify`), to
whom whole files are lent (`content.lending.Borrower`), and which mode is on and why.

Modes: `passthrough` (hot files by the kernel alone), `holder` (hot files by the holder: no privilege, or a kernel
before 6.9), `pyfuse3` (every request through Python). Checkpoints: every `async` method.
"""

import errno
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from tierfs.fuse.calls import Calls
from tierfs.fuse.convert import packed_attributes
from tierfs.fuse.directories import Directories
from tierfs.fuse.holder import Holder, Use, held
from tierfs.fuse.holder_process import HolderOptions
from tierfs.fuse.holder_wire import HOLDER_HANDLES
from tierfs.fuse.operations import Operations
from tierfs.fuse.session import KernelNotify, MountOptions, serve, terminate
from tierfs.fuse.takeover import Takeover
from tierfs.model import Inode

_PROBE_INO: Final = 1 << 62  # no inode has this number: index.env allocates from the node's prefix upwards
_LATENCY_DEVICE: Final = "/dev/cpu_dma_latency"
_AGREED_WITHIN_S: Final = 10.0
_AGREED_POLL_S: Final = 0.01
_DRAIN_INTERVAL_S: Final = 1.0
_ANSWERS_WITHIN_S: Final = 3.0  # after the end: answers that only wait for the store are given up
_REASONS: Final = {
    errno.EPERM: "the kernel's passthrough needs CAP_SYS_ADMIN",
    errno.ELOOP: "the cache is on a stacked file system (overlayfs), which passthrough does not take",
    errno.ENOTTY: "this kernel has no passthrough (Linux 6.9 has)",
    errno.EOPNOTSUPP: "this kernel has no passthrough (Linux 6.9 has)",
}
_log: Final = logging.getLogger(__name__)


class Kernel:
    """See the module. One for each mount, made before it is mounted."""

    def __init__(
        self,
        wanted: str,
        *,
        max_tasks: int,
        low_latency: bool,
        directories: Directories,
        restart: Sequence[str] = (),
        takeover: Takeover | None = None,
    ) -> None:
        """`wanted`: "auto" or a mode; see mount.connection, mount.max_tasks and mount.low_latency. `restart` and
        `takeover`: see fuse.takeover."""
        self.directories = directories
        self._restart = restart
        self._takeover = takeover
        self._wanted = wanted
        self._low_latency = low_latency
        self._max_tasks = max_tasks
        self._holder: Holder | None = None
        self._direct = KernelNotify()
        self._operations: Operations | None = None
        self._has_brake = False
        self._answering = trio.CancelScope()
        self.mode = "none"
        self.mode_reason = "not mounted yet"

    @property
    def holder_pid(self) -> int | None:
        """None without a holder."""
        return self._holder.pid if self._holder is not None else None

    # ---- Notify ----

    def entry_changed(self, parent: int, name: bytes) -> None:
        """See Notify."""
        self.directories.doubted(parent)
        (self._holder or self._direct).entry_changed(parent, name)

    def inode_changed(self, ino: int, *, content: bool) -> None:
        """See Notify."""
        self.directories.doubted(ino)
        (self._holder or self._direct).inode_changed(ino, content=content)

    # ---- Borrower ----

    @property
    def takes_files(self) -> bool:
        """Is there somebody who answers for hot files?"""
        return self._holder is not None

    def lend(self, inode: Inode, fd: int) -> bool:
        """See Borrower."""
        attributes, valid_s = self._attributes(inode)
        return self._of().lend(inode.ino, fd, attributes=attributes, valid_s=valid_s)

    def keep(self, inode: Inode) -> bool:
        """See Borrower."""
        attributes, valid_s = self._attributes(inode)
        return self._of().keep(inode.ino, attributes=attributes, valid_s=valid_s)

    def _attributes(self, inode: Inode) -> tuple[bytes, float]:
        """As the kernel is told of a file that is about to be lent, and for how long, in s."""
        if self._operations is None:
            return b"", 0.0
        entry = self._operations.attributes(inode)
        return packed_attributes(entry), entry.attr_timeout

    async def recall(self, inos: Sequence[int]) -> set[int]:
        """See Borrower."""
        return await self._of().revoke_idle(inos)

    def offer(
        self,
        ino: int,
        fd: int,
        *,
        ranges: Sequence[tuple[int, int]] | None,
        limit_bytes: int,
        is_new: bool,
        hears_of_closes: bool,
    ) -> bool:
        """See Borrower."""
        return self._of().serve(
            ino, fd, ranges=ranges, limit_bytes=limit_bytes, no_capabilities=is_new, forwards_flush=hears_of_closes
        )

    def present(self, ino: int, start: int, stop: int | None) -> None:
        """See Borrower."""
        self._of().present(ino, start, stop)

    def budget(self, size_bytes: int) -> None:
        """See Borrower."""
        self._of().budget(size_bytes)

    async def withdraw(self, ino: int) -> None:
        """See Borrower."""
        await self._of().withdraw(ino)

    def forsake(self, ino: int) -> bool:
        """See Borrower."""
        return self._of().forsake(ino)

    async def heard(self) -> None:
        """See Borrower."""
        await self._of().withdraw(0)  # of no inode: it is answered in its turn

    def attributes_changed(self, ino: int) -> None:
        """Those of a lent file are others, by a request that does not tell which file it is about."""
        self._of().attributes_changed(ino)

    @property
    def has_brake(self) -> bool:
        """See Borrower."""
        return self._has_brake

    async def brake(self, *, on: bool) -> None:
        """See Borrower."""
        await self._of().brake(on=on)

    def discard(self, ino: int) -> None:
        """See Borrower."""
        self._of().discard(ino)

    def _of(self) -> Holder:
        if self._holder is None:
            raise OSError(errno.ENOTCONN, "there is no holder")
        return self._holder

    async def holder_counts(self) -> dict[str, int]:
        """What the holder has counted; see native/holder/control.c. Nothing without one."""
        with suppress(OSError):  # the session is ending
            if self._holder is not None:
                return await self._holder.status()
        return {}

    def inode_of(self, fh: int) -> int | None:
        """The inode of a file handle that the holder gave out, None for one of ours."""
        return fh - HOLDER_HANDLES if fh >= HOLDER_HANDLES else None

    # ---- the mount ----

    @asynccontextmanager
    async def mounted(
        self, operations: Operations, calls: Calls, mountpoint: Path, options: MountOptions
    ) -> AsyncIterator[None]:
        """The mount exists inside the block; leaving it unmounts. Raises OSError or RuntimeError when it cannot.

        `calls` answers what pyfuse3 does not know, where there is a holder to carry it.
        """
        self._operations = operations
        async with AsyncExitStack() as stack:
            await self._enter(stack, operations, calls, mountpoint, options)
            try:
                yield
            finally:
                self._direct.stop()

    async def _enter(
        self,
        stack: AsyncExitStack,
        operations: Operations,
        calls: Calls,
        mountpoint: Path,
        options: MountOptions,
    ) -> None:
        if self._wanted != "pyfuse3":
            try:
                wanted = self._holder_options(options)
                self._holder = await stack.enter_async_context(
                    held(mountpoint, wanted, calls=calls, takeover=self._takeover)
                )
            except OSError as error:
                if self._wanted != "auto" or self._takeover is not None:
                    raise
                self.mode_reason = f"the native holder does not start: {error}"
            else:
                self._open_session(stack, operations, self._holder.session_path, options, unmounts=False)
                self.directories.begin(self._holder.session_fd)
                stack.callback(self.directories.end)
                self.mode, self.mode_reason = "holder", "the kernel has not answered yet"
                return
        else:
            self.mode_reason = 'mount.connection = "pyfuse3"'
        self._open_session(stack, operations, str(mountpoint), options, unmounts=True)
        self.mode = "pyfuse3"
        self._direct.start()

    def _holder_options(self, options: MountOptions) -> HolderOptions:
        return HolderOptions(
            tuple(sorted(options.for_libfuse())),
            passthrough=self._wanted != "holder",
            tasks_max=self._max_tasks,
            restart=self._restart,
            latency_device=_LATENCY_DEVICE if self._low_latency else "",
        )

    @staticmethod
    def _open_session(
        stack: AsyncExitStack, operations: Operations, path: str, options: MountOptions, *, unmounts: bool
    ) -> None:
        pyfuse3.init(operations, path, options.for_libfuse())
        stack.callback(pyfuse3.close, unmount=unmounts)

    async def serve(self, ready: Callable[[], None], probe_directory: Path) -> None:
        """Answers requests until the file system is unmounted or `stop` is called.

        Calls `ready` when the mode is known; never where somebody unmounts before.
        """
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                with self._answering:
                    await serve(self._max_tasks)
                nursery.cancel_scope.cancel()

            nursery.start_soon(answer)
            if self._holder is not None:
                nursery.start_soon(self._end_with, self._holder)
                if not await self._learn_mode(self._holder, probe_directory):
                    return
            ready()

    def stop(self) -> None:
        """Ends `serve`: nothing more is taken on, and what is being answered has a few seconds left."""
        terminate()
        self._answering.deadline = trio.current_time() + _ANSWERS_WITHIN_S

    async def _end_with(self, holder: Holder) -> None:
        """Nobody is there any more who could be answered."""
        await holder.ended.wait()
        self._answering.deadline = trio.current_time() + _ANSWERS_WITHIN_S

    async def _learn_mode(self, holder: Holder, probe_directory: Path) -> bool:
        """False: the session has ended meanwhile."""
        try:
            await self._ask_mode(holder, probe_directory)
        except OSError:
            with trio.move_on_after(_ANSWERS_WITHIN_S):
                await holder.ended.wait()
            if not holder.ended.is_set():
                raise
        return not holder.ended.is_set()

    async def _ask_mode(self, holder: Holder, probe_directory: Path) -> None:
        """What kernel and holder agreed on at INIT, and whether a backing file is really taken."""
        with trio.move_on_after(_AGREED_WITHIN_S):
            # the holder has no event for the end of INIT
            while not (status := await holder.status())["kernel_minor"]:  # noqa: ASYNC110
                await trio.sleep(_AGREED_POLL_S)
            if status["passthrough_agreed"]:
                fd = os.open(probe_directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC)
                try:
                    await holder.register(_PROBE_INO, fd)
                finally:
                    os.close(fd)
                await holder.revoke(_PROBE_INO)
            self._tell_mode(await holder.status())

    def _tell_mode(self, status: dict[str, int]) -> None:
        state = status["passthrough_state"]
        if self._wanted == "holder":
            self.mode_reason = 'mount.connection = "holder"'
        elif not status["passthrough_agreed"]:
            self.mode_reason = "this kernel has no passthrough (Linux 6.9 has)"
        elif state == 1:
            self._has_brake = status["brake_state"] == 1
            self.mode, self.mode_reason = "passthrough", "hot files are read and changed in place by the kernel alone"
            if not self._has_brake:
                why = os.strerror(-status["brake_state"])
                self.mode_reason = f"hot files are read by the kernel alone; writers cannot be braked ({why})"
        else:
            self.mode_reason = _REASONS.get(-state, f"the kernel refuses backing files: {os.strerror(-state)}")

    async def run(self, used: Callable[[Use], None]) -> None:
        """Tells of the uses that the kernel made of lent files, about every second, until it is cancelled."""
        holder = self._holder
        while holder is not None and not holder.ended.is_set():
            await self.tell_uses(used)
            await trio.sleep(_DRAIN_INTERVAL_S)

    async def tell_uses(self, used: Callable[[Use], None]) -> None:
        """Tells of those that nobody was told of yet, at once. Nothing without a holder."""
        with suppress(OSError):  # the session is ending
            for use in await self._holder.drain() if self._holder is not None else ():
                used(use)
