"""From the settings that a user writes to those that the parts of a mount take. Pure."""

from tierfs.config import Settings
from tierfs.config.sections import ExportRuleSettings
from tierfs.content.settings import ContentSettings
from tierfs.control.archiving import ArchivingSettings
from tierfs.index.options import IndexSettings
from tierfs.objectstore.opening import s3_settings
from tierfs.objectstore.settings import RetrySettings, S3Settings
from tierfs.policy.classes import Speed
from tierfs.policy.cost import PriceTable
from tierfs.policy.guard import Limits
from tierfs.policy.identity import Ownership, Squash
from tierfs.policy.prefixes import Mode, Rule, Rules
from tierfs.sync.attributes import Defaults
from tierfs.sync.scrubbing import ScrubLimits
from tierfs.tiering.mover import Budgets
from tierfs.tiering.opening import OpenPolicy, OpenSettings
from tierfs.tiering.restorer import RestoreSettings


def store_settings(settings: Settings) -> S3Settings:
    """How any store is asked."""
    chosen = settings.store
    return S3Settings(
        endpoint_url=chosen.endpoint_url,
        region=chosen.region,
        addressing=chosen.addressing,
        verify_tls=chosen.verify_tls,
        ca_bundle=chosen.ca_bundle,
        profile=chosen.profile,
        part_size_bytes=chosen.part_size_bytes,
        connections=chosen.connections,
        connect_timeout_s=chosen.connect_timeout_s,
        read_timeout_s=chosen.read_timeout_s,
        retry=RetrySettings(budget_s=chosen.retry_budget_s),
    )


def index_settings(settings: Settings) -> IndexSettings:
    """How the index is kept."""
    chosen = settings.index
    return IndexSettings(
        map_size_bytes=chosen.map_size_bytes,
        commit_interval_s=chosen.commit_interval_s,
        durability_interval_s=chosen.durability_interval_s,
    )


def scrub_limits(settings: Settings) -> ScrubLimits:
    """How a scrub reads."""
    chosen = settings.scrub
    return ScrubLimits(chosen.per_second_bytes, objects=chosen.objects, read_only=settings.mount.read_only)


def connection_settings(settings: Settings, source: str) -> S3Settings | None:
    """How the bucket is reached; None for a directory."""
    return s3_settings(source, store_settings(settings)) if source.startswith("s3://") else None


def content_settings(settings: Settings) -> ContentSettings:
    """How bytes are read and kept."""
    chosen = settings.content
    return ContentSettings(
        small_file_bytes=chosen.small_file_bytes,
        block_bytes=chosen.block_bytes,
        max_window_bytes=chosen.readahead_max_bytes,
        max_parts_in_flight=chosen.max_parts_in_flight,
        spill_share=chosen.spill_share,
        evicts_by_age=settings.hot_tier.eviction == "age",
    )


def attribute_defaults(settings: Settings) -> Defaults:
    """What an object has that says nothing of its attributes."""
    mount = settings.mount
    return Defaults(uid=mount.uid, gid=mount.gid, file_mode=mount.file_mode, dir_mode=mount.dir_mode)


def export_rules(settings: Settings) -> Rules:
    """What parts of the tree have of their own."""
    export = settings.export
    return Rules(
        Rule((), Mode.WRITE_BACK, export.quiet_s),
        tuple(
            Rule(
                tuple(rule.path.split("/")),
                Mode(rule.mode),
                _quiet_s(export.quiet_s, rule),
            )
            for rule in export.rules
        ),
    )


def _quiet_s(default_s: float, rule: ExportRuleSettings) -> float:
    if rule.mode == Mode.IGNORE:
        return 0.0  # there is nothing to wait for
    return default_s if rule.quiet_s is None else rule.quiet_s


def guard_limits(settings: Settings) -> Limits:
    """How many removals pass."""
    guard = settings.guard
    return Limits(guard.removed_max, guard.removed_share_max, guard.removed_share_from, guard.window_s)


def ownership(settings: Settings) -> Ownership:
    """To whom belongs what is made here."""
    mount = settings.mount
    return Ownership(Squash(mount.squash), mount.squash_uid, mount.squash_gid)


def key_prefix_bytes(source: str) -> int:
    """What the prefix in an S3 URL takes of every key."""
    return len(source.removeprefix("s3://").partition("/")[2].strip("/").encode()) + 1 if "s3://" in source else 0


def archiving_settings(settings: Settings, prices: PriceTable | None) -> ArchivingSettings:
    """What moves between classes may take, and how archived files come back."""
    moves, archive = settings.moves, settings.archive
    return ArchivingSettings(
        Budgets(moves.at_a_time, float(moves.per_s_bytes), moves.requests_s, moves.money_day),
        RestoreSettings(
            archive.restore_days, Speed(archive.restore_speed), archive.restore_batch_s, archive.restore_look_s
        ),
        OpenSettings(OpenPolicy(archive.open), archive.open_timeout_s),
        archive.storage_class,
        prices,
    )
