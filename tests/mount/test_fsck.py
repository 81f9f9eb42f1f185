"""fsck on caches of real mounts: what daemons leave behind, however they end, is sound."""

import contextlib
import os
from pathlib import Path

from tests.support.mounts import mounted

QUIET = {"export": {"quiet_s": 3600}}


def test_a_cache_is_sound_after_sigkill_and_after_a_clean_end(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    with mounted(f"file://{tmp_path}/bucket", tmp_path, settings={**QUIET, "mount": {"restart": False}}) as mount:
        (mount.path / "dir").mkdir()
        for number in range(20):
            (mount.path / "dir" / f"{number}").write_bytes(b"x" * 5000 * number)
        (mount.path / "dir/0").rename(mount.path / "zero")
        (mount.path / "dir/1").unlink()
        fd = os.open(mount.path / "open", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"left open")
        mount.kill9()
        with contextlib.suppress(OSError):
            os.close(fd)  # the mount is dead
        mount.tierfs("umount", mount.path)
        assert mount.tierfs("fsck", "--cache", mount.cache).stdout == "nothing is wrong\n"
        mount.mount()
        assert (mount.path / "open").read_bytes() == b"left open"
        busy = mount.tierfs("fsck", "--cache", mount.cache, check=False)
        assert (busy.returncode, "in use" in busy.stderr) == (18, True)
        mount.umount()
        assert mount.tierfs("fsck", "--cache", mount.cache).stdout == "nothing is wrong\n"
