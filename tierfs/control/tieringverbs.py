"""The verbs about tiering: explain, hint, policy_show, policy_load.

| verb | args | others |
|---|---|---|
| explain | path | paths that they own |
| hint | path, hint, for_s? | paths that they own |
| policy_show | | no |
| policy_load | name, text | no |

`hint` is `once` (what is read at and below the path leaves nothing in the hot tier, for a time), or `none` (takes that
back). `policy_load` replaces the rules of the mount by those in the text of a settings file, or is refused with the
line and changes nothing. No checkpoints.
"""

import enum
import errno
import os
from collections.abc import Mapping
from typing import Final

import attrs

from tierfs.config import RecallRuleSettings, TieringRuleSettings
from tierfs.control.arguments import Progress, Refusal, choice_of, path_of
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.control.verbs import Peer, Scope, Verb
from tierfs.index.env import Index
from tierfs.policy.classes import Abilities
from tierfs.sync.paths import walk
from tierfs.tiering import rulebook as rulebooks
from tierfs.tiering.admission import Admission
from tierfs.tiering.engine import Engine
from tierfs.tiering.explaining import Explainer
from tierfs.tiering.rulebook import Rulebook

_FOR_MAX_S: Final = 30 * 86_400.0
_FOR_S: Final = 3600.0


class Hint(enum.StrEnum):
    """What is said of coming reads."""

    ONCE = "once"
    NONE = "none"


class TieringVerbs:
    """See the module."""

    def __init__(
        self,
        *,
        index: Index,
        rulebook: Rulebook,
        admission: Admission,
        engine: Engine,
        explainer: Explainer,
        abilities: Abilities,
    ) -> None:
        """`abilities`: of the store, which rules may need."""
        self._abilities = abilities
        self._index = index
        self._rulebook = rulebook
        self._admission = admission
        self._engine = engine
        self._explainer = explainer
        self.verbs: Mapping[str, Verb] = {
            "explain": Verb(self._explain, Scope.OWN_PATHS),
            "hint": Verb(self._hint, Scope.OWN_PATHS),
            "policy_show": Verb(self._show),
            "policy_load": Verb(self._load),
        }

    async def _explain(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        path = _needed_path(request)
        inode = walk(self._index, path)
        return {"path": os.fsdecode(path), "size_bytes": inode.size_bytes, **self._explainer.explain(inode)}

    async def _hint(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        path, hint = _needed_path(request), choice_of(request, "hint", Hint)
        ino = walk(self._index, path).ino
        for_s = request.args.get("for_s", _FOR_S)
        if not isinstance(for_s, int | float) or isinstance(for_s, bool) or not 0 < for_s <= _FOR_MAX_S:
            raise Refusal(ErrorCode.BAD_REQUEST, "for_s must be a number of seconds, 30 days at most", errno.EINVAL)
        if hint is Hint.ONCE:
            self._admission.read_once(ino, for_s)
        else:
            self._admission.forget_hint(ino)
        return {"path": os.fsdecode(path), "hint": hint.value}

    async def _show(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        settings, counts = self._rulebook.settings, self._admission.counts
        return {
            "source": self._rulebook.source,
            "tree_rules": settings.tree_rules,
            "rules": [_shown(rule) for rule in settings.rules],
            "recalls": [_shown(rule) for rule in settings.recalls],
            "released": {"files": self._engine.released_files, "bytes": self._engine.released_bytes},
            "evicted_bytes": self._engine.evicted_bytes,
            "cold_opens": attrs.asdict(counts),
        }

    async def _load(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        name, text = request.args.get("name"), request.args.get("text")
        if not isinstance(name, str) or not isinstance(text, str):
            raise Refusal(ErrorCode.BAD_REQUEST, "name and text of a settings file are needed", errno.EINVAL)
        self._rulebook.load(name, text, self._abilities)
        rulebooks.keep(self._index, name, text)
        settings = self._rulebook.settings
        return {"source": name, "rules": len(settings.rules), "recalls": len(settings.recalls)}


def _needed_path(request: Request) -> bytes:
    path = path_of(request)
    if path is None:
        raise Refusal(ErrorCode.BAD_REQUEST, f"{request.verb} needs a path", errno.EINVAL)
    return path


def _shown(rule: TieringRuleSettings | RecallRuleSettings) -> Mapping[str, str]:
    """The keys that are not as they are without being said, as TOML has them."""
    return {
        field.name: field.metadata["kind"].show(value)
        for field in attrs.fields(type(rule))
        if (value := getattr(rule, field.name)) != field.default
    }
