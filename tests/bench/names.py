"""The room of names: metadata of hot files, files that come and go, and a walk through a big index."""

import shutil
from pathlib import Path

from tests.bench import metadata, work
from tests.bench.bench import Bench, Place, drop_caches
from tests.bench.mounted import native_tree
from tests.bench.rows import MODES, NAMES, NATIVE
from tierfs.units import MIB

_FILES = Path("files")
_LIVES = ("create", "unlink", "rm-r")


def measure(bench: Bench) -> None:
    """Every row of NAMES, the places taking turns."""
    if bench.wants(*(row.key for row in NAMES if row.key != "walk")):
        with bench.places() as places:
            _warm(bench, places)
            _come_and_go(bench, places)
            _rename(bench, places)
    if bench.wants("walk"):
        _walk(bench)


def _warm(bench: Bench, places: list[Place]) -> None:
    if not bench.wants("stat", "read-stat", "open-read"):
        return
    count = bench.sizes.small_count
    for place in places:
        place.work(work.create, _FILES, count)
        place.work(work.write, Path("one"), MIB)
        place.settle()
    for _ in range(bench.sizes.rounds):
        for place in places:
            bench.note("stat", place.column, place.work(work.stat, _FILES, count))
            bench.note("read-stat", place.column, place.work(work.read_stat, Path("one")))
            bench.note("open-read", place.column, place.work(work.open_read, _FILES, count))


def _come_and_go(bench: Bench, places: list[Place]) -> None:
    """Files are made, and removed one by one or as a tree, before any of them was uploaded."""
    count = bench.sizes.small_count
    for number in range(bench.sizes.rounds if bench.wants(*_LIVES) else 0):
        one_by_one, tree = Path(f"made-{number}"), Path(f"tree-{number}")
        for place in places:
            bench.note("create", place.column, place.work(work.create, one_by_one, count))
            bench.note("create", place.column, place.work(work.create, tree, count))
        for place in places:
            bench.note("unlink", place.column, place.work(work.unlink, one_by_one, count))
            bench.note("rm-r", place.column, place.work(work.remove, tree))


def _rename(bench: Bench, places: list[Place]) -> None:
    if not bench.wants("rename"):
        return
    for place in places:
        place.work(work.create, Path("many-0"), bench.sizes.many_count)
        place.settle()
    for number in range(bench.sizes.rounds):
        for place in places:
            taken_ms = place.work(work.rename, Path(f"many-{number}"), Path(f"many-{number + 1}"))
            bench.note("rename", place.column, taken_ms)


def _walk(bench: Bench) -> None:
    """The index is filled without a server, as `metadata` does it, and mounted over an empty directory."""
    entries = bench.sizes.entries
    template = bench.fresh_directory("index")
    parts = metadata.open_parts(template / "cache", metadata.ListedStore(entries))
    metadata.measure_import(parts, entries)
    parts.index.close()
    tree = native_tree(bench.fresh_directory("native-tree"), entries)
    _walk_often(bench, Place(NATIVE, tree))
    shutil.rmtree(tree)
    settings = {"import": {"revalidate_s": 86400 * 300}, "hot_tier": {"size_bytes": 256 * MIB, "min_free_bytes": 0}}
    bucket = bench.fresh_directory("empty-bucket")
    for mode in MODES:
        directory = bench.fresh_directory(mode)
        shutil.copytree(template / "cache", directory / "cache")
        with bench.mounted(mode, f"file://{bucket}", settings=settings, directory=directory) as place:
            if place is not None:
                _walk_often(bench, place)


def _walk_often(bench: Bench, place: Place) -> None:
    for _ in range(bench.sizes.rounds):
        drop_caches()
        bench.note("walk", place.column, place.work(work.walk, Path()))
