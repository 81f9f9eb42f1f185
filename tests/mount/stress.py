"""One of many programs on a mount: changes its own files, reads everybody's, and believes no byte.

    python tests/mount/stress.py DIRECTORY NAME SEED SECONDS

Every block of 4 KiB says which file, version and block it is, and the rest of it follows from that; a block of zeros
is never written. Nobody else writes a program's own files, so it knows the version of each of their blocks: an older
one is a write that was lost. A read of somebody else's file beside his write may be torn, and beside his truncate the
kernel fills what it no longer gets with zeros; a second look tells both from wrong bytes. What is mapped writable
cannot leave the tier, so the programs may fill it for good: a write that finds no room fails, and what was written
before it counts. Files whose name begins with "outside" are replaced as a whole by another client: one descriptor
shows one version of them.
Prints as JSON how often each operation was done and found no room, and what its files are in the end. Run by path:
nothing of this repository is imported.
"""

import collections
import errno
import json
import mmap
import os
import random
import signal
import struct
import sys
import time

BLOCK = 4096
HEAD = struct.Struct("<8s16sQQ")  # magic, name, version, block
MAGIC = b"tierfsST"
BLOCKS_MAX = 700
LOOKS = 200
MAPPINGS_MAX = 3
# what may happen at any time to somebody else's name
ALLOWED = {errno.ENOENT}
# and to a version of an object that another client replaces
ALLOWED_OUTSIDE = {errno.ENOENT, errno.ESTALE}


def block(name: str, version: int, number: int) -> bytes:
    head = HEAD.pack(MAGIC, name.encode(), version, number)
    return (head + random.Random(head).randbytes(64)) * 38 + b"." * (BLOCK - 38 * (HEAD.size + 64))


def version_of(data: bytes, name: str, number: int) -> int | None:
    """None: it is not a whole block of this file and place."""
    magic, named, version, numbered = HEAD.unpack_from(data)
    whole = magic == MAGIC and named.rstrip(b"\0") == name.encode() and numbered == number
    return version if whole and data == block(name, version, number) else None


def content(name: str, versions: list[int]) -> bytes:
    return b"".join(block(name, version, number) for number, version in enumerate(versions))


class Worker:
    """The operations; each picks what it works on."""

    def __init__(self, directory: str, name: str, seed: int) -> None:
        self.directory = directory
        self.prefix = name
        self.choice = random.Random(seed)
        self.version = 0
        self.files: dict[str, list[int]] = {}  # the version of each block
        self.mapped: dict[str, mmap.mmap] = {}
        self.full_count = 0  # writes that found no room

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def mine(self) -> str | None:
        return self.choice.choice(sorted(self.files)) if self.files else None

    def make(self) -> None:
        name = f"{self.prefix}-{self.choice.randrange(8)}"
        self.version += 1
        versions = [self.version] * self.choice.choice((1, 3, 30, BLOCKS_MAX))
        flags = os.O_CREAT | os.O_TRUNC | self.choice.choice((os.O_WRONLY, os.O_RDWR))
        fd = os.open(self.path(name), flags, 0o644)
        data, step = content(name, versions), self.choice.choice((1, 16, 256)) * BLOCK
        written = 0
        while written < len(data) and (put := self.put(fd, data[written : written + step], written)):
            written += put
        if self.choice.random() < 0.2:
            os.fsync(fd)
        if written % BLOCK:
            os.ftruncate(fd, written // BLOCK * BLOCK)
        os.close(fd)
        self.files[name] = versions[: written // BLOCK]
        if not self.files[name]:
            self.unlink(name)

    def put(self, fd: int, data: bytes, offset: int) -> int:
        """How much of it was written: none of it where there is no room."""
        try:
            return os.pwrite(fd, data, offset)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self.full_count += 1
            return 0

    def overwrite(self) -> None:
        """Sometimes with the times of before, which then tell nobody that it was changed."""
        if (name := self.mine()) is not None:
            self.version += 1
            before = os.stat(self.path(name))
            fd = os.open(self.path(name), self.choice.choice((os.O_RDWR, os.O_WRONLY)))
            for _ in range(self.choice.randrange(1, 20)):
                number = self.choice.randrange(len(self.files[name]))
                if self.put(fd, block(name, self.version, number), number * BLOCK):
                    self.files[name][number] = self.version
            os.close(fd)
            if self.choice.random() < 0.2:
                os.utime(self.path(name), ns=(before.st_atime_ns, before.st_mtime_ns))

    def append(self) -> None:
        if (name := self.mine()) is not None and len(self.files[name]) < BLOCKS_MAX:
            self.version += 1
            fd = os.open(self.path(name), os.O_WRONLY | os.O_APPEND)
            if self.put(fd, block(name, self.version, len(self.files[name])), 0):  # at the end: O_APPEND
                self.files[name].append(self.version)
            os.close(fd)

    def truncate(self) -> None:
        if (name := self.mine()) is not None:
            del self.files[name][self.choice.randrange(1, len(self.files[name]) + 1) :]
            os.truncate(self.path(name), len(self.files[name]) * BLOCK)

    def map(self) -> None:
        """The mapping outlives its descriptor by many operations."""
        name = self.mine()
        if name is not None and name not in self.mapped:
            if len(self.mapped) == MAPPINGS_MAX:
                self.mapped.pop(self.choice.choice(sorted(self.mapped))).close()
            fd = os.open(self.path(name), os.O_RDWR)
            self.mapped[name] = mmap.mmap(fd, len(self.files[name]) * BLOCK)
            os.close(fd)

    def store(self) -> None:
        """Into a mapping, below the end that the file has by now: beyond it a store is SIGBUS."""
        if self.mapped:
            name = self.choice.choice(sorted(self.mapped))
            mapping = self.mapped[name]
            self.version += 1
            number = self.choice.randrange(min(len(mapping) // BLOCK, len(self.files[name])))
            mapping[number * BLOCK : (number + 1) * BLOCK] = block(name, self.version, number)
            self.files[name][number] = self.version

    def remove(self) -> None:
        if (name := self.mine()) is not None:
            self.unlink(name)

    def unlink(self, name: str) -> None:
        """While it is open: it stays what it was."""
        fd = os.open(self.path(name), os.O_RDONLY)
        os.unlink(self.path(name))
        if name in self.mapped:
            self.mapped.pop(name).close()
        self.check_own(fd, name, self.files.pop(name))
        os.close(fd)

    def verify(self) -> None:
        """Every write of the past is there."""
        if (name := self.mine()) is not None:
            fd = os.open(self.path(name), os.O_RDONLY)
            self.check_own(fd, name, self.files[name])
            os.close(fd)

    def check_own(self, fd: int, name: str, versions: list[int]) -> None:
        size_bytes = os.fstat(fd).st_size
        assert size_bytes == len(versions) * BLOCK, f"{name} has {size_bytes} bytes, not {len(versions)} blocks"
        for number in self.choice.sample(range(len(versions)), min(10, len(versions))):
            data = os.pread(fd, BLOCK, number * BLOCK)
            found = version_of(data, name, number)
            assert found == versions[number], (
                f"block {number} of {name} has version {found}, not {versions[number]}: {data[:64]!r}"
            )

    def look(self) -> None:
        """At anybody's file."""
        names = os.listdir(self.directory)
        if not names:
            return
        name = self.choice.choice(names)
        is_outside = name.startswith("outside")
        try:
            fd = os.open(self.path(name), os.O_RDONLY)
            try:
                if is_outside:
                    self.look_outside(fd, name)
                else:
                    self.look_inside(fd, name)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno not in (ALLOWED_OUTSIDE if is_outside else ALLOWED):
                raise

    def look_inside(self, fd: int, name: str) -> None:
        for _ in range(10):
            count = os.fstat(fd).st_size // BLOCK
            if count:
                self.check(fd, name, self.choice.randrange(count))

    def check(self, fd: int, name: str, number: int) -> None:
        for _ in range(LOOKS):
            data = os.pread(fd, BLOCK, number * BLOCK)
            if len(data) < BLOCK or version_of(data, name, number) is not None:
                return
            time.sleep(0.001)  # a write or a truncate is under way
        raise AssertionError(f"block {number} of {name} is {data[:64]!r}")

    def look_outside(self, fd: int, name: str) -> None:
        blocks = os.fstat(fd).st_size // BLOCK
        seen = {version_of(os.pread(fd, BLOCK, number * BLOCK), name, number) for number in range(blocks)}
        assert len(seen) <= 1 and None not in seen, f"{name}: versions {seen} in one descriptor"

    def end(self) -> None:
        """What is there at the end is all that was done."""
        while self.mapped:
            self.mapped.popitem()[1].close()
        for name, versions in self.files.items():
            with open(self.path(name), "rb") as file:
                for number, version in enumerate(versions):
                    found = version_of(file.read(BLOCK), name, number)
                    assert found == version, f"block {number} of {name} has version {found} in the end, not {version}"
                assert file.read() == b"", f"{name} is longer than it was made"


def main() -> None:
    signal.signal(signal.SIGUSR1, lambda *_: None)  # it may rain: a wait that is interrupted begins anew
    directory, name, seed, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    worker = Worker(directory, name, seed)
    own = [worker.make, worker.overwrite, worker.append, worker.truncate, worker.map, worker.store, worker.remove]
    done: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        operation = worker.choice.choice(
            [*own, worker.overwrite, worker.store, *[worker.verify] * 2, *[worker.look] * 6]
        )
        operation()
        done[operation.__name__] += 1
    worker.end()
    print(json.dumps({"done": done, "full_count": worker.full_count, "files": worker.files}))


if __name__ == "__main__":
    main()
