"""What moves files between classes and brings them back, put together, and its verbs.

| verb | args | |
|---|---|---|
| state | path, recursive?, after? | see `filestates`; others than admins see files that they own |
| tier_list | path | how many files and bytes are in each class, what is on its way back, what moves |

Checkpoints: in `run`, and in `tier_list` at each page of a directory.
"""

import errno as errno_codes
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import trio
from attrs import define, frozen

from tierfs.content.handles import Files
from tierfs.control import filestates
from tierfs.control.arguments import Progress, Refusal, path_of, switch_of
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.control.verbs import Peer, Scope, Verb
from tierfs.index.env import Index
from tierfs.model import Inode
from tierfs.namespace.authority import Authority
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import ObjectStore
from tierfs.policy.classes import LADDER, Abilities, Speed, is_archive, refusal
from tierfs.policy.cost import PriceTable
from tierfs.policy.tasks import TaskKind
from tierfs.sync import classjobs
from tierfs.sync.classes import ClassChanger, abilities_of
from tierfs.sync.exporter import Exporter
from tierfs.sync.importer import Importer
from tierfs.sync.paths import Place, walk
from tierfs.sync.subtree import Subtree
from tierfs.sync.tasks import JobMaker
from tierfs.tiering.mover import Budgets, Mover
from tierfs.tiering.opening import Door, OpenSettings
from tierfs.tiering.restorer import Restorer, RestoreSettings

_STANDARD: Final = "STANDARD"


@frozen
class ArchivedParts:
    """Of one mount, what this works on."""

    index: Index
    store: ObjectStore
    locations: Locations
    files: Files
    importer: Importer
    exporter: Exporter
    authority: Authority
    doubt: Callable[[int], None]
    """An object was found changed or gone."""


@frozen
class ArchivingSettings:
    """See the sections [archive] and [moves]. `prices` None: nothing is paid for the store."""

    budgets: Budgets
    restores: RestoreSettings
    opens: OpenSettings
    archive_class: str
    prices: PriceTable | None


@define
class _Tally:
    files: int = 0
    size_bytes: int = 0
    here_bytes: int = 0


class Archiving:
    """A `VerbGroup`. Opens of archived files are its matter from the start on; `run` once in a nursery."""

    def __init__(self, parts: ArchivedParts, settings: ArchivingSettings) -> None:
        index, clock = parts.index, parts.index.clock
        self._parts = parts
        self._settings = settings
        changer = ClassChanger(
            index=index, store=parts.store, locations=parts.locations, files=parts.files, clock=clock,
            claims=parts.exporter.claims, records=parts.exporter.records, authority=parts.authority,
            ensure_attributes=parts.importer.ensure_attributes, on_stale=parts.doubt,
        )  # fmt: skip
        self.mover = Mover(index=index, changer=changer, clock=clock, budgets=settings.budgets, cost_of=self._move_cost)
        self.restorer = Restorer(
            index=index, store=parts.store, clock=clock, settings=settings.restores, locate=self._locate,
            fetch=parts.files.warm, on_stale=parts.doubt, retry_export=parts.exporter.retry,
        )  # fmt: skip
        if self.abilities.restores:
            parts.files.archive.keeper = Door(
                store=parts.store, restorer=self.restorer, clock=clock, settings=settings.opens, locate=self._locate
            )
        self.verbs: Mapping[str, Verb] = {
            "state": Verb(self._state, Scope.OWN_PATHS),
            "tier_list": Verb(self._tier_list),
        }

    @property
    def abilities(self) -> Abilities:
        """What the store does with classes."""
        return abilities_of(self._parts.store.capabilities)

    @property
    def makers(self) -> Mapping[TaskKind, JobMaker]:
        """The jobs of its tasks."""
        parts = self._parts
        return classjobs.makers(
            classjobs.Classes(
                index=parts.index, importer=parts.importer, capabilities=lambda: parts.store.capabilities,
                moves=self.mover, restores=self.restorer, export=parts.exporter.export_now,
                archive_class=self._settings.archive_class, speed=self._settings.restores.speed,
                restore_cost=self._restore_cost,
            )
        )  # fmt: skip

    async def run(self) -> None:
        """Looks after restores until it is cancelled."""
        await self.restorer.run()

    def _locate(self, inode: Inode) -> str:
        return self._parts.locations.actual_key(self._parts.index, inode)

    def _move_cost(self, size_bytes: int, storage_class: str, target: str) -> float:
        prices = self._settings.prices
        return prices.move(size_bytes, storage_class, target) if prices is not None else 0.0

    def _restore_cost(self, size_bytes: int, storage_class: str, speed: Speed) -> float:
        prices = self._settings.prices
        return prices.restore(size_bytes, storage_class, speed) if prices is not None else 0.0

    # ---- verbs ----

    async def _state(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        path, after = path_of(request), request.args.get("after", "")
        if path is None or not isinstance(after, str):
            raise Refusal(ErrorCode.BAD_REQUEST, "state needs a path", errno_codes.EINVAL)
        index = self._parts.index
        top = self._parts.files.live(walk(index, path))
        if not switch_of(request, "recursive", False):
            return {"files": [filestates.state_of(index, path, top)], "next": None}
        return filestates.page(index, top, path, after.encode(errors="surrogateescape"))

    async def _tier_list(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        parts = self._parts
        path = path_of(request) or b""
        tallies: defaultdict[str, _Tally] = defaultdict(_Tally)

        async def count(_place: Place, inode: Inode) -> None:
            if inode.base is not None:
                tally = tallies[inode.base.storage_class]
                tally.files += 1
                tally.size_bytes += inode.size_bytes
                tally.here_bytes += filestates.here_bytes(parts.index, inode)

        subtree = Subtree(parts.index, parts.importer, path.decode(errors="surrogateescape"))
        await subtree.each_file(subtree.known(), count)
        await trio.lowlevel.checkpoint()
        return {
            "classes": [self._class_json(name, tallies[name]) for name in _ordered(tallies)],
            "restores": attrs.asdict(self.restorer.progress()),
            "moves": self.mover.status(),
        }

    def _class_json(self, name: str, tally: _Tally) -> dict[str, Any]:
        current = _STANDARD if name != _STANDARD else ""
        return {
            "class": name, "files": tally.files, "bytes": tally.size_bytes, "here_bytes": tally.here_bytes,
            "is_archive": is_archive(name), "refusal": refusal(current, name, self.abilities),
        }  # fmt: skip


def _ordered(tallies: Mapping[str, object]) -> list[str]:
    """The ladder from above, and classes of others behind it."""
    ladder = [rung.name for rung in LADDER]
    return [*ladder, *sorted(name for name in tallies if name not in ladder)]
