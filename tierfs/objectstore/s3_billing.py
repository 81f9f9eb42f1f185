"""Every request to S3 as S3 bills it: told where its answer is known, in the thread that sent it.

`Tell` gets the key that the request was about (of a LIST the prefix), how it is billed, and the bytes of its bodies.
What no answer came to, and what the server failed at (5xx), is not billed. A part of a multipart upload is billed in
STANDARD whatever the object's class. Two things that an answer does not say are told by who knows them: the bytes that
a copy or a restore reads, and their class (`S3Store`). obstore hides the class of what it brings: such a GET has the
class "", and who is told may know it.
"""

from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from attrs import define

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.policy.cost import STANDARD, RequestKind, Traffic, Use

Tell: TypeAlias = Callable[[str, Use, Traffic], None]

CLASS_NOT_SAID: Final = ""
_CLASS_HEADER: Final = "x-amz-storage-class"
_STASH: Final = "tierfs_parameters"
_REFUSED: Final = 300
_SERVER_FAILED: Final = 500
# what an answer leads to here that is no refusal of the server
_ANSWERED: Final = frozenset({StoreErrorKind.TOO_LARGE, StoreErrorKind.PRECONDITION_FAILED, StoreErrorKind.CORRUPT})
_OPERATIONS: Final = {
    "PutObject": RequestKind.PUT,
    "UploadPart": RequestKind.PUT,
    "CopyObject": RequestKind.COPY,
    "UploadPartCopy": RequestKind.COPY,
    "CreateMultipartUpload": RequestKind.POST,
    "CompleteMultipartUpload": RequestKind.POST,
    "AbortMultipartUpload": RequestKind.DELETE,
    "DeleteObjects": RequestKind.DELETE,
    "ListMultipartUploads": RequestKind.LIST,
    "RestoreObject": RequestKind.RESTORE,
}


def tell_nobody(_key: str, _use: Use, _traffic: Traffic) -> None:
    """For a connection that is not counted."""


@define
class Received:
    """What a GET brought, filled in by who made it."""

    size_bytes: int = 0


class Billing:
    """The requests of one connection. `prefix`: of the store's keys. Any thread."""

    def __init__(self, tell: Tell, prefix: str) -> None:
        self._tell = tell
        self._prefix = prefix

    def wire(
        self, method: str, full: str, query: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """A request of `Wire`: HEAD, GET, DELETE; a LIST where `full` is ""."""
        is_list = not full
        kind = RequestKind.LIST if is_list else RequestKind.OTHER if "tagging" in query else RequestKind(method.lower())
        received_bytes = len(body) if kind is RequestKind.GET and status < _REFUSED else 0
        use = Use(kind, STANDARD if is_list else headers.get(_CLASS_HEADER, STANDARD))
        self._note(query.get("prefix", "") if is_list else full, use, status, received_bytes=received_bytes)

    @contextmanager
    def get(self, full: str) -> Iterator[Received]:
        """A GET of obstore's."""
        received, use = Received(), Use(RequestKind.GET, CLASS_NOT_SAID)
        try:
            yield received
        except StoreError as error:
            if _has_answer(error):
                self._note(full, use)
            raise
        self._note(full, use, received_bytes=received.size_bytes)

    @contextmanager
    def put(self, full: str, size_bytes: int, storage_class: str) -> Iterator[None]:
        """A PUT of obstore's."""
        use = Use(RequestKind.PUT, storage_class or STANDARD)
        try:
            yield
        except StoreError as error:
            if _has_answer(error):
                self._note(full, use)
            raise
        self._note(full, use, sent_bytes=size_bytes)

    def watch(self, client: Any) -> None:
        """Every request of a client of boto3's, from now on."""
        client.meta.events.register("provide-client-params.s3", self._keep)
        client.meta.events.register("after-call.s3", self._answered)

    def read(self, key: str, use: Use, size_bytes: int) -> None:
        """Bytes that a copy read, beside the request itself. `key`: without the prefix."""
        self._tell(key, use, Traffic(0, 0, size_bytes))

    def restored(self, key: str, use: Use, size_bytes: int) -> None:
        """A restore that was taken on. `key`: without the prefix."""
        self._tell(key, use, Traffic(1, 0, size_bytes))

    @staticmethod
    def _keep(params: dict[str, Any], context: dict[str, Any], **_event: object) -> None:
        body = params.get("Body", b"")  # botocore puts a file in its place later
        full = params.get("Key", params.get("Prefix", ""))
        size_bytes = len(body) if isinstance(body, Sized) else 0
        context[_STASH] = (full, params.get("StorageClass", STANDARD), size_bytes)

    def _answered(self, http_response: Any, model: Any, context: dict[str, Any], **_event: object) -> None:
        full, storage_class, size_bytes = context.get(_STASH, ("", STANDARD, 0))
        use, status = Use(_OPERATIONS.get(model.name, RequestKind.OTHER), storage_class), http_response.status_code
        if use.kind is RequestKind.RESTORE and status < _REFUSED:
            return  # the store tells of it, with its bytes
        self._note(full, use, status, sent_bytes=size_bytes if status < _REFUSED else 0)

    def _note(self, full: str, use: Use, status: int = 200, *, sent_bytes: int = 0, received_bytes: int = 0) -> None:
        if status < _SERVER_FAILED:
            self._tell(full.removeprefix(self._prefix), use, Traffic(1, sent_bytes, received_bytes))


def _has_answer(error: StoreError) -> bool:
    return 0 < error.http_status < _SERVER_FAILED or error.kind in _ANSWERED
