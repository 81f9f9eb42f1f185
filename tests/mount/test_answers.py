"""What tierctl prints for programs on a real mount is what is said of it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.answers import misfits
from tests.support.mounts import Mount, mounted
from tierfs.control.exitcodes import ExitCode

RULES = """
[[tiering.rules]]
name = "old"
path = "train"
hot_at_most_s = "3d"
[[tiering.recalls]]
user = "root"
action = "admit"
"""
COMMANDS = {
    "status": ["status", "{place}"],
    "info": ["info", "{place}/new"],
    "mounts": ["mounts"],
    "du": ["du", "{place}"],
    "summary": ["summary", "{place}"],
    "tree": ["tree", "{place}"],
    "queue": ["queue", "{place}"],
    "state": ["state", "-r", "{place}"],
    "tier ls": ["tier", "ls", "{place}"],
    "policy check": ["policy", "check", "{rules}"],
    "policy load": ["policy", "load", "{rules}", "{place}"],
    "policy show": ["policy", "show", "{place}"],
    "explain": ["explain", "{place}/train/a"],
    "hint": ["hint", "once", "{place}/train"],
    "profile record": ["profile", "record", "{place}/train", "--output", "{profile}"],
    "profile show": ["profile", "show", "{place}"],
    "import": ["import", "{place}"],
    "warm": ["warm", "{place}/train"],
    "pin": ["pin", "{place}/train"],
    "unpin": ["unpin", "{place}/train"],
    "verify": ["verify", "{place}/train"],
    "scrub": ["scrub", "{place}/train"],
    "release": ["release", "{place}/train"],
    "tasks list": ["tasks", "list", "{place}"],
    "sync": ["sync", "{place}"],
    "cost": ["cost", "{place}"],
    "cost explain": ["cost", "explain", "mv {place}/train {place}/moved"],
    "config show": ["config", "show", "{place}"],
    "config check": ["config", "check", "{rules}"],
    "config set": ["config", "set", "export.quiet_s=31s", "--mount", "{place}"],
    "latency": ["latency", "{place}"],
    "events status": ["events", "status", "{place}"],
    "doctor": ["doctor", "{place}"],
    "profile stop": ["profile", "stop", "{place}"],
    "profile replay": ["profile", "replay", "{profile}", "--mount", "{place}"],
    "policy simulate": ["policy", "simulate", "--trace", "{profile}", "--policy", "lru", "--rules", "{rules}"],
    "watch": ["watch", "{place}"],
    "oplog": ["oplog", "{place}"],
    "dashboard": ["dashboard", "{place}", "--port", "0"],
    "restart": ["restart", "{place}"],
}
ENDLESS = {"watch": 2, "oplog": 2, "dashboard": 1}
"""Verbs that go on, with the lines that are read of each."""


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    (tmp_path / "bucket/train").mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "bucket/train" / name).write_bytes(bytes(5000))
    settings = {"mount": {"connection": "auto"}, "export": {"quiet_s": 60}}
    with mounted(f"file://{tmp_path / 'bucket'}", tmp_path, settings=settings) as made:
        yield made


def first_lines(mount: Mount, words: list[str], count: int) -> str:
    """Of a command that goes on, while files are read and uploaded."""
    command = [sys.executable, "-m", "tierfs.cli.tierctl", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            (mount.path / f"new-{words[0]}").write_bytes(b"bytes")
            mount.tierctl("sync", mount.path)
            lines += [process.stdout.readline() for _ in range(count - 1)]
            return "".join(lines)
        finally:
            process.kill()


def test_each_verb_prints_what_is_said(mount: Mount, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    (mount.path / "new").write_bytes(b"bytes")
    assert (mount.path / "train/b").read_bytes() == bytes(5000)
    places = {"place": mount.path, "rules": rules, "profile": tmp_path / "p.csv"}
    wrong = {}
    for verb, words in COMMANDS.items():
        if verb == "profile stop":
            assert (mount.path / "train/a").read_bytes() == bytes(5000)
        command = [*(word.format(**places) for word in words), "--json"]
        if verb in ENDLESS:
            out = first_lines(mount, command, ENDLESS[verb])
        else:
            done = mount.tierctl(*command, check=False)
            assert done.returncode in (ExitCode.OK, ExitCode.DOUBTFUL, ExitCode.FAULTY), (verb, done.stderr)
            out = done.stdout
        wrong[verb] = misfits(verb, out)
    assert {verb: found for verb, found in wrong.items() if found} == {}
