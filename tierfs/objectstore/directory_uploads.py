"""Multipart uploads of the directory store: parts below .tierfs/uploads/<id>/, joined at the end.

Promises: nothing is visible under the key before the parts are joined into one temporary file
(by reflink or in the kernel where it can) and that file is published; a refused `complete` leaves
the parts, so that the caller decides. Synchronous, runs in worker threads.

An upload is a directory with `upload.json` (version, key, started_ns, and the record that the
object will have) and one file a part, `00001` to `10000`, each published by rename.
"""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore import directory_tree as tree
from tierfs.objectstore.base import Buffer, Condition, Written
from tierfs.objectstore.directory_files import DirectoryFiles, check_condition, check_match
from tierfs.objectstore.directory_records import Record, decode, encode
from tierfs.objectstore.directory_tree import KeyPath, TempFile, invalid

PARTS_MAX: Final = 10_000
_DESCRIPTION: Final = "upload.json"
_DESCRIPTION_MAX_BYTES: Final = 1 << 20
_ID: Final = re.compile(r"[0-9a-f]{32}")
_PART: Final = re.compile(r"[0-9]{5}")
_VERSION: Final = 1


@frozen
class UploadInfo:
    """An unfinished upload as its description says."""

    upload_id: str
    key: str
    started_ns: int
    record: Record


def no_such_upload(key: str) -> StoreError:
    """NOT_FOUND, as S3's NoSuchUpload."""
    return StoreError(StoreErrorKind.NOT_FOUND, "no such upload: it was completed or aborted", key=key)


class DirectoryUploads:
    """All uploads of one directory. Shared by worker threads."""

    def __init__(self, files: DirectoryFiles) -> None:
        self._files = files

    def begin(self, root_fd: int, path: KeyPath, record: Record) -> str:
        upload_id = secrets.token_hex(16)
        description = {
            "version": _VERSION,
            "key": path.key,
            "started_ns": self._files.stamp_ns(),
            "record": encode(record).decode(),
        }
        with self._files.own(root_fd, (*tree.UPLOADS, upload_id)) as upload_fd, self._files.temp(root_fd) as temp:
            tree.write_all(temp.fd, json.dumps(description).encode())
            self._publish(root_fd, temp, upload_fd, _DESCRIPTION, path.key)
        return upload_id

    def put_part(self, root_fd: int, key: str, upload_id: str, number: int, data: Buffer) -> None:
        with self._open(root_fd, key, upload_id) as upload_fd, self._files.temp(root_fd) as temp:
            tree.write_all(temp.fd, data)
            self._publish(root_fd, temp, upload_fd, _part_name(number, key), key)

    def copy_part(
        self, root_fd: int, key: str, upload_id: str, number: int, source: KeyPath, start: int, stop: int, if_match: str
    ) -> None:
        with (
            self._open(root_fd, key, upload_id) as upload_fd,
            self._files.open(root_fd, source) as found,
            self._files.temp(root_fd) as temp,
        ):
            check_match(source.key, found.info, if_match)
            if not 0 <= start < stop <= found.info.size_bytes:
                raise invalid(f"no range [{start}, {stop}) in {found.info.size_bytes} bytes", source.key)
            self._files.append(found, start, stop, temp.fd, source.key)
            self._publish(root_fd, temp, upload_fd, _part_name(number, key), key)

    def complete(self, root_fd: int, path: KeyPath, upload_id: str, condition: Condition) -> Written:
        with self._open(root_fd, path.key, upload_id) as upload_fd:
            described = self._describe(upload_fd, upload_id)
            if described is None or described.key != path.key:
                raise no_such_upload(path.key)
            numbers = sorted(name for name in os.listdir(upload_fd) if _PART.fullmatch(name))
            if not numbers:
                raise invalid("an upload without parts cannot be completed", path.key)
            # what counts is the same check under the lock; this one saves joining the parts for nothing
            check_condition(path.key, self._files.find(root_fd, path), condition)
            with self._files.temp(root_fd) as temp:
                for name in numbers:
                    with tree.open_file(upload_fd, name) as part_fd:
                        tree.copy_range(part_fd, 0, os.fstat(part_fd).st_size, temp.fd)
                record = self._files.keep(root_fd, path, described.record)
                written = self._files.publish(root_fd, path, temp, record, condition)
        self.abort(root_fd, upload_id)
        return written

    def abort(self, root_fd: int, upload_id: str) -> None:
        """Removes an upload; one that is gone, or was never there, is no error."""
        if not _ID.fullmatch(upload_id):
            return
        with contextlib.suppress(FileNotFoundError), tree.open_below(root_fd, (tree.OWN, *tree.UPLOADS)) as uploads_fd:
            with tree.open_below(uploads_fd, (upload_id,)) as upload_fd:
                # without its description it is no upload any more, whatever happens next
                for name in [_DESCRIPTION, *os.listdir(upload_fd)]:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=upload_fd)
            os.rmdir(upload_id, dir_fd=uploads_fd)

    def sweep(self, root_fd: int, now_s: float) -> None:
        """Removes what a crash left of uploads that were being begun or aborted: they have no description."""
        with contextlib.suppress(OSError), tree.open_below(root_fd, (tree.OWN, *tree.UPLOADS)) as uploads_fd:
            for upload_id in os.listdir(uploads_fd):
                with tree.open_below(uploads_fd, (upload_id,)) as upload_fd:
                    is_old = now_s - os.fstat(upload_fd).st_ctime > tree.TEMP_DEAD_AGE_S
                    is_described = tree.lstat(upload_fd, _DESCRIPTION) is not None
                if is_old and not is_described:
                    self.abort(root_fd, upload_id)

    def all(self, root_fd: int, prefix: str) -> Iterator[UploadInfo]:
        with contextlib.suppress(FileNotFoundError), tree.open_below(root_fd, (tree.OWN, *tree.UPLOADS)) as uploads_fd:
            for upload_id in os.listdir(uploads_fd):
                if not _ID.fullmatch(upload_id):
                    continue
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    with tree.open_below(uploads_fd, (upload_id,)) as upload_fd:
                        described = self._describe(upload_fd, upload_id)
                    if described is not None and described.key.startswith(prefix):
                        yield described

    def _publish(self, root_fd: int, temp: TempFile, upload_fd: int, name: str, key: str) -> None:
        with self._files.own(root_fd, tree.TEMP) as temp_fd:
            try:
                os.rename(temp.name, name, src_dir_fd=temp_fd, dst_dir_fd=upload_fd)
            except FileNotFoundError as error:
                raise no_such_upload(key) from error

    @staticmethod
    @contextlib.contextmanager
    def _open(root_fd: int, key: str, upload_id: str) -> Iterator[int]:
        try:
            upload = tree.open_below(root_fd, (tree.OWN, *tree.UPLOADS, upload_id))
        except FileNotFoundError as error:
            raise no_such_upload(key) from error
        with upload as upload_fd:
            if tree.lstat(upload_fd, _DESCRIPTION) is None:
                raise no_such_upload(key)
            yield upload_fd

    @staticmethod
    def _describe(upload_fd: int, upload_id: str) -> UploadInfo | None:
        """What the description says; None for one that cannot be read: it is not listed and not completed."""
        with tree.open_file(upload_fd, _DESCRIPTION) as fd:
            data = os.read(fd, _DESCRIPTION_MAX_BYTES)
        try:
            fields = json.loads(data)
            if fields["version"] != _VERSION:
                return None
            record = decode(fields["record"].encode())
            return UploadInfo(upload_id, str(fields["key"]), int(fields["started_ns"]), record)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _part_name(number: int, key: str) -> str:
    if not 1 <= number <= PARTS_MAX:
        raise invalid(f"part number {number}: parts are numbered from 1 to {PARTS_MAX}", key)
    return f"{number:05d}"
