"""The section [cost]: what things cost, and how it is counted."""

from attrs import frozen

from tierfs.config.kinds import INTEGER, PATH, SWITCH, setting


@frozen(kw_only=True)
class CostSettings:
    """What the bucket costs, for tierctl cost and for moves between classes."""

    prices: str = setting(
        "",
        PATH,
        """A price table of your own; empty: list prices of Amazon S3 in us-east-1. "tierctl cost prices" prints the one
        in use, to begin with.""",
    )
    pays_transfer: bool = setting(
        True,
        SWITCH,
        """Bytes that are read from the bucket cost their way to the internet; "false" for a machine in the bucket's
        region.""",
    )
    prefix_depth: int = setting(
        1, INTEGER, "Requests are counted for so many levels of directories.", at_least=1, at_most=8
    )
