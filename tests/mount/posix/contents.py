"""Bytes: reading, writing, holes, truncation, mappings, and files that outlive their names."""

import hashlib
import mmap
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

from tests.mount.posix.tools import attempt, look, opened, operation, write

MIB = 1 << 20


@operation
def offsets(root: Path) -> object:
    with opened(root / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"0123456789")
        seeks = [os.lseek(fd, *where) for where in [(3, os.SEEK_SET), (2, os.SEEK_CUR), (-1, os.SEEK_END)]]
        reads = [os.read(fd, 5), os.read(fd, 5), os.pread(fd, 4, 8), os.pread(fd, 4, 10), os.pread(fd, 4, 99)]
        vectors = os.writev(fd, [b"aa", b"", b"bbb"]), os.preadv(fd, [bytearray(2), bytearray(20)], 1)
        return seeks, reads, vectors, os.pread(fd, 99, 0), look(fd)


@operation
def write_beyond_the_end(root: Path) -> object:
    with opened(root / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"end", 3 * MIB)
        head, tail = os.pread(fd, 8, 0), os.pread(fd, 9, 3 * MIB - 3)
        is_sparse = os.fstat(fd).st_blocks * 512 < MIB
        os.pwrite(fd, b"middle", MIB + 7)
        digest = hashlib.sha256(os.pread(fd, 4 * MIB, 0)).hexdigest()
        return head, tail, is_sparse, digest, look(fd)


@operation
def truncation(root: Path) -> object:
    path = write(root / "f", b"0123456789")
    (root / "d").mkdir()
    (root / "link").symlink_to("f")
    seen: list[object] = []
    for size in (4, 4, 12, 0, 70_000, 5):
        os.truncate(path, size)
        seen.append((look(path), hashlib.sha256(path.read_bytes()).hexdigest()))
    os.truncate(root / "link", 2)
    with opened(path, os.O_WRONLY) as fd:
        os.ftruncate(fd, 8)
    seen += [path.read_bytes(), look(path)]
    seen += [attempt(os.truncate, root / "d", 0), attempt(os.truncate, path, -1), attempt(os.truncate, root / "no", 0)]
    seen += [attempt(os.truncate, path, 1 << 62), look(path)]
    return seen


@operation
def truncated_bytes_do_not_come_back(root: Path) -> object:
    path = write(root / "f", b"x" * 10_000)
    os.truncate(path, 5_000)
    os.truncate(path, 10_000)
    data = path.read_bytes()
    return data.count(b"x"), data.count(b"\0")


@operation
def unlinked_but_open(root: Path) -> object:
    path = write(root / "f", b"before")
    with opened(path, os.O_RDWR) as fd:
        path.unlink()
        seen: list[object] = [look(fd), os.listdir(root), os.pread(fd, 99, 0)]
        os.pwrite(fd, b" and after", 6)
        os.ftruncate(fd, 12)
        os.fchmod(fd, 0o600)
        os.fsync(fd)
        write(path, b"another")
        seen += [os.pread(fd, 99, 0), look(fd), path.read_bytes(), look(path)]
        seen.append(attempt(os.link, f"/proc/self/fd/{fd}", root / "back", follow_symlinks=True))
    return seen, sorted(os.listdir(root))


@operation
def replaced_but_open(root: Path) -> object:
    path = write(root / "f", b"old")
    with opened(path, os.O_RDWR) as fd:
        os.rename(write(root / "new", b"new bytes"), path)
        os.pwrite(fd, b"O", 0)
        return os.pread(fd, 99, 0), look(fd), path.read_bytes(), look(path), os.listdir(root)


@operation
def renamed_while_written(root: Path) -> object:
    (root / "d").mkdir()
    with opened(root / "a", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"one ")
        os.rename(root / "a", root / "d/b")
        os.write(fd, b"two ")
        os.rename(root / "d", root / "e")
        os.write(fd, b"three")
    return (root / "e/b").read_bytes(), os.listdir(root)


@operation
def two_descriptors_see_each_other(root: Path) -> object:
    with opened(root / "f", os.O_CREAT | os.O_RDWR) as one, opened(root / "f", os.O_RDWR) as two:
        seen = []
        for number in range(20):
            os.pwrite(one if number % 2 else two, bytes([number]) * 100, number * 50)
            seen.append(hashlib.sha256(os.pread(two if number % 2 else one, 5000, 0)).hexdigest())
            seen.append(str(os.stat(root / "f").st_size))
        return seen


@operation
def big_writes_at_odd_offsets(root: Path) -> object:
    chooser = random.Random(7)
    path = root / "f"
    with opened(path, os.O_CREAT | os.O_RDWR) as fd:
        for _ in range(30):
            size, offset = chooser.randrange(1, 400_000), chooser.randrange(0, 4 * MIB)
            assert os.pwrite(fd, chooser.randbytes(size), offset) == size
        os.fdatasync(fd)
    return hashlib.sha256(path.read_bytes()).hexdigest(), look(path)


@operation
def appends_of_processes_are_not_lost(root: Path) -> object:
    script = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)\n"
        "for n in range(150): os.write(fd, f'{sys.argv[2]} {n}\\n'.encode())\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, root / "log", str(n)]) for n in range(4)]
    codes = [writer.wait(60) for writer in writers]
    lines = (root / "log").read_text().splitlines()
    return codes, len(lines), sorted(lines) == sorted(f"{writer} {n}" for writer in range(4) for n in range(150))


@operation
def shared_mapping(root: Path) -> object:
    path = write(root / "f", bytes(10_000))
    with opened(path, os.O_RDWR) as fd, mmap.mmap(fd, 10_000) as area:
        area[5_000:5_005] = b"hello"
        area.flush()
        through_read = os.pread(fd, 7, 4_999)
        os.pwrite(fd, b"world", 9_000)
        through_map = bytes(area[8_999:9_006])
    return through_read, through_map, hashlib.sha256(path.read_bytes()).hexdigest(), look(path)


@operation
def mapping_outlives_its_descriptor(root: Path) -> object:
    path = write(root / "f", b"." * 8192)
    fd = os.open(path, os.O_RDWR)
    area = mmap.mmap(fd, 8192)
    os.close(fd)
    area[4096:4100] = b"late"
    area.flush()
    area.close()
    return path.read_bytes()[4094:4102], look(path)


@operation
def private_mapping(root: Path) -> object:
    path = write(root / "f", b"shared bytes")
    with opened(path, os.O_RDONLY) as fd, mmap.mmap(fd, 12, access=mmap.ACCESS_COPY) as area:
        area[0:6] = b"SECRET"
        mine = bytes(area[:])
    return mine, path.read_bytes()


@operation
def mapping_of_a_hole(root: Path) -> object:
    path = root / "f"
    with opened(path, os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, MIB + 5)
        with mmap.mmap(fd, MIB + 5) as area:
            first = bytes(area[MIB - 2 : MIB + 5])
            area[MIB : MIB + 5] = b"tail!"
            area.flush()
    data = path.read_bytes()
    return first, data.count(0), data[-7:]


@operation
def program_runs_from_here(root: Path) -> object:
    path = write(root / "script", b"#!/bin/sh\necho ran with $1\n")
    refused = attempt(subprocess.run, [path, "x"])
    path.chmod(0o755)
    return refused, subprocess.run([path, "it"], capture_output=True, timeout=20, check=True).stdout


@operation
def copies_within(root: Path) -> object:
    source = write(root / "a", random.Random(3).randbytes(300_001))
    with opened(source, os.O_RDONLY) as a, opened(root / "b", os.O_CREAT | os.O_RDWR) as b:
        copied = 0
        while count := os.copy_file_range(a, b, 100_000):
            copied += count
        sent = os.sendfile(b, a, 5, 1000)
    return copied, sent, hashlib.sha256((root / "b").read_bytes()).hexdigest()


@operation
def syncs(root: Path) -> object:
    with opened(root / "f", os.O_CREAT | os.O_WRONLY | os.O_SYNC) as fd, opened(root, os.O_RDONLY) as directory:
        os.write(fd, b"abc")
        return [attempt(os.fsync, fd), attempt(os.fdatasync, fd), attempt(os.fsync, directory)]


@operation
def data_of_a_dense_file_is_data(root: Path) -> object:
    path = write(root / "f", b"x" * 20_000)
    with opened(path, os.O_RDONLY) as fd:
        found = [attempt(os.lseek, fd, at, how) for at in (0, 7, 20_000) for how in (os.SEEK_DATA, os.SEEK_HOLE)]
        return found, os.fstat(fd).st_blocks * 512 >= 20_000


@operation
def blocks_cover_what_was_written(root: Path) -> object:
    empty, small = write(root / "empty"), write(root / "small", b"x" * 3000)
    st = small.stat()
    return empty.stat().st_blocks, st.st_blocks * 512 >= 3000, st.st_blksize > 0, stat.S_ISREG(st.st_mode)
