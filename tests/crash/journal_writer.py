"""The program that test_journal.py kills: numbered operations on an index, each told to stdout once acknowledged.

Operation n leaves a state that depends on n alone, so that whoever finds the index knows how far it came.
"""

import os
import random
import struct
import sys
from pathlib import Path

import trio

from tierfs.clock import SystemClock
from tierfs.index.env import Index, IndexSettings, Reader, Table, Txn

SETTINGS = IndexSettings(
    map_size_bytes=64 << 20,
    journal_segment_bytes=64 << 10,
    journal_segments=3,
    commit_interval_s=0.02,
    durability_interval_s=0.02,
    max_uncommitted_changes=500,
    node=5,
)
WINDOW = 50
LAST = b"last"


def operate(txn: Txn, number: int) -> None:
    """Adds row n, removes row n - WINDOW, and writes n down, in three tables."""
    txn.put(Table.COUNTERS, LAST, b"%d" % number)
    txn.put(Table.XATTRS, b"%d" % number, random.Random(number).randbytes(number % 700))
    txn.delete(Table.XATTRS, b"%d" % (number - WINDOW))
    txn.put(Table.ORPHANS, b"%d" % number, b"")
    txn.delete(Table.ORPHANS, b"%d" % (number - WINDOW))


def last_operation(reader: Reader) -> int:
    """How far the index came; 0: not begun."""
    return int(reader.get(Table.COUNTERS, LAST) or 0)


def expected_rows(number: int) -> dict[bytes, bytes]:
    """XATTRS after operation `number`."""
    return {b"%d" % n: random.Random(n).randbytes(n % 700) for n in range(max(1, number - WINDOW + 1), number + 1)}


async def main(directory: Path) -> None:
    """Runs until it is killed."""
    index = Index.open(directory, clock=SystemClock(), settings=SETTINGS)
    rng = random.Random()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(index.run)
        number = last_operation(index)
        while True:
            number += 1
            with index.transaction() as txn:
                operate(txn, number)
            os.write(1, struct.pack("<QQ", number, index.next_ino()))
            chance = rng.random()
            if chance < 0.002:
                await index.durable()
            elif chance < 0.004:
                index.commit()
            elif chance < 0.1:
                await trio.lowlevel.checkpoint()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
