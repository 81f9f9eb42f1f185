"""The work itself: programs that know nothing of tierfs, run the same over a native directory and over a mount.

    python tests/bench/work.py VERB ARGUMENTS...

Each prints one number, in the unit that its docstring gives. It is run by path, as a process of its own: nothing of
this repository is imported, and a mount that hangs holds nobody else.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20
PAGE = 4096
FILE_BYTES = 4096


def name_of(directory: str, number: int) -> str:
    return f"{directory}/{number:06d}"


def rate(act: Callable[[int], object], count: int, repeats: int = 1) -> float:
    """Calls a second of act(0) to act(count - 1), all of it `repeats` times."""
    began = time.perf_counter()
    for _ in range(repeats):
        for number in range(count):
            act(number)
    return count * repeats / (time.perf_counter() - began)


def write(path: str, size: str) -> float:
    """MB/s of a new file written in order by 1 MiB, with an fsync and the close in the time."""
    block = os.urandom(MIB)
    began = time.perf_counter()
    with open(path, "xb", buffering=0) as file:
        file.writelines(block[number % 251 :] + block[: number % 251] for number in range(int(size) // MIB))
        os.fsync(file.fileno())
    return int(size) / 1e6 / (time.perf_counter() - began)


def read(path: str) -> float:
    """MB/s of a file read in order by 1 MiB, with open and close in the time."""
    buffer = bytearray(MIB)
    total = 0
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(buffer):
            total += got
    return total / 1e6 / (time.perf_counter() - began)


def close(path: str, size: str) -> float:
    """A new file is written and synced; the time of day when its close began, in s."""
    block = os.urandom(MIB)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    for number in range(int(size) // MIB):
        os.write(descriptor, block[number % 251 :] + block[: number % 251])
    os.fsync(descriptor)
    began = time.time()
    os.close(descriptor)
    return began


def create(directory: str, count: str) -> float:
    """Files a second: create, write 4 KiB, close, in a new directory."""
    os.mkdir(directory)
    block = os.urandom(FILE_BYTES)

    def one(number: int) -> None:
        descriptor = os.open(name_of(directory, number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        os.write(descriptor, block)
        os.close(descriptor)

    return rate(one, int(count))


def stat(directory: str, count: str) -> float:
    """stat(2) a second, of names that were asked for before."""
    rate(lambda number: os.stat(name_of(directory, number)), int(count))
    return rate(lambda number: os.stat(name_of(directory, number)), int(count), 5)


def read_stat(path: str) -> float:
    """Pairs a second: 4 KiB read from an open file, then stat of its name."""
    descriptor = os.open(path, os.O_RDONLY)

    def pair(number: int) -> None:
        os.pread(descriptor, PAGE, number * PAGE % MIB)
        os.stat(path)

    rate(pair, 500)
    found = rate(pair, 5000)
    os.close(descriptor)
    return found


def open_read(directory: str, count: str) -> float:
    """Files a second: open, read 4 KiB, close, of files that were read before."""

    def one(number: int) -> None:
        descriptor = os.open(name_of(directory, number), os.O_RDONLY)
        assert len(os.read(descriptor, FILE_BYTES)) == FILE_BYTES
        os.close(descriptor)

    rate(one, int(count))
    return rate(one, int(count), 2)


def unlink(directory: str, count: str) -> float:
    """Files a second."""
    return rate(lambda number: os.unlink(name_of(directory, number)), int(count))


def remove(directory: str) -> float:
    """Files and directories a second that `rm -r` removes."""
    count = 1 + sum(len(names) + len(files) for _, names, files in os.walk(directory))
    began = time.perf_counter()
    subprocess.run(["rm", "-r", directory], check=True)
    return count / (time.perf_counter() - began)


def rename(old: str, new: str) -> float:
    """Milliseconds of one rename(2) of a directory."""
    began = time.perf_counter()
    os.rename(old, new)
    return (time.perf_counter() - began) * 1e3


def walk(directory: str) -> float:
    """Entries a second of `find` with a test that needs each entry's attributes."""
    began = time.perf_counter()
    subprocess.run(["find", directory, "-newermt", "2100-01-01"], check=True, stdout=subprocess.DEVNULL)
    taken_s = time.perf_counter() - began
    return sum(1 + len(files) for _, _, files in os.walk(directory)) / taken_s


def epoch(directory: str, readers: str) -> float:
    """Files a second that threads read whole, each file once, in the order of a listing made before."""
    files = sorted(str(path) for path in Path(directory).rglob("*") if path.is_file())
    take, lock = iter(files), threading.Lock()

    def reader() -> None:
        buffer = bytearray(MIB)
        while True:
            with lock:
                path = next(take, None)
            if path is None:
                return
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    threads = [threading.Thread(target=reader) for _ in range(int(readers))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(files) / (time.perf_counter() - began)


VERBS: dict[str, Callable[..., float]] = {
    verb.__name__: verb
    for verb in (write, read, close, create, stat, read_stat, open_read, unlink, remove, rename, walk, epoch)
}

if __name__ == "__main__":
    print(repr(VERBS[sys.argv[1]](*sys.argv[2:])))
