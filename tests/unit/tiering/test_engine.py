"""What leaves the tier by itself: above the watermark, and when a rule says so."""

from pathlib import Path

from attrs import evolve

from tests.support.tier import BLOCK, noise
from tests.support.tiering import DAY, Tiered, run_tiered
from tierfs.units import Level

KEEP_A_DAY = '[[tiering.rules]]\npath = "keep"\nhot_at_least_s = "1d"\n'
LEAVE = '[[tiering.rules]]\nname = "week"\npath = "w"\nhot_at_most_s = "7d"\n[[tiering.rules]]\nhot_at_most_s = "30d"\n'


async def read_one_after_the_other(tiered: Tiered, inos: list[int]) -> None:
    for ino in inos:
        tiered.pass_s(120)
        await tiered.world.read(ino)


def test_above_the_upper_mark_the_oldest_go_until_the_lower_one(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        inos = [tiered.world.add_object(noise(BLOCK, seed)) for seed in range(9)]
        await read_one_after_the_other(tiered, inos[:8])
        assert await tiered.engine.make_room() and all(tiered.is_here(ino) for ino in inos[:8])
        await read_one_after_the_other(tiered, inos[8:])
        assert await tiered.engine.make_room()
        assert [tiered.is_here(ino) for ino in inos] == [False] * 4 + [True] * 5
        assert tiered.engine.evicted_bytes == 4 * BLOCK

    run_tiered(tmp_path, main, limit_bytes=10 * BLOCK, start=Level(share=0.8), stop=Level(size_bytes=5 * BLOCK))


def test_dirty_open_and_pinned_files_stay_and_the_engine_says_so(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        world = tiered.world
        dirty = await world.write_new(noise(BLOCK))
        pinned = world.add_object(noise(BLOCK, 1))
        await world.read(pinned)
        world.files.keeping.pin(pinned)
        opened = world.add_object(noise(BLOCK, 2))
        handle = await world.files.open(opened, write=True, truncate=False)
        await world.files.read(handle, 0, BLOCK)
        assert not await tiered.engine.make_room()
        assert [tiered.is_here(ino) for ino in (dirty, pinned, opened)] == [True] * 3
        await world.files.release(handle)
        await world.export(dirty)
        assert not await tiered.engine.make_room()
        assert [tiered.is_here(ino) for ino in (dirty, pinned, opened)] == [False, True, False]

    run_tiered(tmp_path, main, start=Level(), stop=Level())


def test_what_a_rule_keeps_goes_last_and_only_for_writers(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        world = tiered.world
        kept = tiered.named(world.add_object(noise(2 * BLOCK, 1)), "keep")
        other = tiered.named(world.add_object(noise(2 * BLOCK, 2)), "other")
        large = tiered.named(world.add_object(noise(4 * BLOCK, 3)), "large")
        await read_one_after_the_other(tiered, [kept, other])
        await world.read(large)
        assert tiered.is_here(kept) and not tiered.is_here(other), "a reader does not push it out"
        await world.write_new(noise(3 * BLOCK))
        assert not tiered.is_here(kept), "a writer who waits does"

    run_tiered(tmp_path, main, rules=KEEP_A_DAY, limit_bytes=4 * BLOCK)


def test_what_a_rule_keeps_is_like_any_other_when_its_time_is_over(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        kept, other = (tiered.world.add_object(noise(2 * BLOCK, seed)) for seed in (1, 2))
        tiered.named(kept, "keep")
        await tiered.world.read(kept)
        tiered.pass_s(DAY + 1)
        await tiered.world.read(other)
        assert not tiered.is_here(kept)

    run_tiered(tmp_path, main, rules=KEEP_A_DAY, limit_bytes=3 * BLOCK)


def test_files_leave_when_their_rule_has_them_leave(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        week, month, used = (
            tiered.named(tiered.world.add_object(noise(BLOCK, seed)), name) for seed, name in enumerate(("w", "m", "u"))
        )
        for ino in (week, month, used):
            await tiered.world.read(ino)
        tiered.pass_s(7 * DAY - 1)
        assert await tiered.engine.sweep() == 0
        tiered.pass_s(1)
        assert await tiered.engine.sweep() == 1 and not tiered.is_here(week)
        await tiered.world.read(used)
        tiered.pass_s(23 * DAY)
        assert await tiered.engine.sweep() == 1
        assert (tiered.is_here(month), tiered.is_here(used)) == (False, True)
        assert (tiered.engine.released_files, tiered.engine.released_bytes) == (2, 2 * BLOCK)

    run_tiered(tmp_path, main, rules=LEAVE)


def test_a_wall_clock_that_jumps_has_nothing_leave(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        ino = tiered.world.add_object(noise(BLOCK))
        await tiered.world.read(ino)
        for jump_s in (3650 * DAY, -7300 * DAY):
            tiered.world.clock.advance_s(jump_s)
            assert await tiered.engine.sweep() == 0
            assert await tiered.engine.make_room() and tiered.is_here(ino)
        tiered.world.clock.advance_s(3650 * DAY)
        tiered.pass_s(31 * DAY)
        assert await tiered.engine.sweep() == 1

    run_tiered(tmp_path, main, rules=LEAVE)


def test_rules_of_the_tree_have_files_leave_too(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        directory = tiered.directory("d")
        inside = tiered.named(tiered.world.add_object(noise(BLOCK, 1)), "f", parent=directory)
        outside = tiered.named(tiered.world.add_object(noise(BLOCK, 2)), "f2")
        tiered.set_rule(directory, 'hot_at_most_s = "1h"')
        await read_one_after_the_other(tiered, [inside, outside])
        tiered.pass_s(3601)
        assert await tiered.engine.sweep() == 1
        assert (tiered.is_here(inside), tiered.is_here(outside)) == (False, True)

    run_tiered(tmp_path, main)


def test_what_is_not_cached_is_read_and_leaves_nothing(tmp_path: Path) -> None:
    rules = '[[tiering.rules]]\npath = "raw"\ncache = false\n'

    async def main(tiered: Tiered) -> None:
        world, data = tiered.world, noise(40 * BLOCK, 1)
        raw, other = (tiered.named(world.add_object(data), name) for name in ("raw", "other"))
        for ino in (raw, other):
            assert await world.read(ino) == data
        assert world.record(raw) is None and tiered.is_here(other)

    run_tiered(tmp_path, main, rules=rules)


def test_what_is_written_where_nothing_is_cached_leaves_once_it_is_uploaded(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        ino = tiered.named(await tiered.world.write_new(noise(BLOCK)), "raw")
        now_ns = tiered.world.clock.now_ns()  # the backing file has the time of this machine
        tiered.put(evolve(tiered.world.inode(ino), mtime_ns=now_ns, ctime_ns=now_ns))
        assert await tiered.engine.sweep() == 0 and tiered.is_here(ino)
        assert await tiered.world.export(ino)
        assert await tiered.engine.sweep() == 1 and not tiered.is_here(ino)

    run_tiered(tmp_path, main, rules='[[tiering.rules]]\npath = "raw"\ncache = false\n')
