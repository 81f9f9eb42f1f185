"""Settings that are changed while a mount lives: the parts follow at once, and what may not be changed is told."""

import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.sync_rig import Rig, run_rig
from tierfs.config import Settings
from tierfs.config.describe import describe
from tierfs.config.live import LIVE
from tierfs.errors import ConfigError
from tierfs.index import settings as stored
from tierfs.tuning import Tuning


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


def tuning(rig: Rig, *, goes_on: bool = False) -> Tuning:
    return Tuning(
        Settings(), index=rig.index, exporter=rig.exporter, importer=rig.importer, rules=rig.rules, goes_on=goes_on
    )


def run(tmp_path: Path, scenario: Callable[[Rig], Awaitable[None]]) -> None:
    run_rig(tmp_path, scenario)


def test_every_live_setting_is_a_setting() -> None:
    assert {f"{info.section}.{info.name}" for info in describe()} >= LIVE


def test_the_parts_follow(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        tuned = tuning(rig)
        for name, text in {
            "export.quiet_s": "90s",
            "export.concurrency": "3",
            "import.revalidate_s": "7s",
            "import.head_concurrency": "2",
            "guard.removed_max": "11",
            "log.level": "warning",
        }.items():
            assert tuned.set(name, text) == name
        await rig.write("a", b"x")
        assert rig.pending()[0].not_before_ns - rig.clock.now_ns() > 80 * 10**9
        assert rig.exporter.settings.concurrency == 3 and rig.exporter.records.quiet_s == 90.0
        assert rig.importer.settings.revalidate_s == 7.0 and rig.importer.heads.total_tokens == 2
        assert rig.guard.limits.entries_max == 11
        assert logging.getLogger().level == logging.WARNING
        assert tuned.settings.export.quiet_s == 90.0

    run(tmp_path, main)


def test_a_shorter_rest_counts_for_what_is_written_then(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        tuned = tuning(rig)
        tuned.set("export.quiet_s", "1h")
        tuned.set("export.quiet_s", "0s")
        await rig.write("a", b"x")
        await rig.idle()
        assert rig.is_settled

    run(tmp_path, main)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("export.qiet_s", "1s", "did you mean 'quiet_s'"),
        ("export.quiet_s", "soon", "not a duration"),
        ("export.concurrency", "0", "at least 1"),
        ("index.durability", "operation", "mount again"),
        ("read_only", "true", "mount again"),
    ],
)
def test_what_cannot_be_set_changes_nothing(tmp_path: Path, name: str, text: str, why: str) -> None:
    async def main(rig: Rig) -> None:
        tuned = tuning(rig)
        with pytest.raises(ConfigError, match=why):
            tuned.set(name, text)
        assert tuned.settings == Settings()

    run(tmp_path, main)


def test_it_holds_over_a_restart_and_not_over_a_mount(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        tuning(rig).set("export.quiet_s", "90s")
        assert tuning(rig, goes_on=True).settings.export.quiet_s == 90.0
        assert tuning(rig).settings.export.quiet_s == Settings().export.quiet_s
        assert tuning(rig, goes_on=True).settings == Settings()  # the new mount has forgotten it

    run(tmp_path, main)


def test_what_another_version_has_set_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(rig: Rig) -> None:
        with rig.index.transaction() as txn:
            stored.put(txn, "tuned", json.dumps({"export.gone": "1", "export.quiet_s": "90s"}).encode())
        assert tuning(rig, goes_on=True).settings.export.quiet_s == 90.0

    run(tmp_path, main)
    assert "export.gone was set before" in caplog.text
