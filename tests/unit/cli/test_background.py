"""Starting in the background: the child's word reaches the starter, and so does its death."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tierfs.cli import background
from tierfs.cli.background import StatusPipe
from tierfs.control.exitcodes import ExitCode, ExitError


def child(program: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys, time, signal\nfd = int(sys.argv[1])\n{program}"]


def start(program: str, log: Path, limit_s: float = 30.0) -> int:
    def command(descriptor: int) -> Sequence[str]:
        return [*child(program), str(descriptor)]

    return background.start(command, log, limit_s=limit_s)


def failure(program: str, log: Path, limit_s: float = 30.0) -> ExitError:
    with pytest.raises(ExitError) as caught:
        start(program, log, limit_s)
    return caught.value


def test_ready_gives_the_pid_of_a_child_in_a_session_of_its_own(tmp_path: Path) -> None:
    program = "print('to the log', flush=True)\nos.write(fd, b'{\"ready\": true}\\n')\nos.close(fd)\ntime.sleep(60)"
    pid = start(program, tmp_path / "log")
    try:
        assert os.getsid(pid) == pid
        assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
        assert (tmp_path / "log").read_text() == "to the log\n"
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_the_words_and_code_of_a_child_that_fails(tmp_path: Path) -> None:
    program = 'os.write(fd, b\'{"code": 14, "message": "no such bucket: b", "errno": 19}\\n\')'
    error = failure(program, tmp_path / "log")
    assert (error.code, str(error), error.errno) == (ExitCode.NO_BUCKET, "no such bucket: b", 19)


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("sys.exit(3)", "ended with status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by signal 9"),
        ("raise RuntimeError('broken')", "ended with status 1"),
        ("os.write(fd, b'nonsense\\n')", "ended with status 0"),
        ("os.write(fd, b'[1]\\n')", "ended with status 0"),
        ("os.write(fd, b'{\"ready\": tr')", "ended with status 0"),
    ],
)
def test_a_child_that_dies_without_a_word(tmp_path: Path, program: str, how: str) -> None:
    error = failure(program, tmp_path / "log")
    assert error.code is ExitCode.FAILED
    assert str(error) == f"the daemon {how} before the mount worked; its log: {tmp_path}/log"


def test_the_traceback_of_a_child_is_in_its_log(tmp_path: Path) -> None:
    failure("raise RuntimeError('broken')", tmp_path / "log")
    assert "RuntimeError: broken" in (tmp_path / "log").read_text()


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    program = "print(os.getpid(), flush=True)\ntime.sleep(60)"
    error = failure(program, tmp_path / "log", limit_s=1.0)
    assert error.code is ExitCode.TIMEOUT and "did not come up within 1 s" in str(error)
    pid = (tmp_path / "log").read_text().strip()
    assert not pid or not Path("/proc", pid).exists()


def test_a_child_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "END_LIMIT_S", 0.2)
    program = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid(), flush=True)\n"
        'os.write(fd, b\'{"code": 1, "message": "x"}\\n\')\ntime.sleep(60)'
    )
    failure(program, tmp_path / "log")
    assert not Path("/proc", (tmp_path / "log").read_text().strip()).exists()


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    error = failure("", tmp_path / "absent" / "log")
    assert error.code is ExitCode.CONFIG and "cannot write the log" in str(error)


def test_the_childs_end_speaks_once_and_survives_a_starter_that_is_gone() -> None:
    reading, writing = os.pipe()
    status = StatusPipe(writing)
    status.ready()
    status.failed(ExitError(ExitCode.FAILED, "later"))
    with os.fdopen(reading, "rb") as pipe:
        assert [json.loads(line) for line in pipe] == [{"ready": True}]
    reading, writing = os.pipe()
    os.close(reading)
    StatusPipe(writing).failed(ExitError(ExitCode.FAILED, "to nobody"))
    StatusPipe(None).ready()


def test_the_descriptor_is_not_handed_on_to_programs_that_the_daemon_starts() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    StatusPipe(writing)
    assert not os.get_inheritable(writing)
    os.close(reading)
    os.close(writing)
