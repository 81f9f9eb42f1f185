"""Which settings `tierctl config set` can change while the mount lives; all others need a new mount."""

from typing import Final

LIVE: Final = frozenset(
    {
        "export.concurrency",
        "export.max_dirty_age_s",
        "export.quiet_s",
        "export.small_concurrency",
        "guard.removed_max",
        "guard.removed_share_from",
        "guard.removed_share_max",
        "guard.window_s",
        "import.head_concurrency",
        "import.revalidate_s",
        "log.level",
    }
)
