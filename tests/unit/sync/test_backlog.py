"""What is pending, and whose it is."""

from pathlib import Path

import pytest
import trio

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings
from tierfs.index import intents
from tierfs.sync import backlog

RESTFUL = ExportSettings(quiet_s=3600, max_dirty_age_s=86400)


def test_a_survey_counts_what_is_left(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        assert backlog.survey(rig.index) == backlog.Backlog(0, 0, 0, None)
        began_ns = rig.clock.now_ns()
        await rig.write("a", bytes(100))
        await trio.sleep(7)
        await rig.write("b", bytes(23))
        rig.mkdir("d")
        left = backlog.survey(rig.index)
        assert (left.count, left.bytes, left.failures) == (intents.count(rig.index), 123, 0)
        assert left.oldest_ns == pytest.approx(began_ns, abs=1e9)
        summary = rig.exporter.pending()
        assert summary.oldest_age_s == pytest.approx(7, abs=1) and summary.failures == 0

    run_rig(tmp_path, main, export=RESTFUL)


@pytest.mark.parametrize("path", ["new/sub/file", "new/sub", "new"])
def test_who_waits_for_a_path_waits_for_the_rename_of_a_directory_above_it(tmp_path: Path, path: str) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("old")
        rig.mkdir("old/sub")
        await rig.write("old/sub/file", b"bytes")
        await rig.sync()
        rig.rename("old", "new")
        with trio.fail_after(10_000):
            await rig.exporter.sync(rig.at(path).ino)
        assert rig.store.content("new/sub/file") == b"bytes"

    run_rig(tmp_path, main, export=RESTFUL)


def test_a_scope_has_what_is_at_or_below_it(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        file = await rig.write("d/file", b"bytes")
        other = await rig.write("other", b"bytes")
        await rig.write("d/gone", b"bytes")
        await rig.sync()
        rig.unlink("d/gone")
        for ino in (file, other):
            with rig.index.transaction() as txn:
                intents.mark_dirty(txn, rig.inode(ino), rig.inode(ino).flags, now_ns=0, quiet_s=3600)
        pending = {intent.ino or intent.key: intent for intent in rig.pending()}

        def is_in(path: str, intent: int | str) -> bool:
            return backlog.is_in_scope(rig.index, rig.locations, rig.at(path).ino, pending[intent])

        assert is_in("d", file) and is_in("d/file", file) and is_in("d", "d/gone") and is_in("", other)
        assert not is_in("other", file) and not is_in("d", other) and not is_in("d/file", "d/gone")

    run_rig(tmp_path, main, export=RESTFUL)
