"""What rules look at, read from the index; and the rules that files and directories have of their own.

A rule of the tree is the attribute `user.tierfs.tiering` of a file or directory, and is about that and all below it. It
is an attribute like any other: listed, exported and copied with what it is set on.
"""

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from tierfs.config import tree_rule
from tierfs.errors import ConfigError
from tierfs.index import inodes, xattrs
from tierfs.index.env import Reader
from tierfs.model import ROOT_INO, HotRecord, Inode, Residency
from tierfs.policy.placement import File, Rule, RuleSet, last_use_s
from tierfs.tiering.rulebook import Rulebook
from tierfs.tiering.rules import rule_of

_DEPTH_MAX: Final = 2048


@frozen
class Subject:
    """A file as rules see it, and the rules that may name it: those of the tree first, of these the nearest."""

    file: File
    rules: RuleSet


@frozen
class _Above:
    names: tuple[str, ...]
    rules: tuple[Rule, ...]


class View:
    """The tree at one moment: what it remembers of directories holds until the next checkpoint."""

    def __init__(self, reader: Reader, rulebook: Rulebook) -> None:
        self._reader = reader
        self._rulebook = rulebook
        self.reads_tree = rulebook.has_tree_rules and xattrs.has_tiering_rules(reader)
        """May there be rules of the tree?"""
        self._xattr_names = rulebook.xattr_names
        self.problems: list[str] = []
        """Rules of the tree that were met and cannot be used: their path, and why."""
        self._known: dict[int, _Above] = {ROOT_INO: _Above((), self._own(ROOT_INO, ()))}

    def subject(self, inode: Inode, hot: HotRecord | None) -> Subject:
        """The inode as it is. One without a name has the path of nothing: only rules for all name it."""
        above = self._above(inode.parent)
        names = (*above.names, _text(inode.name)) if inode.parent else ()
        own = self._own(inode.ino, names) if inode.ino != ROOT_INO else ()
        file = File(
            path=names,
            size_bytes=inode.size_bytes,
            last_use_s=last_use_s(inode, hot.last_use_s if hot is not None else 0),
            uid=inode.uid,
            gid=inode.gid,
            residency=hot.residency if hot is not None else Residency.COLD,
            storage_class=inode.base.storage_class if inode.base is not None else "",
            xattrs=self._xattrs(inode.ino),
        )
        tree_rules = own + above.rules
        settings = self._rulebook.rules
        return Subject(file, RuleSet(tree_rules + settings.rules) if tree_rules else settings)

    def _xattrs(self, ino: int) -> dict[str, bytes]:
        found = {name: xattrs.get(self._reader, ino, name.encode()) for name in self._xattr_names}
        return {name: value for name, value in found.items() if value is not None}

    def _above(self, directory: int) -> _Above:
        chain: list[Inode] = []
        while directory not in self._known and len(chain) < _DEPTH_MAX:
            inode = inodes.get(self._reader, directory)
            if inode is None or inode.parent == 0:
                return _Above((), ())  # it lies in what was removed
            chain.append(inode)
            directory = inode.parent
        above = self._known.get(directory, _Above((), ()))
        for inode in reversed(chain):
            names = (*above.names, _text(inode.name))
            above = self._known[inode.ino] = _Above(names, self._own(inode.ino, names) + above.rules)
        return above

    def _own(self, ino: int, names: Sequence[str]) -> tuple[Rule, ...]:
        value = xattrs.get(self._reader, ino, xattrs.TIERING) if self.reads_tree else None
        if value is None:
            return ()
        path = "/" + "/".join(names)
        try:
            return (rule_of(tree_rule(value.decode()), f"{xattrs.TIERING.decode()} of {path}"),)
        except (ConfigError, UnicodeDecodeError) as error:
            self.problems.append(f"{path}: {error}")
            return ()


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
