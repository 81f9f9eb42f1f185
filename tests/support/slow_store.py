"""An HTTP store that answers late and carries little on each connection, as real S3 does: a proxy before a fast one.

    with SlowStore(server.endpoint_url) as slow:       # 20 ms to the first byte, 90 MB/s a connection
        mount(..., endpoint_url=slow.url)

    python -m tests.support.slow_store http://127.0.0.1:8333 [--first-byte-ms 20] [--rate-mb-s 90]

Every answer begins `first_byte_s` after the last byte of its request at the earliest, interim answers included; each
direction of a connection carries `rate_bytes_s` (0: all it can). The bytes pass unchanged, so signatures stay valid.

It runs in a process of its own and must not be what limits a benchmark: bytes are spliced from socket to socket
through a pipe and never copied into the process. tests/bench/README.md says what it was seen to carry.
"""

import argparse
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

FIRST_BYTE_S: Final = 0.020
RATE_BYTES_S: Final = 90e6
# a step of 256 KiB takes 3 ms at 90 MB/s: long enough to be slept, short enough to be even
_STEP_BYTES: Final = 256 << 10
_PIPE_BYTES: Final = 1 << 20
# what a busy machine made late is caught up with, so that the rate is kept on average; a longer pause is none of it
_CATCH_UP_S: Final = 0.015
_SPLICE_MOVE: Final = 1
_F_SETPIPE_SZ: Final = 1031


class SlowStore:
    """The proxy as a process; a context manager. It dies with the thread that started it."""

    def __init__(
        self, upstream_url: str, *, first_byte_s: float = FIRST_BYTE_S, rate_bytes_s: float = RATE_BYTES_S
    ) -> None:
        self._command = [
            *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.support.slow_store", upstream_url),
            *("--first-byte-ms", str(first_byte_s * 1e3), "--rate-mb-s", str(rate_bytes_s / 1e6)),
        ]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self._end()
            raise RuntimeError("the slow store did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Turns:
    """Whose turn it is on one connection: tells an answer's first byte from those that follow."""

    def __init__(self, first_byte_s: float) -> None:
        self._first_byte_s = first_byte_s
        self._requested_s = 0.0
        self._is_answered = True

    def asks(self, now_s: float) -> None:
        """Bytes of a request are about to pass: the answer may be here before `asked` is said."""
        self._requested_s = now_s
        self._is_answered = False

    def asked(self, now_s: float) -> None:
        """They passed."""
        if not self._is_answered:
            self._requested_s = now_s

    def answer_delay_s(self, now_s: float) -> float:
        """How long the answer's bytes that are here now have to wait."""
        if self._is_answered:
            return 0.0
        self._is_answered = True
        return max(0.0, self._requested_s + self._first_byte_s - now_s)


class Pace:
    """When the next bytes of a stream may pass, so that it keeps to a rate."""

    def __init__(self, rate_bytes_s: float) -> None:
        self._rate_bytes_s = rate_bytes_s
        self._free_s = 0.0

    def delay_s(self, size_bytes: int, now_s: float) -> float:
        """After `size_bytes` passed: how long to wait before more may."""
        if not self._rate_bytes_s:
            return 0.0
        began_s = self._free_s if now_s - self._free_s <= _CATCH_UP_S else now_s
        self._free_s = began_s + size_bytes / self._rate_bytes_s
        return max(0.0, self._free_s - now_s)


def _splice_all(source: int, target: int, size: int) -> None:
    while size:
        # without SPLICE_F_MORE: with it the end of a message waits 200 ms for what does not come
        size -= os.splice(source, target, size, flags=_SPLICE_MOVE)


def _pump(source: socket.socket, target: socket.socket, turns: Turns, pace: Pace, *, is_answer: bool) -> None:
    """Carries one direction of a connection until either end closes it."""
    into, out = -1, -1
    try:
        out, into = os.pipe()
        with contextlib.suppress(OSError):  # beyond what an ordinary user may have: smaller steps do, too
            fcntl.fcntl(into, _F_SETPIPE_SZ, _PIPE_BYTES)
        while size := os.splice(source.fileno(), into, _STEP_BYTES, flags=_SPLICE_MOVE):
            if not is_answer:
                turns.asks(time.monotonic())
            elif late_s := turns.answer_delay_s(time.monotonic()):
                time.sleep(late_s)
            _splice_all(out, target.fileno(), size)
            now_s = time.monotonic()
            if not is_answer:
                turns.asked(now_s)
            if (wait_s := pace.delay_s(size, now_s)) > 0:
                time.sleep(wait_s)
    except OSError:
        pass  # one side is gone: so is the other, below
    finally:
        for connection in (source, target):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for descriptor in (into, out):
            if descriptor >= 0:
                os.close(descriptor)


def _serve_one(client: socket.socket, address: tuple[str, int], first_byte_s: float, rate_bytes_s: float) -> None:
    with client, contextlib.suppress(OSError), socket.create_connection(address) as server:
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        turns = Turns(first_byte_s)
        up = threading.Thread(
            target=_pump, args=(client, server, turns, Pace(rate_bytes_s)), kwargs={"is_answer": False}, daemon=True
        )
        up.start()
        _pump(server, client, turns, Pace(rate_bytes_s), is_answer=True)
        up.join()


def serve(upstream_url: str, first_byte_s: float, rate_bytes_s: float) -> None:
    """Listens on a free loopback port, prints its URL on a line, and carries connections for ever."""
    address = urlsplit(upstream_url)
    assert address.hostname is not None
    target = address.hostname, address.port or 80
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve_one, args=(client, target, first_byte_s, rate_bytes_s), daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("upstream_url")
    parser.add_argument("--first-byte-ms", type=float, default=FIRST_BYTE_S * 1e3)
    parser.add_argument("--rate-mb-s", type=float, default=RATE_BYTES_S / 1e6, help="0: as much as goes")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    serve(arguments.upstream_url, arguments.first_byte_ms / 1e3, arguments.rate_mb_s * 1e6)


if __name__ == "__main__":
    main()
