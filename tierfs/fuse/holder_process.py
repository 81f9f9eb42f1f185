"""The process of the holder: what it is asked to do, and its end."""

import os
import select
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from attrs import frozen


@frozen
class HolderOptions:
    """How the holder mounts and what it asks of the kernel."""

    mount_options: Sequence[str] = ("default_permissions", "subtype=tierfs")
    passthrough: bool = True
    readahead_kib: int = 1024
    background_max: int = 512
    transfer_kib: int = 1024
    """What one READ or WRITE may carry. Those that the daemon answers reach it in pieces of 64."""
    tasks_max: int = 0
    """What pyfuse3.main takes as max_tasks: half of them may read, an eighth write, a quarter open. 0: no limit."""
    latency_device: str = ""
    """Where to ask that processors stay awake while requests flow (PM QoS); empty: do not."""
    stay_without_daemon: bool = False
    """When the daemon dies, keep the mount and answer ENOTCONN to all but hot files; else unmount."""
    restart: Sequence[str] = ()
    """The command that makes another daemon when this one dies; empty: then the mount ends."""
    start_timeout_s: float = 30.0
    stop_timeout_s: float = 10.0


@frozen
class HolderProcess:
    """A holder: our child, or the process that started us."""

    pid: int
    child: subprocess.Popen[bytes] | None = None

    def wait(self, timeout_s: float | None = None) -> None:
        """TimeoutExpired when it is still there."""
        if self.child is not None:
            self.child.wait(timeout_s)
            return
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(self.pid)
            try:
                if not select.select([fd], [], [], timeout_s)[0]:
                    raise subprocess.TimeoutExpired("tierfs-holder", timeout_s or 0)
            finally:
                os.close(fd)

    def kill(self) -> None:
        """Ends it, and the session with it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
