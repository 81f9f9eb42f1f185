"""The sections for what protects stored bytes: from removals that nobody meant, and from damage."""

from attrs import frozen

from tierfs.config.kinds import DURATION, INTEGER, SHARE, SIZE, SWITCH, setting
from tierfs.units import MIB, TIB


@frozen(kw_only=True)
class GuardSettings:
    """Files and directories that others delete from the bucket go from the mount, too; unless they are too many.

    Then they are all kept, and tierctl sync approve or reject decides.
    """

    removed_max: int = setting(
        1000, INTEGER, "Most files and directories that may go within window_s; 0: none.", at_least=0, at_most=2**40
    )
    removed_share_max: float = setting(
        0.2, SHARE, "The same as a share of what the mount knows; 1: removed_max alone counts.", at_least=0, at_most=1
    )
    removed_share_from: int = setting(
        10,
        INTEGER,
        "Below so many the share does not count: in a small mount a few files are a large share.",
        at_least=1,
        at_most=2**40,
    )
    window_s: float = setting(3600.0, DURATION, "How long removals are added up.", at_least=1, at_most=86400 * 30)


@frozen(kw_only=True)
class ScrubSettings:
    """How tierctl scrub reads."""

    per_second_bytes: int = setting(
        64 * MIB,
        SIZE,
        "What a scrub reads in a second, of the local disk and the bucket together; 0: as fast as it goes.",
        at_least=0,
        at_most=TIB,
    )
    objects: bool = setting(
        False,
        SWITCH,
        """Read the objects, too, of all files that have bytes on the local disk: finds what the bucket's own disks have
        damaged, at the price of the requests and the traffic. Otherwise only those of damaged files are read.""",
    )
