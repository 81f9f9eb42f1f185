"""The main job: real programs work in a mount of a real S3 server's bucket, a kill in the middle loses nothing that was
acknowledged, a new machine sees the same tree, and an independent client finds every file as a plain object.

The tests of this module share one mount and run in this order; what one leaves there, the last ones compare.
"""

import hashlib
import os
import stat
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import minio
import pytest

from tests.e2e.kills import assert_acknowledged, run_burst
from tests.support import programs
from tests.support.mounts import Mount, Settings, find_mount, mounted
from tests.support.trees import Entry, assert_same, describe, make_source_tree
from tests.support.weed import ADMIN, WeedServer

SOURCE_FILES = 10_000
MODULE_LIMIT_S = 3600.0
TEST_LIMIT_S = 840.0  # a busy machine takes four times as long as an idle one
WRITERS = 3
PREFIX = "projects/demo"

pytestmark = pytest.mark.timeout(TEST_LIMIT_S + 20)

GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    # no housekeeping in the background: it would go on while the next command runs
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "gc.auto",
    "GIT_CONFIG_VALUE_0": "0",
    # git status must not rewrite the index
    "GIT_OPTIONAL_LOCKS": "0",
    **{f"GIT_{who}_NAME": "A. Person" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "person@example.org" for who in ("AUTHOR", "COMMITTER")},
}


@pytest.fixture(scope="module")
def bucket(weed: WeedServer) -> str:
    return weed.create_bucket()


@pytest.fixture(scope="module")
def mount(weed: WeedServer, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    directory = tmp_path_factory.mktemp("main-job")
    settings: Settings = {
        "store": {"endpoint_url": weed.endpoint_url},
        # uploads begin while programs still work on the files
        "export": {"quiet_s": 1},
    }
    source = f"s3://{bucket}/{PREFIX}"
    with mounted(source, directory, settings=settings, life_limit_s=MODULE_LIMIT_S) as mount:
        yield mount


@pytest.fixture(autouse=True)
def time_limit(mount: Mount) -> Iterator[None]:
    """Aborts the mount when one test takes too long: nothing else can end a system call that hangs."""
    assert find_mount(mount.path), "the mount is gone: what follows would work on the directory below it"
    timer = threading.Timer(TEST_LIMIT_S, mount.abort)
    timer.start()
    yield
    timer.cancel()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A native source tree of SOURCE_FILES files and an odd corner."""
    root = tmp_path_factory.mktemp("source") / "tree"
    make_source_tree(root, SOURCE_FILES)
    return root


def test_copy_a_source_tree(mount: Mount, source: Path) -> None:
    programs.run(["cp", "-a", source, mount.path / "source"], timeout_s=TEST_LIMIT_S)
    assert_same(describe(source), describe(mount.path / "source"))


def test_rsync_the_standard_library(mount: Mount) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    left_out = ["--exclude=site-packages", "--exclude=__pycache__"]
    rsync = ["rsync", "-aHAX", *left_out, f"{library}/", f"{mount.path}/stdlib/"]
    programs.run(rsync, timeout_s=TEST_LIMIT_S)
    again = programs.run([*rsync, "--dry-run", "--checksum", "--itemize-changes"], timeout_s=TEST_LIMIT_S)
    assert again.stdout == "", "rsync sees no difference after its own copy"
    assert_same(
        describe(library, skip=lambda name: "site-packages" in name or "__pycache__" in name),
        describe(mount.path / "stdlib"),
    )


def test_rsync_within_the_mount(mount: Mount, source: Path) -> None:
    rsync = ["rsync", "-aHAX", f"{mount.path}/source/corner/", f"{mount.path}/corner/"]
    programs.run(rsync)
    assert programs.run([*rsync, "--dry-run", "--checksum", "--itemize-changes", "--delete"]).stdout == ""
    assert_same(describe(source / "corner"), describe(mount.path / "corner"))


def test_git(mount: Mount) -> None:
    repository = mount.path / "source"

    def git(*arguments: str) -> str:
        return programs.run(["git", *arguments], cwd=repository, env=GIT, timeout_s=TEST_LIMIT_S).stdout

    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "all of it")
    (repository / "package_000/new_file.py").write_text("print('second commit')\n")
    git("mv", "package_001/module_00", "package_001/renamed")
    git("add", "-A")
    git("commit", "-q", "-m", "more")
    git("gc", "-q")
    git("fsck", "--full", "--strict", "--no-progress")
    assert git("status", "--porcelain") == ""
    assert len(git("ls-files").splitlines()) > SOURCE_FILES
    git("checkout", "-q", "HEAD~1")
    git("checkout", "-q", "main")
    assert git("log", "--format=%s").split("\n")[:2] == ["more", "all of it"]


def test_tar(mount: Mount) -> None:
    options = ["--xattrs", "--xattrs-include=*", "--acls"]
    archive = mount.path / "archive.tar"
    inside = ["-C", str(mount.path / "source"), "corner", "package_002"]
    programs.run(["tar", *options, "-cf", archive, *inside])
    programs.run(["tar", *options, "-df", archive, "-C", mount.path / "source"])
    (mount.path / "untarred").mkdir()
    programs.run(["tar", *options, "-xpf", archive, "-C", mount.path / "untarred"])
    for part in ("corner", "package_002"):
        assert_same(describe(mount.path / "source" / part), describe(mount.path / "untarred" / part))
    programs.run(["tar", "-Scf", mount.path / "sparse.tar", "-C", mount.path / "source/corner", "sparse", "large"])
    (mount.path / "sparse").mkdir()
    programs.run(["tar", "-xf", mount.path / "sparse.tar", "-C", mount.path / "sparse"])
    for name in ("sparse", "large"):
        programs.run(["cmp", mount.path / "sparse" / name, mount.path / "source/corner" / name])


SQLITE_WRITER = """
import sqlite3, sys
path, worker = sys.argv[1], int(sys.argv[2])
db = sqlite3.connect(path, timeout=60, isolation_level=None)
assert db.execute("pragma journal_mode=wal").fetchone() == ("wal",)
db.execute("create table if not exists t (worker int, n int, data blob, primary key (worker, n))")
for n in range(250):
    db.execute("begin immediate")
    db.executemany("insert into t values (?, ?, randomblob(700))", [(worker, 10 * n + k) for k in range(10)])
    db.execute("rollback" if n % 25 == 24 else "commit")
    mine = db.execute("select count(*) from t where worker = ?", (worker,)).fetchone()[0]
    assert mine == 10 * (n + 1 - (n + 1) // 25), mine
db.close()
"""


def test_sqlite_in_wal_mode(mount: Mount) -> None:
    directory = mount.path / "database"
    directory.mkdir()
    path = directory / "data.sqlite"
    # whoever switches to WAL beside others may be told that it is locked at once, whatever his timeout
    assert programs.run(["sqlite3", path, "pragma journal_mode=wal;"]).stdout == "wal\n"
    with ThreadPoolExecutor() as pool:
        writers = [
            pool.submit(programs.run, [sys.executable, "-c", SQLITE_WRITER, path, str(worker)]) for worker in range(3)
        ]
        for writer in writers:
            writer.result()
    answer = programs.run(["sqlite3", path, "pragma integrity_check; select count(*), count(distinct worker) from t;"])
    assert answer.stdout.split() == ["ok", "7200|3"]


def test_pip_install(mount: Mount, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    target = mount.path / "site-packages"
    quiet = ["--disable-pip-version-check", "--root-user-action=ignore"]
    pip = ["-m", "pip", "install", "--no-index", "--no-deps", *quiet]
    programs.run([sys.executable, *pip, "--target", target, wheel])
    code = "import demo.module_119 as m; import demo; print(m.VALUE, demo.__file__)"
    answer = programs.run([sys.executable, "-c", code], env={"PYTHONPATH": str(target)})
    assert answer.stdout.split() == ["119", str(target / "demo/__init__.py")]
    programs.run([sys.executable, *pip, "--upgrade", "--target", target, wheel])


def make_wheel(directory: Path) -> Path:
    """A wheel of 120 modules, made by hand: installing it needs no registry and no build."""
    files = {f"demo/module_{n:03}.py": f"VALUE = {n}\n" for n in range(120)}
    files["demo/__init__.py"] = ""
    info = "demo-1.0.dist-info"
    files[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    wheel = directory / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def test_fio_verifies_what_it_wrote(mount: Mount, tmp_path: Path) -> None:
    directory = mount.path / "fio"
    directory.mkdir()
    common = [
        f"--directory={directory}",
        "--size=24m",
        "--ioengine=psync",
        "--fallocate=none",
        "--verify=crc32c",
        "--verify_fatal=1",
        "--verify_state_save=0",
        "--fsync=64",
        "--end_fsync=1",
    ]
    for job in (["--name=random", "--rw=randwrite", "--bsrange=4k-64k", "--numjobs=2"], ["--name=seq", "--rw=write"]):
        programs.run(["fio", *common, *job], cwd=tmp_path)
    programs.run(["fio", *common, "--name=map", "--rw=randwrite", "--ioengine=mmap"], cwd=tmp_path)


@pytest.mark.parametrize("number", range(2))
def test_kill_in_a_write_burst(mount: Mount, tmp_path: Path, number: int) -> None:
    area = mount.path / "burst" / str(number)
    before = describe(mount.path / "database")
    seeds = range(number * WRITERS, (number + 1) * WRITERS)
    counts = run_burst(mount, tmp_path, area, seeds, until=3_000)
    mount.remount()
    assert_acknowledged(area, tmp_path / "after remount", counts)
    assert_same(before, describe(mount.path / "database"))
    mount.wait_synced()
    assert_acknowledged(area, tmp_path / "after sync", counts)


def test_everything_is_synced_and_says_so(mount: Mount) -> None:
    mount.wait_synced()
    status = mount.status()
    assert status["pending_exports"] == 0, status
    assert status["conflicts"] == 0, status


def is_hidden(name: str) -> bool:
    return name.split("/")[0] == ".tierfs"


def object_key(name: str) -> str:
    """The key of a file by bucket-format.md, written here a second time on purpose."""
    parts = []
    for part in map(os.fsencode, name.split("/")):
        try:
            parts.append(part.decode())
        except UnicodeDecodeError:
            # quote() leaves letters, digits and _.-~ alone; bucket-format.md leaves all of ASCII but control and %
            printable = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
            parts.append(quote(part, safe=printable))
    return f"{PREFIX}/{'/'.join(parts)}"


def test_an_independent_client_reads_plain_objects(mount: Mount, weed: WeedServer, bucket: str) -> None:
    server = urlsplit(weed.endpoint_url).netloc
    client = minio.Minio(endpoint=server, access_key=ADMIN[0], secret_key=ADMIN[1], secure=False, region="us-east-1")
    listed = [entry.object_name for entry in client.list_objects(bucket, prefix=f"{PREFIX}/", recursive=True)]
    keys = {key for key in listed if key and not is_hidden(key.removeprefix(f"{PREFIX}/"))}
    here = describe(mount.path)
    files = {object_key(name): entry for name, entry in here.items() if not stat.S_ISDIR(entry.mode)}
    assert {key for key in keys if not key.endswith("/")} == set(files)
    directories = {object_key(name) + "/" for name, entry in here.items() if stat.S_ISDIR(entry.mode)}
    assert {key for key in keys if key.endswith("/")} <= directories | {f"{PREFIX}/"}

    def is_right(key: str) -> bool:
        answer = client.get_object(bucket, key)
        try:
            return body_fits(files[key], answer.read())
        finally:
            answer.close()
            answer.release_conn()

    with ThreadPoolExecutor(8) as pool:
        wrong = [key for key, right in zip(files, pool.map(is_right, files), strict=True) if not right]
    assert not wrong, f"{len(wrong)} of {len(files)} have other bytes: {wrong[:10]}"


def body_fits(entry: Entry, body: bytes) -> bool:
    """Whether an object holds what the mount shows."""
    if stat.S_ISREG(entry.mode):
        return hashlib.sha256(body).hexdigest() == entry.content
    return body == (os.fsencode(entry.content) if stat.S_ISLNK(entry.mode) else b"")


def test_a_new_machine_sees_the_same_tree(mount: Mount) -> None:
    before = describe(mount.path)
    assert len(before) > SOURCE_FILES + 2_000
    mount.remount(fresh_cache=True)
    assert_same(before, describe(mount.path))
    still_a_repository(mount)
    # names and attributes are found again without a look at the bucket
    mount.remount()
    assert_same(before, describe(mount.path))


def still_a_repository(mount: Mount) -> None:
    for command in (["fsck", "--full", "--no-progress"], ["status", "--porcelain"]):
        assert programs.run(["git", *command], cwd=mount.path / "source", env=GIT).stdout == ""
