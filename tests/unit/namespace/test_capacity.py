"""What statfs tells of a bucket."""

from pathlib import Path

from tests.support.sync_rig import Rig, run_rig
from tierfs.namespace.capacity import BucketCapacity


def test_an_object_store_is_as_full_as_its_files_and_a_directory_as_its_disk(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("file", bytes(1000))
        usage = BucketCapacity(rig.index, "s3://bucket").usage()
        assert (usage.total_bytes - usage.free_bytes, usage.total_bytes) == (1000, 1 << 50)
        assert usage.total_inodes - usage.free_inodes == rig.index.entries
        usage = BucketCapacity(rig.index, f"file://{tmp_path}").usage()
        assert 0 <= usage.free_bytes < usage.total_bytes < 1 << 50

    run_rig(tmp_path / "rig", main)
