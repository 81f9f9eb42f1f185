"""The store's own limit: tierfs's client library against the same server, without a file system in between.

    AWS_ENDPOINT_URL=... python -m tests.bench.store_limit BUCKET VERB ARGUMENTS...

A program of its own, so that the daemon and this have the same start. Each verb prints one number, in the unit that
its docstring gives. `put_big` and `put_small` prepare what the other verbs and the mounts read.
"""

import os
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from tierfs import native
from tierfs.objectstore.base import Always, ObjectInfo, ObjectMeta
from tierfs.objectstore.s3 import S3Store
from tierfs.objectstore.settings import S3Settings
from tierfs.units import GIB, KIB, MIB

# ranges of a sequential read, as many bytes in flight as tierfs has of one file
RANGE_BYTES: Final = 4 * MIB
RANGES_IN_FLIGHT: Final = 16
# parts of an upload, as many bytes in memory as tierfs has for uploads
PARTS_IN_FLIGHT: Final = 4
PAGE_BYTES: Final = 4 * KIB


async def run_all(jobs: Iterator[Callable[[], Awaitable[object]]], tasks: int) -> None:
    """Runs the jobs, `tasks` of them at a time."""

    async def worker() -> None:
        for job in jobs:
            await job()

    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(worker)


async def _read_all(store: S3Store, key: str, keep: Callable[[int, object], Awaitable[object]] | None) -> float:
    """Reads an object by ranges; the seconds that it took."""
    info = await store.head(key)

    def jobs() -> Iterator[Callable[[], Awaitable[object]]]:
        for start in range(0, info.size_bytes, RANGE_BYTES):

            async def one(start: int = start) -> None:
                stop = min(info.size_bytes, start + RANGE_BYTES)
                body = await store.get(key, start, stop, if_match=info.etag)
                if keep is not None:
                    await keep(start, body.data)

            yield one

    began = time.perf_counter()
    await run_all(jobs(), RANGES_IN_FLIGHT)
    return time.perf_counter() - began


async def read(store: S3Store, key: str, size: str) -> float:
    """MB/s of one object, in ranges, thrown away."""
    return int(size) / 1e6 / await _read_all(store, key, None)


async def keep(store: S3Store, key: str, size: str, path: str) -> float:
    """Processor seconds a GiB: the same, written to a local file with a checksum of each range."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)

    async def write(start: int, data: object) -> None:
        await trio.to_thread.run_sync(native.pwrite_crc64nvme, descriptor, data, start)

    began_s = _processor_s()
    await _read_all(store, key, write)
    spent_s = _processor_s() - began_s
    os.close(descriptor)
    os.unlink(path)
    return spent_s * GIB / int(size)


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def read_random(store: S3Store, key: str, size: str, tasks: str, seconds: str) -> float:
    """Requests a second for 4 KiB at random places."""
    info = await store.head(key)
    rng, count = random.Random(1), 0
    deadline = time.perf_counter() + float(seconds)

    def jobs() -> Iterator[Callable[[], Awaitable[object]]]:
        nonlocal count
        while time.perf_counter() < deadline:
            start = rng.randrange(int(size) // PAGE_BYTES) * PAGE_BYTES
            count += 1
            yield lambda start=start: store.get(key, start, start + PAGE_BYTES, if_match=info.etag)

    began = time.perf_counter()
    await run_all(jobs(), int(tasks))
    return count / (time.perf_counter() - began)


async def _list(store: S3Store, prefix: str) -> list[ObjectInfo]:
    found: list[ObjectInfo] = []
    token = ""
    while True:
        page = await store.list(prefix, delimited=False, token=token)
        found += page.objects
        if not (token := page.token):
            return found


async def epoch(store: S3Store, prefix: str, readers: str) -> float:
    """Objects a second, each read whole in one request; names and ETags come from a listing made before."""
    found = await _list(store, prefix)
    jobs = (
        lambda info=info: store.get_whole(info.key, if_match=info.etag, limit_bytes=info.size_bytes) for info in found
    )
    began = time.perf_counter()
    await run_all(jobs, int(readers))
    return len(found) / (time.perf_counter() - began)


async def put_big(store: S3Store, key: str, size: str) -> float:
    """MB/s of one object from memory, by parts, until it is complete."""
    part_bytes = store.part_size_bytes
    block = os.urandom(part_bytes)
    began = time.perf_counter()
    upload = await store.begin_upload(key, ObjectMeta())
    starts = range(0, int(size), part_bytes)
    jobs = (
        lambda number=number, start=start: upload.put_part(
            number, memoryview(block)[: min(part_bytes, int(size) - start)]
        )
        for number, start in enumerate(starts, 1)
    )
    await run_all(jobs, PARTS_IN_FLIGHT)
    await upload.complete(Always())
    return int(size) / 1e6 / (time.perf_counter() - began)


def _small_key(prefix: str, number: int) -> str:
    return f"{prefix}{number % 10:02d}/{number:06d}.bin"


async def put_small(store: S3Store, prefix: str, count: str, size: str, tasks: str = "8") -> float:
    """Objects a second, in ten directories."""
    block = os.urandom(int(size))
    jobs = (
        lambda number=number: store.put(_small_key(prefix, number), block, ObjectMeta(), Always())
        for number in range(int(count))
    )
    began = time.perf_counter()
    await run_all(jobs, int(tasks))
    return int(count) / (time.perf_counter() - began)


async def copy_small(store: S3Store, prefix: str, tasks: str) -> float:
    """Objects a second of what `put_small` made, copied by the server; names and ETags come from a listing before."""
    found = await _list(store, prefix)
    jobs = (
        lambda info=info: store.copy(info.key, f"copied/{info.key}", if_match=info.etag, condition=Always())
        for info in found
    )
    began = time.perf_counter()
    await run_all(jobs, int(tasks))
    return len(found) / (time.perf_counter() - began)


VERBS: Final[dict[str, Callable[..., Awaitable[float]]]] = {
    verb.__name__: verb for verb in (read, keep, read_random, epoch, put_big, put_small, copy_small)
}


async def main() -> None:
    bucket, verb, *arguments = sys.argv[1:]
    store = S3Store(S3Settings(bucket=bucket, endpoint_url=os.environ["AWS_ENDPOINT_URL"]))
    try:
        print(repr(await VERBS[verb](store, *arguments)))
    finally:
        await store.aclose()


if __name__ == "__main__":
    trio.run(main)
