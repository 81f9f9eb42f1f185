"""The holder between a kernel and a pyfuse3 that this test plays, plain and under the sanitizers."""

import errno
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.native import holder_rig as wire
from tests.native.holder_rig import Rig, Run
from tierfs.errors import FsError
from tierfs.fuse.holder_wire import HOLDER_HANDLES


def opened(fh: int, flags: int = 0) -> bytes:
    return struct.pack("=QIi", fh, flags, 0)


def entry(nodeid: int) -> bytes:
    return wire.ENTRY.pack(nodeid, 0, 3600, 3600, 0, 0)


def attributes(ino: int, mark: int = 0) -> bytes:
    return struct.pack("=QIIQQ72x", 3600, 0, 0, ino, mark)


async def nothing_for(receive: Callable[[], Awaitable[object]], seconds: float) -> bool:
    with trio.move_on_after(seconds):
        await receive()
        return False
    return True


def test_init_is_patched_both_ways(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        request, reply = await rig.init()
        flags = struct.unpack_from("=I", request, 12)[0]
        assert flags & wire.SPLICE == 0
        assert flags & wire.INIT_EXT
        _, minor, readahead, low, background, congestion, max_write, _, pages, _, high, depth, _ = wire.INIT_OUT.unpack(
            reply
        )
        assert minor == 45
        assert (low | high << 32) & (wire.PASSTHROUGH | wire.KILLPRIV_V2) == wire.PASSTHROUGH | wire.KILLPRIV_V2
        assert low & (wire.SPLICE | wire.ASYNC_DIO) == 0
        assert (depth, max_write, pages) == (1, 1 << 20, 256)
        assert (readahead, background, congestion) == (1 << 20, 512, 384)

    run(scenario)


def test_an_old_kernel_is_offered_nothing_new(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        _, reply = await rig.init(kernel_flags=0)
        fields = wire.INIT_OUT.unpack(reply)
        assert fields[3] & (wire.INIT_EXT | wire.KILLPRIV_V2) == 0
        assert fields[10:12] == (0, 0)

    run(scenario)


def test_answers_reach_their_requests_in_any_order(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        waiting = [await rig.ask(wire.STATFS, argument=b"") for _ in range(500)]
        seen = [(await rig.asked()).unique for _ in waiting]
        assert sorted(seen) == waiting
        random.Random(1).shuffle(seen)
        for unique in seen:
            await rig.answer(unique, struct.pack("=Q", unique))
        for unique in seen:
            reply = await rig.reply()
            assert (reply.unique, reply.payload) == (unique, struct.pack("=Q", unique))
        assert (await rig.holder.status())["waiting"] == 0

    run(scenario)


def test_an_interrupt_is_answered_for_pyfuse3_and_the_late_open_is_given_back(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        gone = await trio.run_process(["sh", "-c", "echo $$"], capture_stdout=True)
        for opcode, late, undone in (
            (wire.OPEN, opened(7), [wire.RELEASE]),
            (wire.OPENDIR, opened(8), [wire.RELEASEDIR]),
            (wire.CREATE, entry(99) + opened(9), [wire.RELEASE, wire.BATCH_FORGET]),
            (wire.LOOKUP, entry(99), [wire.BATCH_FORGET]),
            (wire.MKDIR, entry(99), [wire.BATCH_FORGET]),
            (wire.READ, b"late", []),
            (wire.OPEN, b"", []),
        ):
            unique = await rig.ask(opcode, 5, bytes(40), pid=int(gone.stdout))
            assert (await rig.asked()).unique == unique
            asked = trio.current_time()
            await rig.ask(wire.INTERRUPT, argument=struct.pack("=Q", unique))
            reply = await rig.reply()
            assert (reply.unique, reply.error) == (unique, -errno.EINTR)
            assert trio.current_time() - asked < 0.5  # 50 ms, on a machine that may be busy
            await rig.answer(unique, late)
            assert sorted([(await rig.asked()).opcode for _ in undone]) == sorted(undone)
        assert await nothing_for(rig.reply, 0.1)
        status = await rig.holder.status()
        assert (status["interrupted"], status["swallowed"]) == (7, 7)

    run(scenario)


def test_a_thread_with_a_handler_is_interrupted_only_where_programs_expect_it(run: Run) -> None:
    program = (
        "import signal, time; [signal.signal(n, lambda *_: None) for n in (2, 14)]; print(flush=True); time.sleep(60)"
    )

    def stop(sleeper: subprocess.Popen[bytes]) -> None:
        """A stopped process keeps its signals pending."""
        assert sleeper.stdout is not None
        sleeper.stdout.readline()
        sleeper.send_signal(signal.SIGSTOP)
        os.waitpid(sleeper.pid, os.WUNTRACED)

    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as sleeper:
        stop(sleeper)

        async def scenario(rig: Rig) -> None:
            await rig.init()
            read = await rig.ask(wire.READ, 5, bytes(40), pid=sleeper.pid)
            made = await rig.ask(wire.MKDIR, 5, bytes(8), pid=sleeper.pid)
            for asked in (read, made):
                await rig.ask(wire.INTERRUPT, argument=struct.pack("=Q", asked))
            sleeper.send_signal(signal.SIGALRM)
            assert await nothing_for(rig.reply, 0.3)  # a timer breaks nothing
            sleeper.send_signal(signal.SIGINT)
            assert await rig.reply() == wire.Reply(read, -errno.EINTR, b"")
            assert await nothing_for(rig.reply, 0.1)  # the directory is made: no error for it
            sleeper.send_signal(signal.SIGKILL)
            assert (await rig.reply()).unique == made

        run(scenario)


def test_registered_files_are_opened_read_and_released_here(run: Run, tmp_path: Path) -> None:
    """The kernel of a socket pair has no passthrough: the holder reads."""

    async def scenario(rig: Rig) -> None:
        await rig.init()
        (tmp_path / "hot").write_bytes(bytes(range(256)) * 1000)
        with (tmp_path / "hot").open("r+b") as file:
            await rig.holder.register(42, file.fileno())
            with pytest.raises(FileExistsError):
                await rig.holder.register(42, file.fileno())
        await rig.ask(wire.OPEN, 42, struct.pack("=II", os.O_RDONLY, 0))
        got, _, backing_id = struct.unpack("=QIi", (await rig.reply()).payload)
        fh = HOLDER_HANDLES + 42
        assert (got, backing_id) == (fh, 0)
        await rig.ask(wire.READ, 42, struct.pack("=QQIIQII", fh, 100, 1000, 0, 0, 0, 0))
        assert (await rig.reply()).payload == (bytes(range(256)) * 1000)[100:1100]
        await rig.ask(wire.READ, 42, struct.pack("=QQIIQII", fh, 255_990, 1000, 0, 0, 0, 0))
        assert len((await rig.reply()).payload) == 10
        for offset, size in ((2**63 - 1, 4096), (2**64 - 1, 1), (0, 2**32 - 1)):
            await rig.ask(wire.READ, 42, struct.pack("=QQIIQII", fh, offset, size, 0, 0, 0, 0))
            assert (await rig.reply()).error == -errno.EINVAL
        with pytest.raises(OSError, match="busy"):
            await rig.holder.revoke(42)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: rig.holder.revoke(42, wait_s=20, no_writers=True))
            await trio.sleep(0.05)
            unique = await rig.ask(wire.OPEN, 42, struct.pack("=II", os.O_RDONLY, 0))
            assert (await rig.asked()).unique == unique  # while it is revoked, Python opens
            await rig.answer(unique, error=-errno.ENOENT)
            await rig.reply()
            await rig.ask(wire.RELEASE, 42, struct.pack("=QIIQ", fh, os.O_RDONLY, 0, 0))
            assert (await rig.reply()).error == 0
        assert [(use.ino, use.opens, use.bytes_read) for use in await rig.holder.drain()] == [(42, 1, 1010)]
        await rig.ask(wire.READ, 42, struct.pack("=QQIIQII", fh, 0, 10, 0, 0, 0, 0))
        assert (await rig.reply()).error == -errno.EBADF
        with pytest.raises(FileNotFoundError):
            await rig.holder.revoke(42)

    run(scenario)


def test_attributes_are_answered_here_until_something_changes_them(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        (tmp_path / "hot").write_bytes(b"hot")
        with (tmp_path / "hot").open("rb") as file:
            await rig.holder.register(42, file.fileno())

        async def stat(expected: int, *, by_python: bool) -> None:
            unique = await rig.ask(wire.GETATTR, 42, bytes(16))
            if by_python:
                assert (await rig.asked()).unique == unique
                await rig.answer(unique, attributes(42, expected))
            assert struct.unpack_from("=QQ", (await rig.reply()).payload, 16) == (42, expected)

        await stat(1, by_python=True)
        await stat(1, by_python=False)
        # an answer that was under way while the attributes changed is not kept
        unique = await rig.ask(wire.SETATTR, 42, struct.pack("=II", 1 << 6, 0) + struct.pack("=Q", wire.HOLDER_FH))
        request = await rig.asked()
        assert struct.unpack_from("=I", request.argument)[0] == 0  # pyfuse3 does not know the handle
        slow = await rig.ask(wire.GETATTR, 42, bytes(16))
        await rig.asked()
        await rig.answer(unique, attributes(42, 2))
        await rig.answer(slow, attributes(42, 1))
        assert {(await rig.reply()).unique for _ in range(2)} == {unique, slow}
        await stat(2, by_python=True)
        await stat(2, by_python=False)
        unique = await rig.ask(wire.UNLINK, 1, b"other\0")
        await rig.asked()
        rig.holder.attributes_changed(42)  # it was another name of this one
        await rig.answer(unique)
        await rig.reply()
        await stat(3, by_python=True)
        rig.holder.inode_changed(42, content=True)
        assert (await rig.reply()).error == 2  # FUSE_NOTIFY_INVAL_INODE
        await stat(4, by_python=True)

    run(scenario)


def test_what_pyfuse3_does_not_know_is_answered_beside_it(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        rig.calls.gate.set()
        copy = struct.pack("=QQQQQQQ", 7, 10, 6, 8, 20, 30, 0)
        for opcode, argument, asked, value, payload in (
            (wire.FALLOCATE, struct.pack("=QQQII", 7, 10, 20, 3, 0), (7, 10, 20, 3), 99, b""),
            (
                wire.LSEEK,
                struct.pack("=QQII", 7, 10, os.SEEK_DATA, 0),
                (7, 10, os.SEEK_DATA),
                4096,
                struct.pack("=Q", 4096),
            ),
            (wire.COPY_FILE_RANGE, copy, (7, 10, 8, 20, 30), 30, struct.pack("=II", 30, 0)),
            (wire.COPY_FILE_RANGE_64, copy, (7, 10, 8, 20, 30), 1 << 40, struct.pack("=Q", 1 << 40)),
        ):
            rig.calls.value, rig.calls.error = value, None
            unique = await rig.ask(opcode, 5, argument)
            assert await rig.reply() == wire.Reply(unique, 0, payload)
            assert await rig.calls.asked() == asked
            for error, code in (
                (FsError(errno.ENXIO), errno.ENXIO),
                (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
                (ValueError("a bug"), errno.EIO),
                (FsError(4000), errno.EIO),
            ):
                rig.calls.error = error
                unique = await rig.ask(opcode, 5, argument)
                assert await rig.reply() == wire.Reply(unique, -code, b"")
                assert await rig.calls.asked() == asked
            unique = await rig.ask(opcode, 5, argument[:-1])
            assert await rig.reply() == wire.Reply(unique, -errno.EIO, b"")
        unique = await rig.ask(wire.COPY_FILE_RANGE, 5, struct.pack("=Q", wire.HOLDER_FH | 1) + copy[8:])
        assert await rig.reply() == wire.Reply(unique, -errno.EXDEV, b"")
        assert (await rig.holder.status())["waiting"] == 0

    run(scenario)


def test_an_interrupt_ends_what_is_answered_beside_pyfuse3(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        gone = await trio.run_process(["sh", "-c", "echo $$"], capture_stdout=True)
        unique = await rig.ask(wire.FALLOCATE, 5, struct.pack("=QQQII", 7, 0, 20, 0, 0), pid=int(gone.stdout))
        assert await rig.calls.asked() == (7, 0, 20, 0)
        await rig.ask(wire.INTERRUPT, argument=struct.pack("=Q", unique))
        assert await rig.reply() == wire.Reply(unique, -errno.EINTR, b"")
        rig.calls.gate.set()
        await wait_all_tasks_blocked()
        assert (await rig.holder.status())["swallowed"] == 1
        rig.calls.gate = trio.Event()
        waiting = await rig.ask(wire.LSEEK, 5, struct.pack("=QQII", 7, 10, os.SEEK_DATA, 0))
        assert await rig.calls.asked() == (7, 10, os.SEEK_DATA)
        rig.end_python()
        assert await rig.reply() == wire.Reply(waiting, -errno.ENOTCONN, b"")

    run(scenario)


def test_the_brake_says_whether_it_can_work(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        if os.geteuid() != 0:
            with pytest.raises(PermissionError):
                await rig.holder.brake(on=True)
            return
        await rig.holder.brake(on=True)  # not tried yet
        assert (await rig.holder.status())["brake_state"] == 0
        (tmp_path / "hot").write_bytes(b"hot")
        with (tmp_path / "hot").open("rb") as file:
            await rig.holder.register(42, file.fileno())
        state = (await rig.holder.status())["brake_state"]
        assert state in (1, -errno.EINVAL, -errno.EOPNOTSUPP)
        if state < 0:
            with pytest.raises(OSError, match="holder"):
                await rig.holder.brake(on=True)
        rig.end_python()  # with the brake on

    run(scenario)


def test_forgets_arrive_in_batches_and_in_full(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        expected: dict[int, int] = {}
        for nodeid in range(2, 3002):
            expected[nodeid] = nodeid % 7 + 1
            await rig.ask(wire.FORGET, nodeid, struct.pack("=Q", nodeid % 7 + 1))
        many = [(nodeid, 3) for nodeid in range(4000, 7000)]
        pairs = b"".join(struct.pack("=QQ", *pair) for pair in many)
        await rig.ask(wire.BATCH_FORGET, 0, struct.pack("=II", len(many), 0) + pairs)
        await rig.ask(wire.BATCH_FORGET, 0, struct.pack("=II", 2**32 - 1, 0) + pairs[:16])  # it lies
        expected.update(many)
        while expected:
            request = await rig.asked()
            assert request.opcode == wire.BATCH_FORGET
            count, _ = struct.unpack_from("=II", request.argument)
            assert len(request.argument) == 8 + 16 * count <= 65_536
            for nodeid, lookups in struct.iter_unpack("=QQ", request.argument[8:]):
                assert expected.pop(nodeid) == lookups
        assert (await rig.holder.status())["malformed"] == 1

    run(scenario)


def test_malformed_answers_become_errors_and_nobody_waits_for_ever(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        for payload, error, size in (
            (b"x", 0, 5),
            (b"", 0, 2**32 - 1),
            (b"", 5, 16),
            (b"x", -5, None),
            (b"", -600, None),
        ):
            unique = await rig.ask(wire.STATFS)
            await rig.asked()
            await rig.answer(unique, payload, error=error, size=size)
            assert await rig.reply() == wire.Reply(unique, -errno.EIO, b"")
        await rig.answer(123456)  # nobody asked
        unique = await rig.ask(wire.OPEN, 5, bytes(8))
        await rig.asked()
        await rig.answer(unique, opened(wire.HOLDER_FH | 3))  # a handle that is not its own
        assert (await rig.asked()).opcode == wire.RELEASE
        assert (await rig.reply()).error == -errno.EIO

    run(scenario)


def test_a_slow_pyfuse3_does_not_keep_hot_files_waiting(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        (tmp_path / "hot").write_bytes(b"hot")
        with (tmp_path / "hot").open("rb") as file:
            await rig.holder.register(42, file.fileno())
        payload = bytes(60_000)
        waiting = [await rig.ask(wire.SETXATTR, 5, payload) for _ in range(1000)]  # far more than the socket takes
        await rig.ask(wire.OPEN, 42, struct.pack("=II", os.O_RDONLY, 0))
        with trio.fail_after(10):
            assert (await rig.reply()).error == 0
        assert (await rig.holder.status())["queued_bytes"] > 0
        assert sorted([(await rig.asked()).unique for _ in waiting]) == waiting

    run(scenario)


def test_what_may_wait_for_the_store_leaves_places_to_the_rest(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        gone = await trio.run_process(["sh", "-c", "echo $$"], capture_stdout=True)
        for opcode, argument, places in (
            (wire.READ, bytes(40), wire.TASKS_MAX // 2),
            (wire.WRITE, bytes(40), wire.TASKS_MAX // 8),
            (wire.OPEN, bytes(8), wire.TASKS_MAX // 4),
        ):
            waiting = [await rig.ask(opcode, 5, argument, pid=int(gone.stdout)) for _ in range(places + 3)]
            inside = [(await rig.asked()).unique for _ in range(places)]
            statfs = await rig.ask(wire.STATFS)
            assert (await rig.asked()).unique == statfs
            with trio.fail_after(10):
                while (await rig.holder.status())["at_gates"] != 3:  # noqa: ASYNC110 - statfs may overtake the last
                    await trio.sleep(0.01)
            kept = [unique for unique in waiting if unique not in inside]
            await rig.ask(wire.INTERRUPT, argument=struct.pack("=Q", kept[0]))
            assert await rig.reply() == wire.Reply(kept[0], -errno.EINTR, b"")
            following = []
            for done in inside[:2]:
                await rig.answer(done, error=-errno.EIO)
                assert (await rig.reply()).unique == done
                following.append((await rig.asked()).unique)
            assert sorted(following) == kept[1:]  # two threads brought them to the gate
            for unique in [*inside[2:], *kept[1:], statfs]:
                await rig.answer(unique, error=-errno.EIO)
                assert (await rig.reply()).unique == unique
            status = await rig.holder.status()
            assert (status["waiting"], status["at_gates"]) == (0, 0)
        waiting = [await rig.ask(wire.READ, 5, bytes(40)) for _ in range(wire.TASKS_MAX)]
        rig.end_python()
        assert sorted([(await rig.reply()).unique for _ in waiting]) == waiting

    run(scenario)


def test_the_end_of_pyfuse3_is_an_error_for_all_who_wait(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        waiting = [await rig.ask(wire.STATFS) for _ in range(50)]
        await rig.asked()
        rig.end_python()
        replies = [await rig.reply() for _ in waiting]
        assert {reply.error for reply in replies} == {-errno.ENOTCONN}
        assert sorted(reply.unique for reply in replies) == waiting
        unique = await rig.ask(wire.STATFS)
        assert await rig.reply() == wire.Reply(unique, -errno.ENOTCONN, b"")

    run(scenario)


def test_the_end_of_the_kernel_is_the_end_of_the_session(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        await rig.ask(wire.STATFS)
        await rig.asked()
        rig.kernel.close()
        assert await rig.python.recv(10) == b""
        await rig.holder.ended.wait()
        with pytest.raises(OSError, match="not connected"):
            await rig.holder.drain()

    run(scenario)


@pytest.mark.parametrize("seed", range(3))
def test_noise_from_either_side_and_on_the_link_does_no_harm(run: Run, seed: int) -> None:
    noise = random.Random(seed)

    def packet(header: struct.Struct, most: int) -> bytes:
        body = noise.randbytes(noise.choice((0, 1, 7, 8, 16, 24, 40, 64, 128, 200, most)))
        size = header.size + len(body) if noise.random() < 0.8 else noise.getrandbits(32)
        unique = noise.randrange(40)
        if header is wire.OUT_HEADER:
            return header.pack(size, noise.choice((0, 0, -5, 2, 3, 99)), unique) + body
        nodeid, extension = noise.randrange(4), noise.choice((0, 0, 0, 9, 65535))
        return header.pack(size, noise.randrange(54), unique, nodeid, 0, 0, noise.choice((0, 1)), extension, 0) + body

    async def scenario(rig: Rig) -> None:
        async def swallow(receive: Callable[[int], Awaitable[bytes]]) -> None:
            while await receive(1 << 21):
                pass

        await rig.init()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(swallow, rig.kernel.recv)
            nursery.start_soon(swallow, rig.python.recv)
            for _ in range(3000):
                await rig.kernel.send(packet(wire.IN_HEADER, 60_000))
                await rig.python.send(packet(wire.OUT_HEADER, 60_000))
                if noise.random() < 0.1:
                    await rig.garble(noise.randbytes(noise.randrange(1, 100)))
                    small = (noise.randrange(10), 0, noise.randrange(40), noise.randrange(600), noise.randrange(40))
                    await rig.garble(struct.pack("=IIQQQ", *small) + noise.randbytes(noise.randrange(40)))
            assert (await rig.holder.status())["malformed"] > 0
            nursery.cancel_scope.cancel()

    run(scenario)
