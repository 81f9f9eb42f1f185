"""A small file system behind the native holder, run as a process of its own by the tests and the benchmark.

    python -m tests.mount.holder_demo MOUNTPOINT DIRECTORY PROGRAM [transfer_kib] [hot] [direct]

DIRECTORY's files, flat, through pyfuse3. `hot`: a file is registered when it is first opened, also for writing.
`direct`: pyfuse3 mounts itself, without a holder. Names that begin with `wait-open`, `wait-read` or `wait-write`
answer that operation never; `late-open` after the command `late`. Commands come as lines on stdin, each answered by
one JSON line: ready, held, late, status, drain, revoke NAME WAIT_S NO_WRITERS, forgets, opens, invalidate
NAME, peek NAME, brake 0|1, unmount.
"""

import ctypes
import errno
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from tierfs.fuse.calls import Calls
from tierfs.fuse.failures import Failures
from tierfs.fuse.holder import Holder, held
from tierfs.fuse.holder_process import HolderOptions
from tierfs.fuse.holder_wire import HOLDER_HANDLES

LONG_S = 3600.0
TASKS_MAX = 100
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Demo(pyfuse3.Operations):
    """A flat directory as a file system."""

    enable_writeback_cache = False

    def __init__(self, directory: Path, hot: bool) -> None:
        super().__init__()
        self.directory = directory
        self.hot = hot
        self.holder: Holder | None = None
        self.names: dict[int, bytes] = {}
        self.inos: dict[bytes, int] = {}
        self.fds: dict[int, int] = {}
        self.registered: set[int] = set()
        self.lookups: dict[int, int] = {}
        self.next_ino = 2
        self.open_total = 0
        self.held_total = 0
        self.late = trio.Event()

    def _ino(self, name: bytes) -> int:
        if name not in self.inos:
            self.inos[name] = self.next_ino
            self.names[self.next_ino] = name
            self.next_ino += 1
        return self.inos[name]

    def _path(self, ino: int) -> bytes:
        if ino == pyfuse3.ROOT_INODE:
            return os.fsencode(self.directory)
        return os.path.join(os.fsencode(self.directory), self.names[ino])

    def _attributes(self, ino: int) -> pyfuse3.EntryAttributes:
        try:
            status = os.lstat(self._path(ino))
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(ino)
        for field in ("mode", "nlink", "uid", "gid", "size", "blocks", "atime_ns", "mtime_ns", "ctime_ns"):
            setattr(entry, f"st_{field}", getattr(status, f"st_{field}"))
        entry.attr_timeout = entry.entry_timeout = LONG_S
        return entry

    def _looked_up(self, ino: int) -> pyfuse3.EntryAttributes:
        entry = self._attributes(ino)
        self.lookups[ino] = self.lookups.get(ino, 0) + 1
        return entry

    def _looked_up_name(self, name: bytes) -> pyfuse3.EntryAttributes:
        if not os.path.lexists(os.path.join(os.fsencode(self.directory), name)):
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._looked_up(self._ino(name))

    async def lookup(self, parent: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        if name in (b".", b".."):
            return self._looked_up(1)
        return self._looked_up_name(name)

    async def forget(self, inode_list: Any) -> None:
        for ino, count in inode_list:
            self.lookups[ino] -= count
            if self.lookups[ino] == 0:
                del self.lookups[ino]

    async def getattr(self, inode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._attributes(inode)

    async def setattr(self, inode: int, attr: Any, fields: Any, fh: Any, ctx: Any) -> pyfuse3.EntryAttributes:
        path = self._path(inode)
        if fields.update_size:
            os.truncate(path, attr.st_size)
        if fields.update_mode:
            os.chmod(path, stat.S_IMODE(attr.st_mode))
        if fields.update_mtime:
            os.utime(path, ns=(os.stat(path).st_atime_ns, attr.st_mtime_ns))
        return self._attributes(inode)

    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_blocks = data.f_bfree = data.f_bavail = data.f_files = data.f_ffree = data.f_favail = 1 << 20
        data.f_namemax = 255
        return data

    async def opendir(self, inode: int, ctx: Any) -> Any:
        return inode

    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        names = sorted(os.listdir(os.fsencode(self.directory)))
        for index in range(start_id, len(names)):
            ino = self._ino(names[index])
            if not pyfuse3.readdir_reply(token, pyfuse3.FileNameT(names[index]), self._attributes(ino), index + 1):
                break
            self.lookups[ino] = self.lookups.get(ino, 0) + 1

    async def _opened(self, ino: int, flags: int) -> pyfuse3.FileInfo:
        self.open_total += 1
        fd = os.open(self._path(ino), flags & (os.O_ACCMODE | os.O_TRUNC))
        self.fds[fd] = ino
        is_hot = self.hot and not self.names[ino].startswith(b"wait")
        if is_hot and self.holder is not None and ino not in self.registered:
            self.registered.add(ino)
            await self.holder.register(ino, fd, writable=True, no_capabilities=True)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(fd), keep_cache=True)

    async def _hold(self, event: trio.Event) -> None:
        self.held_total += 1
        await event.wait()

    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        name = self.names[inode]
        if name.startswith(b"wait-open"):
            await self._hold(trio.Event())
        if name.startswith(b"late-open"):
            await self._hold(self.late)
        return await self._opened(inode, flags)

    async def create(self, parent: int, name: bytes, mode: int, flags: int, ctx: Any) -> Any:
        path = os.path.join(os.fsencode(self.directory), name)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, stat.S_IMODE(mode)))
        ino = self._ino(name)
        info = await self._opened(ino, flags)
        return info, self._looked_up(ino)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        if self.names[self.fds[fh]].startswith(b"wait-read"):
            await self._hold(trio.Event())
        return os.pread(fh, size, off)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        if self.names[self.fds[fh]].startswith(b"wait-write"):
            await self._hold(trio.Event())
        return os.pwrite(fh, buf, off)

    async def fsync(self, fh: int, datasync: bool) -> None:
        if fh < HOLDER_HANDLES:
            os.fsync(fh)

    async def flush(self, fh: int) -> None:
        pass

    async def release(self, fh: int) -> None:
        del self.fds[fh]
        os.close(fh)

    async def unlink(self, parent: int, name: bytes, ctx: Any) -> None:
        os.unlink(os.path.join(os.fsencode(self.directory), name))
        self.inos.pop(name, None)

    def path_of_handle(self, handle: int) -> str:
        """`calls.Requests`."""
        return os.readlink(f"/proc/self/fd/{handle}")

    async def fallocate(self, handle: int, offset: int, length: int, mode: int) -> None:
        """`calls.Requests`."""
        if LIBC.fallocate(handle, mode, offset, length) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")

    async def seek(self, handle: int, offset: int, whence: int) -> int:
        """`calls.Requests`."""
        return os.lseek(handle, offset, whence)

    async def copy_range(self, handle_in: int, offset_in: int, handle_out: int, offset_out: int, length: int) -> int:
        """`calls.Requests`."""
        return os.copy_file_range(handle_in, handle_out, length, offset_in, offset_out)

    async def command(self, words: list[str]) -> Any:
        """One line from the test."""
        holder = self.holder
        match words:
            case ["forgets"]:
                return sum(self.lookups.values())
            case ["opens"]:
                return {"total": self.open_total, "open": len(self.fds)}
            case ["ready"]:
                return os.getpid()
            case ["held"]:
                return self.held_total
            case ["late"]:
                self.late.set()
                return "answered"
        assert holder is not None
        match words:
            case ["status"]:
                return await holder.status()
            case ["drain"]:
                return [[use.ino, use.opens, use.bytes_read] for use in await holder.drain()]
            case ["ino", name]:
                return self.inos[os.fsencode(name)]
            case ["revoke", name, wait_s, no_writers]:
                ino = self.inos[os.fsencode(name)]
                await holder.revoke(ino, wait_s=float(wait_s), no_writers=no_writers == "1")
                self.registered.discard(ino)
                return "revoked"
            case ["invalidate", name]:
                holder.inode_changed(self.inos[os.fsencode(name)], content=True)
                holder.entry_changed(1, os.fsencode(name))
                return "queued"
            case ["storm", name, count]:
                for _ in range(int(count)):
                    holder.entry_changed(1, os.fsencode(name))
                return holder.dropped
            case ["peek", name]:
                return len((self.directory / name).read_bytes())
            case ["brake", on]:
                await holder.brake(on=on == "1")
                return "braking" if on == "1" else "free"
            case ["unmount"]:
                await holder.unmount()
                return "unmounted"
        raise ValueError(f"no such command: {words}")


async def _commands(demo: Demo, scope: trio.CancelScope) -> None:
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        rest = b""
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                try:
                    answer = await demo.command(line.decode().split())
                except (OSError, KeyError) as error:
                    answer = {"errno": getattr(error, "errno", errno.ENOENT), "error": str(error)}
                sys.stdout.write(json.dumps(answer) + "\n")
                sys.stdout.flush()
    scope.cancel()


async def _serve(demo: Demo, mountpoint: str) -> None:
    pyfuse3.init(demo, mountpoint, {"fsname=demo", "default_permissions"})
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_commands, demo, nursery.cancel_scope)
            try:
                await pyfuse3.main(max_tasks=TASKS_MAX)
            except* OSError:
                pass  # the end of the session
            # the answer to the command that ended it
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
    finally:
        pyfuse3.close(unmount=True)


async def main(mountpoint: str, directory: str, program: str, words: list[str]) -> None:
    """Serves until stdin or the session ends."""
    demo = Demo(Path(directory), "hot" in words)
    if "direct" in words:
        await _serve(demo, mountpoint)
        return
    options = HolderOptions(
        mount_options=("default_permissions", "fsname=demo", "subtype=tierfs"),
        transfer_kib=next((int(word) for word in words if word.isdigit()), 64),
        passthrough="plain" not in words,
        tasks_max=TASKS_MAX,
        stop_timeout_s=5,
    )
    async with held(Path(mountpoint), options, calls=Calls(demo, Failures()), program=Path(program)) as holder:
        demo.holder = holder
        await _serve(demo, holder.session_path)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:4], sys.argv[4:])
