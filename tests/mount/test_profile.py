"""A job is recorded on a real mount, what rules would have made of it is simulated, and its files are warmed again."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounts import Mount, mounted
from tierfs.control.exitcodes import ExitCode
from tierfs.tiering import traces

SIZE_BYTES = 8192
FILES = 5


@pytest.fixture(params=["auto", "pyfuse3"])
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mount]:
    for directory in ("train", "other"):
        (tmp_path / "bucket" / directory).mkdir(parents=True)
        for number in range(FILES):
            (tmp_path / "bucket" / directory / f"{number}").write_bytes(bytes(SIZE_BYTES))
    settings = {"mount": {"connection": request.param}, "import": {"revalidate_s": 3600}}
    with mounted(f"file://{tmp_path / 'bucket'}", tmp_path, settings=settings) as made:
        yield made


def residency(mount: Mount, path: str) -> str:
    return str(json.loads(mount.tierctl("info", mount.path / path, "--json").stdout)["residency"])


def run_job(train: Path) -> None:
    """Reads all but one in an order of its own, two times: the second time the kernel may serve it alone."""
    for _ in range(2):
        for number in (3, 1, 4, 2):
            assert len((train / f"{number}").read_bytes()) == SIZE_BYTES
    (train / "scratch").write_bytes(b"bytes")
    (train / "scratch").unlink()
    (train / "result.new").write_bytes(b"result")
    (train / "result.new").rename(train / "result")


def test_a_job_is_recorded_simulated_and_replayed(mount: Mount, tmp_path: Path) -> None:
    train, output = mount.path / "train", tmp_path / "job.csv.gz"
    mount.tierctl("profile", "record", train, "--output", output)
    busy = mount.tierctl("profile", "record", train, check=False)
    assert busy.returncode == ExitCode.BUSY
    assert len((mount.path / "other/1").read_bytes()) == SIZE_BYTES
    run_job(train)
    told = json.loads(mount.tierctl("profile", "stop", mount.path, "--json").stdout)
    assert (told["files"], told["dropped"], told["opens"]) == (6, 0, 10)

    trace = traces.read(output)
    read = [trace.names[number] for _, number, _, is_write in trace.accesses if not is_write]
    assert Counter(read) == {f"train/{number}": 2 for number in (1, 2, 3, 4)}
    assert list(dict.fromkeys(read)) == [f"train/{number}" for number in (3, 1, 4, 2)]
    written = {trace.names[number] for _, number, _, is_write in trace.accesses if is_write}
    assert "train/result" in written and any(name.startswith("/unlinked/") for name in written)
    simulated = mount.tierctl("policy", "simulate", "--trace", output, "--policy", "lru", "--tier", "100%", "--json")
    (outcome,) = json.loads(simulated.stdout)["outcomes"]
    assert (outcome["reads"], outcome["hits"]) == (8, 4)

    mount.wait_synced()
    mount.tierctl("release", mount.path)
    assert {residency(mount, f"train/{number}") for number in range(FILES)} == {"cold"}
    replayed = json.loads(mount.tierctl("profile", "replay", output, "--mount", mount.path, "--json").stdout)
    assert (replayed["state"], replayed["done"]) == ("done", 4)
    hot = [number for number in range(FILES) if residency(mount, f"train/{number}") == "hot"]
    assert hot == [1, 2, 3, 4] and residency(mount, "other/1") == "cold"
    assert mount.tierctl("profile", "stop", mount.path, check=False).returncode == ExitCode.NOT_FOUND
