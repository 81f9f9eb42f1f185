"""Composition root: builds every part of one mount, owns the root nursery and the signals.

Order of a start: cache lock and index (journal replayed), store checked, hot tier recovered, FUSE
mounted, then `ready`. Order of a stop: unmounted, so that no request comes any more; exports drained or
left for the next mount; index closed clean. A second signal stops the draining.
"""

import functools
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import trio
from attrs import define

from tierfs import faultpoints, memory, translation
from tierfs.clock import Clock, SystemClock
from tierfs.config import Settings
from tierfs.content.handles import Files
from tierfs.control import registry, salvaging, server
from tierfs.control.archiving import ArchivedParts, Archiving
from tierfs.control.conflicts import Conflicts
from tierfs.control.costverbs import CostVerbs
from tierfs.control.desk import Desk
from tierfs.control.inspector import Inspector, MountFacts
from tierfs.control.metering import Metering
from tierfs.control.observing import ObservingVerbs
from tierfs.control.operating import OperatorVerbs
from tierfs.control.profiling import ProfileVerbs
from tierfs.control.removals import Removals
from tierfs.control.renametasks import RenameTasks
from tierfs.control.restarting import Restart
from tierfs.control.salvaging import Salvage
from tierfs.control.service import Service, group_id
from tierfs.control.servicemanager import ServiceManager
from tierfs.control.stopping import Stop
from tierfs.control.tasks import TaskDesk
from tierfs.control.taskverbs import TaskVerbs
from tierfs.control.tieringverbs import TieringVerbs
from tierfs.control.usage import Usage
from tierfs.control.verbs import VerbGroup
from tierfs.control.versions import Versions
from tierfs.control.watching import Watching
from tierfs.filesystem import FileSystem
from tierfs.fuse import session
from tierfs.fuse import takeover as takeovers
from tierfs.fuse.calls import Calls
from tierfs.fuse.convert import Timeouts
from tierfs.fuse.directories import Directories
from tierfs.fuse.failures import Failures
from tierfs.fuse.holder import Use
from tierfs.fuse.kernel import Kernel
from tierfs.fuse.observer import Observer
from tierfs.fuse.operations import Operations
from tierfs.fuse.takeover import Takeover
from tierfs.hottier.files import HotFiles
from tierfs.hottier.space import Space
from tierfs.index.env import Index
from tierfs.namespace.authority import SoleNode
from tierfs.namespace.capacity import BucketCapacity
from tierfs.namespace.changes import TreeSettings
from tierfs.namespace.locations import Locations
from tierfs.namespace.tree import Tree
from tierfs.objectstore.opening import open_store
from tierfs.objectstore.retrying import RetryingStore
from tierfs.policy.merge import ConflictRules, Policy
from tierfs.policy.tasks import TaskKind
from tierfs.sync import eventservice
from tierfs.sync.activity import Activity
from tierfs.sync.apply import Applier
from tierfs.sync.bell import Bell
from tierfs.sync.eventflow import Flow
from tierfs.sync.eventservice import Events
from tierfs.sync.exporter import Exporter
from tierfs.sync.guard import Guard
from tierfs.sync.history import History
from tierfs.sync.importer import Importer
from tierfs.sync.introduction import introduce
from tierfs.sync.jobs import Mount, makers
from tierfs.sync.labelling import Labeller
from tierfs.sync.news import News
from tierfs.sync.pathrules import PathRules
from tierfs.sync.paths import class_of_key
from tierfs.sync.scan import Scan
from tierfs.sync.scrubbing import ScrubLimits
from tierfs.sync.subtree import Subtree
from tierfs.sync.tasks import Tasks
from tierfs.sync.verdicts import Verdicts
from tierfs.telemetry.accesses import AccessLog
from tierfs.telemetry.counters import Counters
from tierfs.telemetry.meters import Meters
from tierfs.telemetry.oplog import OperationLog
from tierfs.tiering.demotion import Demotions
from tierfs.tiering.engine import Engine
from tierfs.tiering.hottier import open_hot_tier
from tierfs.tiering.mounted import Tiering
from tierfs.tiering.rulebook import check_classes
from tierfs.tiering.spending import Accounts, accounts_of
from tierfs.tuning import Tuning

log = logging.getLogger(__name__)


@define
class _Parts:
    """One mount, built."""

    index: Index
    store: RetryingStore
    hot: HotFiles
    space: Space
    locations: Locations
    tree: Tree
    files: Files
    importer: Importer
    exporter: Exporter
    events: Events
    verdicts: Verdicts
    history: History
    kernel: Kernel
    fs: FileSystem
    rules: PathRules
    news: News
    observer: Observer
    tiering: Tiering
    engine: Engine
    tuning: Tuning
    archiving: Archiving
    accounts: Accounts


def run(settings: Settings, source: str, mountpoint: Path, cache: Path, ready: Callable[[], None]) -> int:
    """Mounts `source` at `mountpoint` and serves until it is unmounted; returns the exit code, 0.

    `ready` is called once, when programs can use the mount. Raises TierfsError when it cannot be mounted.
    """
    memory.bound()
    return trio.run(_main, settings, source, mountpoint, cache, ready)


def try_out(settings: Settings, source: str) -> None:
    """Asks the bucket whether a daemon with these settings could use it, and nothing more. Raises TierfsError."""

    async def ask() -> None:
        store = open_store(source, translation.store_settings(settings))
        try:
            await store.check()
        finally:
            await store.aclose()

    trio.run(ask)


async def _main(settings: Settings, source: str, mountpoint: Path, cache: Path, ready: Callable[[], None]) -> int:
    clock, stop = SystemClock(), Stop(mountpoint)
    faultpoints.arm_from(os.environ)
    takeover = Takeover.inherited(os.environ)
    async with AsyncExitStack() as stack:
        index = Index.open(
            cache / "index",
            clock=clock,
            settings=translation.index_settings(settings),
            unanswered=takeover.state.tokens if takeover is not None else frozenset(),
        )
        stack.callback(index.close)
        counters, observer = Counters(), Observer(Meters(), OperationLog(clock), AccessLog(clock))
        accounts = accounts_of(settings.cost, index, functools.partial(class_of_key, index))
        stack.callback(accounts.spending.close)
        store = open_store(
            source,
            translation.store_settings(settings),
            on_call=lambda verb: counters.add(f"store_{verb}_requests"),
            on_received=functools.partial(_received, counters, observer.meters),
            on_answer=observer.asked,
            on_sent=observer.meters.sent,
            tell=accounts.spending.note,
        )
        stack.push_async_callback(store.aclose)
        read_only, takes_over = settings.mount.read_only, takeover is not None
        known = await introduce(store, index, source, read_only=read_only, takes_over=takes_over)
        for warning in known.warnings:
            log.warning("%s: %s", source, warning, extra={"event": "TFS2001"})
        parts = _build(settings, index, store, source, cache, clock, takeover, observer, accounts)
        facts = MountFacts(
            source=source,
            mountpoint=mountpoint,
            cache=cache,
            read_only=settings.mount.read_only,
            started_ns=clock.now_ns(),
        )
        await _serve(settings, parts, facts, counters, ready, stop)
    return 0


def _received(counters: Counters, meters: Meters, size_bytes: int) -> None:
    counters.add("store_received_bytes", size_bytes)
    meters.received(size_bytes)


def _build(
    settings: Settings, index: Index, store: RetryingStore, source: str, cache: Path, clock: Clock,
    takeover: Takeover | None, observer: Observer, accounts: Accounts,
) -> _Parts:  # fmt: skip
    """Every part of the mount over an open index and store; the hot tier is recovered."""
    hot, space = open_hot_tier(settings.hot_tier, index, cache)
    mount, locations, authority, bell = settings.mount, Locations(), SoleNode(), Bell()
    news, flow = News(index, clock), Flow(clock)
    activity = Activity(versions_kept=eventservice.versions_kept(settings.events), tell=news.exported)
    kernel = _kernel(settings, index, takeover, lambda ino: importer.hold_s(ino))  # noqa: PLW0108 - made after it
    rules, tiering = _rules(settings, index, space, clock, takeover)
    tree = Tree(
        index, locations, clock, TreeSettings(translation.key_prefix_bytes(source)),
        quiet_s_of=tiering.placements.quiet_s,
        needs_object=lambda ino: files.needs_object(ino),  # noqa: PLW0108 - made after the tree
    )  # fmt: skip
    tree.ensure_root(mount.dir_mode, mount.uid, mount.gid)
    files = Files(
        index=index, hot=hot, space=space, store=store, clock=clock, settings=translation.content_settings(settings),
        locate=lambda ino: locations.actual_key(index, tree.inode(ino)), rules=tiering.placements,
        wake_export=bell.wake, hurry_export=bell.make_room, on_stale=bell.doubt, quiet_s_of=tiering.placements.quiet_s,
        meters=observer.meters, is_local=rules.is_local,
    )  # fmt: skip
    files.recover()
    applier = _applier(settings, index, locations, files, clock, kernel, news, rules)
    importer = Importer(
        index=index, store=store, locations=locations, files=files, clock=clock, settings=settings.import_,
        applier=applier, activity=activity, notify=kernel, is_told_of=flow.tells_of,
    )  # fmt: skip
    history = History(index=index, store=store, locations=locations, importer=importer, read_only=mount.read_only)
    verdicts = Verdicts(
        index=index, guard=applier.guard, importer=importer, history=history, locations=locations, clock=clock,
        wake_export=bell.wake, read_only=mount.read_only,
    )  # fmt: skip
    exporter = Exporter(
        index=index, store=store, locations=locations, files=files, clock=clock, settings=settings.export,
        applier=applier, activity=activity, notify=kernel, authority=authority,
        rules=ConflictRules(socket.gethostname(), Policy(settings.conflicts.policy)),
    )  # fmt: skip
    bell.exporter, bell.importer = exporter, importer
    events = _events(settings, source, index, store, locations, importer, activity, flow)
    archived = ArchivedParts(index, store, locations, files, importer, exporter, authority, bell.doubt)
    fs = FileSystem(
        index=index, tree=tree, files=files, importer=importer, authority=authority,
        capacity=BucketCapacity(index, source), clock=clock, rules=rules, wake_export=bell.wake,
        export_now=exporter.export_now, admits=tiering.admission.admits,
        durable_operations=settings.index.durability == "operation",
    )  # fmt: skip
    if takeover is not None:
        fs.recall(takeover.state)
    fs.purge_orphans()
    tuning = Tuning(
        settings, index=index, exporter=exporter, importer=importer, rules=rules, goes_on=takeover is not None
    )
    return _Parts(
        index, store, hot, space, locations, tree, files, importer, exporter, events, verdicts, history, kernel, fs,
        rules, news, observer, tiering, tiering.engine(files), tuning,
        _archiving(settings, source, archived, accounts), accounts,
    )  # fmt: skip


def _rules(
    settings: Settings, index: Index, space: Space, clock: Clock, takeover: Takeover | None
) -> tuple[PathRules, Tiering]:
    rules = PathRules(index, translation.export_rules(settings), read_only=settings.mount.read_only)
    tiering = Tiering(
        settings, index=index, space=space, clock=clock, quiet_s=rules.quiet_s, is_same_mount=takeover is not None
    )
    return rules, tiering


def _events(
    settings: Settings, source: str, index: Index, store: RetryingStore, locations: Locations, importer: Importer,
    activity: Activity, flow: Flow,
) -> Events:  # fmt: skip
    return Events(
        settings=settings.events, connection=translation.connection_settings(settings, source), index=index,
        store=store, locations=locations, importer=importer, activity=activity, flow=flow, clock=index.clock,
        read_only=settings.mount.read_only, listings=settings.import_.scan_concurrency,
    )  # fmt: skip


def _archiving(settings: Settings, source: str, parts: ArchivedParts, accounts: Accounts) -> Archiving:
    table = accounts.table if source.startswith("s3://") else None
    archiving = Archiving(parts, translation.archiving_settings(settings, table))
    check_classes(settings.tiering, archiving.abilities)
    return archiving


def _tasks(parts: _Parts, limits: ScrubLimits) -> Tasks:
    """With those that the daemon before has left."""
    mount = Mount(
        index=parts.index, locations=parts.locations, store=parts.store, files=parts.files, importer=parts.importer,
        exporter=parts.exporter, tier_bytes=parts.space.limit_bytes, notify=parts.kernel, scrub_limits=limits,
    )  # fmt: skip
    salvage = functools.partial(
        Salvage, index=parts.index, hot=parts.hot, fs=parts.fs, files=parts.files, store=parts.store,
        notify=parts.kernel,
    )  # fmt: skip
    jobs = {**makers(mount), **parts.archiving.makers, TaskKind.SALVAGE: lambda _: salvage()}
    tasks = Tasks(index=parts.index, clock=parts.index.clock, makers=jobs)
    tasks.resume()
    if salvaging.is_due(parts.index, parts.hot):
        tasks.start(TaskKind.SALVAGE, "")
    return tasks


def _applier(
    settings: Settings, index: Index, locations: Locations, files: Files, clock: Clock, kernel: Kernel, news: News,
    rules: PathRules,
) -> Applier:  # fmt: skip
    return Applier(
        index=index, locations=locations, files=files, clock=clock, notify=kernel,
        defaults=translation.attribute_defaults(settings),
        guard=Guard(index=index, clock=clock, limits=translation.guard_limits(settings)), news=news,
        rules=rules,
    )  # fmt: skip


def _kernel(settings: Settings, index: Index, takeover: Takeover | None, hold_s: Callable[[int], float]) -> Kernel:
    mount = settings.mount
    return Kernel(
        mount.connection,
        max_tasks=mount.max_tasks,
        low_latency=mount.low_latency,
        directories=Directories(index=index, hold_s=hold_s, negative_s=mount.negative_timeout_s),
        restart=takeovers.command(sys.orig_argv) if mount.restart else (),
        takeover=takeover,
    )


def _operations(settings: Settings, parts: _Parts, failures: Failures) -> Operations:
    mount, kernel = settings.mount, parts.kernel
    timeouts = Timeouts(entry_s=mount.entry_timeout_s, attr_s=mount.attr_timeout_s, negative_s=mount.negative_timeout_s)
    return Operations(
        parts.fs, timeouts, kernel, failures, parts.index.answers, kernel.directories, parts.observer,
        translation.ownership(settings),
    )  # fmt: skip


async def _serve(
    settings: Settings, parts: _Parts, facts: MountFacts, counters: Counters, ready: Callable[[], None], stop: Stop
) -> None:
    """Runs every task of the mount until it is unmounted and drained."""
    identifier = registry.mount_id(facts.source, str(facts.mountpoint))
    socket_path = settings.control.socket or f"{registry.prepare_run_directory()}/{identifier}.sock"
    scan = Scan(index=parts.index, importer=parts.importer, clock=parts.index.clock, settings=settings.import_)
    tasks = _tasks(parts, translation.scrub_limits(settings))
    inspector = _inspector(parts, facts, counters, scan)
    metering = Metering(parts.observer.meters, parts.kernel, inspector.status)
    service = _service(settings, parts, facts, inspector, stop, tasks, metering)
    limits = server.Limits(max_clients=settings.control.max_clients, idle_timeout_s=settings.control.idle_timeout_s)
    manager = ServiceManager.of(os.environ)
    async with trio.open_nursery() as nursery, parts.events.running():
        nursery.start_soon(parts.index.run)
        nursery.start_soon(parts.files.run)
        for work in _background(parts, scan, tasks):
            nursery.start_soon(work)
        await nursery.start(functools.partial(server.serve, socket_path, service, limits=limits))
        if settings.metrics.listen:
            nursery.start_soon(metering.serve, settings.metrics.listen)
        await parts.fs.reopen()
        failures = Failures()
        operations = _operations(settings, parts, failures)
        calls = Calls(parts.fs, failures, parts.observer)
        async with parts.kernel.mounted(operations, calls, facts.mountpoint, _mount_options(settings, facts)):
            if parts.kernel.takes_files:
                parts.files.lending.borrower = parts.kernel
                parts.files.lending.hears_of_closes = parts.rules.waits_at_close
                await parts.fs.recall_lent()
            nursery.start_soon(stop.obey_signals, parts.kernel.stop)
            nursery.start_soon(manager.keep_alive)
            nursery.start_soon(parts.kernel.run, functools.partial(_used, parts))

            def announce() -> None:
                entry = registry.Entry(
                    identifier, str(facts.mountpoint), socket_path, os.getpid(), facts.source, str(facts.cache)
                )
                registry.register(entry)
                ready()
                manager.ready(f"{facts.source} at {facts.mountpoint}", main_pid=parts.kernel.holder_pid)
                log.info("mounted %s at %s (%s)", facts.source, facts.mountpoint, parts.kernel.mode,
                         extra={"event": "TFS1001"})  # fmt: skip

            await parts.kernel.serve(announce, parts.hot.root)
        manager.stopping()
        parts.fs.disconnected()
        await stop.drain(parts.exporter, timeout_s=settings.export.drain_timeout_s, read_only=settings.mount.read_only)
        # a clean close says that what the index knows of the hot tier is true, also after power loss
        await parts.hot.sync_all()
        registry.unregister(identifier)
        nursery.cancel_scope.cancel()


def _used(parts: _Parts, use: Use) -> None:
    """The kernel and the holder have used a hot file without us."""
    parts.fs.used(use.ino, use.last_use_ns)
    parts.observer.meters.used(use.opens, use.bytes_read)
    parts.observer.accesses.used(use.ino, use.opens, use.last_use_ns)


def _inspector(parts: _Parts, facts: MountFacts, counters: Counters, scan: Scan) -> Inspector:
    return Inspector(
        facts, index=parts.index, locations=parts.locations, files=parts.files, space=parts.space,
        exporter=parts.exporter, store=parts.store, clock=parts.index.clock, counters=counters, connection=parts.kernel,
        events=parts.events, scan=scan, guard=parts.importer.guard, rules=parts.rules,
    )  # fmt: skip


def _background(parts: _Parts, scan: Scan, tasks: Tasks) -> tuple[Callable[[], Awaitable[None]], ...]:
    """What runs beside the requests until the end."""
    labeller = Labeller(index=parts.index, hot=parts.hot, clock=parts.index.clock)
    demotions = Demotions(index=parts.index, placements=parts.tiering.placements, move=parts.archiving.mover.move)
    return (
        parts.importer.run,
        parts.exporter.run,
        parts.verdicts.run,
        scan.run,
        tasks.run,
        labeller.run,
        parts.engine.run,
        parts.archiving.run,
        demotions.run,
        parts.accounts.spending.run,
    )


def _service(
    settings: Settings, parts: _Parts, facts: MountFacts, inspector: Inspector, stop: Stop, tasks: Tasks,
    metering: Metering,
) -> Service:  # fmt: skip
    """What the control socket serves."""
    return Service(
        _desk(parts, inspector, stop.unmount),
        _verb_groups(settings, parts, tasks, metering),
        daemon_uid=os.geteuid(),
        admin_gid=group_id(settings.control.admin_group),
        drain_timeout_s=settings.export.drain_timeout_s,
    )


def _desk(parts: _Parts, inspector: Inspector, unmount: Callable[[bool, bool], Awaitable[None]]) -> Desk:
    index, guard = parts.index, parts.importer.guard
    return Desk(
        index=index, files=parts.files, exporter=parts.exporter, events=parts.events, inspector=inspector,
        conflicts=Conflicts(index=index, fs=parts.fs, notify=parts.kernel),
        removals=Removals(index=index, guard=guard, verdicts=parts.verdicts),
        versions=Versions(parts.history),
        watching=Watching(
            index=index, locations=parts.locations, exporter=parts.exporter, guard=guard, clock=index.clock,
            news=parts.news,
        ),
        unmount=unmount,
    )  # fmt: skip


def _verb_groups(settings: Settings, parts: _Parts, tasks: Tasks, metering: Metering) -> list[VerbGroup]:
    """What the control socket serves beside the desk's own verbs."""
    clock = parts.index.clock
    renames = RenameTasks(
        index=parts.index, clock=clock, mover=parts.exporter.mover, fs=parts.fs, notify=parts.kernel, tasks=tasks
    )  # fmt: skip
    tiering = parts.tiering
    return [
        TaskVerbs(TaskDesk(tasks=tasks, renames=renames, clock=clock)),
        ObservingVerbs(metering, parts.observer.log, Usage(parts.index, parts.files.live)),
        parts.archiving,
        OperatorVerbs(tuner=parts.tuning, restart=_restart(settings, parts), store=parts.store, index=parts.index),
        TieringVerbs(
            index=parts.index, rulebook=tiering.rulebook, admission=tiering.admission, engine=parts.engine,
            explainer=tiering.explainer(parts.files), abilities=parts.archiving.abilities,
        ),
        CostVerbs.over(parts.index, parts.accounts, parts.space.limit_bytes, parts.store.part_size_bytes),
        ProfileVerbs(
            index=parts.index, accesses=parts.observer.accesses, live=parts.files.live,
            find=lambda path: Subtree(parts.index, parts.importer, path).found(),
            hear_uses=functools.partial(parts.kernel.tell_uses, functools.partial(_used, parts)),
        ),
    ]  # fmt: skip


def _restart(settings: Settings, parts: _Parts) -> Restart:
    check = takeovers.check_command(sys.orig_argv) if settings.mount.restart else ()
    return Restart(check=check, index=parts.index, connection=parts.kernel, clock=parts.index.clock)


def _mount_options(settings: Settings, facts: MountFacts) -> session.MountOptions:
    return session.MountOptions(
        fsname=settings.mount.fsname or facts.source,
        allow_other=settings.mount.allow_other,
        read_only=settings.mount.read_only,
        kernel_options=settings.mount.kernel_options,
    )
