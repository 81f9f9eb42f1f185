"""The verbs that record accesses: what is in a recording, under which names, and what is refused."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.support.tier import BLOCK, noise
from tests.support.tiering import Tiered, run_tiered
from tierfs.control import profiling
from tierfs.control.arguments import Refusal
from tierfs.control.profiling import ProfileVerbs
from tierfs.control.protocol import ErrorCode, Request
from tierfs.control.verbs import Peer, Scope
from tierfs.errors import FsError
from tierfs.index import dirents
from tierfs.model import ROOT_INO, Inode
from tierfs.sync.paths import walk
from tierfs.telemetry.accesses import AccessLog

PEER = Peer(1, 0, 0)


class Desk:
    """The verbs over `d/f` and `g`. `late`: what the kernel has done and nobody was told of yet."""

    def __init__(self, tiered: Tiered) -> None:
        world = tiered.world
        self.log = AccessLog(world.clock)
        self.late: list[int] = []
        self.verbs = ProfileVerbs(
            index=world.index, accesses=self.log, find=self._find, live=world.files.live, hear_uses=self._hear_uses
        ).verbs
        self.world = world
        directory = tiered.directory("d")
        self.f = tiered.named(world.add_object(noise(BLOCK)), "f", parent=directory)
        self.g = tiered.named(world.add_object(noise(BLOCK)), "g")
        with world.index.transaction() as txn:
            dirents.put(txn, ROOT_INO, b"d", directory, 0o040000)
            dirents.put(txn, directory, b"f", self.f, 0o100000)
            dirents.put(txn, ROOT_INO, b"g", self.g, 0o100000)

    async def _find(self, path: str) -> Inode:
        return walk(self.world.index, path.encode())

    async def _hear_uses(self) -> None:
        for ino in self.late:
            self.log.used(ino, 2, self.world.clock.now_ns())
        self.late.clear()

    async def ask(self, verb: str, **args: Any) -> Any:
        return await self.verbs[verb].handler(Request(1, verb, args), PEER, lambda progress: None)

    async def rows(self) -> list[Any]:
        found = []
        after: int | None = 0
        while after is not None:
            page = await self.ask("profile_page", after=after)
            found += page["accesses"]
            after = page["next"]
        return [(row["op"], row["key"], row["size_bytes"], row["op_count"]) for row in found]


def run_desk(tmp_path: Path, test: Callable[[Desk], Awaitable[None]]) -> None:
    async def main(tiered: Tiered) -> None:
        await test(Desk(tiered))

    run_tiered(tmp_path, main)


def test_a_recording_has_what_was_opened_below_its_path_between_its_begin_and_its_end(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        desk.late = [desk.f]
        told = await desk.ask("profile_record", path="d", output="/tmp/p.csv")
        assert (told["path"], told["output"], told["is_recording"], told["accesses"]) == ("d", "/tmp/p.csv", True, 0)
        desk.log.opened(desk.f, writes=True)
        desk.log.opened(desk.g, writes=False)
        desk.late = [desk.f, desk.g]
        told = await desk.ask("profile_stop")
        assert (told["is_recording"], told["accesses"], told["dropped"]) == (False, 2, 0)
        desk.log.opened(desk.f, writes=False)
        assert await desk.ask("profile_stop") == told == await desk.ask("profile_show")
        assert await desk.rows() == [("write", "d/f", BLOCK, 1), ("read", "d/f", BLOCK, 2)]
        await desk.ask("profile_drop")
        with pytest.raises(FsError, match="there is no recording"):
            await desk.ask("profile_stop")
        assert len(desk.log) == 0

    run_desk(tmp_path, test)


def test_names_are_those_of_the_end_and_what_has_none_is_told_apart(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        await desk.ask("profile_record")
        desk.log.opened(desk.f, writes=False)
        desk.log.opened(desk.g, writes=False)
        desk.world.put(evolve(desk.world.inode(desk.f), parent=ROOT_INO, name=b"renamed"))
        desk.world.put(evolve(desk.world.inode(desk.g), parent=0, name=b""))
        assert await desk.rows() == [("read", "renamed", BLOCK, 1), ("read", f"/unlinked/{desk.g}", BLOCK, 1)]

    run_desk(tmp_path, test)


def test_a_long_recording_comes_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "_ANSWER_ROWS", 2)

    async def test(desk: Desk) -> None:
        await desk.ask("profile_record", path="")
        for count in range(5):
            assert len(await desk.rows()) == count
            desk.log.opened(desk.g, writes=False)

    run_desk(tmp_path, test)


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        for verb in ("profile_show", "profile_stop", "profile_page"):
            with pytest.raises(FsError):
                await desk.ask(verb)
        with pytest.raises(FsError):
            await desk.ask("profile_record", path="absent")
        with pytest.raises(Refusal):
            await desk.ask("profile_record", path="d", output=3)
        assert not desk.log.is_on
        await desk.ask("profile_record", path="d")
        with pytest.raises(Refusal) as caught:
            await desk.ask("profile_record", path="d")
        assert caught.value.code is ErrorCode.BUSY
        assert {verb.scope for verb in desk.verbs.values()} == {Scope.NOTHING}

    run_desk(tmp_path, test)
