"""pyfuse3's session, and the thread that tells the kernel what to forget when there is no holder."""

import logging
import queue
import threading
from collections.abc import Sequence
from typing import Final

import pyfuse3
from attrs import frozen

log = logging.getLogger(__name__)

_NOTIFICATIONS_MAX: Final = 65_536


@frozen
class MountOptions:
    """How the kernel mounts. `fsname` is the source that mount(8) and df(1) show."""

    fsname: str
    allow_other: bool
    read_only: bool
    kernel_options: Sequence[str] = ()

    def for_libfuse(self) -> set[str]:
        """libfuse's -o options."""
        options = {"default_permissions", f"fsname={self.fsname.replace(',', '%2C')}", "subtype=tierfs"}
        if self.allow_other:
            options.add("allow_other")
        if self.read_only:
            options.add("ro")
        return options | set(self.kernel_options)


class KernelNotify:
    """`namespace.notify.Notify` for a mounted session: queued, sent by a thread of its own.

    The kernel takes locks that a waiting request may hold, so a notification may block for as long as that
    request takes; requests never wait for notifications. When the queue is full a notification is dropped
    and counted: the kernel then believes the old state until its timeout.
    """

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[int, bytes | None, bool] | None] = queue.Queue(_NOTIFICATIONS_MAX)
        self._thread = threading.Thread(target=self._run, name="tierfs-notify", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        """Called once the session is mounted."""
        self._thread.start()

    def stop(self) -> None:
        """Called before the session is closed. Does not wait: a stuck kernel must not hold the exit."""
        if self._thread.is_alive():
            self._put(None)

    def entry_changed(self, parent: int, name: bytes) -> None:
        self._put((parent, name, False))

    def inode_changed(self, ino: int, *, content: bool) -> None:
        self._put((ino, None, content))

    def _put(self, item: tuple[int, bytes | None, bool] | None) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            ino, name, content = item
            try:
                if name is not None:
                    pyfuse3.invalidate_entry(pyfuse3.InodeT(ino), pyfuse3.FileNameT(name))
                else:
                    pyfuse3.invalidate_inode(pyfuse3.InodeT(ino), attr_only=not content)
            except FileNotFoundError:
                pass  # the kernel does not know it: nothing to forget
            except OSError as error:
                log.warning("the kernel refused to drop a cache entry: %s", error, extra={"event": "TFS8003"})


async def serve(max_tasks: int) -> None:
    """Answers requests until the file system is unmounted or `terminate` is called.

    Waits for what is being answered then. A cancelled handler does not answer: the session has to be closed.
    """
    try:
        await pyfuse3.main(min_tasks=1, max_tasks=max_tasks)
    except* OSError as group:
        # an unmount from outside ends the session with an error on its descriptor
        log.debug("the FUSE session ended: %s", group.exceptions[0])


def terminate() -> None:
    """Ends `serve`. Safe from any task of the daemon's trio loop."""
    if pyfuse3.trio_token is not None:
        pyfuse3.terminate()
