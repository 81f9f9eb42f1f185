"""One task at a time for each directory, in the order of asking."""

import trio
import trio.testing

from tierfs.sync.turns import Turns


def test_turns_of_one_directory_come_one_after_the_other() -> None:
    async def main() -> None:
        turns, order = Turns(), []

        async def work(ino: int, name: str, until: trio.Event, task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            async with turns.of(ino):
                order.append(name)
                await until.wait()

        first, others = trio.Event(), trio.Event()
        others.set()
        async with trio.open_nursery() as nursery:
            for ino, name, until in ((1, "first", first), (1, "second", others), (1, "third", others)):
                await nursery.start(work, ino, name, until)
                await trio.testing.wait_all_tasks_blocked()
            await nursery.start(work, 2, "elsewhere", others)
            await trio.testing.wait_all_tasks_blocked()
            assert order == ["first", "elsewhere"]
            assert turns.is_taken(1) and not turns.is_taken(2)
            first.set()
        assert order == ["first", "elsewhere", "second", "third"]
        assert not turns.is_taken(1)

    trio.run(main)


def test_who_is_cancelled_or_fails_leaves_nothing_behind() -> None:
    async def main() -> None:
        turns = Turns()
        with trio.move_on_after(0):
            async with turns.of(1):
                await trio.sleep_forever()
        try:
            async with turns.of(1):
                raise ValueError
        except ValueError:
            pass
        assert not turns.is_taken(1)

    trio.run(main)


def test_who_took_a_mark_knows_whose_turn_it_was_since() -> None:
    async def main() -> None:
        turns = Turns()
        async with turns.of(1):
            mark = turns.ended.begin()  # the turn is still going on
            assert not turns.ended.noted_since(mark, 1)
        async with turns.of(2, is_noted=False):
            pass
        assert turns.ended.noted_since(mark, 1) and not turns.ended.noted_since(mark, 2)

    trio.run(main)
