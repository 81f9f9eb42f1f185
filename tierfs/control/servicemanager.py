"""What the daemon tells a service manager: it is ready, it lives, it stops. The protocol of sd_notify(3).

Datagrams of NAME=value lines to the socket that NOTIFY_SOCKET names; without one nothing is said. A message that cannot
be delivered is no reason to end a mount: the manager's own time limits decide then.
"""

import logging
import os
import socket
from collections.abc import Mapping
from typing import Final

import trio
from attrs import frozen

_SHARE_OF_LIMIT: Final = 0.5  # as sd_watchdog_enabled(3) recommends
_log: Final = logging.getLogger(__name__)


@frozen
class ServiceManager:
    """The manager of this process. `address` "" where there is none; `watchdog_s` 0: it does not wait for signs."""

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "ServiceManager":
        """WATCHDOG_PID is passed over: it names the first daemon, whose successors inherit all this from the holder."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        return cls(
            environment.get("NOTIFY_SOCKET", ""),
            int(microseconds) / 1_000_000 if microseconds.isdecimal() else 0.0,
        )

    def ready(self, status: str, *, main_pid: int | None) -> None:
        """The mount works. `main_pid` is the process whose end is the end of the service, None for this one.

        That is the holder: it lives on when the daemon dies, and starts the next one.
        """
        self._send("READY=1", f"STATUS={status}", f"MAINPID={main_pid or os.getpid()}")

    def stopping(self) -> None:
        """The mount is gone; what is pending is uploaded."""
        self._send("STOPPING=1", "STATUS=uploading what is pending")

    async def keep_alive(self) -> None:
        """Says again and again that the event loop turns, until it is cancelled."""
        if not self.address or not self.watchdog_s:
            return
        while True:
            self._send("WATCHDOG=1")
            await trio.sleep(self.watchdog_s * _SHARE_OF_LIMIT)

    def _send(self, *lines: str) -> None:
        if not self.address:
            return
        # @name is in the abstract name space
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
            try:
                sender.sendto("\n".join(lines).encode(), address)
            except OSError as error:
                _log.warning("the service manager cannot be told %s: %s", lines[0], error, extra={"event": "TFS1004"})
