"""How many files of a directory to fetch ahead while a program opens its files in the order of their names.

Pure. An open is *in order* when it is near the furthest name opened so far: several readers take files from one
list, and overtake each other. The window is twice the opens in order, so that at most two files are fetched in
vain for each file opened; an open elsewhere in the directory begins anew, without a window.
"""

from typing import Final

from attrs import evolve, frozen

NEAR_NAMES: Final = 16  # as many readers may be at work on one list
_OPENS_MIN: Final = 3
_WINDOW_SHARE: Final = 2
_WINDOW_MAX: Final = 32


@frozen
class Order:
    """How a directory's files were opened of late: the furthest name, and how many opens led up to it."""

    furthest: bytes
    opens: int = 1


def follow(order: Order, name: bytes, *, is_near: bool) -> Order:
    """After an open of `name`; `is_near`: at most NEAR_NAMES names lie between it and the furthest one."""
    if not is_near:
        return Order(name)
    return evolve(order, furthest=max(order.furthest, name), opens=order.opens + 1)


def files_to_ask(order: Order, waiting: int) -> int:
    """How many more of the next files to fetch, when `waiting` were asked for and not opened yet.

    In batches of half a window: one look into the index for many opens.
    """
    window = min(_WINDOW_MAX, order.opens * _WINDOW_SHARE) if order.opens >= _OPENS_MIN else 0
    return window - waiting if waiting <= window // 2 else 0
