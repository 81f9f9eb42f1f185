"""The verbs about tiering: what they take, what they answer, and what they refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.tier import BLOCK, noise
from tests.support.tiering import Tiered, run_tiered
from tierfs.control.arguments import Refusal
from tierfs.control.protocol import Request
from tierfs.control.tieringverbs import TieringVerbs
from tierfs.control.verbs import Peer, Scope
from tierfs.errors import ConfigError, FsError
from tierfs.index import dirents
from tierfs.model import ROOT_INO
from tierfs.namespace.verbs import Caller
from tierfs.policy.classes import Abilities
from tierfs.tiering.admission import Admission

RULES = '[[tiering.rules]]\nname = "week"\nhot_at_most_s = "7d"\n[[tiering.recalls]]\nuser = 34\naction = "fail"\n'
PEER = Peer(1, 0, 0)


class Desk:
    """The verbs over a tiered world that has one file, `f`."""

    def __init__(self, tiered: Tiered) -> None:
        self.admission = Admission(tiered.world.index, tiered.rulebook, monotonic_s=trio.current_time)
        self._group = TieringVerbs(
            index=tiered.world.index, rulebook=tiered.rulebook, admission=self.admission, engine=tiered.engine,
            explainer=tiered.explainer, abilities=Abilities(changes_classes=False),
        )  # fmt: skip
        self.scopes = {name: verb.scope for name, verb in self._group.verbs.items()}
        self.ino = tiered.named(tiered.world.add_object(noise(BLOCK)), "f")
        with tiered.world.index.transaction() as txn:
            dirents.put(txn, ROOT_INO, b"f", self.ino, 0o100000)

    async def ask(self, verb: str, **args: Any) -> Any:
        return await self._group.verbs[verb].handler(Request(1, verb, args), PEER, lambda progress: None)


def run_desk(tmp_path: Path, test: Callable[[Tiered, Desk], Any]) -> None:
    async def main(tiered: Tiered) -> None:
        await test(tiered, Desk(tiered))

    run_tiered(tmp_path, main, rules=RULES)


def test_a_file_is_explained_to_its_owner(tmp_path: Path) -> None:
    async def test(tiered: Tiered, desk: Desk) -> None:
        told = await desk.ask("explain", path="f")
        assert (told["path"], told["size_bytes"], told["rule"]) == ("f", BLOCK, "week")
        with pytest.raises(FsError):
            await desk.ask("explain", path="g")
        with pytest.raises(Refusal, match="explain needs a path"):
            await desk.ask("explain")
        owners = {name for name, scope in desk.scopes.items() if scope is Scope.OWN_PATHS}
        assert owners == {"explain", "hint"}

    run_desk(tmp_path, test)


def test_a_hint_is_given_and_taken_back(tmp_path: Path) -> None:
    async def test(tiered: Tiered, desk: Desk) -> None:
        def admits() -> bool:
            return desk.admission.admits(tiered.world.inode(desk.ino), Caller(0, 0))

        assert await desk.ask("hint", path="f", hint="once", for_s=60) == {"path": "f", "hint": "once"}
        assert not admits()
        await desk.ask("hint", path="f", hint="none")
        assert admits()
        for wrong in ({"hint": "twice"}, {"hint": "once", "for_s": -1}, {"hint": "once", "for_s": "x"}):
            with pytest.raises(Refusal):
                await desk.ask("hint", path="f", **wrong)

    run_desk(tmp_path, test)


def test_rules_are_shown_and_replaced_or_not_at_all(tmp_path: Path) -> None:
    async def test(tiered: Tiered, desk: Desk) -> None:
        shown = await desk.ask("policy_show")
        assert shown["source"] == "settings"
        assert shown["rules"] == [{"name": '"week"', "hot_at_most_s": '"168h"'}]
        assert shown["recalls"] == [{"user": "34", "action": '"fail"'}]
        with pytest.raises(ConfigError, match=r"^new\.toml:1: "):
            await desk.ask("policy_load", name="new.toml", text="[[tiering.rules]]\n")
        with pytest.raises(ConfigError, match="rule 1: demote_to = 'GLACIER': "):
            await desk.ask("policy_load", name="new.toml", text='[[tiering.rules]]\ndemote_to = "GLACIER"\n')
        assert (await desk.ask("policy_show")) == shown
        text = "[[tiering.rules]]\npin = true\n"
        assert await desk.ask("policy_load", name="new.toml", text=text) == {
            "source": "new.toml", "rules": 1, "recalls": 0,
        }  # fmt: skip
        assert (await desk.ask("policy_show"))["rules"] == [{"pin": "true"}]
        assert (await desk.ask("explain", path="f"))["rule"] == "rule 1"
        with pytest.raises(Refusal):
            await desk.ask("policy_load", name="new.toml")

    run_desk(tmp_path, test)
