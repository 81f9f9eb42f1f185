"""tierfs fsck: checks the cache of a mount that is not mounted, and puts right what can be.

It takes the cache's lock, so it cannot meet a daemon. Without --repair nothing is changed but what every start does:
the journal is applied. The checks are those of `content.checkup`; here is what a user says and sees.
"""

import argparse
import os
from pathlib import Path
from typing import Any, Final

from tierfs import config, translation
from tierfs.cli import terminal
from tierfs.clock import SystemClock
from tierfs.content import checkup
from tierfs.content.checkup import Outcome
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.hottier.disk import Disk
from tierfs.hottier.files import HotFiles
from tierfs.index.env import Index
from tierfs.index.lock import lock_directory
from tierfs.policy.fsck import Finding, repair_of
from tierfs.units import format_size

_SHOWN_MAX: Final = 1000


def run(options: argparse.Namespace) -> int:
    """Carries it out; returns the exit code."""
    if options.repair and options.rebuild:
        raise ExitError(ExitCode.USAGE, "--repair is for an index that is there, --rebuild for one that is past it")
    if options.yes and not (options.repair or options.rebuild):
        raise ExitError(ExitCode.USAGE, "--yes is for --repair and --rebuild")
    cache = Path(os.path.realpath(options.cache))
    if options.rebuild:
        return rebuild(cache, does_it=options.yes, as_json=options.json)
    if not (cache / "index" / "lmdb" / "data.mdb").is_file():
        raise ExitError(ExitCode.NOT_FOUND, f"{options.cache} is no cache of tierfs: it has no index")
    settings = config.load(Path(options.config).absolute() if options.config else None, {})
    index = Index.open(cache / "index", clock=SystemClock(), settings=translation.index_settings(settings))
    hot = HotFiles(Disk(), cache / "hot")
    try:
        hot.prepare()
        report = _Report(as_json=options.json, with_plan=options.repair and not options.yes)
        if options.repair and options.yes:
            left = checkup.repair(index, hot, report.repaired)
            return report.end(left)
        for finding in checkup.find(index, hot):
            report.found(finding)
        return report.end(report.count)
    finally:
        # a clean end says that the hot tier is on the disk as the index knows it
        hot.disk.sync_file_system(hot.root)
        index.close()


def rebuild(cache: Path, *, does_it: bool, as_json: bool) -> int:
    """Puts the index away, where there is one. The next mount finds a hot tier of an index that is gone."""
    if not (cache / "hot").is_dir():
        raise ExitError(ExitCode.NOT_FOUND, f"{cache} is no cache of tierfs: it has no hot tier")
    hot, index = HotFiles(Disk(), cache / "hot"), cache / "index"
    counts = _count(hot)
    target = None
    if index.is_dir():
        lock = lock_directory(index)
        try:
            target = hot.disk.move(index, cache / "index.lost") if does_it else cache / "index.lost"
        finally:
            os.close(lock)
    if as_json:
        told = None if target is None else str(target)
        terminal.print_json({"index": told, "is_done": does_it, **counts})
        return ExitCode.OK
    if target is not None:
        print(terminal.printable(f"the index {'is now' if does_it else 'would go to'} {target}"))
    print(
        f"the hot tier has {counts['files']} files, {format_size(counts['bytes'])}; {counts['labelled']} of them, "
        f"{format_size(counts['labelled_bytes'])}, say that they were not uploaded, and where they belong"
    )
    print("the next mount makes an index from the bucket and brings them back: see tierctl tasks list")
    return ExitCode.OK


def _count(hot: HotFiles) -> dict[str, int]:
    counts = dict.fromkeys(("files", "bytes", "labelled", "labelled_bytes"), 0)
    for inos in hot.inos():
        for ino in inos:
            stat, label = hot.stat(ino), hot.label(hot.place(ino))
            size_bytes = stat.size_bytes if stat is not None else 0
            counts["files"] += 1
            counts["bytes"] += size_bytes
            if label is not None:
                counts["labelled"] += 1
                counts["labelled_bytes"] += size_bytes
    return counts


class _Report:
    """Tells findings as they come; the first thousand in words, all of them in numbers."""

    def __init__(self, *, as_json: bool, with_plan: bool) -> None:
        self.count = 0
        self._repairs = 0
        self._as_json = as_json
        self._with_plan = with_plan
        self._rows: list[dict[str, Any]] = []

    def found(self, finding: Finding) -> None:
        """One that is only told."""
        self.count += 1
        text = f"{finding}; {repair_of(finding).value}" if self._with_plan else str(finding)
        self._tell(finding, text, {"repair": repair_of(finding).name.lower()})

    def repaired(self, outcome: Outcome) -> None:
        """One that was put right."""
        self.count += 1
        self._repairs += 1
        where = f" as {outcome.saved}" if outcome.saved is not None else ""
        saved = str(outcome.saved) if outcome.saved is not None else None
        text = f"{outcome.finding}; {outcome.how.value}{where}"
        self._tell(outcome.finding, text, {"repair": outcome.how.name.lower(), "saved": saved})

    def _tell(self, finding: Finding, text: str, more: dict[str, Any]) -> None:
        if self.count > _SHOWN_MAX:
            return
        if self._as_json:
            kind = finding.kind.name.lower()
            self._rows.append({"kind": kind, "ino": finding.ino, "detail": finding.detail, **more})
        else:
            print(terminal.printable(text))

    def end(self, left: int) -> int:
        """The last line, and the exit code."""
        if self._as_json:
            terminal.print_json({"findings": self._rows, "repaired": self._repairs, "left": left})
        elif not self._repairs and not left:
            print("nothing is wrong")
        else:
            print(f"{self._repairs} repaired, {left} left")
        if left:
            return ExitCode.DAMAGED
        return ExitCode.REPAIRED if self._repairs else ExitCode.OK
