"""A mount by a user who is not root: fusermount3 mounts for him, and the daemon has no rights that he lacks."""

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.mounts import find_mount, need_root

REPO = Path(__file__).parents[2]
USER = "nobody"

# The distribution lets everybody open /dev/fuse; a container may not. Only this name space sees the device made here.
AS_USER = f"""
set -e
mknod -m 666 "$HOME/fuse" c 10 229
mount --bind "$HOME/fuse" /dev/fuse
exec setpriv --reuid={USER} --regid=nogroup --clear-groups sh -e "$HOME/script"
"""

SCRIPT = """
cd "$HOME"
mkdir bucket mnt
tierfs() { "$PYTHON" -m tierfs.cli.tierfs "$@"; }
tierfs mount "file://$HOME/bucket" "$HOME/mnt" --cache "$HOME/cache" -o "mount.connection=$CONNECTION"
trap 'fusermount3 -u -z "$HOME/mnt" 2>/dev/null || true' EXIT
mkdir mnt/d
echo bytes > mnt/a
mv mnt/a mnt/d/b
ln mnt/d/b mnt/link
chmod 600 mnt/d/b
cat mnt/link
stat -c '%a %h %U' mnt/d/b
"$PYTHON" -m tierfs.cli.tierctl status mnt
tierfs umount "$HOME/mnt"
cat bucket/d/b
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of the user's; pytest's own are closed to others."""
    need_root()
    for program in "unshare", "setpriv", "fusermount3":
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    made = Path(tempfile.mkdtemp(prefix="tierfs-user-"))
    try:
        shutil.chown(made, USER, "nogroup")
        yield made
        assert find_mount(made / "mnt") is None
    finally:
        shutil.rmtree(made)


def environment(home: Path, connection: str) -> dict[str, str]:
    """What the user's programs need, with an interpreter that he may run."""
    packages = os.pathsep.join([str(REPO), sysconfig.get_path("purelib")])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in sys.executable, f"/usr/bin/{version}":
        given = {"HOME": str(home), "PYTHON": python, "PYTHONPATH": packages, "CONNECTION": connection}
        # by a shell: setpriv itself still has root's capabilities when it opens the program
        words = ["sh", "-c", '"$PYTHON" -c "import tierfs._native, pyfuse3"']
        command = ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups", *words]
        if programs.run(command, env=given, check=False).returncode == 0:
            return given
    pytest.skip(f"{USER} may not run this Python, or not read {REPO}")


@pytest.mark.parametrize("connection", ["holder", "pyfuse3"])
def test_a_user_who_is_not_root_mounts_works_and_unmounts(home: Path, connection: str) -> None:
    given = environment(home, connection)
    (home / "script").write_text(SCRIPT)
    done = programs.run(["unshare", "-m", "sh", "-c", AS_USER], env=given)
    assert f"600 2 {USER}" in done.stdout
    assert f'mount.connection = "{connection}"' in done.stdout
    assert done.stdout.count("bytes\n") == 2
