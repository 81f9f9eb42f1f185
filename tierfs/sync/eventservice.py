"""Events for one mount, put together: a source, the feed, the canary, the sweep, and what is told of them.

With source "none" nothing runs. A read-only mount writes no canary: events are applied all the same, but nothing
proves that they arrive, and directories are listed again as without them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from tierfs.clock import Clock
from tierfs.config.sections import EventSettings
from tierfs.errors import ConfigError
from tierfs.index.env import Index
from tierfs.namespace.locations import Locations
from tierfs.objectstore import notifications
from tierfs.objectstore.base import ObjectStore
from tierfs.objectstore.queue import Queue
from tierfs.objectstore.settings import S3Settings
from tierfs.objectstore.sqs import SqsQueue
from tierfs.sync.activity import Activity
from tierfs.sync.eventfeed import Feed
from tierfs.sync.eventflow import Canary, Flow, FlowState
from tierfs.sync.importer import Importer
from tierfs.sync.queuesource import QueueSource
from tierfs.sync.sweep import Missed, Sweep
from tierfs.sync.webhook import Webhook, parse_address, read_token
from tierfs.units import NS_PER_S

_OWN_VERSIONS_KEPT: Final = 20_000
_TOLD: Final = ("sqs", "webhook")


def versions_kept(settings: EventSettings) -> int:
    """How many own writes to remember until their events have come; one that is forgotten costs a HEAD."""
    return _OWN_VERSIONS_KEPT if settings.source in _TOLD else 1


class Events:
    """`running` once, in the daemon's nursery; `status` and `set_up` for tierctl."""

    def __init__(
        self,
        *,
        settings: EventSettings,
        connection: S3Settings | None,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        importer: Importer,
        activity: Activity,
        flow: Flow,
        clock: Clock,
        read_only: bool,
        listings: int = 1,
    ) -> None:
        """`connection`: how the bucket is reached, None for a directory; `listings`: of a sweep. ConfigError."""
        if connection is None and settings.source in _TOLD:
            raise ConfigError(f'[events] source: a directory sends no events to "{settings.source}"; "poll" works')
        self._settings = settings
        self._connection = connection
        self._flow = flow
        self._clock = clock
        self._read_only = read_only
        self._missed = Missed(settings.lost_after_s)
        self._canary = Canary(
            index=index, store=store, flow=flow, clock=clock, interval_s=settings.canary_s,
            lost_after_s=settings.lost_after_s,
        )  # fmt: skip
        self._feed = Feed(
            index=index, locations=locations, importer=importer, activity=activity, canary=self._canary, clock=clock,
            bucket=connection.bucket if connection is not None else "",
            prefix=connection.prefix if connection is not None else "", on_told=self._missed.told,
        )  # fmt: skip
        self._sweep = Sweep(
            index=index, importer=importer, clock=clock, interval_s=settings.sweep_s, on_found=self._missed.found,
            listings=listings,
        )  # fmt: skip
        self._webhook = self._make_webhook()

    def _make_webhook(self) -> Webhook | None:
        if self._settings.source != "webhook":
            return None
        host, port = parse_address(self._settings.listen)
        token = read_token(Path(self._settings.token_file))
        return Webhook(host=host, port=port, token=token, take=self._feed.take, flow=self._flow)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything at work for the body. ConfigError when the webhook's address cannot be used."""
        settings = self._settings
        async with trio.open_nursery() as nursery:
            if settings.source in _TOLD:
                await nursery.start(self._feed.run)
                if self._webhook is not None:
                    await nursery.start(self._webhook.run)
                else:
                    nursery.start_soon(self._read_queue)
                if not self._read_only:
                    nursery.start_soon(self._canary.run)
            if settings.source != "none" and settings.sweep_s:
                nursery.start_soon(self._sweep.run)
            yield
            nursery.cancel_scope.cancel()

    async def _read_queue(self) -> None:
        assert self._connection is not None, "checked when it was made"
        visibility_s = int(self._settings.visibility_s)
        queue: Queue = SqsQueue(self._settings.queue_url, self._connection, visibility_s=visibility_s)
        try:
            await QueueSource(queue=queue, take=self._feed.take, flow=self._flow, visibility_s=visibility_s).run()
        finally:
            await queue.aclose()

    # ---- for tierctl ----

    def status(self) -> dict[str, Any]:
        """As JSON values; see `control.service.Daemon.status`."""
        settings, counts, swept = self._settings, self._feed.counts, self._sweep.counts
        status: dict[str, Any] = {"source": settings.source}
        if settings.source == "none":
            return status
        status["sweep"] = {
            "interval_s": settings.sweep_s,
            "sweeps": swept.sweeps,
            "directories": swept.directories,
            "found": swept.found,
            "last_age_s": self._age_s(swept.last_ns),
            "is_running": swept.is_running,
        }
        if settings.source == "poll":
            return status
        return status | {
            "address": settings.queue_url if settings.source == "sqs" else settings.listen,
            "state": self._flow.state.value,
            "state_age_s": self._age_s(self._flow.changed_ns),
            "reason": self._reason(),
            "last_event_age_s": self._age_s(counts.last_event_ns),
            "lag_s": counts.lag_s,
            "received": counts.received,
            "applied": counts.applied,
            "own": counts.own,
            "known": counts.known,
            "ignored": counts.ignored,
            "malformed": counts.malformed,
            "errors": counts.errors,
            "refused": self._webhook.refused if self._webhook is not None else 0,
            "pending": self._feed.pending,
            "missed": self._missed.settle(),
            "missed_examples": list(self._missed.examples),
        }

    def import_age_s(self) -> float | None:
        """By how much the directories in use may be behind the bucket, in seconds.

        While events flow: since when the oldest change that was told of waits to be looked at; 0.0 when none does. Else
        the time since the last sweep, which may be under way; None before the first one, and without any source.
        """
        told_ns = self._feed.oldest_ns
        if self._settings.source in _TOLD and self._flow.state is FlowState.FLOWING:
            return (self._clock.now_ns() - told_ns) / NS_PER_S if told_ns is not None else 0.0
        return self._age_s(self._sweep.counts.last_ns)

    def _reason(self) -> str:
        """Why events are not relied on."""
        if self._read_only and self._flow.state is FlowState.UNPROVEN:
            return "a read-only mount writes nothing whose event could come back"
        return self._flow.reason

    def _age_s(self, time_ns: int) -> float | None:
        return (self._clock.now_ns() - time_ns) / NS_PER_S if time_ns else None

    async def set_up(self, *, target_arn: str, dry_run: bool) -> dict[str, Any]:
        """Configures the bucket (see `objectstore.notifications`). ConfigError, StoreError."""
        if self._connection is None:
            raise ConfigError("a directory sends no events")
        if not target_arn and not self._settings.queue_url:
            raise ConfigError("[events] queue_url is not set, so name the target with --arn")
        outcome = await notifications.set_up(
            self._connection, queue_url=self._settings.queue_url, target_arn=target_arn, dry_run=dry_run
        )
        return {
            "bucket": outcome.bucket,
            "target_arn": outcome.queue_arn,
            "dry_run": dry_run,
            "changes": [{"where": change.where, "what": dict(change.what)} for change in outcome.changes],
        }
