"""A mount under a service manager, by mount(8), and looked at by doctor: with the real programs."""

import json
import os
import re
import socket
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mount.test_takeover import Loop, Names
from tests.support import programs
from tests.support.mounts import MARK, Mount, mounted, need_root, prepared
from tierfs.control.exitcodes import ExitCode


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "bucket").mkdir()
    return f"file://{tmp_path}/bucket"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which a service manager listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        yield listener


def test_doctor_looks_at_a_running_mount(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path, settings={"export": {"quiet_s": 0.5}}) as mount:
        answer = mount.tierctl("doctor", mount.path, "--json", "--bundle", tmp_path / "b.tar.gz", check=False)
        assert answer.returncode in (ExitCode.OK, ExitCode.DOUBTFUL), answer
        report = json.loads(answer.stdout)
        found = {one["check"]: one["severity"] for one in report["findings"]}
        assert report["mountpoint"] == str(mount.path) and "error" not in found.values()
        assert {"version", "mode", "bucket-delete", "state"} <= set(found)
        with tarfile.open(tmp_path / "b.tar.gz") as archive:
            names = {Path(name).name for name in archive.getnames()}
        assert {"report.json", "status.json", "settings-of-daemon.txt", "log.txt", "machine.txt"} <= names
        assert not (tmp_path / "bucket" / ".tierfs").exists() or not list(
            (tmp_path / "bucket" / ".tierfs").glob("probe-*")
        )


def test_a_service_manager_hears_of_readiness_life_and_end(source: str, tmp_path: Path, manager: socket.socket) -> None:
    """The holder is the process that counts; the next daemon speaks for the same service."""
    env = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000"}
    with mounted(source, tmp_path, env=env) as mount:

        def heard(word: str) -> dict[str, str]:
            while True:
                lines = manager.recv(4096).decode().split("\n")
                if word in lines:
                    return dict(line.split("=", 1) for line in lines)

        first = heard("READY=1")
        status = mount.status()
        assert int(first["MAINPID"]) == (status["holder_pid"] or status["pid"])
        heard("WATCHDOG=1")
        if status["holder_pid"] is not None:
            os.kill(int(status["pid"]), 9)
            assert heard("READY=1")["MAINPID"] == first["MAINPID"]
            heard("WATCHDOG=1")
        mount.umount()
        heard("STOPPING=1")


FSTAB_SCRIPT = """
set -eu
mount -t overlay helpers -o "lowerdir=$1/sbin:/usr/sbin" /usr/sbin
mount --bind "$1/fstab" /etc/fstab
mount "$2"
echo by fstab >"$2/one"
umount "$2"
cat "$1/bucket/one"
mount -t fuse.tierfs -o "_netdev,cache=$1/cache" "file://$1/bucket" "$2"
echo by type >"$2/two"
umount "$2"
cat "$1/bucket/two"
mount -t tierfs file:///absent "$2" || echo "code $?"
"""


def test_mount_and_umount_of_fstab(source: str, tmp_path: Path) -> None:
    """mount(8) finds its helpers in /sbin and its entries in /etc/fstab only: a name space of its own has them there.

    Who unmounts by umount(8) has everything in the bucket, as with `tierfs umount`: `_netdev` has it ask its helper.
    """
    need_root()
    helpers = tmp_path / "sbin"
    helpers.mkdir()
    for name in ("mount", "umount"):
        installed = Path(sys.executable).with_name(f"{name}.tierfs")
        for kind in ("tierfs", "fuse.tierfs"):
            (helpers / f"{name}.{kind}").symlink_to(installed)
    with prepared(source, tmp_path) as mount:
        entry = f"{source} {mount.path} tierfs _netdev,nofail,cache={tmp_path}/cache,export.quiet_s=1h 0 0"
        (tmp_path / "fstab").write_text(f"{entry}\n")
        done = programs.run(
            ["unshare", "--mount", "--propagation", "slave", "sh", "-c", FSTAB_SCRIPT, "sh", tmp_path, mount.path],
            env={MARK: mount.mark},
        )
    assert done.stdout.splitlines() == ["by fstab", "by type", "code 32"], done
    assert "no such bucket: /absent" in done.stderr


def restart(mount: Mount) -> dict[str, Any]:
    """One planned restart; skips where nobody would start the next daemon."""
    if mount.status()["holder_pid"] is None:
        pytest.skip("the native holder is not built")
    answer: dict[str, Any] = json.loads(mount.tierctl("restart", mount.path, "--json").stdout)
    return answer


def test_a_restart_under_open_files_and_running_work(source: str, tmp_path: Path) -> None:
    """No program sees an error; what was set while the mount lived still is."""
    with mounted(source, tmp_path, settings={"export": {"quiet_s": 0.2}}) as mount:
        holder = mount.status()["holder_pid"]
        mount.tierctl("config", "set", "import.revalidate_s=7s", "--mount", mount.path)
        with Loop(Names(mount.path / "names").change), (mount.path / "open").open("w+b", buffering=0) as opened:
            opened.write(b"before ")
            result = restart(mount)
            opened.write(b"after")
            assert os.pread(opened.fileno(), 100, 0) == b"before after"
        assert result["before"]["pid"] != result["after"]["pid"] == mount.status()["pid"]
        assert mount.status()["holder_pid"] == holder
        changed = json.loads(mount.tierctl("config", "show", mount.path, "--changed", "--json").stdout)["settings"]
        assert ("import.revalidate_s", '"7s"') in {(row["key"], row["value"]) for row in changed}
        mount.wait_synced()
        assert (tmp_path / "bucket" / "open").read_bytes() == b"before after"


def test_a_daemon_that_would_not_start_is_told_and_the_mount_stays(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        restart(mount)
        pid = mount.status()["pid"]
        mount.config.write_text("[store]\nregoin = 3\n")
        answer = mount.tierctl("restart", mount.path, check=False)
        assert answer.returncode == ExitCode.FAILED
        assert f"{mount.config}:2: unknown key 'regoin'" in answer.stderr and "goes on" in answer.stderr
        assert mount.status()["pid"] == pid and os.listdir(mount.path) == []


def test_the_capabilities_of_the_unit_suffice(source: str, tmp_path: Path) -> None:
    """Root with nothing but these, as in a container, has the same mode as root."""
    need_root()
    unit = (Path(__file__).parents[2] / "deploy" / "systemd" / "tierfs@.service").read_text()
    named = re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    assert named is not None
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in named[1].split())
    with mounted(source, tmp_path) as mount:
        mode = mount.status()["mode"]
        mount.umount()
        words = ["setpriv", f"--bounding-set=-all,{kept}", "--no-new-privs", sys.executable, "-m", "tierfs.cli.tierfs"]
        programs.run([*words, *mount.mount_command()], env={MARK: mount.mark})
        status = mount.status()
        assert status["mode"] == mode and (status["holder_pid"] is not None) == (mode != "pyfuse3")
        (mount.path / "f").write_bytes(b"bytes")
        os.chown(mount.path / "f", 1000, 1000)
        os.chmod(mount.path / "f", 0o4755)
        assert (mount.path / "f").read_bytes() == b"bytes"
