"""tierctl cost on a real mount: what is counted is what the server got, and a forecast is what a command costs."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_billing import KIND_OF
from tests.support import programs
from tests.support.mounts import Mount, mounted
from tests.support.s3double import S3Double
from tierfs.control.exitcodes import ExitCode

FILES = 5
PRICES = """\
name = "mine"
date = "2025-01-31"
currency = "EUR"
list_1000 = 4
local_gib_month = 10
[classes.STANDARD]
storage_gib_month = 2
write_1000 = 5
read_1000 = 1
"""


@pytest.fixture
def double() -> Iterator[S3Double]:
    with S3Double() as server:
        yield server


def settings(server: S3Double, tmp_path: Path) -> Mapping[str, Mapping[str, Any]]:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    return {
        "store": {"endpoint_url": server.endpoint_url, "region": "us-east-1"},
        "export": {"quiet_s": 3600},
        "import": {"revalidate_s": 3600},
        "cost": {"prices": str(prices)},
    }


def ask(mount: Mount, *words: str | Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(mount.tierctl(*words, "--json").stdout)
    return answer


def counted(mount: Mount, name: str = "kind") -> Counter[str]:
    answer = ask(mount, "cost", mount.path)
    found: Counter[str] = Counter()
    for row in answer["by_kind" if name == "kind" else "by_prefix"]:
        found[row[name]] += row["requests"]
    return found


def received(server: S3Double) -> Counter[str]:
    return Counter(KIND_OF[request.op].value for request in server.requests if request.op in KIND_OF)


def fill(mount: Mount) -> None:
    (mount.path / "d" / "deep").mkdir(parents=True)
    for number in range(FILES):
        (mount.path / "d" / "deep" / f"f{number}").write_bytes(b"bytes %d" % number * 100)
    (mount.path / "root").write_bytes(b"in the root")
    mount.tierctl("sync", mount.path)


def test_what_is_counted_is_what_the_server_got_over_a_restart_too(double: S3Double, tmp_path: Path) -> None:
    bucket = double.create_bucket()
    environment = dict(double.environment)
    with mounted(f"s3://{bucket}/some/prefix", tmp_path, settings=settings(double, tmp_path), env=environment) as mount:
        fill(mount)
        assert counted(mount) == received(double)
        assert counted(mount, "prefix")["d"] >= FILES
        mount.remount()
        (mount.path / "d" / "more").write_bytes(b"more")
        mount.tierctl("sync", mount.path)
        assert counted(mount) == received(double)
        month = ask(mount, "cost", mount.path)
        assert month["prices"] == {"name": "mine", "date": "2025-01-31", "currency": "EUR"}
        [standard] = month["storage"]
        # the files, the two directories and the attributes of the root
        assert (standard["storage_class"], standard["size_bytes"]) == ("STANDARD", FILES * 700 + 11 + 4)
        text = mount.tierctl("cost", mount.path).stdout
        assert all(len(line) <= 80 for line in text.splitlines())
        assert "all of it on the local disk" in text and "by mine, 2025-01-31" in text
        only = ask(mount, "cost", mount.path / "d")
        assert {row["prefix"] for row in only["by_prefix"]} == {"d"}


def test_a_forecast_is_what_the_command_costs(double: S3Double, tmp_path: Path) -> None:
    bucket = double.create_bucket()
    environment = dict(double.environment)
    with mounted(f"s3://{bucket}", tmp_path, settings=settings(double, tmp_path), env=environment) as mount:
        fill(mount)
        for command in (
            "mv {0}/deep {0}/moved",
            "mv {0}/moved/f0 {0}/moved/f9",
            "cp -r {0}/moved {0}/copy",
            "chmod -R g+w {0}/copy",
            "tierctl release {0}",
            "tierctl warm {0}/moved",
            "cat {0}/copy/f1",
            "rm -r {0}/moved",
        ):
            words = command.format(mount.path / "d")
            double.forget_requests()
            told = ask(mount, "cost", "explain", words)
            assert of_the_files(double) == {}
            carry_out(mount, words)
            mount.tierctl("sync", mount.path / "d")
            assert without_lists({row["kind"]: row["requests"] for row in told["uses"]}) == of_the_files(double), (
                command
            )


def without_lists(kinds: Mapping[str, int]) -> dict[str, int]:
    """The first use of a name in a directory may list it, command or not."""
    return {kind: number for kind, number in kinds.items() if kind != "list"}


def of_the_files(server: S3Double) -> dict[str, int]:
    """What the server got for the files, and not for tierfs's own objects."""
    kinds = [KIND_OF[each.op].value for each in server.requests if each.key and not each.key.startswith(".tierfs/")]
    return without_lists(Counter(kinds))


def carry_out(mount: Mount, words: str) -> None:
    if words.startswith("tierctl "):
        mount.tierctl(*words.split()[1:])
    else:
        programs.run(words.split())


def test_a_command_that_is_none_is_refused(double: S3Double, tmp_path: Path) -> None:
    bucket = double.create_bucket()
    with mounted(
        f"s3://{bucket}", tmp_path, settings=settings(double, tmp_path), env=dict(double.environment)
    ) as mount:
        refused = mount.tierctl("cost", "explain", f"dd if={mount.path}/a", check=False)
        assert refused.returncode == ExitCode.USAGE and "known: chmod" in refused.stderr
        missing = mount.tierctl("cost", "explain", f"rm {mount.path}/none", check=False)
        assert missing.returncode == ExitCode.NOT_FOUND
