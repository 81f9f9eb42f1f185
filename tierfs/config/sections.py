"""The sections and their keys, with default, unit, limits and help text: the only place where they are written."""

import os
from collections.abc import Mapping
from typing import Any, Final

import attrs
from attrs import frozen

from tierfs.config.archive import ArchiveSettings, MoveSettings
from tierfs.config.checking import GuardSettings, ScrubSettings
from tierfs.config.kinds import (
    DURATION,
    GLOB,
    INTEGER,
    LEVEL,
    MODE,
    PATH,
    SHARE,
    SIZE,
    SWITCH,
    TEXT,
    WORDS,
    one_of,
    setting,
    tables_of,
)
from tierfs.config.money import CostSettings
from tierfs.config.operating import ControlSettings, IndexSettings, LogSettings, MetricsSettings
from tierfs.config.tiering import TieringSettings
from tierfs.units import GIB, KIB, MIB, Level

_ID_MAX: Final = 2**32 - 2


@frozen(kw_only=True)
class MountSettings:
    """How the mount looks to programs and to the kernel."""

    uid: int = setting(
        0,
        INTEGER,
        'Owner of entries whose bucket object names none; "auto": the user who mounts.',
        at_least=0,
        at_most=_ID_MAX,
        auto=os.geteuid,
    )
    gid: int = setting(
        0,
        INTEGER,
        'Group of entries whose bucket object names none; "auto": the group of the user who mounts.',
        at_least=0,
        at_most=_ID_MAX,
        auto=os.getegid,
    )
    file_mode: int = setting(
        0o644,
        MODE,
        """Permissions of files whose bucket object is known to name none. As long as that is not known, a file is the
        mounting user's alone (0600), and a directory too (0700).""",
        at_least=0,
        at_most=0o7777,
    )
    dir_mode: int = setting(0o755, MODE, "The same for directories.", at_least=0, at_most=0o7777)
    allow_other: bool = setting(
        False,
        SWITCH,
        """Let other users in, under the usual permission checks; "auto": yes when root mounts. Anybody else needs
        user_allow_other in /etc/fuse.conf.""",
        auto=lambda: os.geteuid() == 0,
    )
    read_only: bool = setting(False, SWITCH, "Refuse every change (EROFS).")
    squash: str = setting(
        "none",
        one_of("none", "root", "all"),
        """Whose new files and directories belong to squash_uid and squash_gid: nobody's, root's, everybody's. Who
        may do what, the kernel decides as before.""",
    )
    squash_uid: int = setting(65_534, INTEGER, "Owner of what squash is about.", at_least=0, at_most=_ID_MAX)
    squash_gid: int = setting(65_534, INTEGER, "Group of what squash is about.", at_least=0, at_most=_ID_MAX)
    fsname: str = setting("", TEXT, "What mount and df show as the device; empty: the source.")
    kernel_options: tuple[str, ...] = setting(
        (), WORDS, 'More options for the kernel, such as "nosuid", "nodev", "noexec".'
    )
    attr_timeout_s: float = setting(
        60.0,
        DURATION,
        "How long the kernel may keep attributes of an entry that nothing changes.",
        at_least=0,
        at_most=86400,
    )
    entry_timeout_s: float = setting(60.0, DURATION, "How long the kernel may keep a name.", at_least=0, at_most=86400)
    negative_timeout_s: float = setting(
        5.0, DURATION, "How long the kernel may keep that a name does not exist.", at_least=0, at_most=86400
    )
    connection: str = setting(
        "auto",
        one_of("auto", "passthrough", "holder", "pyfuse3"),
        """How the kernel is served. "passthrough": hot files by the kernel alone, which takes root and Linux 6.9;
        "holder": hot files by the native holder; "pyfuse3": every request by the Python daemon; "auto": the first that
        works (tierctl status says which, and why).""",
    )
    low_latency: bool = setting(
        True,
        SWITCH,
        """While requests come close after each other, ask the kernel to keep idle processors awake (PM QoS,
        /dev/cpu_dma_latency; needs root and the native holder). On virtual machines a request is then answered in a
        fraction of the time; a mount that nobody uses asks for nothing.""",
    )
    restart: bool = setting(
        True,
        SWITCH,
        """When the daemon is killed or crashes, the native holder starts it again: programs see a pause, and what
        they have open goes on. After five times within a minute, and without the holder, the mount ends.""",
    )
    max_tasks: int = setting(
        1000, INTEGER, "Requests of programs that are worked on at one time.", at_least=16, at_most=100_000
    )


@frozen(kw_only=True)
class StoreSettings:
    """The object store, and how hard it is asked. Credentials come from the standard chain, never from here."""

    endpoint_url: str = setting(
        "", TEXT, "URL of an S3 server that is not Amazon's, such as https://s3.example.org:9000."
    )
    region: str = setting("", TEXT, "Region; empty: from the environment or the profile.")
    addressing: str = setting(
        "auto",
        one_of("auto", "path", "virtual"),
        "Bucket in the path or in the host name; auto: path when endpoint_url is set.",
    )
    verify_tls: bool = setting(True, SWITCH, "Check the server's certificate.")
    ca_bundle: str = setting("", PATH, "File of certificates to trust instead of the system's.")
    profile: str = setting("", TEXT, "Profile of the AWS configuration files to take credentials from.")
    part_size_bytes: int = setting(
        16 * MIB,
        SIZE,
        "Size of the parts of large objects, up and down. At most 10,000 parts make an object.",
        at_least=5 * MIB,
        at_most=GIB,
    )
    connections: int = setting(
        32, INTEGER, "Requests to the store at one time, for everything together.", at_least=2, at_most=1024
    )
    connect_timeout_s: float = setting(5.0, DURATION, "Limit for making a connection.", at_least=0.1, at_most=300)
    read_timeout_s: float = setting(30.0, DURATION, "Limit for silence within an answer.", at_least=0.1, at_most=3600)
    retry_budget_s: float = setting(
        60.0,
        DURATION,
        "How long a request is repeated after failures that may pass. Then the program that waits for it gets EIO.",
        at_least=0,
        at_most=86400,
    )


@frozen(kw_only=True)
class HotTierSettings:
    """The local disk that holds hot files."""

    size_bytes: int | None = setting(
        None,
        SIZE,
        """Most bytes of files to keep on the local disk; "auto": 80 % of what is free at the first mount.
        Files that are not uploaded yet count, too.""",
        at_least=MIB,
        auto=lambda: None,
    )
    eviction: str = setting(
        "ranked",
        one_of("ranked", "age"),
        """What leaves a full tier first. "ranked": what is worth least by how often and how lately it was used, and
        what has only just come in; so a data set larger than the tier is here in part all the time, and who reads all
        files once drives nothing out. "age": what was used longest ago.""",
    )
    min_free_bytes: int = setting(
        GIB, SIZE, "Bytes of the local disk to leave to others, whatever size_bytes allows.", at_least=0
    )
    evict_start: Level = setting(  # noqa: RUF009 - frozen, as the others
        Level(share=0.99),
        LEVEL,
        """When the tier is fuller than this, files that are in the bucket are evicted in the background, so that
        programs find room; "100%": when somebody needs it.""",
    )
    evict_stop: Level = setting(Level(share=0.98), LEVEL, "How far down that goes.")  # noqa: RUF009
    full_wait_s: float = setting(
        300.0,
        DURATION,
        "How long a write waits for room before it fails with ENOSPC, when nothing can be freed.",
        at_least=0,
        at_most=86400,
    )

    def __attrs_post_init__(self) -> None:
        start, stop = self.evict_start, self.evict_stop
        is_same_kind = (start.share is None) == (stop.share is None)
        if is_same_kind and (start.share or 0, start.size_bytes) < (stop.share or 0, stop.size_bytes):
            raise ValueError("evict_stop must not be above evict_start")


@frozen(kw_only=True)
class ContentSettings:
    """How bytes of files are read and kept."""

    small_file_bytes: int = setting(
        MIB, SIZE, "Files up to this size are fetched whole when they are opened.", at_least=0, at_most=64 * MIB
    )
    block_bytes: int = setting(
        64 * KIB, SIZE, "Least bytes to fetch of a larger file; a power of two.", at_least=4 * KIB, at_most=16 * MIB
    )
    max_parts_in_flight: int = setting(
        16, INTEGER, "Parts of one file that are fetched at one time.", at_least=1, at_most=1024
    )
    readahead_max_bytes: int = setting(
        64 * MIB, SIZE, "Most bytes to fetch ahead of a sequential reader; 0: none.", at_least=0, at_most=4 * GIB
    )
    spill_share: float = setting(
        0.25,
        SHARE,
        "A file being written beyond this share of the hot tier is moved to the bucket in pieces meanwhile.",
        at_least=0.01,
        at_most=1,
    )

    def __attrs_post_init__(self) -> None:
        if self.block_bytes & (self.block_bytes - 1):
            raise ValueError(f"block_bytes must be a power of two, not {self.block_bytes}")


@frozen(kw_only=True)
class ExportRuleSettings:
    """What a part of the tree has instead of the mount's own settings of the export."""

    path: str = setting(
        "",
        GLOB,
        """What it is about, with all that lies below, from the root of the mount: "results/raw". Within a name *, ? and
        [...] are as in a shell; the name ** stands for any number of names, as in "**/*.tmp".""",
    )
    mode: str = setting(
        "write-back",
        one_of("write-back", "on-close", "read-only", "ignore"),
        """When a changed file is uploaded: "write-back": when it has rested; "on-close": at once, and close(2) waits
        for that and fails with its error; "read-only": nothing may be changed (EROFS); "ignore": never, and what the
        bucket has there is not shown.""",
    )
    quiet_s: float | None = setting(
        None, DURATION, "As quiet_s above; left out: the same value.", at_least=0, at_most=86400
    )

    def __attrs_post_init__(self) -> None:
        if not self.path:
            raise ValueError("path is missing")
        if self.mode in ("read-only", "ignore") and self.quiet_s is not None:
            raise ValueError("quiet_s has no meaning where nothing is uploaded")


@frozen(kw_only=True)
class ExportSettings:
    """When and how changes go to the bucket."""

    quiet_s: float = setting(
        5.0, DURATION, "A changed file is uploaded when it was left alone for this long.", at_least=0, at_most=86400
    )
    max_dirty_age_s: float = setting(
        300.0, DURATION, "A file that never is left alone is uploaded this often.", at_least=1, at_most=86400
    )
    concurrency: int = setting(16, INTEGER, "Large files uploaded at one time.", at_least=1, at_most=256)
    small_concurrency: int = setting(
        32,
        INTEGER,
        "Small files (of at most one part), markers and deletions sent at one time.",
        at_least=1,
        at_most=1024,
    )
    drain_timeout_s: float = setting(
        0.0,
        DURATION,
        """How long an unmount waits for uploads; 0: as long as it takes. What is left stays on the local disk and goes
        up with the next mount.""",
        at_least=0,
        at_most=86400 * 30,
    )
    rules: tuple[ExportRuleSettings, ...] = setting(
        (),
        tables_of(ExportRuleSettings),
        "Settings for parts of the tree, each under a header [[export.rules]]; the first that names a path counts.",
    )


@frozen(kw_only=True)
class ImportSettings:
    """How changes in the bucket come into the mount."""

    attributes: str = setting(
        "auto",
        one_of("auto", "always", "never"),
        """Ask each object for its POSIX attributes: always, never, or auto: not in directories where a sample shows
        that no object has any.""",
    )
    sample: int = setting(
        8, INTEGER, "Objects of a directory that auto asks before it decides.", at_least=1, at_most=1000
    )
    revalidate_s: float = setting(
        60.0,
        DURATION,
        "How old a directory's listing may be when it is used; 0: always ask.",
        at_least=0,
        at_most=86400 * 365,
    )
    head_concurrency: int = setting(
        32, INTEGER, "Objects asked for their attributes at one time.", at_least=1, at_most=1024
    )
    scan: bool = setting(
        False,
        SWITCH,
        """Bring the names of the whole bucket into the index in the background, once for each cache, so that no program
        waits for a first listing. Off, since a bucket can have far more names than anybody here will use: a million of
        them take 400 MB of the local disk and 1,000 LIST requests.""",
    )
    scan_concurrency: int = setting(
        4, INTEGER, "Listings that a scan, or a sweep, has under way at one time.", at_least=1, at_most=64
    )
    scan_requests_s: int = setting(
        10,
        INTEGER,
        "LIST requests of a scan in a second, for up to 1,000 names each; programs that wait for a directory go first.",
        at_least=1,
        at_most=10_000,
    )


@frozen(kw_only=True)
class ConflictSettings:
    """Files that were changed here and in the bucket."""

    policy: str = setting(
        "keep-both",
        one_of("keep-both", "bucket-wins", "local-wins", "newest"),
        """Whose version wins. "keep-both": the bucket's version has the name, the local one stays beside it as
        name.conflict-<host>-<time>, in the bucket too; no byte is lost. The others drop the version that does not win,
        with a line in the log: "bucket-wins", "local-wins", or "newest" by the time of modification, which trusts the
        clocks of all that write.""",
    )


@frozen(kw_only=True)
class EventSettings:
    """How tierfs hears of changes that others make in the bucket, so that it need not ask."""

    source: str = setting(
        "none",
        one_of("none", "poll", "sqs", "webhook"),
        """"none": a directory is listed again when it is used and older than import.revalidate_s; "poll": used
        directories are also compared with the bucket every sweep_s; "sqs": the bucket's notifications are read from a
        queue; "webhook": a server such as MinIO posts them. tierctl events setup configures the bucket.""",
    )
    queue_url: str = setting(
        "", TEXT, "URL of the SQS queue of this mount: a queue gives each message to one reader, so none is shared."
    )
    visibility_s: float = setting(
        60.0,
        DURATION,
        "How long a message may take to be applied before the queue gives it to somebody else; whole seconds.",
        at_least=10,
        at_most=43_200,
    )
    listen: str = setting(
        "127.0.0.1:9123",
        TEXT,
        "Address and port of the webhook. It speaks plain HTTP: elsewhere than on loopback, put a proxy before it.",
    )
    token_file: str = setting(
        "",
        PATH,
        "File with the token that the webhook's senders show (Authorization: Bearer ...), readable by its owner alone.",
    )
    canary_s: float = setting(
        300.0,
        DURATION,
        """How often an object of a few bytes is written and deleted below .tierfs/: only while its events come back,
        directories are not listed again.""",
        at_least=1,
        at_most=86400,
    )
    lost_after_s: float = setting(
        30.0, DURATION, "How long an event may take before it counts as lost.", at_least=1, at_most=3600
    )
    sweep_s: float = setting(
        3600.0,
        DURATION,
        """How often all used directories are compared with the bucket: the interval of polling, and otherwise the proof
        that no event was missed; 0: never.""",
        at_least=0,
        at_most=86400 * 365,
    )

    def __attrs_post_init__(self) -> None:
        if self.source == "sqs" and not self.queue_url:
            raise ValueError('source "sqs" needs a queue_url')
        if self.source == "webhook" and not self.token_file:
            raise ValueError('source "webhook" needs a token_file')
        if self.source == "poll" and not self.sweep_s:
            raise ValueError('source "poll" needs a sweep_s')


@frozen(kw_only=True)
class Settings:
    """All sections. `Settings()` holds the defaults."""

    mount: MountSettings = attrs.field(factory=MountSettings)
    store: StoreSettings = attrs.field(factory=StoreSettings)
    hot_tier: HotTierSettings = attrs.field(factory=HotTierSettings)
    content: ContentSettings = attrs.field(factory=ContentSettings)
    export: ExportSettings = attrs.field(factory=ExportSettings)
    import_: ImportSettings = attrs.field(factory=ImportSettings)
    conflicts: ConflictSettings = attrs.field(factory=ConflictSettings)
    guard: GuardSettings = attrs.field(factory=GuardSettings)
    events: EventSettings = attrs.field(factory=EventSettings)
    tiering: TieringSettings = attrs.field(factory=TieringSettings)
    index: IndexSettings = attrs.field(factory=IndexSettings)
    control: ControlSettings = attrs.field(factory=ControlSettings)
    log: LogSettings = attrs.field(factory=LogSettings)
    metrics: MetricsSettings = attrs.field(factory=MetricsSettings)
    archive: ArchiveSettings = attrs.field(factory=ArchiveSettings)
    moves: MoveSettings = attrs.field(factory=MoveSettings)
    cost: CostSettings = attrs.field(factory=CostSettings)
    scrub: ScrubSettings = attrs.field(factory=ScrubSettings)


SECTIONS: Final[Mapping[str, type[Any]]] = {
    "mount": MountSettings,
    "store": StoreSettings,
    "hot_tier": HotTierSettings,
    "content": ContentSettings,
    "export": ExportSettings,
    "import": ImportSettings,
    "conflicts": ConflictSettings,
    "guard": GuardSettings,
    "events": EventSettings,
    "tiering": TieringSettings,
    "index": IndexSettings,
    "control": ControlSettings,
    "log": LogSettings,
    "metrics": MetricsSettings,
    "archive": ArchiveSettings,
    "moves": MoveSettings,
    "cost": CostSettings,
    "scrub": ScrubSettings,
}


def value_of(settings: Settings, key: str) -> Any:
    """The value of "section.name"."""
    section, _, name = key.partition(".")
    return getattr(getattr(settings, attribute_of(section)), name)


def changed(settings: Settings, key: str, value: Any) -> Settings:
    """The settings with another value of "section.name". ValueError where it is out of bounds."""
    section, _, name = key.partition(".")
    attribute = attribute_of(section)
    return attrs.evolve(settings, **{attribute: attrs.evolve(getattr(settings, attribute), **{name: value})})


def attribute_of(section: str) -> str:
    """What a section is called in `Settings`: import is a word of Python's."""
    return "import_" if section == "import" else section
