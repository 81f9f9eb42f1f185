"""Every row of the decision table of `policy/merge.py`, and the names of conflict copies."""

import stat

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tierfs.model import NAME_MAX_BYTES
from tierfs.policy.merge import Decision, Local, Policy, Version, conflict_name, decide

BASE = Version("e1", 3, "crc64nvme:aaaa")
SAME_CONTENT = Version("e2", 3, "crc64nvme:aaaa")
OTHER = Version("e3", 3, "crc64nvme:bbbb")
UNKNOWN = Version("e4", 3)
OURS = Version("", 3, "crc64nvme:cccc")
OUR_BYTES_THERE = Version("e5", 3, "crc64nvme:cccc")
FILE = Version("e1", 3, "crc64nvme:aaaa", stat.S_IFREG)
SYMLINK_OF_SAME_BYTES = Version("e1", 3, "crc64nvme:aaaa", stat.S_IFLNK)

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
    (None, Local.ATTRIBUTES, None, Decision.EXPORT),
    (FILE, Local.CLEAN, SYMLINK_OF_SAME_BYTES, Decision.IMPORT),
    (FILE, Local.ATTRIBUTES, SYMLINK_OF_SAME_BYTES, Decision.IMPORT),
    (FILE, Local.CONTENT, SYMLINK_OF_SAME_BYTES, Decision.KEEP_BOTH),
    (FILE, Local.DELETED, SYMLINK_OF_SAME_BYTES, Decision.RESURRECT),
    (FILE, Local.CLEAN, BASE, Decision.NOTHING),
]

OLDER, NEWER = 1_000, 2_000
CONFLICTS = [
    # base, local, remote, then under BUCKET_WINS and under LOCAL_WINS
    (BASE, Local.ATTRIBUTES, SAME_CONTENT, Decision.IMPORT, Decision.ADOPT),
    (BASE, Local.ATTRIBUTES, OTHER, Decision.IMPORT, Decision.MERGE),
    (None, Local.ATTRIBUTES, OTHER, Decision.IMPORT, Decision.MERGE),
    (BASE, Local.CONTENT, OTHER, Decision.IMPORT, Decision.OVERWRITE),
    (BASE, Local.CONTENT, UNKNOWN, Decision.IMPORT, Decision.OVERWRITE),
    (None, Local.CONTENT, OTHER, Decision.IMPORT, Decision.OVERWRITE),
    (FILE, Local.CONTENT, SYMLINK_OF_SAME_BYTES, Decision.IMPORT, Decision.OVERWRITE),
    (BASE, Local.CONTENT, None, Decision.REMOVE, Decision.EXPORT),
    (BASE, Local.DELETED, OTHER, Decision.RESURRECT, Decision.DELETE),
    (None, Local.DELETED, OTHER, Decision.RESURRECT, Decision.DELETE),
    (FILE, Local.DELETED, SYMLINK_OF_SAME_BYTES, Decision.RESURRECT, Decision.DELETE),
]


@pytest.mark.parametrize(("base", "local", "remote", "expected"), TABLE)
def test_decision_table(base: Version | None, local: Local, remote: Version | None, expected: Decision) -> None:
    assert decide(base, local, remote, ours=OURS) is expected


def test_unknown_checksums_never_count_as_equal() -> None:
    assert decide(None, Local.CONTENT, UNKNOWN, ours=Version("", 3)) is Decision.KEEP_BOTH
    assert decide(Version("e1", 3), Local.CLEAN, UNKNOWN) is Decision.IMPORT


def test_equal_checksum_of_another_length_is_another_content() -> None:
    assert decide(None, Local.CONTENT, Version("e", 4, OURS.content), ours=OURS) is Decision.KEEP_BOTH


@pytest.mark.parametrize(("base", "local", "remote", "bucket_wins", "local_wins"), CONFLICTS)
def test_policies(
    base: Version | None, local: Local, remote: Version | None, bucket_wins: Decision, local_wins: Decision
) -> None:
    assert decide(base, local, remote, ours=OURS, policy=Policy.BUCKET_WINS) is bucket_wins
    assert decide(base, local, remote, ours=OURS, policy=Policy.LOCAL_WINS) is local_wins
    if remote is not None and local is not Local.DELETED:
        older, newer = (evolve(remote, modified_ns=time_ns) for time_ns in (OLDER, NEWER))
        between = evolve(OURS, modified_ns=OLDER + 1)
        assert decide(base, local, newer, ours=between, policy=Policy.NEWEST) is bucket_wins
        assert decide(base, local, older, ours=between, policy=Policy.NEWEST) is local_wins


@pytest.mark.parametrize(("base", "local", "remote", "expected"), TABLE)
def test_what_is_no_conflict_is_the_same_under_every_policy(
    base: Version | None, local: Local, remote: Version | None, expected: Decision
) -> None:
    if (base, local, remote) not in [row[:3] for row in CONFLICTS]:
        assert {decide(base, local, remote, ours=OURS, policy=policy) for policy in Policy} == {expected}


@pytest.mark.parametrize(("here_ns", "there_ns"), [(0, NEWER), (NEWER, 0), (NEWER, NEWER)])
def test_newest_keeps_both_when_nobody_knows_which_is_newer(here_ns: int, there_ns: int) -> None:
    ours, theirs = evolve(OURS, modified_ns=here_ns), evolve(OTHER, modified_ns=there_ns)
    assert decide(BASE, Local.CONTENT, theirs, ours=ours, policy=Policy.NEWEST) is Decision.KEEP_BOTH
    assert decide(BASE, Local.CONTENT, theirs, policy=Policy.NEWEST) is Decision.KEEP_BOTH


def test_newest_lets_a_file_win_over_a_deletion() -> None:
    ours = evolve(OURS, modified_ns=NEWER)
    assert decide(BASE, Local.CONTENT, None, ours=ours, policy=Policy.NEWEST) is Decision.EXPORT
    assert decide(BASE, Local.DELETED, evolve(OTHER, modified_ns=OLDER), policy=Policy.NEWEST) is Decision.RESURRECT


def test_a_local_version_with_gaps_does_not_win() -> None:
    assert decide(BASE, Local.CONTENT, OTHER, policy=Policy.LOCAL_WINS, is_whole=False) is Decision.KEEP_BOTH
    assert decide(BASE, Local.CONTENT, OTHER, policy=Policy.BUCKET_WINS, is_whole=False) is Decision.IMPORT


DROPS_LOCAL = {Decision.IMPORT, Decision.REMOVE, Decision.MERGE}
DROPS_REMOTE = {Decision.ADOPT, Decision.EXPORT, Decision.OVERWRITE, Decision.DELETE, Decision.SETTLE}
ETAGS = st.sampled_from(["e1", "e2", "e3"])
CONTENTS = st.sampled_from(["", "crc64nvme:aaaa", "crc64nvme:bbbb", "crc64nvme:cccc"])
TYPES = st.sampled_from([0, stat.S_IFREG, stat.S_IFLNK])
TIMES = st.sampled_from([0, OLDER, NEWER])
VERSIONS = st.builds(Version, ETAGS, st.integers(3, 4), CONTENTS, TYPES, TIMES)


@given(
    base=st.none() | VERSIONS,
    local=st.sampled_from(Local),
    remote=st.none() | VERSIONS,
    ours=st.none() | VERSIONS,
    policy=st.sampled_from(Policy),
    is_whole=st.booleans(),
)
def test_only_the_policy_that_was_chosen_loses_bytes_that_the_other_side_never_saw(
    base: Version | None, local: Local, remote: Version | None, ours: Version | None, policy: Policy, is_whole: bool
) -> None:
    decision = decide(base, local, remote, ours=ours, policy=policy, is_whole=is_whole)
    # bytes of this side that no version of the bucket has
    is_new_here = local is Local.CONTENT and not (remote is not None and remote.has_content_of(ours))
    # bytes of the bucket that were never here
    is_new_there = (
        remote is not None
        and (base is None or remote.etag != base.etag or remote.is_other_type(base))
        and not remote.has_content_of(base)
        and not (local is Local.CONTENT and remote.has_content_of(ours))
    )
    lost = {
        *(["local"] if is_new_here and decision in DROPS_LOCAL else []),
        *(["bucket"] if is_new_there and decision in DROPS_REMOTE else []),
    }
    allowed = {
        Policy.KEEP_BOTH: set(),
        Policy.BUCKET_WINS: {"local"},
        Policy.LOCAL_WINS: {"bucket"},
        Policy.NEWEST: _older(ours, remote),
    }
    assert lost <= allowed[policy], decision


def _older(ours: Version | None, remote: Version | None) -> set[str]:
    if ours is None or remote is None or 0 in (ours.modified_ns, remote.modified_ns):
        return set()
    if ours.modified_ns == remote.modified_ns:
        return set()
    return {"local"} if ours.modified_ns < remote.modified_ns else {"bucket"}


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
