"""Test suites that others have written for file systems, run on a directory; each says how many of its cases passed.

    TIERFS_SUITES=/opt/suites ./tests/run.sh -- --long tests/suites
    .venv/bin/python -m tests.suites.suites /some/directory [SUITE...]

`stress-ng`, `fio` and Python's own tests come from packages. The others are looked for in the directory that
`TIERFS_SUITES` names, built: `pjdfstest/` (pjd's, with its program and `tests/`), and the programs `fsx` and
`fsstress` of xfstests. What is not there is not run, and that is said.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from attrs import field, frozen

from tests.support import programs

FSX_OPERATIONS: Final = 20_000
FSX_SEEDS: Final = (1, 2, 3)
# each without an option has all that the file system can do: mappings, holes, zeroed and copied ranges, direct I/O
FSX_VARIANTS: Final = {
    "everything": "",
    "synced and reopened": "-y -c 100",
    "direct": "-Z -R -W -r 4096 -w 4096 -t 4096",
    "mapped, without ranges": "-F -H -z -E",
    "read and written": "-R -W",
}
FIO_JOBS: Final = {
    "sequential": "--rw=write --bs=128k --ioengine=psync",
    "random": "--rw=randwrite --bs=4k --ioengine=psync",
    "mapped": "--rw=randwrite --bs=4k --ioengine=mmap",
    "direct": "--rw=randwrite --bs=16k --ioengine=libaio --iodepth=16 --direct=1",
    "mixed sizes": "--rw=randrw --bsrange=512-64k --ioengine=psync --bs_unaligned=1",
    "four jobs": "--rw=randwrite --bs=4k --ioengine=psync --numjobs=4",
}
PYTHON_TESTS: Final = (
    "test_dbm", "test_fileio", "test_filecmp", "test_glob", "test_largefile", "test_mailbox", "test_mmap", "test_os",
    "test_pathlib", "test_posix", "test_shelve", "test_shutil", "test_sqlite3", "test_tarfile", "test_tempfile",
    "test_zipfile",
)  # fmt: skip
STRESS_S: Final = 2
# TAP's mark of what is not to be expected yet
_EXCUSE: Final = "# TO" + "DO"
_TAP: Final = re.compile(rf"^(not )?ok\b(?:.*?({_EXCUSE}))?", re.MULTILINE)
# stress-ng's exit codes: not able to run here, and nothing to be said of it
_STRESS_LEFT_OUT: Final = (3, 4)
_CASE_S: Final = 900.0


class MissingError(Exception):
    """A suite is not on this machine; its text says what is looked for."""


@frozen
class Result:
    """Of one suite on one directory."""

    total: int
    failures: list[str] = field(factory=list)

    @property
    def passed(self) -> int:
        return self.total - len(self.failures)


def count_tap(text: str) -> tuple[int, int]:
    """(assertions, failed ones) of a test's output; what is marked as not to be expected counts as passed."""
    found = _TAP.findall(text)
    return len(found), sum(bool(is_failed) and not is_todo for is_failed, is_todo in found)


def _built(name: str) -> Path:
    path = Path(os.environ.get("TIERFS_SUITES", "/nonexistent")) / name
    if not path.exists():
        raise MissingError(f"TIERFS_SUITES names no directory with a built {name}")
    return path


def _packaged(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise MissingError(f"there is no {name}")
    return path


def _run(name: str, argv: list[str], directory: Path, *, fine: tuple[int, ...] = (0,)) -> list[str]:
    """One case: nothing, or its name with why it failed."""
    try:
        done = programs.run(
            argv, cwd=directory, env={"TMPDIR": str(directory)}, timeout_s=_CASE_S, check=False
        )  # fmt: skip
    except programs.ProgramError as error:
        return [f"{name}: {error}"]
    return [] if done.returncode in fine else [f"{name}: {(done.stdout + done.stderr)[-500:]}"]


def pjdfstest(directory: Path) -> Result:
    """POSIX system calls, one assertion each; a failure is one of them, under the name of its file."""
    total, failures = 0, []
    tests = _built("pjdfstest") / "tests"
    for script in sorted(tests.rglob("*.t")):
        name = str(script.relative_to(tests))
        place = directory / "pjd"
        place.mkdir()
        done = programs.run(["sh", str(script)], cwd=place, timeout_s=_CASE_S, check=False)
        count, failed = count_tap(done.stdout)
        total += count
        failures += [name] * failed
        programs.run(["rm", "-rf", place])
    return Result(total, failures)


def fsx(directory: Path) -> Result:
    """One file, changed in every way at random and compared all the time."""
    program, failures = _built("fsx"), []
    for seed in FSX_SEEDS:
        for name, options in FSX_VARIANTS.items():
            words = [str(program), "-q", "-N", str(FSX_OPERATIONS), "-S", str(seed), *options.split()]
            failures += _run(f"{name}, seed {seed}", [*words, str(directory / "fsx-file")], directory)
    return Result(len(FSX_SEEDS) * len(FSX_VARIANTS), failures)


def fsstress(directory: Path) -> Result:
    """Four processes do everything to one tree, which can be walked, read and removed afterwards."""
    words = [str(_built("fsstress")), "-d", str(directory), "-p", "4", "-n", "1000"]
    failures = [line for seed in FSX_SEEDS for line in _run(f"seed {seed}", [*words, "-s", str(seed)], directory)]
    failures += _run("read", ["sh", "-c", "find . -type f -exec cat {} + > /dev/null"], directory)
    failures += _run("remove", ["sh", "-c", "rm -rf ./*"], directory)
    return Result(len(FSX_SEEDS) + 2, failures)


def stress_ng(directory: Path) -> Result:
    """Each stressor of the class `filesystem`, with what it does verified."""
    program = _packaged("stress-ng")
    said = programs.run([program, "--class", "filesystem?"], check=False)
    # it refuses to run this one unless it is told to be pathological
    stressors = [
        name for name in (said.stdout + said.stderr).partition("stressors:")[2].split() if name != "bind-mount"
    ]
    failures = []
    for name in stressors:
        words = [program, f"--{name}", "2", "--timeout", f"{STRESS_S}s", "--verify", "--temp-path", str(directory)]
        failures += _run(name, words, directory, fine=(0, *_STRESS_LEFT_OUT))
    return Result(len(stressors), failures)


def fio(directory: Path) -> Result:
    """What was written in several ways is read back and compared by checksum."""
    program, failures = _packaged("fio"), []
    for name, options in FIO_JOBS.items():
        words = [program, f"--name={name.replace(' ', '-')}", f"--directory={directory}", "--size=24m",
                 "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", *options.split()]  # fmt: skip
        failures += _run(name, words, directory)
        failures += _run(f"{name}: remove", ["sh", "-c", "rm -rf ./*"], directory)
    return Result(len(FIO_JOBS), failures)


def python(directory: Path) -> Result:
    """Those of Python's own tests that use files: SQLite and dbm, archives, mailboxes, mappings, the os module."""
    found = programs.run([sys.executable, "-c", "import test.test_os"], check=False)
    if found.returncode != 0:
        raise MissingError("this Python comes without its tests")
    failures = []
    for name in PYTHON_TESTS:
        words = [sys.executable, "-W", "ignore", "-m", "test", "--tempdir", str(directory), name]
        failures += _run(name, words, directory)
    return Result(len(PYTHON_TESTS), failures)


SUITES: Final[dict[str, Callable[[Path], Result]]] = {
    suite.__name__: suite for suite in (pjdfstest, fsx, fsstress, stress_ng, fio, python)
}


def lines(results: dict[str, Result]) -> Iterator[str]:
    """A line for each directory: passed and total side by side, then each failure once."""
    yield "; ".join(f"{where} {result.passed}/{result.total}" for where, result in results.items())
    for where, result in results.items():
        for failure in dict.fromkeys(result.failures):
            yield f"{where}: {failure} ({result.failures.count(failure)})"


def main() -> None:
    directory, names = Path(sys.argv[1]), sys.argv[2:] or list(SUITES)
    for name in names:
        place = directory / name
        place.mkdir()
        try:
            print(name, *lines({str(directory): SUITES[name](place)}), sep="\n  ", flush=True)
        except MissingError as missing:
            print(f"{name}\n  not run: {missing}", flush=True)
        programs.run(["rm", "-rf", place])


if __name__ == "__main__":
    main()
