"""open, creat, close: flags, modes and the errors of names."""

import mmap
import os
import socket
import stat
import threading
from pathlib import Path

from tests.mount.posix.tools import attempt, look, open_close, opened, operation, root_operation, umask, write


@operation
def modes_and_umask(root: Path) -> object:
    seen = []
    for number, (mask, mode) in enumerate([(0o022, 0o777), (0o077, 0o666), (0, 0o4755), (0, 0o1777), (0o7777, 0o7777)]):
        with umask(mask):
            os.close(os.open(root / f"f{number}", os.O_CREAT | os.O_WRONLY, mode))
            (root / f"d{number}").mkdir(mode=mode)
        seen += [look(root / f"f{number}"), look(root / f"d{number}")]
    return seen


@operation
def read_only_mode_is_writable_by_the_creator(root: Path) -> object:
    with opened(root / "f", os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o444) as fd:
        return os.write(fd, b"abc"), os.pread(fd, 10, 0), look(root / "f")


@operation
def exclusive(root: Path) -> object:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    write(root / "file")
    (root / "dir").mkdir()
    (root / "dangling").symlink_to("nowhere")
    (root / "link").symlink_to("file")
    names = ["file", "dir", "dangling", "link", "new", "new", "missing/new", "file/new"]
    return [attempt(open_close, root / name, flags) for name in names], sorted(os.listdir(root))


@operation
def create_through_symlink(root: Path) -> object:
    (root / "dangling").symlink_to("target")
    with opened(root / "dangling", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"x")
    return (root / "target").read_bytes(), look(root / "dangling")


@operation
def truncating_open(root: Path) -> object:
    path = write(root / "f", b"0123456789")
    with opened(path, os.O_RDONLY) as reader:
        before = os.read(reader, 4)
        with opened(path, os.O_WRONLY | os.O_TRUNC) as writer:
            during = os.fstat(reader).st_size, os.pread(reader, 10, 0)
            os.write(writer, b"ab")
        return before, during, os.pread(reader, 10, 0), look(path)


@operation
def truncating_open_of_readers(root: Path) -> object:
    path = write(root / "f", b"0123456789")
    (root / "d").mkdir()
    return [
        attempt(open_close, path, os.O_RDONLY | os.O_TRUNC),
        look(path),
        attempt(open_close, root / "d", os.O_TRUNC),
    ]


@operation
def appending(root: Path) -> object:
    path = write(root / "f", b"start ")
    with opened(path, os.O_WRONLY | os.O_APPEND) as one, opened(path, os.O_RDWR | os.O_APPEND) as two:
        for fd, data in [(one, b"a"), (two, b"bb"), (one, b"ccc")]:
            os.write(fd, data)
        os.lseek(one, 0, os.SEEK_SET)
        os.write(one, b"dddd")
        # Linux appends here too, whatever the offset says
        os.pwrite(two, b"eeeee", 0)
        return path.read_bytes(), os.lseek(one, 0, os.SEEK_CUR), os.pread(two, 100, 0)


@operation
def directories_and_files_mixed_up(root: Path) -> object:
    write(root / "file", b"x")
    (root / "dir").mkdir()
    (root / "link").symlink_to("file")
    (root / "dirlink").symlink_to("dir")
    (root / "loop").symlink_to("loop")
    cases = [
        ("file", os.O_RDONLY | os.O_DIRECTORY),
        ("dir", os.O_RDONLY | os.O_DIRECTORY),
        ("dir", os.O_RDONLY),
        ("dir", os.O_WRONLY),
        ("dir", os.O_RDWR),
        ("dir", os.O_RDONLY | os.O_CREAT),
        ("link", os.O_RDONLY | os.O_NOFOLLOW),
        ("dirlink", os.O_RDONLY | os.O_DIRECTORY),
        ("dirlink", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW),
        ("loop", os.O_RDONLY),
        ("loop", os.O_PATH | os.O_NOFOLLOW),
        ("missing", os.O_RDONLY),
        ("missing", os.O_WRONLY),
        ("missing/x", os.O_WRONLY | os.O_CREAT),
        ("file/x", os.O_RDONLY),
        ("file/.", os.O_RDONLY),
        ("dirlink/x", os.O_WRONLY | os.O_CREAT),
        ("loop/x", os.O_RDONLY),
    ]
    # as text: pathlib takes slashes and dots away
    slashes = [
        attempt(os.listdir, f"{root}/file/"),
        attempt(os.lstat, f"{root}/file/"),
        attempt(os.mkdir, f"{root}/n/"),
    ]
    return [attempt(open_close, f"{root}/{name}", flags) for name, flags in cases], slashes, sorted(os.listdir(root))


@operation
def long_and_empty_names(root: Path) -> object:
    flags = os.O_CREAT | os.O_WRONLY
    longest = os.path.join(os.fsencode(root), b"n" * 255)
    calls = [
        attempt(os.open, longest + b"n", flags),
        attempt(os.mkdir, longest + b"n"),
        attempt(os.symlink, b"t", longest + b"n"),
        attempt(os.stat, longest + b"n"),
        attempt(os.open, b"", flags),
        attempt(os.stat, longest),
    ]
    calls += [attempt(open_close, longest, flags), os.listdir(root), attempt(os.unlink, longest), os.listdir(root)]
    calls += [attempt(os.mkdir, longest), os.listdir(root), attempt(os.rmdir, longest), os.listdir(root)]
    return calls


@operation
def fifo_passes_bytes(root: Path) -> object:
    path = root / "fifo"
    os.mkfifo(path, 0o600)
    without_reader = attempt(os.open, path, os.O_WRONLY | os.O_NONBLOCK)
    received = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    with path.open("wb") as writer:
        writer.write(b"through the pipe")
    reader.join(20)
    return without_reader, received, look(path)


@operation
def socket_cannot_be_opened(root: Path) -> object:
    with socket.socket(socket.AF_UNIX) as server:
        # the kernel allows an address of only 108 bytes
        with opened(root, os.O_RDONLY | os.O_DIRECTORY) as directory:
            server.bind(f"/proc/self/fd/{directory}/socket")
            server.listen(1)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"/proc/self/fd/{directory}/socket")
        return attempt(os.open, root / "socket", os.O_RDONLY), stat.S_ISSOCK((root / "socket").lstat().st_mode)


@root_operation
def special_files(root: Path) -> object:
    kinds = {
        "regular": stat.S_IFREG | 0o640,
        "plain": 0o600,
        "fifo": stat.S_IFIFO | 0o622,
        "socket": stat.S_IFSOCK | 0o755,
        "char": stat.S_IFCHR | 0o600,
        "block": stat.S_IFBLK | 0o660,
    }
    seen = []
    with umask(0):
        for name, mode in kinds.items():
            os.mknod(root / name, mode, os.makedev(7, 300) if name in ("char", "block") else 0)
            st = os.lstat(root / name)
            seen.append((look(root / name), os.major(st.st_rdev), os.minor(st.st_rdev)))
        errors = [
            attempt(os.mknod, root / "fifo", stat.S_IFIFO | 0o600),
            attempt(os.mknod, root / "dir", stat.S_IFDIR | 0o700),
            attempt(os.mknod, root / "missing/x", stat.S_IFREG | 0o600),
        ]
    return seen, errors


@operation
def wrong_direction(root: Path) -> object:
    path = write(root / "f", b"abc")
    with opened(path, os.O_RDONLY) as reader, opened(path, os.O_WRONLY) as writer:
        return [
            attempt(os.write, reader, b"x"),
            attempt(os.read, writer, 1),
            attempt(os.ftruncate, reader, 0),
            attempt(os.pread, reader, 5, -1),
            attempt(os.lseek, reader, -1, os.SEEK_SET),
        ]


@operation
def direct_io(root: Path) -> object:
    path = write(root / "f", bytes(range(256)) * 32)
    with opened(path, os.O_RDWR | os.O_DIRECT) as fd, mmap.mmap(-1, 4096) as page:
        count = os.preadv(fd, [page], 4096)
        first = bytes(page[:8])
        page[:] = b"D" * 4096
        written = os.pwritev(fd, [page], 0)
    return count, first, written, path.read_bytes()[4090:4100]
