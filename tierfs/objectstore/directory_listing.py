"""Lists a directory tree in the order of S3: keys as UTF-8 bytes, directories as `name/`.

Promises: a page needs memory for one batch of names, however large a directory is; a page shows
every object that was there when it began; a continued listing of an unchanged directory does not
read the directory again.

Threads share a `Scanner`; its cache is under a lock. Nothing here is a checkpoint.
"""

import contextlib
import errno
import heapq
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from typing import Final

from attrs import frozen

from tierfs.objectstore.base import ListPage, ObjectInfo
from tierfs.objectstore.directory_tree import OWN, RESERVED, open_below

log = logging.getLogger(__name__)

BATCH_NAMES: Final = 65_536
_CACHED_BATCHES: Final = 2
_WORTH_CACHING_NAMES: Final = 1000
# mtimes move with the timer tick (10 ms at the slowest): a directory changed this shortly before a
# scan may change again without another mtime
_RACY_NS: Final = 50_000_000


@frozen
class Batch:
    """The first names of a directory above a bound, sorted; directories end in `/`."""

    names: list[bytes]
    is_last: bool


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


class Scanner:
    """Sorted batches of names, with a small cache for listings that go on."""

    def __init__(self, batch_names: int = BATCH_NAMES) -> None:
        self._batch_names = batch_names
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, int, int], Batch] = OrderedDict()
        self._told = False

    def names(self, dir_fd: int, lower: bytes, *, is_own: bool) -> Iterator[bytes]:
        """All names from `lower` on, in order; directories end in `/`. `is_own`: this is .tierfs/ itself."""
        while True:
            batch = self._batch(dir_fd, lower, is_own)
            for name in batch.names:
                if name >= lower:
                    yield name
            if batch.is_last or not batch.names:
                return
            lower = batch.names[-1] + b"\0"

    def _scan(self, dir_fd: int, lower: bytes, is_own: bool) -> Iterator[bytes]:
        """The files and directories of a directory from `lower` on, unsorted."""
        with os.scandir(dir_fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if is_own and entry.name in RESERVED:
                        continue
                    name = os.fsencode(entry.name) + b"/"
                elif entry.is_file(follow_symlinks=False):
                    name = os.fsencode(entry.name)
                else:
                    continue
                if name < lower:
                    continue
                if _is_utf8(name):
                    yield name
                elif not self._told:
                    self._told = True  # once is enough: a log must not grow with each listing
                    log.warning(
                        "%r is not UTF-8 and therefore no key: such names are not listed",
                        name,
                        extra={"event": "TFS2002"},
                    )

    def _batch(self, dir_fd: int, lower: bytes, is_own: bool) -> Batch:
        status = os.fstat(dir_fd)
        version = (status.st_dev, status.st_ino, status.st_mtime_ns)
        with self._lock:
            cached = self._cache.get(version)
            if cached is not None and _covers(cached, lower):
                self._cache.move_to_end(version)
                return cached
        now_ns = time.time_ns()
        names = heapq.nsmallest(self._batch_names + 1, self._scan(dir_fd, lower, is_own))
        batch = Batch(names[: self._batch_names], is_last=len(names) <= self._batch_names)
        if len(names) > _WORTH_CACHING_NAMES and now_ns - status.st_mtime_ns > _RACY_NS:
            with self._lock:
                self._cache[version] = batch
                while len(self._cache) > _CACHED_BATCHES:
                    self._cache.popitem(last=False)
        return batch


def _covers(batch: Batch, lower: bytes) -> bool:
    if not batch.names:
        return False
    return batch.names[0] <= lower and (batch.is_last or lower <= batch.names[-1])


_UNHOLDABLE: Final = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP})

# Looks at one entry: the object under a key, given its directory, its name there and the key; None when it is gone
# or (a directory) has no marker.
Look = Callable[[int, str, str], ObjectInfo | None]


@frozen
class Query:
    """What a page shows: keys that begin with `prefix` and come after `after`."""

    prefix: bytes
    after: bytes


class Walker:
    """Walks the tree below one root descriptor in key order."""

    def __init__(self, root_fd: int, scanner: Scanner, look: Look) -> None:
        self._root_fd = root_fd
        self._scanner = scanner
        self._look = look

    def page(self, prefix: str, after: str, *, delimited: bool, limit: int) -> ListPage:
        """At most `limit` objects and prefixes; the token is the last of them."""
        query = Query(prefix.encode(), after.encode())
        items: Generator[ObjectInfo | str, None, None] | Generator[ObjectInfo, None, None]
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        last = ""
        with contextlib.closing(self._delimited(query) if delimited else self._flat(query)) as items:
            for item in items:
                if len(objects) + len(prefixes) == limit:
                    return ListPage(objects, prefixes, token=last)
                if isinstance(item, str):
                    prefixes.append(item)
                    last = item
                else:
                    objects.append(item)
                    last = item.key
        return ListPage(objects, prefixes)

    def _start(self, prefix: bytes) -> tuple[int, bytes] | None:
        """A descriptor of the deepest directory that holds everything under the prefix, and its key."""
        directory = prefix[: prefix.rfind(b"/") + 1]
        names = tuple(os.fsdecode(name) for name in directory.split(b"/")[:-1])
        if any(name in ("", ".", "..") or "\0" in name for name in names):
            return None
        if names[:1] == (OWN,) and len(names) > 1 and names[1] in RESERVED:
            return None
        try:
            with open_below(self._root_fd, names) as fd:
                return os.dup(fd), directory
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in _UNHOLDABLE:
                return None
            raise

    def _flat(self, query: Query) -> Generator[ObjectInfo, None, None]:
        start = self._start(query.prefix)
        if start is None:
            return
        fd, directory = start
        try:
            if directory and directory == query.prefix and directory > query.after:
                marker = self._look(fd, ".", directory.decode())
                if marker is not None:
                    yield marker
        except BaseException:
            os.close(fd)
            raise
        yield from self._below(fd, directory, query)

    def _below(self, fd: int, directory: bytes, query: Query) -> Generator[ObjectInfo, None, None]:
        """Every object below a directory, whose descriptor it closes. Deep trees need no recursion."""
        stack = [(fd, directory, self._names(fd, directory, query))]
        try:
            while stack:
                fd, directory, names = stack[-1]
                name = next(names, None)
                if name is None:
                    os.close(fd)
                    stack.pop()
                    continue
                key = directory + name
                if key > query.after:
                    found = self._look(fd, os.fsdecode(name.rstrip(b"/")), key.decode())
                    if found is not None:
                        yield found
                if name.endswith(b"/"):
                    child = self._enter(fd, name)
                    if child is not None:
                        stack.append((child, key, self._names(child, key, query)))
        finally:
            for fd, _, _ in stack:
                os.close(fd)

    def _names(self, fd: int, directory: bytes, query: Query) -> Iterator[bytes]:
        """The names of one directory that the query can show, in order."""
        lower = b""
        if query.after.startswith(directory):
            rest = query.after[len(directory) :]
            slash = rest.find(b"/")
            # inside of `after` a directory is entered again, a file is not shown again
            lower = rest[: slash + 1] if slash >= 0 else (rest + b"\0" if rest else b"")
        elif query.after > directory:
            return
        begin = query.prefix[len(directory) :]
        is_own = directory == OWN.encode() + b"/"
        for name in self._scanner.names(fd, max(lower, begin), is_own=is_own):
            if begin and not name.startswith(begin):
                return
            yield name

    @staticmethod
    def _enter(fd: int, name: bytes) -> int | None:
        try:
            with open_below(fd, (os.fsdecode(name[:-1]),)) as child:
                return os.dup(child)
        except (FileNotFoundError, NotADirectoryError):
            return None  # gone, or replaced by something else since its name was read

    def _delimited(self, query: Query) -> Generator[ObjectInfo | str, None, None]:
        start = self._start(query.prefix)
        if start is None:
            return
        fd, directory = start
        try:
            if directory and directory == query.prefix and directory > query.after:
                marker = self._look(fd, ".", directory.decode())
                if marker is not None:
                    yield marker
            for name in self._names(fd, directory, query):
                key = directory + name
                if not name.endswith(b"/"):
                    found = self._look(fd, os.fsdecode(name), key.decode())
                    if found is not None:
                        yield found
                elif key > query.after and self._has_any(fd, name, key):
                    # as on S3, a prefix that is not above `after` is left out, whatever it holds above it
                    yield key.decode()
        finally:
            os.close(fd)

    def _has_any(self, fd: int, name: bytes, key: bytes) -> bool:
        """Is there an object at or below a directory? One without any is only left over."""
        try:
            if self._look(fd, os.fsdecode(name[:-1]), key.decode()) is not None:
                return True
            child = self._enter(fd, name)
            if child is None:
                return False
            with contextlib.closing(self._below(child, key, Query(b"", b""))) as below:
                return next(below, None) is not None
        except PermissionError:
            return True  # it is there, and nobody may conclude from us that it is empty
