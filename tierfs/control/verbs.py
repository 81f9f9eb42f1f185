"""What a verb of the control socket is: its handler, and who may use it. A module of verbs offers a group of them."""

import enum
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

from attrs import frozen

from tierfs.control.arguments import Progress
from tierfs.control.protocol import Json, Request


@frozen
class Peer:
    """Who is at the other end, as the kernel says (SO_PEERCRED, SO_PEERGROUPS)."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


class Scope(enum.Enum):
    """What a peer that is no admin may do with a verb."""

    REDACTED = enum.auto()
    OWN_PATHS = enum.auto()
    OWN_CONFLICTS = enum.auto()
    NOTHING = enum.auto()


Handler: TypeAlias = Callable[[Request, Peer, Progress], Awaitable[Json]]


@frozen
class Verb:
    """One verb. Its handler raises Refusal or TierfsError."""

    handler: Handler
    scope: Scope = Scope.NOTHING


class VerbGroup(Protocol):
    """Verbs about one thing."""

    @property
    def verbs(self) -> Mapping[str, Verb]:
        """By name; no other group has one of the names."""
        ...
