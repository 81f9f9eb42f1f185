"""The same operations in a native directory and in a mount: what programs see must be the same."""

import importlib
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount import posix
from tests.mount.posix.tools import OPERATIONS
from tests.support.mounts import mounted, need_root

for module in pkgutil.iter_modules(posix.__path__):
    importlib.import_module(f"{posix.__name__}.{module.name}")


def let_through(directory: Path) -> None:
    """Lets other users search all the directories above that are ours: pytest's are private."""
    for parent in (directory, *directory.parents):
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A native directory and a mounted one."""
    native = tmp_path_factory.mktemp("native")
    area = tmp_path_factory.mktemp("mounted")
    let_through(native)
    let_through(area)
    bucket = area / "bucket"
    bucket.mkdir()
    with mounted(f"file://{bucket}", area, settings={"mount": {"dir_mode": "0755"}}) as mount:
        yield native, mount.path


@pytest.mark.parametrize("name", OPERATIONS)
def test_same_as_native(name: str, places: tuple[Path, Path]) -> None:
    operation = OPERATIONS[name]
    if operation.is_root_only:
        need_root()
    seen = []
    for place in places:
        directory = place / name
        directory.mkdir()
        # whatever the test's own umask is
        directory.chmod(0o777)
        seen.append(operation.run(directory))
    assert seen[1] == seen[0]
