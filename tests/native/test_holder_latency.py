"""The holder's wish that processors stay awake, written to a file in place of the kernel's device."""

import errno
import sys
from pathlib import Path

import trio

from tests.native import holder_rig as wire
from tests.native.holder_rig import Rig, Run, rig


def test_processors_are_kept_awake_while_requests_flow(program: Path, tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()

    def most_us() -> int | None:
        value = device.read_bytes()
        return int.from_bytes(value, sys.byteorder) if value else None

    async def main() -> None:
        async with rig(program, str(device)) as made:
            await made.init()
            while most_us() != 0:
                for _ in range(8):
                    await made.ask(wire.IOCTL)
                for _ in range(8):
                    await made.reply()
            # a file has no event for a write of another process
            while most_us() == 0:  # noqa: ASYNC110
                await trio.sleep(0.001)
            assert (most_us() or 0) > 1_000_000
            assert (await made.holder.status())["latency_state"] == 1

    trio.run(main)


def test_without_the_device_processors_sleep_as_they_like(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        assert (await rig.holder.status())["latency_state"] == -errno.ENOENT

    run(scenario)
