"""The suites of others on a native directory and on a mount in each mode, side by side; see suites.py."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.suites import suites
from tests.suites.suites import Result
from tests.support.mounts import LIFE_LIMIT_S, mounted, need_root

SUITE_S = 6 * 3600
MODES = ("passthrough", "holder", "pyfuse3")
# what fails on every mount, and why: README's Semantics says the same
LONG_PATHS = (
    "chmod/03.t", "chown/03.t", "ftruncate/03.t", "link/03.t", "mkdir/03.t", "mkfifo/03.t", "mknod/03.t", "open/03.t",
    "rename/02.t", "rmdir/03.t", "symlink/03.t", "truncate/03.t", "unlink/03.t",
)  # fmt: skip
KNOWN = {"pjdfstest": set(LONG_PATHS)}


def test_counting() -> None:
    excuse = "# TO" + "DO"
    said = f"1..4\nok 1\nnot ok 2 - tried this\nnot ok 3 {excuse} Linux is like that\nok 4 {excuse}\n# not ok\n"
    assert suites.count_tap(said) == (4, 1)


def test_failures_are_told_once() -> None:
    results = {"native": Result(3), "holder": Result(3, ["a", "a"])}
    assert list(suites.lines(results)) == ["native 3/3; holder 1/3", "holder: a (2)"]


@pytest.mark.long
@pytest.mark.timeout(SUITE_S)
@pytest.mark.parametrize("name", suites.SUITES)
def test_as_on_a_native_directory(
    name: str,
    tmp_path: Path,
    summarize: Callable[[int, int, int], None],
    record_property: Callable[[str, object], None],
) -> None:
    need_root()
    native = tmp_path / "native"
    native.mkdir()
    try:
        results = {"native": suites.SUITES[name](native)}
    except suites.MissingError as missing:
        pytest.skip(f"{name}: {missing}")
    for mode in MODES:
        (tmp_path / mode / "bucket").mkdir(parents=True)
        settings = {"mount": {"connection": mode}, "hot_tier": {"min_free_bytes": 0}}
        limit_s = SUITE_S - LIFE_LIMIT_S
        source = f"file://{tmp_path}/{mode}/bucket"
        with mounted(source, tmp_path / mode, settings=settings, life_limit_s=limit_s) as mount:
            results[mode] = suites.SUITES[name](mount.path)
            mount.wait_synced()
    for line in suites.lines(results):
        record_property("summary", line)
    beyond = {mode: [case for case in results[mode].failures if case not in KNOWN.get(name, set())] for mode in MODES}
    native_failures = {case.partition(":")[0] for case in results["native"].failures}
    new = {
        mode: [case for case in cases if case.partition(":")[0] not in native_failures]
        for mode, cases in beyond.items()
    }
    summarize(sum(result.total for result in results.values()), 0, sum(map(len, new.values())))
    assert not any(new.values()), new
