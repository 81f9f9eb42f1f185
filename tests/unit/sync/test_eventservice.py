"""A mount's events put together: which settings work with which bucket, and what is told of them."""

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.notifications import record, records
from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import EventSettings, ImportSettings
from tierfs.errors import ConfigError
from tierfs.objectstore.settings import S3Settings
from tierfs.sync.eventservice import Events, versions_kept

S3 = S3Settings(bucket="bucket", prefix="p/")


def make(rig: Rig, settings: EventSettings, connection: S3Settings | None = S3, *, read_only: bool = False) -> Events:
    return Events(
        settings=settings, connection=connection, index=rig.index, store=rig.store, locations=rig.locations,
        importer=rig.importer, activity=rig.activity, flow=rig.flow, clock=rig.clock, read_only=read_only,
    )  # fmt: skip


def webhook(tmp_path: Path, **changes: Any) -> EventSettings:
    token = tmp_path / "token"
    token.write_text("a-token-of-the-tests")
    token.chmod(0o600)
    return EventSettings(source="webhook", listen="127.0.0.1:0", token_file=str(token), **changes)


def test_settings_that_lack_something() -> None:
    for source, missing in (("sqs", "queue_url"), ("webhook", "token_file")):
        with pytest.raises(ValueError, match=missing):
            EventSettings(source=source)
    with pytest.raises(ValueError, match="sweep_s"):
        EventSettings(source="poll", sweep_s=0)
    assert versions_kept(EventSettings()) == versions_kept(EventSettings(source="poll")) == 1
    assert versions_kept(EventSettings(source="sqs", queue_url="https://queue/1/q")) > 1000


def test_without_a_source_nothing_runs(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        events = make(rig, EventSettings(), None)
        async with events.running():
            await trio.sleep(50_000)
        assert events.status() == {"source": "none"} and not rig.store.requests
        assert events.import_age_s() is None
        with pytest.raises(ConfigError, match="directory"):
            await events.set_up(target_arn="", dry_run=True)
        with pytest.raises(ConfigError, match="--arn"):
            await make(rig, EventSettings()).set_up(target_arn="", dry_run=True)

    run_rig(tmp_path, main)


def test_polling_a_directory(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        events = make(rig, EventSettings(source="poll", sweep_s=10), None)
        await rig.list()
        assert events.import_age_s() is None
        async with events.running():
            rig.put_remote("f")
            await trio.sleep(11)
            age_s = events.import_age_s()
        assert age_s == pytest.approx(1, abs=0.5), "since the last sweep"
        assert rig.names() == ["f"]
        status = events.status()
        assert (status["source"], status["sweep"]["sweeps"], status["sweep"]["found"]) == ("poll", 1, 1)
        assert "state" not in status

    run_rig(tmp_path, main, import_=ImportSettings(revalidate_s=86_400))


def test_a_directory_has_no_queue(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        with pytest.raises(ConfigError, match='"poll" works'):
            make(rig, webhook(tmp_path), None)

    run_rig(tmp_path / "rig", main)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_read_only_mount_writes_no_canary(tmp_path: Path, read_only: bool) -> None:
    async def main(rig: Rig) -> None:
        events = make(rig, webhook(tmp_path), read_only=read_only)
        async with events.running():
            await rig.idle()
            assert bool(rig.store.requests["put"]) is not read_only
            status = events.status()
            assert (status["state"], status["missed"], status["address"]) == ("unproven", 0, "127.0.0.1:0")
            assert ("read-only" in status["reason"]) is read_only

    run_rig(tmp_path / "rig", main)


def test_while_events_flow_the_oldest_that_waits_says_how_far_behind_the_mount_is(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        events = make(rig, webhook(tmp_path))
        await rig.list()
        async with events.running(), trio.open_nursery() as nursery:
            assert events.import_age_s() is None, "nothing has come back yet"
            events._flow.prove(rig.clock.now_ns())
            assert events.import_age_s() == 0.0
            rig.store.hold("head")
            nursery.start_soon(events._feed.take, records(record("ObjectCreated:Put", "bucket", "p/new", etag="1")))
            await rig.idle()
            await trio.sleep(3)
            assert events.import_age_s() == pytest.approx(3, abs=0.5)
            rig.store.release("head")
            await rig.idle()
            assert events.import_age_s() == 0.0

    run_rig(tmp_path / "rig", main, import_=ImportSettings(revalidate_s=86_400))
