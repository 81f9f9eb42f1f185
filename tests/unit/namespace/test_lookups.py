"""The kernel's lookup counts."""

from tierfs.namespace.lookups import LookupCounts


def test_counts_rise_and_fall() -> None:
    counts = LookupCounts()
    for _ in range(3):
        counts.acquire(7)
    assert counts.count(7) == 3
    assert counts.release(7, 2) == 1
    assert counts.release(7, 1) == 0
    assert counts.count(7) == 0


def test_more_forgets_than_lookups_end_at_zero() -> None:
    counts = LookupCounts()
    counts.acquire(5)
    assert counts.release(5, 9) == 0
    assert counts.release(5, 1) == 0
    assert counts.release(12345, 1) == 0


def test_inodes_of_other_nodes_and_neighbours_do_not_mix() -> None:
    counts = LookupCounts()
    base = 3 << 48
    for ino in range(base, base + 5000):
        counts.acquire(ino)
    assert counts.release(base + 1024, 1) == 0
    assert counts.count(base + 1023) == 1
    assert counts.count(1024) == 0


def test_memory_is_freed_with_the_last_count() -> None:
    counts = LookupCounts()
    for ino in range(10_000):
        counts.acquire(ino)
    for ino in range(10_000):
        counts.release(ino, 1)
    assert not counts._pages
    assert not counts._live
