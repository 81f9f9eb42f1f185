"""Every row of the decision table of `policy/merge.py`, and the names of conflict copies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfs.model import NAME_MAX_BYTES
from tierfs.policy.merge import Decision, Local, Version, conflict_name, decide

BASE = Version("e1", 3, "crc64nvme:aaaa")
SAME_CONTENT = Version("e2", 3, "crc64nvme:aaaa")
OTHER = Version("e3", 3, "crc64nvme:bbbb")
UNKNOWN = Version("e4", 3)
OURS = Version("", 3, "crc64nvme:cccc")
OUR_BYTES_THERE = Version("e5", 3, "crc64nvme:cccc")

TABLE = [
    (BASE, Local.CLEAN, BASE, Decision.NOTHING),
    (BASE, Local.CLEAN, SAME_CONTENT, Decision.ADOPT),
    (BASE, Local.CLEAN, OTHER, Decision.IMPORT),
    (BASE, Local.CLEAN, UNKNOWN, Decision.IMPORT),
    (BASE, Local.CLEAN, None, Decision.REMOVE),
    (BASE, Local.ATTRIBUTES, BASE, Decision.EXPORT),
    (BASE, Local.ATTRIBUTES, SAME_CONTENT, Decision.ADOPT),
    (BASE, Local.ATTRIBUTES, OTHER, Decision.MERGE),
    (BASE, Local.ATTRIBUTES, None, Decision.REMOVE),
    (BASE, Local.CONTENT, BASE, Decision.EXPORT),
    (BASE, Local.CONTENT, SAME_CONTENT, Decision.ADOPT),
    (BASE, Local.CONTENT, OUR_BYTES_THERE, Decision.SETTLE),
    (BASE, Local.CONTENT, OTHER, Decision.KEEP_BOTH),
    (BASE, Local.CONTENT, UNKNOWN, Decision.KEEP_BOTH),
    (BASE, Local.CONTENT, None, Decision.EXPORT),
    (BASE, Local.DELETED, BASE, Decision.DELETE),
    (BASE, Local.DELETED, SAME_CONTENT, Decision.DELETE),
    (BASE, Local.DELETED, OTHER, Decision.RESURRECT),
    (BASE, Local.DELETED, None, Decision.NOTHING),
    (None, Local.CLEAN, OTHER, Decision.IMPORT),
    (None, Local.CLEAN, None, Decision.NOTHING),
    (None, Local.ATTRIBUTES, OTHER, Decision.MERGE),
    (None, Local.CONTENT, OTHER, Decision.KEEP_BOTH),
    (None, Local.CONTENT, OUR_BYTES_THERE, Decision.SETTLE),
    (None, Local.CONTENT, None, Decision.EXPORT),
    (None, Local.DELETED, OTHER, Decision.RESURRECT),
    (None, Local.DELETED, None, Decision.NOTHING),
]


@pytest.mark.parametrize(("base", "local", "remote", "expected"), TABLE)
def test_decision_table(base: Version | None, local: Local, remote: Version | None, expected: Decision) -> None:
    assert decide(base, local, remote, ours=OURS) is expected


def test_unknown_checksums_never_count_as_equal() -> None:
    assert decide(None, Local.CONTENT, UNKNOWN, ours=Version("", 3)) is Decision.KEEP_BOTH
    assert decide(Version("e1", 3), Local.CLEAN, UNKNOWN) is Decision.IMPORT


def test_equal_checksum_of_another_length_is_another_content() -> None:
    assert decide(None, Local.CONTENT, Version("e", 4, OURS.content), ours=OURS) is Decision.KEEP_BOTH


@given(
    st.sampled_from([None, BASE, Version("e1", 3)]),
    st.sampled_from([None, BASE, SAME_CONTENT, OTHER, UNKNOWN, OUR_BYTES_THERE]),
    st.sampled_from([None, OURS, Version("", 3)]),
)
def test_new_bytes_on_both_sides_are_never_dropped(
    base: Version | None, remote: Version | None, ours: Version | None
) -> None:
    decision = decide(base, Local.CONTENT, remote, ours=ours)
    is_unseen = remote is not None and (base is None or remote.etag != base.etag)
    if is_unseen and decision is not Decision.KEEP_BOTH:
        assert remote is not None
        assert remote.has_content_of(base) or remote.has_content_of(ours)


def test_conflict_name_says_who_and_when() -> None:
    assert conflict_name(b"a.txt", "node 7", 1_700_000_000_000_000_000) == b"a.txt.conflict-node_7-20231114T221320Z"
    assert conflict_name(b"a", "h", 0, attempt=2) == b"a.conflict-h-19700101T000000Z-2"


@given(st.text(min_size=1, max_size=255), st.text(max_size=300))
def test_conflict_name_fits_and_stays_utf8(name: str, host: str) -> None:
    raw = name.encode(errors="ignore")[:NAME_MAX_BYTES].decode(errors="ignore").encode()
    made = conflict_name(raw, host, 0)
    assert len(made) <= NAME_MAX_BYTES
    assert b"/" not in made.removeprefix(raw)
    made.decode()
