"""Counters that stay bounded and lose nothing."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tierfs.telemetry.counters import DROPPED_COUNTER, Counters, rss_anon_bytes


def test_counters_add_and_gauges_are_set() -> None:
    counters = Counters()
    counters.add("store_get_requests")
    counters.add("store_get_bytes", 4096)
    counters.add("store_get_bytes", 1)
    counters.set("queue_files", 7)
    counters.set("queue_files", 3)
    assert counters.snapshot() == {"queue_files": 3, "store_get_bytes": 4097, "store_get_requests": 1}
    assert counters.get("store_get_bytes") == 4097 and counters.get("never") == 0


def test_a_snapshot_is_a_copy() -> None:
    counters = Counters()
    counters.add("a")
    before = counters.snapshot()
    counters.add("a")
    assert before == {"a": 1}


def test_the_set_of_names_is_bounded_and_says_so() -> None:
    counters = Counters(limit=10)
    for number in range(25):
        counters.add(f"requests_{number}")
    counters.add("requests_0")
    counters.set("gauge", 1)
    values = counters.snapshot()
    assert len(values) == 11 and values["requests_0"] == 2
    assert values[DROPPED_COUNTER] == 16


def test_threads_lose_no_count() -> None:
    counters = Counters()

    def work(_: int) -> None:
        for _ in range(2000):
            counters.add("n")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert counters.get("n") == 16_000


def test_memory_of_this_process() -> None:
    assert 1 << 20 < rss_anon_bytes() < 1 << 34


def test_memory_is_zero_where_it_is_not_known(tmp_path: Path) -> None:
    assert rss_anon_bytes(tmp_path / "absent") == 0
    (tmp_path / "status").write_text("Name:\tx\nRssAnon:\t     120 kB\n")
    assert rss_anon_bytes(tmp_path / "status") == 122_880
