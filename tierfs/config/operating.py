"""The sections for whoever runs a mount: its index, its socket, its log, its figures."""

from attrs import frozen

from tierfs.config.kinds import DURATION, INTEGER, PATH, SIZE, TEXT, one_of, setting
from tierfs.units import MIB, TIB


@frozen(kw_only=True)
class IndexSettings:
    """The index of names and attributes on the local disk."""

    durability: str = setting(
        "interval",
        one_of("interval", "operation"),
        """When a change of names survives power loss without an fsync: after durability_interval_s, or with each
        operation (slow). A crash of tierfs alone never loses one.""",
    )
    durability_interval_s: float = setting(
        1.0, DURATION, "Most time between two syncs of the journal.", at_least=0.01, at_most=60
    )
    commit_interval_s: float = setting(
        0.25, DURATION, "Time between two commits of the index, when something changed.", at_least=0.01, at_most=60
    )
    map_size_bytes: int = setting(
        TIB, SIZE, "Address space to reserve for the index: a ceiling of its size.", at_least=64 * MIB, at_most=64 * TIB
    )


@frozen(kw_only=True)
class ControlSettings:
    """The socket that tierctl speaks to."""

    socket: str = setting(
        "",
        PATH,
        """Path of the socket; empty: /run/tierfs/<id>.sock for root, else $XDG_RUNTIME_DIR/tierfs/<id>.sock. Everybody
        may connect; what they may do depends on who they are.""",
    )
    admin_group: str = setting("", TEXT, "Members of this group may do what root may; empty: nobody else.")
    max_clients: int = setting(64, INTEGER, "Connections at one time.", at_least=2, at_most=1024)
    idle_timeout_s: float = setting(
        300.0, DURATION, "A connection that asks nothing for this long is closed.", at_least=1, at_most=86400
    )


@frozen(kw_only=True)
class LogSettings:
    """What is written about the daemon's work."""

    level: str = setting("info", one_of("debug", "info", "warning", "error"), "Least severity to write.")
    file: str = setting(
        "", PATH, "File to append to; empty: standard error, or tierfs.log in the cache when in the background."
    )
    format: str = setting(
        "text",
        one_of("text", "json", "journald"),
        """Lines for people, one JSON object a line, or records with fields in systemd's journal, and then no file.""",
    )


@frozen(kw_only=True)
class MetricsSettings:
    """What Prometheus may scrape."""

    listen: str = setting(
        "",
        TEXT,
        """Address of http://.../metrics, such as "127.0.0.1:9124"; empty: there is none. It tells numbers, no names of
        files, to everybody who reaches it.""",
    )
