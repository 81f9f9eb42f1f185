"""The first use of a directory that was listed by names alone asks for the attributes of some of its files."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ImportSettings
from tierfs.errors import StoreErrorKind
from tierfs.index import dirents
from tierfs.model import InodeFlag
from tierfs.sync.keyrange import KeyRange
from tierfs.sync.seen import Visit


def run(directory: Path, main: Callable[[Rig], Awaitable[None]], attributes: str = "auto") -> None:
    run_rig(
        directory, main, import_=ImportSettings(revalidate_s=365 * 86_400, attributes=attributes), reads_ahead=False
    )


async def list_names(rig: Rig) -> None:
    listing = rig.importer.flat(KeyRange(), Visit(), bool)
    while await listing.next_page():
        pass
    assert rig.store.requests["head"] == 0


def test_the_first_use_of_a_directory_takes_the_sample_that_a_flat_listing_left(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(100):
            rig.put_remote(f"plain/f{number:03}")
            rig.put_remote(f"posix/f{number:03}", user={"file-permissions": "0100640"})
        rig.put_remote("plain/sub/f")
        await list_names(rig)
        assert InodeFlag.UNSAMPLED in rig.at("plain").flags
        assert InodeFlag.ATTRS_KNOWN not in rig.at("plain/f007").flags
        for path, is_known in (("plain", True), ("posix", False)):
            before = rig.store.requests.copy()
            await rig.list(path)
            assert rig.store.requests["head"] == before["head"] + 8 and rig.store.requests["list"] == before["list"]
            assert (InodeFlag.ATTRS_KNOWN in rig.at(f"{path}/f007").flags) == is_known
            await rig.list(path)
            assert rig.store.requests["head"] == before["head"] + 8 and InodeFlag.UNSAMPLED not in rig.at(path).flags
        kinds = {entry.name: entry.fmt for entry in dirents.page(rig.index, rig.at("plain").ino, b"", 1000)}
        assert all(kinds.values()) and len(kinds) == 101
        assert (await rig.stat("posix/f007")).mode & 0o777 == 0o640

    run(tmp_path, main)


@pytest.mark.parametrize("attributes", ["always", "never"])
def test_where_the_settings_say_it_nothing_is_left_to_a_sample(tmp_path: Path, attributes: str) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/f", user={"file-permissions": "0100640"})
        await list_names(rig)
        await rig.list("d")
        assert rig.store.requests["head"] == 0
        mode = (await rig.stat("d/f")).mode & 0o777
        assert mode == (0o640 if attributes == "always" else 0o600)

    run(tmp_path, main, attributes)


def test_when_the_store_is_away_a_directory_shows_its_names_without_a_sample(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/f")
        await list_names(rig)
        rig.store.fail_next("head", StoreErrorKind.UNAVAILABLE, times=100)
        assert await rig.list("d") == ["f"]
        rig.store.clear_faults()
        await trio.sleep(60)
        assert await rig.list("d") == ["f"] and InodeFlag.ATTRS_KNOWN in rig.at("d/f").flags

    run(tmp_path, main)
