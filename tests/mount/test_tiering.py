"""Rules of tiering on a real mount: what they say, what they keep away, and how they are replaced."""

import errno
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import programs
from tests.support.mounts import Mount, mounted
from tierfs.control.exitcodes import ExitCode

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "import": {"revalidate_s": 3600},
    "tiering": {
        "rules": [
            {"name": "scratch", "path": "scratch", "hot_at_most_s": "30d"},
            {"name": "raw", "path": "raw", "cache": False},
        ],
        "recalls": [{"command": "md5sum", "action": "fail"}, {"command": "cksum", "action": "read-through"}],
    },
}
SMALL, LARGE = b"small" * 100, b"large" * 1_000_000


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    for directory in ("scratch", "raw", "d"):
        (tmp_path / "bucket" / directory).mkdir(parents=True)
        for name, data in (("a", SMALL), ("b", SMALL), ("large", LARGE)):
            (tmp_path / "bucket" / directory / name).write_bytes(data)
    with mounted(f"file://{tmp_path / 'bucket'}", tmp_path, settings=SETTINGS) as made:
        yield made


def ask(mount: Mount, *words: str | Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(mount.tierctl(*words, "--json").stdout)
    return answer


def residency(mount: Mount, path: str) -> str:
    return str(ask(mount, "info", mount.path / path)["residency"])


def is_served_anew(mount: Mount) -> bool:
    """Does another daemon than the first answer?"""
    answer = mount.tierctl("status", mount.path, "--json", check=False)
    return answer.returncode == ExitCode.OK and json.loads(answer.stdout)["pid"] != mount.pid


def test_what_a_rule_has_not_cached_is_read_and_leaves_nothing(mount: Mount) -> None:
    for name, data in (("a", SMALL), ("large", LARGE)):
        assert (mount.path / "raw" / name).read_bytes() == data
        assert (mount.path / "d" / name).read_bytes() == data
        assert residency(mount, f"d/{name}") == "hot"
        assert programs.wait_until(lambda name=name: residency(mount, f"raw/{name}") == "cold", 30)


def test_programs_are_kept_from_cold_files(mount: Mount) -> None:
    cold, hot = mount.path / "d/a", mount.path / "d/b"
    assert hot.read_bytes() == SMALL
    refused = subprocess.run(["md5sum", cold], capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode != 0 and os.strerror(errno.EAGAIN) in refused.stderr
    assert subprocess.run(["md5sum", hot], capture_output=True, timeout=60, check=False).returncode == 0
    through = subprocess.run(["cksum", cold], capture_output=True, timeout=60, check=True)
    assert through.stdout.split()[1] == b"%d" % len(SMALL)
    assert programs.wait_until(lambda: residency(mount, "d/a") == "cold", 30)
    assert ask(mount, "policy", "show", mount.path)["cold_opens"] == {"admitted": 1, "read_through": 1, "refused": 1}


def test_files_are_explained_pinned_and_hinted(mount: Mount) -> None:
    scratch = mount.path / "scratch"
    assert (scratch / "a").read_bytes() == SMALL
    told = ask(mount, "explain", scratch / "a")
    assert (told["rule"], told["hot_bytes"] > 0, [each["action"] for each in told["decisions"]]) == (
        "scratch", True, ["release"],
    )  # fmt: skip
    assert "leaves the local disk in 29 d" in mount.tierctl("explain", scratch / "a").stdout
    would = mount.tierctl("pin", scratch, "--dry-run").stdout
    assert would.startswith("pin of /scratch: 2 files")
    pinned = ask(mount, "pin", scratch)
    assert (pinned["state"], pinned["done"], pinned["notes"]) == ("done", 2, {"pinned": 3})
    assert ask(mount, "explain", scratch / "large")["kept"] == "pinned"
    assert mount.tierctl("release", scratch, check=False).returncode == ExitCode.FAILED
    mount.remount()
    assert ask(mount, "explain", scratch / "large")["kept"] == "pinned"
    assert ask(mount, "unpin", scratch)["done"] == 3
    mount.tierctl("release", scratch)
    mount.tierctl("hint", "once", scratch, "--for", "10min")
    assert (scratch / "b").read_bytes() == SMALL
    assert programs.wait_until(lambda: residency(mount, "scratch/b") == "cold", 30)
    mount.tierctl("hint", "none", scratch)
    mount.tierctl("hint", "willneed", scratch)
    assert programs.wait_until(lambda: residency(mount, "scratch/large") == "hot", 30)
    mount.tierctl("hint", "dontneed", scratch)
    assert programs.wait_until(lambda: residency(mount, "scratch/large") == "cold", 30)


def test_rules_are_replaced_on_a_live_mount_and_outlive_its_daemon(mount: Mount, tmp_path: Path) -> None:
    for directory in ("raw", "d"):
        os.listdir(mount.path / directory)
    rules = tmp_path / "rules.toml"
    rules.write_text('[[tiering.rules]]\nname = "new"\npath = "d"\npinn = true\n')
    for verb in ("check", "load"):
        refused = mount.tierctl("policy", verb, rules, *([mount.path] if verb == "load" else []), check=False)
        assert refused.returncode == ExitCode.FAILED
        assert f"{rules}:4: [[tiering.rules]] unknown key 'pinn'; did you mean 'pin'?" in refused.stderr
    assert ask(mount, "explain", mount.path / "raw/a")["rule"] == "raw"
    rules.write_text('[[tiering.rules]]\nname = "new"\npath = "d"\npin = true\n')
    mount.tierctl("policy", "check", rules)
    mount.tierctl("policy", "load", rules, mount.path)
    assert [ask(mount, "explain", mount.path / path)["rule"] for path in ("raw/a", "d/a")] == [None, "new"]
    assert ask(mount, "policy", "show", mount.path)["source"] == str(rules)
    if mount.status()["holder_pid"] is not None:
        os.kill(mount.pid, signal.SIGKILL)
        assert os.listdir(mount.path / "d"), "the next daemon answers"
        assert programs.wait_until(lambda: is_served_anew(mount), 60)
        assert ask(mount, "policy", "show", mount.path)["source"] == str(rules)
    mount.remount()
    assert ask(mount, "policy", "show", mount.path)["source"] == "settings"


def test_a_directory_has_a_rule_of_its_own(mount: Mount, tmp_path: Path) -> None:
    directory, name = mount.path / "d", "user.tierfs.tiering"
    with pytest.raises(OSError) as caught:
        os.setxattr(directory, name, b"cash = false")
    assert caught.value.errno == errno.EINVAL
    os.setxattr(directory, name, b"cache = false")
    assert os.listxattr(directory) == [name]
    assert (directory / "a").read_bytes() == SMALL
    assert programs.wait_until(lambda: residency(mount, "d/a") == "cold", 30)
    assert ask(mount, "explain", directory / "a")["rule"] == f"{name} of /d"
    mount.remount(fresh_cache=True)
    assert ask(mount, "policy", "show", mount.path)["tree_rules"]
    assert (directory / "a").read_bytes() == SMALL
    assert ask(mount, "explain", directory / "a")["rule"] == f"{name} of /d", "it is in the bucket"
    os.removexattr(directory, name)
    assert ask(mount, "explain", directory / "a")["rule"] is None
