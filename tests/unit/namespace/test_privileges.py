"""What a file loses when somebody else writes it."""

import stat
from pathlib import Path

import pytest

from tests.support.sync_rig import Rig, run_rig
from tierfs.index import xattrs
from tierfs.model import ROOT_INO
from tierfs.namespace import privileges, xattr_rules
from tierfs.namespace.changes import NewInode


@pytest.mark.parametrize(
    ("mode", "kept"),
    [(0o4755, 0o755), (0o2755, 0o755), (0o6777, 0o777), (0o2644, 0o2644), (0o1755, 0o1755), (0o644, 0o644)],
)
def test_setuid_and_an_executable_s_setgid_go(tmp_path: Path, mode: int, kept: int) -> None:
    async def main(rig: Rig) -> None:
        ino = rig.tree.create(ROOT_INO, b"f", NewInode(stat.S_IFREG | mode, 0, 0)).ino
        rig.tree.set_xattr(ino, xattr_rules.CAPABILITY, b"\0")
        rig.tree.set_xattr(ino, b"user.kept", b"x")
        privileges.strip(rig.index, rig.tree, ino)
        assert stat.S_IMODE(rig.tree.inode(ino).mode) == kept
        assert xattrs.names(rig.index, ino) == [b"user.kept"]

    run_rig(tmp_path, main)
