"""One realistic object per writer (bucket-format.md), the collisions between them, and write-then-read."""

import base64
import json
import stat
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tierfs.objectstore import dialects
from tierfs.objectstore.base import ObjectInfo, ObjectMeta
from tierfs.objectstore.dialects import PosixView

REG, DIR, LNK = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK
NOON_NS = 1_595_002_920_000_000_000


def shown(key: str, user: dict[str, str], *, size_bytes: int = 3, **headers: str) -> ObjectInfo:
    return ObjectInfo(key, size_bytes, "etag", NOON_NS, meta=ObjectMeta(user=user, **headers))


def seen(key: str, user: dict[str, str], *, size_bytes: int = 3, **headers: str) -> PosixView:
    return dialects.read(shown(key, user, size_bytes=size_bytes, **headers))


def posix(view: PosixView) -> tuple[int | None, int | None, int | None, int | None, int | None]:
    return view.fmt, view.perms, view.uid, view.gid, view.mtime_ns


# -- writers

FSX = {
    "file-permissions": "0100664",
    "file-owner": "500",
    "file-group": "501",
    "file-atime": "1595002920000000001ns",
    "file-mtime": "1595002920000000000ns",
    "user-agent": "aws-fsx-lustre",
}
S3_FILES = {
    "file-permissions": "0100600",
    "file-owner": "1000",
    "file-group": "1000",
    "file-mtime": "1595002920123456789ns",
    "file-btime": "1595002910000000000ns",
    "fs-id": "fs-0123456789abcdef0",
    "user-agent": "aws-s3-files",
}
DATASYNC = {
    "file-permissions": "100755",
    "file-owner": "65534",
    "file-group": "65534",
    "file-mtime": "1595002920000",
    "file-atime": "1595002920000",
}
STORAGE_GATEWAY = {
    "file-permissions": "0666",
    "file-owner": "65534",
    "file-group": "65534",
    "file-mtime": "1595002920000000000ns",
    "user-agent-id": "gateway",
}
S3FS = {
    "mode": "33188",
    "uid": "1000",
    "gid": "100",
    "mtime": "1595002920.123456789",
    "atime": "1595002921.000000001",
    "ctime": "1595002922.000000000",
    "xattr": quote(json.dumps({"user.a": base64.b64encode(b"one").decode(), "user.b": ""})),
}
RCLONE = {
    "mtime": "1595002920.5",
    "mode": "100644",
    "uid": "1000",
    "gid": "1000",
    "btime": "2020-07-17T16:22:00.25Z",
    "atime": "2020-07-17T18:22:00.000000001+02:00",
    "md5chksum": "kAFQmDzST7DWlj99KOF/cg==",
}
GEESEFS = {"uid": "33", "gid": "34", "mode": "33261", "mtime": "1595002920"}
GSUTIL = {
    "goog-reserved-file-mtime": "1595002920",
    "goog-reserved-posix-uid": "7",
    "goog-reserved-posix-gid": "8",
    "goog-reserved-posix-mode": "640",
}
S3SYNC = {"owner": "1000", "group": "100", "permissions": "420"}


def test_fsx_for_lustre() -> None:
    view = seen("data/file", FSX)
    assert posix(view) == (REG, 0o664, 500, 501, NOON_NS)
    assert view.atime_ns == NOON_NS + 1
    assert not view.has_foreign


def test_fsx_marks_a_directory_with_the_mode_of_a_file() -> None:
    assert posix(seen("data/", FSX, size_bytes=0)) == (DIR, 0o664, 500, 501, NOON_NS)


def test_s3_files() -> None:
    view = seen("f", S3_FILES)
    assert posix(view) == (REG, 0o600, 1000, 1000, NOON_NS + 123_456_789)
    assert view.btime_ns == NOON_NS - 10_000_000_000
    assert view.atime_ns is None
    assert view.foreign.user == {"fs-id": "fs-0123456789abcdef0"}


def test_datasync_writes_no_leading_zero_and_milliseconds() -> None:
    view = seen("f", DATASYNC)
    assert posix(view) == (REG, 0o755, 65534, 65534, NOON_NS)
    assert view.atime_ns == NOON_NS


def test_storage_gateway() -> None:
    view = seen("f", STORAGE_GATEWAY)
    assert posix(view) == (REG, 0o666, 65534, 65534, NOON_NS)
    assert view.foreign.user == {"user-agent-id": "gateway"}


def test_s3fs() -> None:
    view = seen("f", S3FS)
    assert posix(view) == (REG, 0o644, 1000, 100, NOON_NS + 123_456_789)
    assert view.atime_ns == NOON_NS + 1_000_000_001
    assert view.xattrs == {b"user.a": b"one", b"user.b": b""}
    assert view.foreign.user == S3FS


def test_s3fs_directory_and_symlink() -> None:
    directory = seen("d/", S3FS | {"mode": "16877"}, size_bytes=0, content_type="application/x-directory")
    assert (directory.fmt, directory.perms) == (DIR, 0o755)
    link = seen("l", {"mode": "41471", "uid": "0", "gid": "0", "mtime": "1595002920"})
    assert (link.fmt, link.perms, link.target) == (LNK, 0o777, b"")  # its body is the target


def test_rclone_with_metadata_of_a_local_disk() -> None:
    view = seen("f", RCLONE)
    assert posix(view) == (REG, 0o644, 1000, 1000, NOON_NS + 500_000_000)
    assert view.btime_ns == NOON_NS + 250_000_000
    assert view.atime_ns == NOON_NS + 1


def test_rclone_without_them() -> None:
    assert posix(seen("f", {"mtime": "1595002920.000000001"})) == (REG, None, None, None, NOON_NS + 1)


def test_rclone_symlink() -> None:
    assert seen("l.rclonelink", {"mtime": "1595002920.5"}).fmt == LNK
    assert seen("l.rclonelink", {}).fmt is None
    assert seen("l.rclonelink", FSX).fmt == REG  # somebody who says what it is


def test_rclone_device_numbers_are_hexadecimal() -> None:
    view = seen("null", RCLONE | {"mode": "0020666", "rdev": "103"}, size_bytes=0)
    assert (view.fmt, view.perms, view.rdev) == (stat.S_IFCHR, 0o666, 0x103)


def test_geesefs() -> None:
    assert posix(seen("f", GEESEFS)) == (REG, 0o755, 33, 34, NOON_NS)
    device = seen("sda", GEESEFS | {"mode": str(stat.S_IFBLK | 0o660), "rdev": "2049"}, size_bytes=0)
    assert (device.fmt, device.rdev) == (stat.S_IFBLK, 2049)
    link = seen("l", GEESEFS | {"mode": "41471", "--symlink-target": "../a%20b%FF"}, size_bytes=0)
    assert (link.fmt, link.target) == (LNK, b"../a b\xff")
    assert seen("l", {"--symlink-target": "x"}, size_bytes=0).fmt == LNK


def test_gcsfuse() -> None:
    view = seen("f", {"gcsfuse_mtime": "2020-07-17T16:22:00.000000007Z"})
    assert posix(view) == (REG, None, None, None, NOON_NS + 7)
    old_link = seen("l", {"gcsfuse_symlink_target": "täget"}, size_bytes=0)
    assert (old_link.fmt, old_link.target) == (LNK, "täget".encode())
    new_link = seen("l", {"goog-reserved-file-is-symlink": "true"})
    assert (new_link.fmt, new_link.target) == (LNK, b"")


def test_gsutil_with_posix_attributes() -> None:
    assert posix(seen("f", GSUTIL)) == (REG, 0o640, 7, 8, NOON_NS)


def test_s3sync() -> None:
    assert posix(seen("f", S3SYNC)) == (REG, 0o644, 1000, 100, None)


def test_a_plain_object_says_nothing() -> None:
    view = seen("f", {}, content_type="binary/octet-stream")
    assert posix(view) == (None,) * 5
    assert not view.has_posix
    assert not view.has_foreign
    assert dialects.read(ObjectInfo("d/", 0, "e", 0)).fmt == DIR  # LIST brings no metadata
    assert not dialects.read(ObjectInfo("d/", 0, "e", 0)).has_posix


# -- order and collisions


def test_file_keys_come_first_attribute_by_attribute() -> None:
    view = seen("f", S3FS | GSUTIL | {"file-owner": "9", "file-mtime": "5ns"})
    assert posix(view) == (REG, 0o644, 9, 100, 5)


def test_what_cannot_be_parsed_counts_as_absent() -> None:
    broken = {
        "file-owner": "ubuntu",
        "file-group": "-1",
        "file-permissions": "rw-r--r--",
        "file-mtime": "yesterday",
        "file-atime": "99999999999999999999ns",
        "file-btime": "",
    }
    view = seen("f", broken)
    assert posix(view) == (None,) * 5
    assert (view.atime_ns, view.btime_ns) == (None, None)
    assert not view.has_posix
    assert seen("f", broken | {"uid": "5", "mtime": "1"}).uid == 5
    assert seen("f", {"file-owner": "4294967295"}).uid is None  # (uid_t)-1


@pytest.mark.parametrize(
    ("text", "fmt", "perms"),
    [
        ("33188", REG, 0o644),  # s3fs
        ("33279", REG, 0o777),
        ("0100644", REG, 0o644),  # rclone as documented
        ("100644", REG, 0o644),  # rclone as seen: above 65535
        ("120777", LNK, 0o777),
        ("41471", LNK, 0o777),
        ("40755", REG, 0o755),  # a decimal reading has no valid type; a directory's mode on a file's key
        ("0644", REG, 0o644),
        ("644", REG, 0o644),
        ("104755", REG, 0o4755),
        ("4755", stat.S_IFIFO, 0o1223),  # the price of the rule: nobody writes a mode without its type
        ("99999", REG, None),  # neither
        ("", REG, None),  # `uid` alone makes it a file
        ("8589934592", REG, None),
    ],
)
def test_the_key_mode_belongs_to_two_writers(text: str, fmt: int, perms: int | None) -> None:
    view = seen("f", {"mode": text, "uid": "1"})
    assert (view.fmt, view.perms) == (fmt, perms)


def test_a_directory_is_what_has_the_slash() -> None:
    assert seen("d", {"file-permissions": "0040755"}).fmt == REG
    assert seen("d", {}, size_bytes=0, content_type="application/x-directory").fmt is None
    assert seen("d/", {"file-permissions": "0120777"}).fmt == DIR


def test_a_body_that_came_later_is_the_target() -> None:
    kept_by_mistake = {"file-permissions": "0120777", "--symlink-target": "old"}
    assert seen("l", kept_by_mistake, size_bytes=3).target == b""


def test_a_copied_hard_link_is_a_file_of_its_own() -> None:
    meta = dialects.write(PosixView(fmt=REG, perms=0o644, link_id="2a:b"), "a").meta
    assert dialects.read(ObjectInfo("a", 0, "", 0, meta=meta)).link_id == "2a:b"
    assert dialects.read(ObjectInfo("b", 0, "", 0, meta=meta)).link_id == ""
    assert seen("a", {"tierfs-inode": "nonsense"}).link_id == ""


# -- writing


def test_the_table_of_the_format() -> None:
    view = PosixView(
        fmt=REG,
        perms=0o644,
        uid=1000,
        gid=100,
        mtime_ns=NOON_NS + 1,
        atime_ns=NOON_NS + 2,
        btime_ns=NOON_NS + 3,
        xattrs={b"user.k": b"\x00\xff"},
        raw_name=b"a\xff",
        op_id="1-2-3",
        content="crc64nvme:0123456789abcdef",
    )
    assert dialects.write(view, "a%FF").meta.user == {
        "file-permissions": "0100644",
        "file-owner": "1000",
        "file-group": "100",
        "file-mtime": "1595002920000000001ns",
        "file-atime": "1595002920000000002ns",
        "file-btime": "1595002920000000003ns",
        "user-agent": "tierfs",
        "tierfs-op": "1-2-3",
        "tierfs-content": "crc64nvme:0123456789abcdef",
        "tierfs-name": base64.b64encode(b"a\xff").decode(),
        "tierfs-xattr-757365722e6b": base64.b64encode(b"\x00\xff").decode(),
    }
    assert dialects.write(PosixView(fmt=LNK, perms=0o777), "l").meta.user["file-permissions"] == "0120777"
    device = dialects.write(PosixView(fmt=stat.S_IFBLK, perms=0o660, rdev=0x803), "b").meta.user
    assert (device["file-permissions"], device["file-rdev"]) == ("0060660", "2051")


def test_a_directory_has_its_content_type() -> None:
    directory = dialects.write(PosixView(fmt=DIR, perms=0o700), "d/")
    assert directory.meta.user["file-permissions"] == "0040700"
    assert directory.meta.content_type == "application/x-directory"
    kept = ObjectMeta(content_type="httpd/unix-directory")
    assert dialects.write(PosixView(fmt=DIR), "d/", kept=kept).meta.content_type == "httpd/unix-directory"
    view = dialects.read(ObjectInfo("d/", 0, "e", 0, meta=directory.meta))
    assert not view.has_foreign
    assert view.has_posix


def test_what_others_put_there_stays() -> None:
    headers = {
        "content_type": "image/png",
        "cache_control": "max-age=1",
        "content_encoding": "gzip",
        "content_disposition": "inline",
        "content_language": "de",
        "expires": "?",
    }
    old = ObjectMeta(user={**S3FS, "team": "é", "fs-id": "1", **FSX, "tierfs-op": "old"}, **headers)
    meta = dialects.write(PosixView(fmt=REG, perms=0o600, uid=0, op_id="new"), "f", kept=old).meta
    assert {name: getattr(meta, name) for name in headers} == headers
    assert {name: meta.user[name] for name in ("mode", "uid", "team", "fs-id")} == {
        "mode": "33188",
        "uid": "1000",
        "team": "é",
        "fs-id": "1",
    }
    assert (meta.user["tierfs-op"], meta.user["file-permissions"]) == ("new", "0100600")
    assert "file-mtime" not in meta.user  # ours to say, and not said
    assert dialects.read(ObjectInfo("f", 0, "", 0, meta=meta)).has_foreign


def test_xattrs_stay_where_s3fs_looks_for_them() -> None:
    old = ObjectMeta(user=S3FS)
    wanted = {b"user.a": b"two", b"user.\xff": b"raw"}
    meta = dialects.write(PosixView(fmt=REG, xattrs=wanted), "f", kept=old).meta
    assert json.loads(unquote(meta.user["xattr"])) == {"user.a": base64.b64encode(b"two").decode()}
    assert dialects.read(ObjectInfo("f", 0, "", 0, meta=meta)).xattrs == wanted
    none = dialects.write(PosixView(fmt=REG), "f", kept=old).meta
    assert "xattr" not in none.user
    assert dialects.read(ObjectInfo("f", 0, "", 0, meta=none)).xattrs == {}


def test_marks_that_contradict_the_new_file_go() -> None:
    old = ObjectMeta(
        user={"--symlink-target": "x", "goog-reserved-file-is-symlink": "true", "md5chksum": "m", "a": "b"}
    )
    rewritten = dialects.write(PosixView(fmt=REG, perms=0o600, content="crc64nvme:1"), "f", kept=old).meta
    assert {name for name in rewritten.user if name in old.user} == {"a"}
    changed_mode = dialects.write(PosixView(fmt=LNK, perms=0o777), "f", kept=old).meta
    assert {name for name in changed_mode.user if name in old.user} == set(old.user)


# -- what does not fit

FULL_VIEW = PosixView(
    fmt=REG, perms=0o644, uid=1, gid=2, mtime_ns=3, atime_ns=4, btime_ns=5, op_id="1-1-1", link_id="7"
)


def size_bytes(user: dict[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in user.items())


@pytest.mark.parametrize("their_bytes", [0, 1500, 1790, 1800, 1900, 2000, 2030, 2047])
def test_theirs_stays_and_ours_overflows(their_bytes: int) -> None:
    theirs = {"t": "x" * (their_bytes - 1)} if their_bytes else {}
    view = PosixView(
        **{f: getattr(FULL_VIEW, f) for f in ("fmt", "perms", "uid", "gid", "mtime_ns", "op_id", "link_id")}
    )
    packed = dialects.write(view, "f", kept=ObjectMeta(user=theirs))
    assert size_bytes(dict(packed.meta.user)) < 2048
    assert {name: packed.meta.user[name] for name in theirs} == theirs
    info = ObjectInfo("f", 0, "", 0, meta=packed.meta)
    assert dialects.read(info).overflow_key == packed.overflow_key
    own_bytes = size_bytes(dict(dialects.write(view, "f").meta.user))
    assert bool(packed.overflow) == bool(packed.overflow_key) == (their_bytes + own_bytes >= 2048)
    again = dialects.read(info, packed.overflow)
    assert (again.fmt, again.perms, again.uid, again.gid, again.mtime_ns) == (REG, 0o644, 1, 2, 3)
    assert (again.op_id, again.link_id, again.overflow_key) == ("1-1-1", "7", "")


def test_the_op_id_is_the_last_to_leave_the_object() -> None:
    packed = dialects.write(FULL_VIEW, "f", kept=ObjectMeta(user={"t": "x" * 1990}))
    assert packed.meta.user["tierfs-op"] == "1-1-1"
    assert "file-atime" not in packed.meta.user


def test_large_xattrs_overflow() -> None:
    xattrs = {b"user.small": b"s", b"user.large": b"l" * 60_000}
    packed = dialects.write(PosixView(fmt=REG, perms=0o600, xattrs=xattrs), "f")
    assert packed.overflow_key.startswith(".tierfs/attrs/")
    info = ObjectInfo("f", 0, "", 0, meta=packed.meta)
    assert dialects.read(info).xattrs == {b"user.small": b"s"}
    assert dialects.read(info, packed.overflow).xattrs == xattrs


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version":2}', b"\xff"])
def test_a_damaged_document_is_none(damage: bytes) -> None:
    packed = dialects.write(PosixView(fmt=REG, xattrs={b"user.large": b"l" * 3000}), "f")
    info = ObjectInfo("f", 0, "", 0, meta=packed.meta)
    assert dialects.read(info, damage or b"x").xattrs == {}
    assert dialects.read(info, packed.overflow.replace(b"bGxs", b"bGxt", 1)).xattrs == {}
    elsewhere = ObjectInfo("other", 0, "", 0, meta=packed.meta)
    assert dialects.read(elsewhere, packed.overflow).xattrs == {}


# -- write, then read

ids = st.none() | st.integers(0, (1 << 32) - 2)
times = st.none() | st.integers(-(1 << 63) + 1, (1 << 63) - 1)
texts = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=20)
foreign_names = st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True).filter(
    lambda name: (
        not dialects._is_ours(name)
        and name not in (*S3FS, *GSUTIL, *S3SYNC, *RCLONE, "rdev", "--symlink-target")
        and not name.startswith("goog-")
    )
)
views = st.builds(
    PosixView,
    fmt=st.sampled_from([REG, LNK, stat.S_IFIFO, stat.S_IFSOCK]),
    perms=st.integers(0, 0o7777),
    uid=ids,
    gid=ids,
    mtime_ns=times,
    atime_ns=times,
    btime_ns=times,
    link_id=st.just("") | texts,
    xattrs=st.dictionaries(st.binary(min_size=1, max_size=255), st.binary(max_size=600), max_size=6),
    raw_name=st.none() | st.binary(min_size=1, max_size=255),
    op_id=st.just("") | texts,
    content=st.just("") | texts,
    foreign=st.builds(ObjectMeta, user=st.dictionaries(foreign_names, texts, max_size=5), content_type=st.just("a/b")),
)


@given(view=views, key=st.text(min_size=1, max_size=30).filter(lambda k: not k.endswith("/") and k.isprintable()))
@example(view=PosixView(fmt=REG, perms=0, xattrs={b"user.k": b""}), key="k")
def test_what_is_written_is_read(view: PosixView, key: str) -> None:
    packed = dialects.write(view, key, kept=view.foreign)
    assert size_bytes(dict(packed.meta.user)) < 2048
    assert all(name.isascii() and value.isascii() for name, value in packed.meta.user.items())
    info = ObjectInfo(key, 0, "", 0, meta=packed.meta)
    assert dialects.read(info, packed.overflow) == view
    # and a second write of the same changes nothing
    again = dialects.write(view, key, kept=packed.meta)
    assert again == packed


@given(st.dictionaries(st.sampled_from(sorted({*FSX, *S3FS, *RCLONE, *GSUTIL, *S3SYNC})), st.text(max_size=30)))
def test_nothing_that_a_stranger_wrote_raises(user: dict[str, str]) -> None:
    for key in ("f", "d/"):
        view = dialects.read(ObjectInfo(key, 0, "", 0, meta=ObjectMeta(user=user)))
        assert view.perms is None or 0 <= view.perms <= 0o7777
        dialects.write(view, key, kept=ObjectMeta(user=user))
