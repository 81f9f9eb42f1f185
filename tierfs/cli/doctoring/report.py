"""One report: what is looked at, in which order, and what came out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from tierfs import __version__, config
from tierfs import native as kernels
from tierfs.cli import mounting
from tierfs.cli.doctoring import machine, store
from tierfs.cli.terminal import SCHEMA
from tierfs.config import Settings
from tierfs.control import registry
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitError
from tierfs.control.registry import Entry
from tierfs.errors import ConfigError, TierfsError
from tierfs.fuse.holder import executable
from tierfs.objectstore.examination import Examination
from tierfs.policy import diagnosis
from tierfs.policy.diagnosis import Finding, Severity, worst

_SILENCE_S: Final = 20.0  # the daemon sends a sign of life every few seconds while it asks the bucket


@frozen(kw_only=True)
class Subject:
    """What a report is about: this machine, and a running mount, or a source that could be mounted, or neither."""

    entry: Entry | None = None
    source: str = ""
    cache: str = ""
    config_file: str = ""
    options: Mapping[str, str] = field(factory=dict)


@define
class Report:
    """Findings, and the answers of the daemon that they were made of."""

    subject: Subject
    settings: Settings
    findings: list[Finding] = field(factory=list)
    status: Mapping[str, Any] | None = None
    daemon_settings: Mapping[str, str] = field(factory=dict)  # as TOML, by section.key

    def as_json(self) -> dict[str, Any]:
        """See README, Operating."""
        entry = self.subject.entry
        return {
            "schema": SCHEMA,
            "version": __version__,
            "mountpoint": entry.mountpoint if entry is not None else None,
            "source": entry.source if entry is not None else self.subject.source or None,
            "worst": worst(self.findings).name.lower(),
            "findings": [
                {
                    "check": one.check,
                    "severity": one.severity.name.lower(),
                    "message": one.message,
                    "reason": one.reason,
                    "action": one.action,
                }
                for one in self.findings
            ],
        }


def examine(subject: Subject) -> Report:
    """Looks at everything. Raises nothing but ExitError for a subject that is none."""
    settings, finding = _settings(subject)
    report = Report(subject, settings, [finding])
    examination = _ask_daemon(report) if subject.entry is not None else None
    pid = int(report.status["pid"]) if report.status is not None else None
    report.findings[:0] = _machine(pid)
    report.findings += _disk(report)
    if examination is None and (source := _source(subject)):
        try:
            examination = store.examined(settings, source)
        except TierfsError as error:
            report.findings.append(diagnosis.config(str(error), subject.config_file))
    if examination is not None:
        report.findings += _bucket(examination, read_only=_is_read_only(report))
    return report


def _settings(subject: Subject) -> tuple[Settings, Finding]:
    """The defaults go on where the file cannot be used: the other checks tell something all the same."""
    path = Path(subject.config_file).absolute() if subject.config_file else None
    named = str(path or config.DEFAULT_CONFIG_PATH)
    try:
        settings = config.load(path, subject.options)
    except ConfigError as error:
        return Settings(), diagnosis.config(str(error), named)
    return settings, diagnosis.config("", named if path or config.DEFAULT_CONFIG_PATH.exists() else "")


def _source(subject: Subject) -> str:
    return subject.entry.source if subject.entry is not None else subject.source


def _is_read_only(report: Report) -> bool:
    return bool(report.status["read_only"]) if report.status is not None else report.settings.mount.read_only


def _machine(pid: int | None) -> list[Finding]:
    """Of the daemon where one runs, of this process otherwise: a mount would have what it has."""
    findings = [
        diagnosis.kernel(machine.kernel_release()),
        diagnosis.fuse(machine.fuse_problem()),
        diagnosis.native("" if kernels.ACCELERATED else kernels.why_not, has_holder=executable() is not None),
        diagnosis.privileges(is_root=machine.is_root(pid), has_sys_admin=machine.has_sys_admin(pid)),
    ]
    limits = machine.descriptor_limits(pid)
    return findings if limits is None else [*findings, diagnosis.descriptors(*limits)]


def _disk(report: Report) -> list[Finding]:
    subject = report.subject
    if subject.entry is not None:
        cache = Path(subject.entry.cache)
    elif subject.cache:
        cache = Path(subject.cache).absolute()
    elif subject.source:
        # any place will do: the directory above the caches of all mounts is what counts
        cache = mounting.default_cache(subject.source, Path("/")).parent
    else:
        return []
    reserve_bytes = report.settings.hot_tier.min_free_bytes
    try:
        disk = machine.cache_disk(cache)
        log = log_of(report) or cache / mounting.BACKGROUND_LOG
        room = machine.cache_disk(log)
    except OSError as error:
        text = f"{cache}: {error.strerror}"
        return [Finding("cache-space", Severity.ERROR, text, "nothing can be kept there", "choose another --cache")]
    return [*diagnosis.cache(disk, reserve_bytes=reserve_bytes), diagnosis.log_room(str(log), room.free_bytes)]


def log_of(report: Report) -> Path | None:
    """Where the daemon of the mount writes its log, or one would by the settings; None: nobody says."""
    named = report.daemon_settings.get("log.file", "").strip('"') or report.settings.log.file
    if named:
        return Path(named)
    entry = report.subject.entry
    return Path(entry.cache, mounting.BACKGROUND_LOG) if entry is not None else None


def _bucket(found: Examination, *, read_only: bool) -> list[Finding]:
    findings = [diagnosis.bucket_verb(one.verb, one.error, one.message, read_only=read_only) for one in found.tried]
    findings.append(diagnosis.clock(found.ahead_s))
    if not any(one.error for one in found.tried):
        findings += diagnosis.server(found.warnings)
    return findings


def _ask_daemon(report: Report) -> Examination | None:
    """What the daemon says of itself and of its bucket, with its own rights; None where it does not answer."""
    entry = report.subject.entry
    assert entry is not None
    try:
        with Client(entry.socket, silence_limit_s=_SILENCE_S) as client:
            report.status = client.call("status")
            report.findings += _running(report.status)
            shown = client.call("settings")["settings"]
            report.daemon_settings = {row["key"]: row["value"] for row in shown}
            return Examination.from_json(client.call("examine"))
    except ExitError as error:
        hint = registry.stale_message(entry) if not registry.is_running(entry) else "tierctl restart, or its log"
        reason = "the rest was looked at by tierctl itself, with its own rights"
        report.findings.append(Finding("daemon", Severity.ERROR, str(error), reason, hint))
        return None


def _running(status: Mapping[str, Any]) -> list[Finding]:
    findings = [diagnosis.versions(__version__, str(status["version"])), diagnosis.mode(status["mode"], _why(status))]
    if status.get("redacted"):
        return findings
    if status.get("holder_pid"):
        findings.append(diagnosis.holder_program(is_replaced=machine.is_program_replaced(status["holder_pid"])))
    tier, degraded, held = status["tier"], status.get("degraded"), status.get("removals")
    return findings + diagnosis.state(
        degraded=str(degraded["reason"]) if degraded else "",
        failing=[(one["path"], one["error"]) for one in status.get("failing_exports", [])],
        conflicts=int(status.get("conflicts", 0)),
        held=int(held["names"]) if held else 0,
        full_share=tier["dirty_bytes"] / tier["size_bytes"] if tier["size_bytes"] else 0.0,
    )


def _why(status: Mapping[str, Any]) -> str:
    return str(status.get("mode_reason", ""))
