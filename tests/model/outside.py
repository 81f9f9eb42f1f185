"""A client of the bucket that knows nothing of tierfs: whole objects, no conditions, no waiting."""

from attrs import evolve

from tests.model.ledger import Ledger
from tests.model.shared_bucket import SharedBucket
from tierfs.model import HIDDEN_PREFIX
from tierfs.objectstore.base import ObjectMeta
from tierfs.sync.plan import BESIDE_SUFFIX


class Outside:
    """Sees what is in the bucket at the moment in which it acts."""

    def __init__(self, bucket: SharedBucket, ledger: Ledger) -> None:
        self._bucket = bucket
        self._ledger = ledger

    def _seen(self, key: str) -> bytes | None:
        return self._bucket.content(key) if key in self._bucket.objects else None

    def write(self, key: str, body: bytes, meta: ObjectMeta | None = None) -> None:
        """An object, over whatever is there."""
        seen = self._seen(key)
        if seen is not None:
            self._ledger.taken(seen)
        self._bucket._store(key, body, meta or ObjectMeta(), "")
        self._ledger.given(body)

    def append(self, key: str, tags: bytes) -> None:
        """Reads, and writes all of it anew."""
        seen = self._seen(key)
        if seen is not None:
            self.write(key, seen + tags)

    def cut(self, key: str, kept_bytes: int, zeros: int) -> None:
        """Reads, and writes all of it anew."""
        seen = self._seen(key)
        if seen is not None:
            self.write(key, seen[:kept_bytes].ljust(kept_bytes + zeros, b"\0"))

    def remove(self, key: str) -> None:
        """Deletes an object if there is one."""
        seen = self._seen(key)
        if seen is not None:
            self._ledger.taken(seen)
            self._bucket.remove(key)

    def copy(self, key: str, to: str) -> None:
        """With the metadata, as a plain copy does."""
        seen = self._seen(key)
        if seen is not None and key != to:
            self.write(to, seen, self._bucket.objects[key].info.meta)

    def make_directory(self, path: str) -> None:
        """As consoles do."""
        self._bucket._store(path + "/", b"", ObjectMeta(), "")

    def remove_directory(self, path: str) -> None:
        """What lies below it stays."""
        self._bucket.remove(path + "/")

    def chmod(self, key: str, mode: int) -> None:
        """Another tool's metadata, under the same ETag."""
        there = self._bucket.objects.get(key)
        if there is not None:
            meta = there.info.meta or ObjectMeta()
            user = {**meta.user, "file-permissions": f"0{0o100000 | mode:o}"}
            self._bucket._store(key, there.data, evolve(meta, user=user), "", etag=there.info.etag)

    def view(self) -> dict[str, bytes | None]:
        """What a mount has to show: every path with its bytes, None for a directory."""
        bucket = {key: found.data for key, found in self._bucket.objects.items() if not key.startswith(HIDDEN_PREFIX)}
        view: dict[str, bytes | None] = {}
        for key in bucket:
            parts = key.split("/")
            view |= {"/".join(parts[:depth]): None for depth in range(1, len(parts))}
        for key, data in bucket.items():
            if not key.endswith("/"):
                view[key + BESIDE_SUFFIX.decode() if key in view else key] = data
        return view
