"""The small file system of `tests.mount.holder_demo`, mounted through the holder, and programs that wait in it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

REPOSITORY = Path(__file__).parents[2]
IMPATIENT_S = 20


@frozen
class Demo:
    """A mounted demo, its directory, and the pipe for commands."""

    process: subprocess.Popen[str]
    mount: Path
    data: Path

    def ask(self, *words: object) -> object:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def status(self) -> dict[str, int]:
        answer = self.ask("status")
        assert isinstance(answer, dict)
        return answer


@contextmanager
def mounted(directory: Path, program: Path, *words: str) -> Iterator[Demo]:
    mount, data = directory / "mount", directory / "data"
    mount.mkdir()
    data.mkdir()
    arguments = [sys.executable, "-m", "tests.mount.holder_demo", str(mount), str(data), str(program), *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)
    try:
        demo = Demo(process, mount, data)
        assert demo.ask("ready") == process.pid
        os.statvfs(mount)  # INIT waits no more
        yield demo
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False, capture_output=True, timeout=IMPATIENT_S)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()


@contextmanager
def program_in_call(demo: Demo, code: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program whose request waits for the demo when the block begins."""
    # where the tests were started in the background, SIGINT would be ignored
    preamble = "import os, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", preamble + code, str(path)]
    before = demo.ask("held")
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + IMPATIENT_S
        while demo.ask("held") == before:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait(IMPATIENT_S)


def timed_end(process: subprocess.Popen[bytes], number: int) -> float:
    started = time.monotonic()
    process.send_signal(number)
    process.wait(IMPATIENT_S)
    return time.monotonic() - started


def until(true: Callable[[], bool]) -> None:
    """Waits for what must come soon."""
    deadline = time.monotonic() + IMPATIENT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
