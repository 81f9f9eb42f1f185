"""The synchronous half of the directory store: what its worker threads do with one object.

Promises: a write is published whole and only over the version that its condition names, under the
lock of its key; one thread holds one lock at a time. Functions raise OSError and StoreError;
`directory.py` turns the former into the latter.
"""

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from typing import Final

from attrs import evolve, frozen

from tierfs.clock import Clock
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore import directory_tree as tree
from tierfs.objectstore.base import (
    Body,
    Buffer,
    Condition,
    IfAbsent,
    IfMatch,
    ListPage,
    ObjectInfo,
    ObjectMeta,
    StorageClass,
    Written,
)
from tierfs.objectstore.directory_listing import Scanner, Walker
from tierfs.objectstore.directory_records import Record, Records, info, with_meta
from tierfs.objectstore.directory_tree import KeyPath, Root, TempFile, changed, invalid, not_found

# others may change a file or remove a directory again and again while we look; after so many it is an error
_TRIES: Final = 16


@frozen
class Opened:
    """An object as one look showed it; `fd` is open for as long as its `with` block."""

    fd: int
    status: os.stat_result
    record: Record
    info: ObjectInfo


class TornReadError(Exception):
    """The file changed while it was read."""


def _is_same_content(before: os.stat_result, after: os.stat_result) -> bool:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return False
    # a file that was replaced or removed meanwhile has another ctime and its old bytes
    return before.st_ctime_ns == after.st_ctime_ns or after.st_nlink < before.st_nlink


def check_match(key: str, found: ObjectInfo, if_match: str) -> None:
    """PRECONDITION_FAILED when an ETag is wanted ("" = any) and the object has another."""
    if if_match and found.etag != if_match:
        raise changed(key)


def check_condition(key: str, found: ObjectInfo | None, condition: Condition) -> None:
    """PRECONDITION_FAILED when what is at the key does not meet the condition."""
    if isinstance(condition, IfAbsent) and found is not None:
        raise changed(key, "an object is there already")
    if isinstance(condition, IfMatch):
        if found is None:
            raise changed(key, "the object is gone")
        check_match(key, found, condition.etag)


class DirectoryFiles:
    """Objects as files below a root. Shared by worker threads."""

    def __init__(self, root: Root, records: Records, clock: Clock) -> None:
        self.root = root
        self.records = records
        self._clock = clock
        self._scanner = Scanner()
        self._stamp_lock = threading.Lock()
        self._last_stamp_ns = 0

    def stamp_ns(self) -> int:
        """Now, and never the same twice: an mtime of ours tells versions apart within a timer tick."""
        with self._stamp_lock:
            self._last_stamp_ns = max(self._clock.now_ns(), self._last_stamp_ns + 1)
            return self._last_stamp_ns

    def own(self, root_fd: int, names: tuple[str, ...]) -> tree.Descriptor:
        """A directory below .tierfs/, made when it is missing."""
        return self.root.make_below(root_fd, (tree.OWN, *names))

    @contextlib.contextmanager
    def locked(self, root_fd: int, key: str) -> Iterator[None]:
        with self.own(root_fd, tree.LOCKS) as locks_fd, tree.locked(locks_fd, key):
            yield

    @contextlib.contextmanager
    def temp(self, root_fd: int) -> Iterator[TempFile]:
        with self.own(root_fd, tree.TEMP) as temp_fd, tree.temp_file(temp_fd) as temp:
            yield temp

    def sweep(self, root_fd: int, now_s: float) -> None:
        """Removes temporary files of dead processes; a directory that cannot be written has none."""
        with contextlib.suppress(OSError), tree.open_below(root_fd, (tree.OWN, *tree.TEMP)) as temp_fd:
            tree.sweep_temps(temp_fd, now_s)

    # -- reading

    @contextlib.contextmanager
    def open(self, root_fd: int, path: KeyPath) -> Iterator[Opened]:
        """The object at a key; NOT_FOUND also for an implicit directory and for other types of files."""
        try:
            parent = tree.open_below(root_fd, path.parents)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise not_found(path.key) from error
        with parent as parent_fd, self._open_at(parent_fd, path) as fd:
            opened = self._opened(root_fd, path, fd)
            if opened.record.implicit and path.is_marker:
                raise not_found(path.key)
            yield opened

    @staticmethod
    def _open_at(parent_fd: int, path: KeyPath) -> tree.Descriptor:
        try:
            if path.is_marker:
                return tree.open_below(parent_fd, (path.name,))
            return tree.open_file(parent_fd, path.name)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise not_found(path.key) from error

    def _opened(self, root_fd: int, path: KeyPath, fd: int) -> Opened:
        for _ in range(_TRIES):
            status = os.fstat(fd)
            record = self.records.load(root_fd, path, fd, status)
            if path.is_marker or os.fstat(fd).st_ctime_ns == status.st_ctime_ns:
                break
        return Opened(fd, status, record, info(path.key, status, record, with_meta=True))

    def head(self, root_fd: int, path: KeyPath) -> ObjectInfo:
        with self.open(root_fd, path) as found:
            return found.info

    def find(self, root_fd: int, path: KeyPath) -> ObjectInfo | None:
        try:
            return self.head(root_fd, path)
        except StoreError as error:
            if error.kind is StoreErrorKind.NOT_FOUND:
                return None
            raise

    def read(self, root_fd: int, path: KeyPath, bounds: Callable[[ObjectInfo], tuple[int, int]], if_match: str) -> Body:
        """The bytes between `bounds(info)` of one version of an object."""
        for _ in range(_TRIES):
            with contextlib.suppress(TornReadError), self.open(root_fd, path) as found:
                check_match(path.key, found.info, if_match)
                start, stop = bounds(found.info)
                return Body(self._read_stable(found, start, stop), found.info)
        raise StoreError(StoreErrorKind.UNAVAILABLE, "the file keeps changing while it is read", key=path.key)

    @staticmethod
    def _read_stable(found: Opened, start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        data = os.pread(found.fd, stop - start, start)
        while len(data) < stop - start:  # one pread gives at most 2 GiB
            more = os.pread(found.fd, stop - start - len(data), start + len(data))
            if not more:
                raise TornReadError
            data += more
        if not _is_same_content(found.status, os.fstat(found.fd)):
            raise TornReadError
        return data

    def page(self, root_fd: int, prefix: str, after: str, delimited: bool, limit: int) -> ListPage:
        is_quick = self.records.can_load_by_name(root_fd)

        def look(dir_fd: int, name: str, key: str) -> ObjectInfo | None:
            if is_quick and not key.endswith("/"):
                return self._glance(dir_fd, name, key)
            return self._look(root_fd, dir_fd, name, key)

        return Walker(root_fd, self._scanner, look).page(prefix, after, delimited=delimited, limit=limit)

    def _glance(self, dir_fd: int, name: str, key: str) -> ObjectInfo | None:
        """`_look` for a file, without opening it: a quarter of the cost of a listed entry."""
        status = tree.lstat(dir_fd, name)
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        return info(key, status, self.records.load_by_name(dir_fd, name, key), with_meta=False)

    def _look(self, root_fd: int, dir_fd: int, name: str, key: str) -> ObjectInfo | None:
        """One entry for a listing, or None when there is no object any more (or no marker)."""
        path = KeyPath(key, (*key.rstrip("/").split("/")[:-1], name), key.endswith("/"))
        if key == f"{tree.OWN}/":
            return None
        try:
            with self._open_at(dir_fd, path) as fd:
                opened = self._opened(root_fd, path, fd)
        except PermissionError:
            status = tree.lstat(dir_fd, name)
            if path.is_marker or status is None:
                raise
            return info(key, status, Record(), with_meta=False)
        except StoreError as error:
            if error.kind is StoreErrorKind.NOT_FOUND:
                return None
            raise
        return None if opened.record.implicit and path.is_marker else evolve(opened.info, meta=None)

    # -- writing

    def put(
        self, root_fd: int, path: KeyPath, data: Buffer, meta: ObjectMeta, condition: Condition, storage_class: str
    ) -> Written:
        record = Record(meta, storage_class or StorageClass.STANDARD)
        if path.is_marker:
            if len(data):
                raise invalid("a directory has no bytes of its own: a key that ends in / holds an empty body", path.key)
            return self.put_marker(root_fd, path, record, condition)
        # before the bytes are written and parents are made; what counts is the same check under the lock
        check_condition(path.key, self.find(root_fd, path), condition)
        with self.temp(root_fd) as temp:
            tree.write_all(temp.fd, data)
            return self.publish(root_fd, path, temp, self.keep(root_fd, path, record), condition)

    def keep(self, root_fd: int, path: KeyPath, record: Record) -> Record:
        """The record with what others put beside the object that is replaced: tags, unknown fields."""
        try:
            with self.open(root_fd, path) as old:
                return evolve(record, others=old.record.others)
        except StoreError as error:
            if error.kind is StoreErrorKind.NOT_FOUND:
                return record
            raise

    def publish(self, root_fd: int, path: KeyPath, temp: TempFile, record: Record, condition: Condition) -> Written:
        """Makes a complete temporary file the object at a key."""
        stamp_ns = self.stamp_ns()
        os.utime(temp.fd, ns=(stamp_ns, stamp_ns))
        status = os.fstat(temp.fd)
        self.records.store(root_fd, path, temp.fd, status, record)
        self.root.sync_fd(temp.fd)

        def move(parent_fd: int) -> Written:
            old = tree.lstat(parent_fd, path.name)
            if old is not None and not stat.S_ISREG(old.st_mode):
                self._clear_the_way(root_fd, parent_fd, path, old)
            with self.own(root_fd, tree.TEMP) as temp_fd:
                os.rename(temp.name, path.name, src_dir_fd=temp_fd, dst_dir_fd=parent_fd)
            self.root.sync_fd(parent_fd)
            if old is not None:
                self.records.forget(root_fd, path, old)
            done = info(path.key, os.fstat(temp.fd), record, with_meta=False)
            return Written(done.etag, last_modified_ns=done.last_modified_ns)

        try:
            return self._place(root_fd, path, condition, move)
        except StoreError:
            self.records.forget(root_fd, path, status)  # it was refused: nothing has moved
            raise

    def put_marker(self, root_fd: int, path: KeyPath, record: Record, condition: Condition) -> Written:
        """Makes a directory, or turns an implicit one into a marker, or replaces a marker's metadata."""
        record = evolve(record, implicit=False, stamp_ns=self.stamp_ns())

        def make(parent_fd: int) -> Written:
            self.root.make_dir(parent_fd, path.name)
            try:
                directory = tree.open_below(parent_fd, (path.name,))
            except NotADirectoryError as error:
                raise invalid("a file is there: this store cannot hold both `a` and `a/`", path.key) from error
            with directory as fd:
                self.records.store(root_fd, path, fd, os.fstat(fd), record)
                self.root.sync_fd(fd)
                done = info(path.key, os.fstat(fd), record, with_meta=False)
            return Written(done.etag, last_modified_ns=done.last_modified_ns)

        check_condition(path.key, self.find(root_fd, path), condition)
        return self._place(root_fd, path, condition, make)

    def _place(self, root_fd: int, path: KeyPath, condition: Condition, act: Callable[[int], Written]) -> Written:
        """Calls `act` with the directory that holds the key's name, the key locked, the condition met."""
        for _ in range(_TRIES):
            # marks new directories under their own locks, so before the key's lock is taken
            self._make_parents(root_fd, path)
            with self.locked(root_fd, path.key):
                try:
                    parent = tree.open_below(root_fd, path.parents)
                except FileNotFoundError:
                    continue  # it was implicit, and the last object in it was just deleted
                with parent as parent_fd:
                    check_condition(path.key, self.find(root_fd, path), condition)
                    try:
                        return act(parent_fd)
                    except FileNotFoundError:
                        if os.fstat(parent_fd).st_nlink:
                            raise
        raise StoreError(StoreErrorKind.UNAVAILABLE, "the directory of the key keeps going away", key=path.key)

    def _make_parents(self, root_fd: int, path: KeyPath) -> None:
        """Makes the directories above a key; new ones are implicit."""
        try:
            with tree.open_below(root_fd, path.parents):
                return
        except FileNotFoundError:
            pass
        except NotADirectoryError as error:
            message = "a part of its path is no directory: this store cannot hold both `a` and `a/b`"
            raise invalid(message, path.key) from error
        for marker in reversed(list(path.ancestors())):
            with self.locked(root_fd, marker.key), contextlib.suppress(FileNotFoundError):
                self._make_implicit(root_fd, marker)

    def _make_implicit(self, root_fd: int, marker: KeyPath) -> None:
        with tree.open_below(root_fd, marker.parents) as parent_fd:
            if not self.root.make_dir(parent_fd, marker.name):
                return
            with tree.open_below(parent_fd, (marker.name,)) as fd:
                record = Record(implicit=True, stamp_ns=self.stamp_ns())
                self.records.store(root_fd, marker, fd, os.fstat(fd), record)
                self.root.sync_fd(fd)

    def _clear_the_way(self, root_fd: int, parent_fd: int, path: KeyPath, old: os.stat_result) -> None:
        """A file is about to take a name that something else has."""
        if not stat.S_ISDIR(old.st_mode):
            raise invalid("something that is neither file nor directory is in the way", path.key)
        # an empty implicit one is left over from a crash, nobody asked for it
        if not self._remove_implicit(root_fd, parent_fd, KeyPath(path.key + "/", path.names, True)):
            raise invalid("a directory is there: this store cannot hold both `a` and `a/b`", path.key)

    # -- copying

    def copy(
        self,
        root_fd: int,
        source: KeyPath,
        path: KeyPath,
        if_match: str,
        condition: Condition,
        meta: ObjectMeta | None,
        storage_class: str,
    ) -> Written:
        if source.key == path.key:
            if meta is None and not storage_class:
                raise invalid("a copy onto itself must change the metadata or the class", path.key)
            if not path.is_marker and (
                written := self._switch(root_fd, path, if_match, condition, meta, storage_class)
            ):
                return written
        with self.open(root_fd, source) as found:
            check_match(source.key, found.info, if_match)
            record = with_meta(found.record, meta, storage_class)
            if source.key == path.key:
                condition = IfMatch(found.info.etag)  # nobody's later version is replaced
            if path.is_marker:
                if found.info.size_bytes:
                    raise invalid("a directory has no bytes of its own: the source is not empty", path.key)
                return self.put_marker(root_fd, path, record, condition)
            check_condition(path.key, self.find(root_fd, path), condition)
            with self.temp(root_fd) as temp:
                self.append(found, 0, found.info.size_bytes, temp.fd, source.key)
                return self.publish(root_fd, path, temp, evolve(record, stamp_ns=0), condition)

    def _switch(
        self,
        root_fd: int,
        path: KeyPath,
        if_match: str,
        condition: Condition,
        meta: ObjectMeta | None,
        storage_class: str,
    ) -> Written | None:
        """Changes the metadata of a file where it is; None when it takes a copy of the bytes."""
        with self.locked(root_fd, path.key), self.open(root_fd, path) as found:
            check_match(path.key, found.info, if_match)
            check_condition(path.key, found.info, condition)
            record = with_meta(found.record, meta, storage_class)
            # a file with other names belongs to somebody else too; another owner's takes no new times
            if found.status.st_nlink > 1 or found.status.st_uid != os.geteuid():
                return None
            if not self.records.replace(root_fd, path, found.fd, record):
                return None
            # within one timer tick the ctime alone would not tell the two versions apart
            stamp_ns = self.stamp_ns()
            os.utime(found.fd, ns=(stamp_ns, stamp_ns))
            self.root.sync_fd(found.fd)
            done = info(path.key, os.fstat(found.fd), record, with_meta=False)
            return Written(done.etag, last_modified_ns=done.last_modified_ns)

    def append(self, found: Opened, start: int, stop: int, target_fd: int, source_key: str) -> None:
        """Copies bytes [start, stop) of an open object to the end of a file. PRECONDITION_FAILED when it changes."""
        if start >= stop:
            return
        try:
            tree.copy_range(found.fd, start, stop, target_fd)
        except EOFError as error:
            raise changed(source_key, "the object became shorter while it was copied") from error
        if not _is_same_content(found.status, os.fstat(found.fd)):
            raise changed(source_key, "the object changed while it was copied")

    # -- deleting

    def delete(self, root_fd: int, path: KeyPath, if_match: str) -> None:
        if self.find(root_fd, path) is None:
            return
        with self.locked(root_fd, path.key):
            found = self.find(root_fd, path)
            if found is None:
                return
            check_match(path.key, found, if_match)
            with tree.open_below(root_fd, path.parents) as parent_fd:
                status = os.stat(path.name, dir_fd=parent_fd, follow_symlinks=False)
                if path.is_marker:
                    self._drop_marker(root_fd, parent_fd, path, status)
                else:
                    os.unlink(path.name, dir_fd=parent_fd)
                    self.records.forget(root_fd, path, status)
                self.root.sync_fd(parent_fd)
        self._prune(root_fd, path)

    def _drop_marker(self, root_fd: int, parent_fd: int, path: KeyPath, status: os.stat_result) -> None:
        """Removes an empty directory; one with entries becomes implicit, as in a bucket."""
        if self._remove_dir(root_fd, parent_fd, path, status):
            return
        with tree.open_below(parent_fd, (path.name,)) as fd:
            record = Record(implicit=True, stamp_ns=self.stamp_ns())
            self.records.store(root_fd, path, fd, status, record)
            self.root.sync_fd(fd)

    def _remove_dir(self, root_fd: int, parent_fd: int, path: KeyPath, status: os.stat_result) -> bool:
        try:
            os.rmdir(path.name, dir_fd=parent_fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
                raise
            return False  # not empty, or a mount point
        self.records.forget(root_fd, path, status)
        return True

    def _prune(self, root_fd: int, path: KeyPath) -> None:
        """Removes the implicit directories above a key that have become empty."""
        for marker in path.ancestors():
            if marker.names == (tree.OWN,):
                return
            try:
                with self.locked(root_fd, marker.key), tree.open_below(root_fd, marker.parents) as parent_fd:
                    if not self._remove_implicit(root_fd, parent_fd, marker):
                        return
            except (FileNotFoundError, NotADirectoryError):
                continue  # another one removed it

    def _remove_implicit(self, root_fd: int, parent_fd: int, marker: KeyPath) -> bool:
        status = os.stat(marker.name, dir_fd=parent_fd, follow_symlinks=False)
        with tree.open_below(parent_fd, (marker.name,)) as fd:
            implicit = self.records.load(root_fd, marker, fd, status).implicit
        if not implicit or not self._remove_dir(root_fd, parent_fd, marker, status):
            return False
        self.root.sync_fd(parent_fd)
        return True
