"""What a command would cost for a tree, counted in the index."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.sync_rig import Rig, run_rig
from tierfs.control.forecasting import Forecasts
from tierfs.errors import FsError
from tierfs.index import inodes, restores
from tierfs.model import revise
from tierfs.policy.classes import Speed
from tierfs.policy.forecast import Deed, Terms
from tierfs.policy.restores import Restore, Stage
from tierfs.tiering import prices
from tierfs.tiering.spending import Accounts, Spending
from tierfs.units import MIB


def run(tmp_path: Path, test: Callable[[Rig, Forecasts], Awaitable[None]]) -> None:
    async def main(rig: Rig) -> None:
        spending = Spending(index=rig.index, clock=rig.clock, depth=1, class_of=lambda key: "")
        accounts = Accounts(spending, prices.load(), pays_transfer=True)
        await test(rig, Forecasts(index=rig.index, clock=rig.clock, accounts=accounts))

    run_rig(tmp_path, main, reads_ahead=False)


async def ask(forecasts: Forecasts, path: bytes, deed: Deed, *, recursive: bool = True) -> dict[str, Any]:
    terms = Terms(deed, 8 * MIB, 8 * MIB)
    return dict(await forecasts.of(path, terms, recursive=recursive, counted=lambda files: None))


def requests(answer: dict[str, Any]) -> dict[str, int]:
    return {row["kind"]: row["requests"] for row in answer["uses"]}


async def fill(rig: Rig) -> None:
    rig.mkdir("d")
    rig.mkdir("d/sub")
    rig.symlink("d/link", b"a")
    await rig.write("d/a", b"12345")
    await rig.write("d/sub/b", b"123")
    await rig.sync()


def test_a_tree_is_counted_with_its_directories_and_links(tmp_path: Path) -> None:
    async def test(rig: Rig, forecasts: Forecasts) -> None:
        await fill(rig)
        moved = await ask(forecasts, b"d", Deed.MOVE)
        assert (moved["files"], moved["directories"], moved["size_bytes"]) == (3, 2, 8)
        assert requests(moved) == {"head": 5, "copy": 5, "delete": 5, "list": 2}
        # 5 HEAD, 5 COPY and 2 LIST in STANDARD
        assert moved["cost"] == pytest.approx((5 * 0.0004 + 5 * 0.005 + 2 * 0.005) / 1000)
        assert requests(await ask(forecasts, b"d", Deed.REMOVE)) == {"delete": 5}
        assert requests(await ask(forecasts, b"d", Deed.COPY)) == {"put": 5}
        assert requests(await ask(forecasts, b"d", Deed.WARM)) == {}

    run(tmp_path, test)


def test_a_directory_alone_and_the_root(tmp_path: Path) -> None:
    async def test(rig: Rig, forecasts: Forecasts) -> None:
        await fill(rig)
        assert requests(await ask(forecasts, b"d", Deed.ATTRIBUTES, recursive=False)) == {"head": 1, "copy": 1}
        assert requests(await ask(forecasts, b"", Deed.ATTRIBUTES, recursive=False)) == {"put": 1}

    run(tmp_path, test)


def test_what_is_not_here_is_fetched_and_what_nobody_listed_is_said(tmp_path: Path) -> None:
    async def test(rig: Rig, forecasts: Forecasts) -> None:
        rig.put_remote("r/cold", b"x" * 100)
        rig.put_remote("r/sub/unseen", b"x")
        await rig.list()
        await rig.list("r")
        read = await ask(forecasts, b"r", Deed.READ)
        assert (read["cold_bytes"], read["files"], read["unlisted"]) == (100, 1, 1)
        assert requests(read) == {"get": 1}

    run(tmp_path, test)


def test_archived_files_wait_unless_they_have_a_readable_copy(tmp_path: Path) -> None:
    async def test(rig: Rig, forecasts: Forecasts) -> None:
        rig.put_remote("cold", b"x" * 100)
        inode = await rig.stat("cold")
        assert inode.base is not None
        with rig.index.transaction() as txn:
            inodes.put(txn, revise(inode, base=revise(inode.base, storage_class="GLACIER")))
        waiting = await ask(forecasts, b"cold", Deed.READ)
        assert (waiting["archived"], requests(waiting)) == (1, {})
        with rig.index.transaction() as txn:
            back = Restore(inode.base.etag, "GLACIER", 100, Speed.BULK, 3, 0, 0, stage=Stage.READY)
            restores.put(txn, inode.ino, back)
        ready = await ask(forecasts, b"cold", Deed.READ)
        assert (ready["archived"], requests(ready)) == (0, {"get": 1})

    run(tmp_path, test)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    async def test(rig: Rig, forecasts: Forecasts) -> None:
        with pytest.raises(FsError):
            await ask(forecasts, b"none", Deed.MOVE)

    run(tmp_path, test)
