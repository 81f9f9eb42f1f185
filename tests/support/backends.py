"""The object stores that the conformance suite runs over, and what each of them is known to hold.

A `Backend` opens stores on fresh, empty storage; `run` calls an async test with such a store and
closes it. What a backend cannot hold by its nature (bucket-format.md, DESIGN.md section 6) is a
field here with its reason, so that a test asks for it by name and not by the backend's name.
"""

import enum
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from attrs import evolve, frozen

from tests.support.s3double import S3Double
from tierfs.objectstore.base import Always, Capabilities, ObjectMeta, ObjectStore
from tierfs.objectstore.directory import DirectoryStore
from tierfs.objectstore.s3 import S3Store
from tierfs.objectstore.settings import S3Settings

TIMEOUT_S = 60.0
MIB = 1 << 20
STAND_INS = ".tierfs/markers/"


class Keys(enum.Enum):
    """Which keys a store tells apart."""

    ANY = enum.auto()
    PATHS = enum.auto()
    FOLDED = enum.auto()


@frozen
class Backend:
    """One kind of store. `open` gives a store on storage that nobody else uses."""

    name: str
    open: Callable[[], ObjectStore]
    # ANY: every string; PATHS: what a directory can hold, the rest is refused; FOLDED: SeaweedFS keeps its objects in
    # a tree of files too, but takes `a//b` and `a\\b` for `a/b` without a word (seen with 4.x)
    keys: Keys = Keys.ANY
    # flat listings in the order of the keys' bytes. SeaweedFS: in the order of its tree, and a page that ends at a
    # marker or a start_after that names a directory leaves out keys (seen); delimited listings are right
    is_ordered: bool = True
    # a prefix is gone with its last object, and a directory that nobody put is no object. SeaweedFS: later, and it is
    forgets_prefixes: bool = True
    # S3's limit on user metadata is enforced by the server
    limits_metadata: bool = True
    # parts below 5 MiB (but the last) are refused
    limits_parts: bool = True
    # set for the double: plans faults and shows the requests
    double: S3Double | None = None
    bucket: str = ""

    def run(self, test: Callable[[ObjectStore], Awaitable[None]]) -> None:
        """Runs an async test with a fresh store."""

        async def main() -> None:
            store = self.open()
            try:
                with trio.fail_after(TIMEOUT_S):
                    await test(store)
            finally:
                await store.aclose()

        trio.run(main)


def directory_backend(directory: Path, *, use_xattrs: bool = True) -> Backend:
    """A new directory below `directory` for each store."""

    def open_store() -> DirectoryStore:
        root = directory / uuid.uuid4().hex
        root.mkdir()
        return DirectoryStore(root, use_xattrs=use_xattrs)

    name = "directory" if use_xattrs else "directory-without-xattrs"
    return Backend(name, open_store, keys=Keys.PATHS, limits_parts=False)


def s3_backend(name: str, settings: S3Settings, capabilities: Capabilities | None = None) -> Backend:
    """Another prefix of one bucket for each store; credentials come from the environment.

    `capabilities` are what a probe of the server saw.
    """

    def open_store() -> S3Store:
        store = S3Store(evolve(settings, prefix=f"p {uuid.uuid4().hex[:8]}/"))
        if capabilities is not None:
            store.adopt(capabilities)
        return store

    return Backend(name, open_store)


async def put_text(store: ObjectStore, key: str, text: str = "", *, op: str = "") -> str:
    """Puts a small object whatever is there and returns its ETag."""
    meta = ObjectMeta(user={"tierfs-op": op} if op else {})
    return (await store.put(key, text.encode(), meta, Always())).etag


async def put_texts(store: ObjectStore, keys: list[str]) -> None:
    """Puts small objects in parallel, each with its key as the body."""
    limiter = trio.CapacityLimiter(16)

    async def put_one(key: str) -> None:
        async with limiter:
            await put_text(store, key, "" if key.endswith("/") else key)

    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(put_one, key)


async def get_text(store: ObjectStore, key: str) -> str:
    body = await store.get_whole(key, if_match="", limit_bytes=64 * MIB)
    return bytes(body.data).decode()


async def all_keys(
    store: ObjectStore, prefix: str = "", *, delimited: bool = False, limit: int = 1000, start_after: str = ""
) -> tuple[list[str], list[str]]:
    """Every key and every prefix of a listing, page by page, in the order in which they came.

    Left out are the objects that stand in for the metadata of markers (Capabilities.marker_metadata).
    """
    keys: list[str] = []
    prefixes: list[str] = []
    token = ""
    while True:
        page = await store.list(prefix, delimited=delimited, token=token, start_after=start_after, limit=limit)
        assert len(page.objects) + len(page.prefixes) <= limit
        keys += [found.key for found in page.objects if not found.key.startswith(STAND_INS)]
        prefixes += [found for found in page.prefixes if not STAND_INS.startswith(found)]
        token = page.token
        if not token:
            return keys, prefixes
