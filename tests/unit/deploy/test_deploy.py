"""What stands in deploy/, read by the programs that it is for, where this machine has them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tierfs.cli import mounting

DEPLOY = Path(__file__).parents[3] / "deploy"
UNIT = DEPLOY / "systemd" / "tierfs@.service"
# systemd gives a service with one of these a mount name space of its own, in which its mounts stay
HIDES_MOUNTS = (
    r"Private(Tmp|Devices|Mounts|Users|IPC)|Protect(System|Home|KernelTunables|KernelModules|KernelLogs|ControlGroups|Proc)"
    r"|(ReadWrite|ReadOnly|Inaccessible|Exec|NoExec)Paths|Bind(ReadOnly)?Paths|TemporaryFileSystem|RootDirectory"
    r"|RootImage|DynamicUser|ProcSubset|MountFlags|MountAPIVFS|ProtectHostname"
)


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def settings_of(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_is_one(tmp_path: Path) -> None:
    analyze = needs("systemd-analyze")
    installed = UNIT.read_text().replace("/usr/local/bin/", f"{Path(sys.executable).parent}/")
    (tmp_path / UNIT.name).write_text(installed)
    done = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / "tierfs@data.service"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "tierfs@" in line]
    assert not ours and done.returncode == 0, done.stderr


def test_the_unit_lets_others_see_the_mount() -> None:
    assert not [name for name in settings_of(UNIT.read_text()) if re.fullmatch(HIDES_MOUNTS, name)]


def test_the_unit_speaks_of_the_commands_as_they_are() -> None:
    found = settings_of(UNIT.read_text())
    assert found["Type"] == ["notify"] and found["NotifyAccess"] == ["all"]
    words = found["ExecStart"][0].split()
    assert words[1:3] == ["mount", "--foreground"] and words[-3] == "--"


def test_fstab_lines_are_understood() -> None:
    lines = [line.split() for line in (DEPLOY / "fstab.example").read_text().splitlines() if line[:1] not in ("#", "")]
    assert len(lines) == 3
    for source, _, kind, options, *_ in lines:
        assert kind == "tierfs" and mounting.parse_source(source) == source
        words = mounting.parse_options([options])
        assert "_netdev" in options and not set(words.settings) - {"read_only"}


def test_tmpfiles_and_logrotate(tmp_path: Path) -> None:
    tmpfiles = needs("systemd-tmpfiles")
    configuration = DEPLOY / "systemd" / "tierfs.conf"
    done = subprocess.run(
        [tmpfiles, "--create", f"--root={tmp_path}", configuration],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "var/cache/tierfs").stat().st_mode & 0o777 == 0o700
    if (logrotate := shutil.which("logrotate")) is not None:
        done = subprocess.run(
            [logrotate, "--debug", DEPLOY / "logrotate.d" / "tierfs"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 and "error" not in done.stderr


def test_the_manifest_mounts_where_it_looks() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "tierfs.yaml").read_text()))
    assert [document["kind"] for document in documents] == ["Namespace", "ConfigMap", "DaemonSet"]
    container = documents[2]["spec"]["template"]["spec"]["containers"][0]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"] for volume in documents[2]["spec"]["template"]["spec"]["volumes"]}
    assert set(mounts) == volumes and mounts["mounts"]["mountPropagation"] == "Bidirectional"
    place = container["livenessProbe"]["exec"]["command"][-1]
    assert place in container["command"][-1] and place.startswith(mounts["mounts"]["mountPath"])


def test_the_manifests_settings_are_settings(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "tierfs.yaml").read_text()))
    file = tmp_path / "tierfs.toml"
    file.write_text(documents[1]["data"]["tierfs.toml"])
    settings = mounting.config.load(file)
    assert settings.mount.allow_other
    grace_s = documents[2]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert 0 < settings.export.drain_timeout_s < grace_s


def test_the_image_copies_what_is_there() -> None:
    lines = (DEPLOY / "container" / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]]
    assert copied and all((DEPLOY.parent / word).exists() for word in copied)
