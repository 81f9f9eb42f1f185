"""What Prometheus gets: by its own parser, and by promtool where that is installed."""

import re
import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.figures import figures
from tierfs.control.exposition import exposition


def samples(**others: object) -> dict[tuple[str, ...], float]:
    """(name, label values by the names of the labels ...) -> value."""
    text = exposition(figures(**others)).decode()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_figure_has_its_name_and_unit() -> None:
    told = samples()
    assert told["tierfs_mount_info", "holder", "/mnt/data", "s3://bucket/prefix", "0.1.0"] == 1
    for name, value in {
        "tierfs_start_time_seconds": 1_699_999_900.0,
        "tierfs_hot_tier_used_bytes": 5 << 30,
        "tierfs_pending_exports": 3,
        "tierfs_export_age_seconds": 61.5,
        "tierfs_conflicts": 2,
        "tierfs_degraded": 0,
        "tierfs_written_bytes_total": 3 << 20,
        "tierfs_store_sent_bytes_total": 4 << 20,
        "tierfs_cpu_seconds_total": 1.25,
    }.items():
        assert told[(name,)] == value, name
    assert told["tierfs_reads_total", "bucket"] == 10 and told["tierfs_read_bytes_total", "local"] == 9 << 20
    assert told["tierfs_holder_requests_total", "holder"] == 300
    assert told["tierfs_operation_failures_total", "ENOENT", "lookup"] == 1
    assert told["tierfs_store_request_failures_total", "timeout", "get"] == 1


def test_what_is_not_known_is_absent() -> None:
    assert ("tierfs_import_age_seconds",) not in samples()
    known = samples(metrics={**figures()["metrics"], "ImportAge": 4.0})
    assert known[("tierfs_import_age_seconds",)] == 4


def test_a_histogram_is_cumulated_up_to_infinity() -> None:
    name = "tierfs_operation_duration_seconds"
    told = samples()
    bounds = [key[1] for key in told if key[0] == f"{name}_bucket" and key[2] == "lookup"]
    counts = [told[f"{name}_bucket", bound, "lookup"] for bound in bounds]
    assert bounds[-1] == "+Inf" and counts == sorted(counts) and counts[-1] == told[f"{name}_count", "lookup"] == 2
    assert told[f"{name}_sum", "lookup"] == pytest.approx(120e-6)
    upper = min(float(bound) for bound, count in zip(bounds, counts, strict=True) if count == 2)
    assert 70e-6 <= upper <= 4 * 70e-6


def test_a_path_that_is_no_text_is_a_label_all_the_same() -> None:
    assert ("tierfs_mount_info", "holder", "/mnt/\\udcff", "s3://bucket/prefix", "0.1.0") in samples(
        mountpoint="/mnt/\udcff"
    )


def test_promtool_has_nothing_to_say() -> None:
    """`promtool check metrics` knows the naming rules. Debian has it in the package prometheus."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run([promtool, "check", "metrics"], input=exposition(figures()), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_every_name_follows_the_conventions() -> None:
    """The part of promtool's rules that a name can break: prefix, base units, and `_total` for what only rises."""
    text = exposition(figures()).decode()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        assert re.fullmatch(r"tierfs_[a-z_]+", name) and f"# HELP {name} " in text
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|ns|kb|mib|minutes)(_|$)", name)
