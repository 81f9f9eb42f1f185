"""The sections about the classes of the bucket: its archives, and what moves between classes may take."""

from attrs import frozen

from tierfs.config.kinds import DURATION, INTEGER, NUMBER, SIZE, one_of, setting


@frozen(kw_only=True)
class ArchiveSettings:
    """Files whose objects have to be restored before they can be read (GLACIER, DEEP_ARCHIVE)."""

    open: str = setting(
        "queue",
        one_of("queue", "block", "fail"),
        """What becomes of a program that opens such a file, when its bytes are not on the local disk. "queue": it gets
        EAGAIN, and the file is asked for; "block": it waits until the file is there, at most open_timeout_s, then
        EAGAIN; "fail": it gets EIO, and nothing is asked for but by tierctl restore.""",
    )
    open_timeout_s: float = setting(
        600.0, DURATION, 'How long an open waits with "block".', at_least=1, at_most=86400 * 7
    )
    storage_class: str = setting(
        "GLACIER", one_of("GLACIER", "DEEP_ARCHIVE"), "Where tierctl archive moves files, unless it is told."
    )
    restore_days: int = setting(
        7, INTEGER, "For how long the copy in the bucket can be read that a restore makes.", at_least=1, at_most=3650
    )
    restore_speed: str = setting(
        "standard",
        one_of("expedited", "standard", "bulk"),
        """What is paid for a restore to be quick: minutes, hours, half a day from GLACIER; from DEEP_ARCHIVE half a day
        ("expedited", too) or two.""",
    )
    restore_batch_s: float = setting(
        5.0, DURATION, "Files that are opened within this time are asked for together.", at_least=0, at_most=3600
    )
    restore_look_s: float = setting(
        900.0,
        DURATION,
        "The longest time between two looks at an object on its way back; each is a HEAD.",
        at_least=0.01,
        at_most=86400,
    )


@frozen(kw_only=True)
class MoveSettings:
    """What moves between storage classes may take, by rules and by tierctl. 0: no limit."""

    at_a_time: int = setting(8, INTEGER, "Moves at one time.", at_least=1, at_most=256)
    per_s_bytes: int = setting(
        0, SIZE, "Bytes of objects that are moved in a second; the store copies them.", at_least=0, at_most=2**50
    )
    requests_s: float = setting(
        0.0, NUMBER, "Requests for moves in a second; each takes three.", at_least=0, at_most=1e6
    )
    money_day: float = setting(
        0.0,
        NUMBER,
        "What moves may cost in a day (UTC), by the table of prices, in its currency.",
        at_least=0,
        at_most=1e9,
    )
