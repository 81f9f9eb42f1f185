"""fsck on caches of real mounts: what daemons leave behind, however they end, is sound."""

import contextlib
import os
from pathlib import Path

from tests.support import programs
from tests.support.mounts import mounted
from tierfs.hottier.disk import Disk
from tierfs.hottier.files import HotFiles

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


def test_a_lost_index_takes_no_file_with_it(tmp_path: Path) -> None:
    """The bytes come back by themselves; what had been uploaded, and was only cached, is in the bucket."""
    (tmp_path / "bucket").mkdir()
    with mounted(f"file://{tmp_path}/bucket", tmp_path, settings=QUIET) as mount:
        (mount.path / "known").write_bytes(b"in the bucket")
        mount.tierctl("sync", mount.path)
        (mount.path / "dir").mkdir()
        (mount.path / "dir/new").write_bytes(b"only here")
        hot = mount.cache / "hot"
        assert programs.wait_until(lambda: labelled(hot) == ["dir/new"], 60), "it says where it belongs"
        mount.umount(drain=False)
        (mount.cache / "index/lmdb/data.mdb").write_bytes(b"rubbish")
        failed = mount.tierfs(*mount.mount_command(), check=False)
        assert failed.returncode == 19, "an index that is damaged is not mounted"
        mount.tierfs("fsck", "--cache", mount.cache, "--rebuild", "--yes")
        mount.mount()
        mount.tierctl("tasks", "wait", "1", "--mount", mount.path, timeout_s=60)
        assert (mount.path / "dir/new").read_bytes() == b"only here"
        assert (mount.path / "known").read_bytes() == b"in the bucket"
        assert sorted(os.listdir(mount.path)) == ["dir", "known"]
        assert os.listdir(mount.cache / "lost+found") == []
        mount.umount()
        assert (tmp_path / "bucket/dir/new").read_bytes() == b"only here"


def labelled(hot: Path) -> list[str]:
    """The paths that backing files say of themselves."""
    tier = HotFiles(Disk(), hot)
    labels = (tier.label(tier.place(ino)) for inos in tier.inos() for ino in inos)
    return [label.path for label in labels if label is not None]
