"""An archive for those who help: what doctor found, the settings, the end of the log and facts of the machine.

Names of files and of the bucket are in it, as in the log; secrets are not. They are taken out twice: texts that are
known to be secrets here (the environment of this process and of the daemon, the AWS configuration files, the webhook's
token) wherever they stand, then whatever looks like one (`telemetry.scrub`).
"""

import io
import json
import os
import platform
import re
import tarfile
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tierfs import config
from tierfs.cli.doctoring.report import Report, log_of
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.objectstore.secrets import configured_secrets, secret_values
from tierfs.telemetry.logs import scrub

LOG_TAIL_BYTES: Final = 1 << 20
_FILE_LIMIT_BYTES: Final = 1 << 20
_FACTS: Final = ("version", "self/mountinfo", "meminfo", "loadavg", "sys/fs/file-nr", "sys/fs/inotify/max_user_watches")
_USERINFO: Final = re.compile(r"(?<=://)[^/\s@]+(?=@)")
# values that say how the store is reached; of all other names only the name is told
_TOLD: Final = re.compile(r"(AWS_(REGION|DEFAULT_REGION|PROFILE|ENDPOINT_URL\w*|CA_BUNDLE)|TIERFS_\w+|HTTPS?_PROXY)")
_PACKAGES: Final = ("tierfs", "attrs", "boto3", "botocore", "lmdb", "obstore", "pyfuse3", "trio", "xxhash")


def write(report: Report, target: Path) -> None:
    """Makes the archive at `target`, for its owner alone. ExitError where it cannot, or where there is a file."""
    pid = int(report.status["pid"]) if report.status is not None else None
    environments = [dict(os.environ), *([_environment_of(pid)] if pid is not None else [])]
    redact = Redactor(_known_secrets(report, environments))
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ExitError(ExitCode.FAILED, f"cannot write {target}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in _texts(report, environments[-1], pid):
            _add(archive, f"tierfs-support/{name}", redact(text))


class Redactor:
    """Takes secrets out of a text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spelled = {form for secret in secrets for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
        # the longer ones first: a secret may begin with another
        self._secrets = sorted(spelled - {""}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _USERINFO.sub("***", scrub(text))


def _known_secrets(report: Report, environments: Iterable[Mapping[str, str]]) -> set[str]:
    found = configured_secrets()
    for environment in environments:
        found |= secret_values({name: value for name, value in environment.items() if not _TOLD.fullmatch(name)})
    token_file = report.daemon_settings.get("events.token_file", "").strip('"') or report.settings.events.token_file
    found.add(_read(Path(token_file)).strip() if token_file else "")
    return found


def _texts(report: Report, environment: Mapping[str, str], pid: int | None) -> Iterable[tuple[str, str]]:
    yield "report.json", json.dumps(report.as_json(), indent=2)
    if report.status is not None:
        yield "status.json", json.dumps(report.status, indent=2)
    if report.daemon_settings:
        lines = (f"{key} = {value}" for key, value in report.daemon_settings.items())
        yield "settings-of-daemon.txt", "\n".join(lines)
    file = Path(report.subject.config_file or config.DEFAULT_CONFIG_PATH)
    yield "tierfs.toml", _read(file)
    yield "log.txt", _tail(log_of(report))
    yield (
        "environment.txt",
        "\n".join(f"{name}={value}" if _TOLD.fullmatch(name) else name for name, value in sorted(environment.items())),
    )
    yield "packages.txt", "\n".join(f"{name} {_version_of(name)}" for name in _PACKAGES)
    facts = [f"{platform.platform()} {platform.machine()} Python {platform.python_version()}"]
    names = [*_FACTS, *((f"{pid}/status", f"{pid}/limits") if pid is not None else ())]
    facts += [f"--- /proc/{name}\n{_read(Path('/proc', name))}" for name in names]
    yield "machine.txt", "\n".join([*facts, f"--- /etc/os-release\n{_read(Path('/etc/os-release'))}"])


def _tail(path: Path | None) -> str:
    if path is None:
        return "(no mount, no log)"
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError as error:
        return f"({path}: {error.strerror}; a unit's log is in its journal)"


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_LIMIT_BYTES).decode(errors="replace")
    except OSError as error:
        return f"({path}: {error.strerror})"


def _environment_of(pid: int) -> dict[str, str]:
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}  # another user's daemon: its secrets are not known here, and what it says is scrubbed
    pairs = (os.fsdecode(word).partition("=") for word in data.split(b"\0") if word)
    return {name: value for name, _, value in pairs}


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode(errors="backslashreplace")
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
    archive.addfile(member, io.BytesIO(data))
