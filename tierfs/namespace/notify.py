"""Calls that go up: what the kernel has cached and must drop. Owned here, implemented by the FUSE front."""

from typing import Protocol


class Notify(Protocol):
    """Drops kernel caches. Never blocks and never waits for the kernel: an implementation queues."""

    def entry_changed(self, parent: int, name: bytes) -> None:
        """The name no longer leads to what the kernel knows, or did not exist and now does."""
        ...

    def inode_changed(self, ino: int, *, content: bool) -> None:
        """Attributes changed; with `content` the cached pages are stale too."""
        ...


class NoNotify:
    """For tests and tools without a kernel."""

    def entry_changed(self, parent: int, name: bytes) -> None:
        pass

    def inode_changed(self, ino: int, *, content: bool) -> None:
        pass
