"""Who connects to the control socket of a real daemon may send what he likes, and as many as he likes."""

import contextlib
import itertools
import json
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mount.posix.tools import acting_as
from tests.support.mounts import Mount, mounted, need_root
from tierfs.control import protocol

NOBODY = 65_534
CROWD = 150
SHARED = Path("/dev/shm")
# end the mount, or the daemon, whatever else is said
LEFT_OUT = {"unmount", "restart"}
# who waits for what never comes is left alone after a while
PATIENCE_S = 0.3
HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 1 << 62, 1 << 70, 1e308, "", "a", "../../etc/passwd", "/etc/passwd", "a/./b", "a\0b", "\ud800",
    "x" * 5000, "%s%n", [], ["a"] * 100, {}, {"path": {"path": {}}},
)  # fmt: skip
NAMES = (
    "path",
    "timeout_s",
    "number",
    "seq",
    "id",
    "kind",
    "keep",
    "dry_run",
    "all",
    "rule",
    "pattern",
    "limit",
    "text",
)


@pytest.fixture
def run_directory() -> Iterator[Path]:
    """Where strangers can come: no directory of pytest's is such a one."""
    with tempfile.TemporaryDirectory(dir=SHARED if SHARED.is_dir() else None) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def mount(tmp_path: Path, run_directory: Path) -> Iterator[Mount]:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket/a").write_bytes(b"bytes")
    with mounted(f"file://{tmp_path}/bucket", tmp_path, env={"TIERFS_RUN_DIR": str(run_directory)}) as mount:
        yield mount


@pytest.fixture
def path(mount: Mount, run_directory: Path) -> str:
    """The socket's."""
    (found,) = run_directory.glob("*.sock")
    return str(found)


def ask(path: str, *lines: bytes) -> dict[str, Any] | None:
    """The answer to the first line; None when it takes too long, or none comes."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(TimeoutError, ConnectionError):
        client.settimeout(PATIENCE_S)
        client.connect(path)
        client.sendall(b"".join(lines))
        received = b""
        while chunk := client.recv(65536):
            received += chunk
            for line in received.split(b"\n")[:-1]:
                message: dict[str, Any] = json.loads(line)
                if "progress" not in message:
                    return message
    return None


def verbs_of(path: str) -> list[str]:
    refused = ask(path, protocol.request(1, "no such verb", {}))
    assert refused is not None
    return str(refused["error"]["message"]).partition("known: ")[2].split(", ")


def assert_it_lives(mount: Mount) -> None:
    assert (mount.path / "a").read_bytes() == b"bytes"
    assert mount.status()["pid"] == mount.pid
    assert "Traceback" not in mount.log()


def test_no_argument_of_any_verb_is_a_fault_of_ours(mount: Mount, path: str) -> None:
    chooser, answered = random.Random(1), 0
    for verb in set(verbs_of(path)) - LEFT_OUT:
        wholly = [dict.fromkeys(NAMES, value) for value in HOSTILE]
        mixed = [{name: chooser.choice(HOSTILE) for name in chooser.sample(NAMES, 3)} for _ in range(6)]
        for args in chooser.sample(wholly, 6) + mixed:
            said = ask(path, protocol.request(7, verb, args))
            if said is None:
                break  # it waits, as it should for what is no hostile argument to it
            answered += 1
            assert said["ok"] or said["error"]["code"] != "internal", (verb, args, said)
    assert answered > 50
    assert_it_lives(mount)


def test_a_crowd_that_says_half_of_something_keeps_no_admin_out(mount: Mount, path: str) -> None:
    need_root()
    halves = itertools.cycle((b"", b"{", b"\xff" * 4000, b'{"v": 1,', b"[" * 60_000))
    with contextlib.ExitStack() as stack:
        with acting_as(NOBODY):
            for number in range(CROWD):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.settimeout(PATIENCE_S)
                with contextlib.suppress(OSError):
                    client.connect(path)
                    client.sendall(next(halves) + b"\n" * (number % 2))
        assert_it_lives(mount)
    assert_it_lives(mount)


def test_strangers_may_look_and_not_touch(mount: Mount, path: str) -> None:
    need_root()
    with acting_as(NOBODY):
        answers = {
            verb: ask(path, protocol.request(1, verb, {})) for verb in ("status", "unmount", "sync_approve", "watch")
        }
    assert answers["status"] is not None and answers["status"]["ok"]
    del answers["status"]
    for verb, refused in answers.items():
        assert refused is not None and not refused["ok"], verb
        assert refused["error"]["code"] in ("permission", "unknown_verb"), refused
    assert_it_lives(mount)
