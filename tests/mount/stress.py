"""One of many programs on a mount: changes its own files, reads everybody's, and believes no byte.

    python tests/mount/stress.py DIRECTORY NAME SEED SECONDS READERS_PREFIX...

Every block of 4 KiB says which file, version and block it is, and the rest of it follows from that; a block of zeros
is never written. A read beside a write may be torn, which a second look tells from a wrong byte. Files whose name
begins with "outside" are replaced as a whole by another client: one descriptor shows one version of them.
Prints how often each operation was done. Run by path: nothing of this repository is imported.
"""

import collections
import errno
import mmap
import os
import random
import struct
import sys
import time

BLOCK = 4096
HEAD = struct.Struct("<8s16sQQ")  # magic, name, version, block
MAGIC = b"tierfsST"
BLOCKS_MAX = 700
LOOKS = 200
# what may happen to somebody else's name or version at any time
ALLOWED = {errno.ENOENT, errno.ESTALE}


def block(name: str, version: int, number: int) -> bytes:
    head = HEAD.pack(MAGIC, name.encode(), version, number)
    return (head + random.Random(head).randbytes(64)) * 38 + b"." * (BLOCK - 38 * (HEAD.size + 64))


def version_of(data: bytes, name: str, number: int) -> int | None:
    """None: it is not a whole block of this file and place."""
    assert any(data), f"zeros in block {number} of {name}"
    magic, named, version, numbered = HEAD.unpack_from(data)
    whole = magic == MAGIC and named.rstrip(b"\0") == name.encode() and numbered == number
    return version if whole and data == block(name, version, number) else None


def content(name: str, version: int, blocks: int) -> bytes:
    return b"".join(block(name, version, number) for number in range(blocks))


class Worker:
    """The operations; each picks what it works on."""

    def __init__(self, directory: str, name: str, seed: int) -> None:
        self.directory = directory
        self.prefix = name
        self.choice = random.Random(seed)
        self.version = 0
        self.blocks: dict[str, int] = {}
        self.mapped: list[tuple[str, mmap.mmap]] = []

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def mine(self) -> str | None:
        return self.choice.choice(sorted(self.blocks)) if self.blocks else None

    def make(self) -> None:
        name = f"{self.prefix}-{self.choice.randrange(8)}"
        blocks = self.choice.choice((1, 3, 30, BLOCKS_MAX))
        self.version += 1
        flags = os.O_CREAT | os.O_TRUNC | self.choice.choice((os.O_WRONLY, os.O_RDWR))
        fd = os.open(self.path(name), flags, 0o644)
        data, step = content(name, self.version, blocks), self.choice.choice((1, 16, 256)) * BLOCK
        for at in range(0, len(data), step):
            os.write(fd, data[at : at + step])
        if self.choice.random() < 0.2:
            os.fsync(fd)
        os.close(fd)
        self.blocks[name] = blocks

    def overwrite(self) -> None:
        if (name := self.mine()) is not None:
            self.version += 1
            fd = os.open(self.path(name), self.choice.choice((os.O_RDWR, os.O_WRONLY)))
            for _ in range(self.choice.randrange(1, 20)):
                number = self.choice.randrange(self.blocks[name])
                os.pwrite(fd, block(name, self.version, number), number * BLOCK)
            os.close(fd)

    def append(self) -> None:
        if (name := self.mine()) is not None and self.blocks[name] < BLOCKS_MAX:
            self.version += 1
            fd = os.open(self.path(name), os.O_WRONLY | os.O_APPEND)
            os.write(fd, block(name, self.version, self.blocks[name]))
            os.close(fd)
            self.blocks[name] += 1

    def truncate(self) -> None:
        if (name := self.mine()) is not None:
            self.blocks[name] = self.choice.randrange(1, self.blocks[name] + 1)
            os.truncate(self.path(name), self.blocks[name] * BLOCK)

    def store_by_mapping(self) -> None:
        """The mapping outlives its descriptor, and is stored into after the close."""
        if (name := self.mine()) is not None and name not in {each for each, _ in self.mapped}:
            fd = os.open(self.path(name), os.O_RDWR)
            mapping = mmap.mmap(fd, self.blocks[name] * BLOCK)
            os.close(fd)
            self.version += 1
            number = self.choice.randrange(self.blocks[name])
            mapping[number * BLOCK : (number + 1) * BLOCK] = block(name, self.version, number)
            mapping.close()

    def unlink(self) -> None:
        """While it is open: it stays what it was."""
        if (name := self.mine()) is not None:
            fd = os.open(self.path(name), os.O_RDONLY)
            os.unlink(self.path(name))
            self.check(fd, name, self.choice.randrange(self.blocks.pop(name)))
            os.close(fd)

    def look(self) -> None:
        """At anybody's file."""
        name = self.choice.choice(os.listdir(self.directory))
        if name.startswith("outside"):
            self.look_outside(name)
            return
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            for _ in range(10):
                count = os.fstat(fd).st_size // BLOCK
                if count:
                    self.check(fd, name, self.choice.randrange(count))
        finally:
            os.close(fd)

    def check(self, fd: int, name: str, number: int) -> None:
        for _ in range(LOOKS):
            try:
                data = os.pread(fd, BLOCK, number * BLOCK)
            except OSError as error:
                # what only the bucket has of a file goes with its name
                if error.errno == errno.EIO and os.fstat(fd).st_nlink == 0:
                    return
                raise
            if len(data) < BLOCK or version_of(data, name, number) is not None:
                return
            time.sleep(0.001)  # a write is under way
        raise AssertionError(f"block {number} of {name} is {data[:64]!r}")

    def look_outside(self, name: str) -> None:
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            seen = set()
            size = os.fstat(fd).st_size
            for number in range(size // BLOCK):
                seen.add(version_of(os.pread(fd, BLOCK, number * BLOCK), name, number))
            assert len(seen) <= 1 and None not in seen, f"{name}: versions {seen} in one descriptor"
        finally:
            os.close(fd)


def main() -> None:
    directory, name, seed, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    worker = Worker(directory, name, seed)
    own = [worker.make, worker.overwrite, worker.append, worker.truncate, worker.store_by_mapping, worker.unlink]
    done: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        operation = worker.choice.choice([*own, worker.overwrite, *[worker.look] * 6])
        try:
            operation()
            done[operation.__name__] += 1
        except OSError as error:
            if error.errno not in ALLOWED or operation != worker.look:
                raise
            done[errno.errorcode[error.errno]] += 1
    for kept, blocks in worker.blocks.items():  # what is there at the end is all that was done
        with open(worker.path(kept), "rb") as file:
            for number in range(blocks):
                assert version_of(file.read(BLOCK), kept, number) is not None, (kept, number)
            assert file.read() == b""
    print(dict(done))


if __name__ == "__main__":
    main()
