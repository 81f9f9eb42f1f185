"""The verbs and the table of who may use them."""

import errno
import grp
from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.control_daemon import ScriptedDaemon
from tierfs.control.arguments import Refusal
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.control.service import PUBLIC_STATUS, Service, group_id
from tierfs.control.taskverbs import TaskVerbs
from tierfs.control.verbs import Peer
from tierfs.errors import ConfigError, StoreError, StoreErrorKind
from tierfs.policy.guard import Verdict
from tierfs.policy.resolution import Keep
from tierfs.policy.tasks import TaskKind

ROOT = Peer(pid=1, uid=0, gid=0)
OWNER_OF_MOUNT = Peer(pid=2, uid=500, gid=500)
STRANGER = Peer(pid=3, uid=1000, gid=1000)
ADMIN_BY_GROUP = Peer(pid=4, uid=1000, gid=1000, groups=frozenset({7, 44}))


def make(daemon: ScriptedDaemon | None = None) -> tuple[ScriptedDaemon, Service]:
    daemon = daemon or ScriptedDaemon()
    return daemon, Service(daemon, [TaskVerbs(daemon.tasks)], daemon_uid=500, admin_gid=44)


def ask(service: Service, verb: str, peer: Peer = ROOT, **args: Any) -> Json:
    async def main() -> Json:
        return await service.handle(Request(1, verb, args), peer, lambda fields: None)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def refused(service: Service, verb: str, peer: Peer = ROOT, **args: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        ask(service, verb, peer, **args)
    return caught.value


@pytest.mark.parametrize("peer", [ROOT, OWNER_OF_MOUNT, ADMIN_BY_GROUP, Peer(pid=5, uid=1000, gid=44)])
def test_admins_may_do_everything(peer: Peer) -> None:
    daemon, service = make()
    assert service.is_admin(peer)
    assert ask(service, "status", peer)["failing_exports"]
    assert ask(service, "info", peer, path="theirs")["uid"] == 1001
    assert ask(service, "sync", peer) == {"synced": True}
    assert ask(service, "wait", peer) == {"synced": True}
    assert ask(service, "unmount", peer)["pid"] == 4242
    assert daemon.unmounted == [(True, False)]


def test_without_an_admin_group_no_group_makes_an_admin() -> None:
    service = Service(ScriptedDaemon(), daemon_uid=500)
    assert not service.is_admin(ADMIN_BY_GROUP)
    assert not service.is_admin(Peer(pid=1, uid=1000, gid=0))


def test_the_admin_group_is_named_and_must_exist() -> None:
    assert group_id("") is None
    assert group_id(grp.getgrgid(0).gr_name) == 0
    with pytest.raises(ConfigError, match="no group 'absent-group'"):
        group_id("absent-group")


def test_a_stranger_sees_a_status_that_names_nothing() -> None:
    daemon, service = make()
    status = ask(service, "status", STRANGER)
    assert set(status) == PUBLIC_STATUS | {"is_degraded", "redacted"}
    assert status["redacted"] is True and status["is_degraded"] is True
    assert "theirs" not in str(status) and daemon.status()["cache"] not in str(status)
    assert ask(service, "status", ROOT)["redacted"] is False


@pytest.mark.parametrize("verb", ["info", "wait"])
def test_a_stranger_may_ask_of_own_paths_only(verb: str) -> None:
    _, service = make()
    assert ask(service, verb, STRANGER, path="mine")
    for path in ("theirs", "absent", "mine/below", ""):
        refusal = refused(service, verb, STRANGER, path=path)
        # the same words whether it exists or not
        assert (refusal.code, str(refusal)) == (ErrorCode.PERMISSION, "no such file, or it is not yours")


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("sync", {"path": "mine"}),
        ("sync", {}),
        ("unmount", {}),
        ("wait", {}),
        ("events_setup", {}),
        ("removals", {}),
        ("removals_decide", {"verdict": "approve"}),
        ("versions", {"path": "mine"}),
        ("undelete", {"path": "mine"}),
        ("task_start", {"kind": "warm", "path": "mine"}),
        ("tasks", {}),
        ("task", {"id": 1}),
        ("task_failures", {"id": 1}),
        ("task_wait", {"id": 1}),
        ("task_cancel", {"id": 1}),
    ],
)
def test_a_stranger_may_not_work_on_the_whole_mount(verb: str, args: Mapping[str, Any]) -> None:
    daemon, service = make()
    assert refused(service, verb, STRANGER, **args).code is ErrorCode.PERMISSION
    assert daemon.unmounted == [] and daemon.synced == [] and not daemon.are_events_set_up
    assert daemon.tasks.started == []


def test_events_are_set_up_or_only_told_of() -> None:
    daemon, service = make()
    target = "arn:minio:sqs::1:webhook"
    assert ask(service, "events_setup", dry_run=True, target_arn=target)["target_arn"] == target
    assert not daemon.are_events_set_up
    assert ask(service, "events_setup")["changes"] and ask(service, "events_setup")["changes"] == []
    for wrong in ({"target_arn": "queue"}, {"target_arn": 3}, {"dry_run": "yes"}):
        assert refused(service, "events_setup", **wrong).code is ErrorCode.BAD_REQUEST


def test_removals_are_shown_and_decided() -> None:
    daemon, service = make()
    daemon.held = ["a", "b", "c"]
    page = ask(service, "removals")
    assert [row["path"] for row in page["removals"]] == ["a", "b"]
    assert [row["path"] for row in ask(service, "removals", after=page["next"])["removals"]] == ["c"]
    for after in (3, [1], [-1, ""], [1, "f"], [1, "FF"]):
        assert refused(service, "removals", after=after).code is ErrorCode.BAD_REQUEST
    assert ask(service, "removals_decide", verdict="reject", dry_run=True)["dry_run"] is True
    assert daemon.decided == [(Verdict.REJECT, True)]
    for wrong in ({}, {"verdict": "perhaps"}, {"verdict": "approve", "dry_run": 1}):
        assert refused(service, "removals_decide", **wrong).code is ErrorCode.BAD_REQUEST


def test_versions_are_shown_and_deletions_taken_back() -> None:
    daemon, service = make()
    daemon.deleted = ["a", "b"]
    assert ask(service, "versions", path="")["next"] == ""
    assert ask(service, "versions", path="", after="")["next"] == "a"
    assert ask(service, "versions", path="", after="a", everything=True)["next"] is None
    assert ask(service, "undelete", path="dir", dry_run=True)["files"] == 2
    assert daemon.undeleted == [(b"dir", True)]
    for verb, wrong in (("versions", {"after": 3}), ("versions", {"everything": "yes"}), ("undelete", {})):
        assert refused(service, verb, **wrong).code is ErrorCode.BAD_REQUEST
    daemon.deleted = []
    assert refused(service, "undelete", path="dir").code is ErrorCode.NOT_FOUND


def test_tasks_are_started_shown_waited_for_and_ended() -> None:
    daemon, service = make()
    assert ask(service, "task_start", kind="warm", path="dir", dry_run=True)["dry_run"] is True
    assert ask(service, "task_start", kind="export", path="")["id"] == 2
    assert daemon.tasks.started == [(TaskKind.WARM, b"dir", True), (TaskKind.EXPORT, b"", False)]
    assert ask(service, "task_wait", id=2)["state"] == "done"
    number = daemon.tasks.add()
    page = ask(service, "tasks")
    assert [row["id"] for row in page["tasks"]] == [1, 2]
    assert [row["id"] for row in ask(service, "tasks", after=page["next"])["tasks"]] == [number]
    assert refused(service, "task_wait", id=number, timeout_s=0.05).code is ErrorCode.TIMEOUT
    assert daemon.tasks.waits_cancelled == 1 and ask(service, "task", id=number)["state"] == "running"
    assert ask(service, "task_cancel", id=number)["state"] == "cancelled"
    daemon.tasks.reports[number] = [{"path": name, "code": "in_use"} for name in "abc"]
    report = ask(service, "task_failures", id=number)
    assert [row["path"] for row in report["failures"]] == ["a", "b"]
    assert ask(service, "task_failures", id=number, after=report["next"])["next"] is None


def test_tasks_that_cannot_be() -> None:
    daemon, service = make()
    of_dir = {"path": "dir", "kind": "warm"}
    for wrong in (
        {},
        {"kind": "warm"},
        {"kind": "rename", "path": "dir"},
        {"kind": "dance", "path": "dir"},
        {**of_dir, "others": "dir"},
        {**of_dir, "others": ["/etc"]},
        {**of_dir, "class": "GLACIER"},
        {**of_dir, "kind": "tier", "class": "COLD"},
        {**of_dir, "kind": "tier", "class": "GLACIER", "days": 1},
        {**of_dir, "kind": "restore", "speed": "light"},
    ):
        assert refused(service, "task_start", **wrong).code is ErrorCode.BAD_REQUEST
    for verb in ("task", "task_failures", "task_wait", "task_cancel"):
        assert refused(service, verb, id="x").code is ErrorCode.BAD_REQUEST
        assert refused(service, verb, id=7).code is ErrorCode.NOT_FOUND
    assert daemon.tasks.started == []


def test_conflicts_are_listed_and_compared_for_the_owner_of_both_versions() -> None:
    daemon, service = make()
    daemon.add_conflict(1, "theirs", uid=1001)
    daemon.add_conflict(2, "mine", uid=STRANGER.uid)
    assert [row["id"] for row in ask(service, "conflicts")["conflicts"]] == [1, 2]
    assert [row["id"] for row in ask(service, "conflicts", STRANGER)["conflicts"]] == [2]
    assert [row["id"] for row in ask(service, "conflicts", path="mine", after=1)["conflicts"]] == [2]
    assert ask(service, "conflict_diff", STRANGER, id=2)["conflict"]["id"] == 2
    for number in (1, 99):
        refusal = refused(service, "conflict_diff", STRANGER, id=number)
        assert (refusal.code, str(refusal)) == (ErrorCode.PERMISSION, "no such conflict, or it is not yours")


def test_conflicts_are_resolved_by_admins_alone() -> None:
    daemon, service = make()
    daemon.add_conflict(2, "mine", uid=STRANGER.uid)
    assert refused(service, "conflict_resolve", STRANGER, id=2, keep="local").code is ErrorCode.PERMISSION
    assert daemon.resolved == []
    assert ask(service, "conflict_resolve", ADMIN_BY_GROUP, id=2, keep="local", dry_run=True)["dry_run"] is True
    assert ask(service, "conflict_resolve", id=2, keep="both")["action"] is None
    assert daemon.resolved == [(2, Keep.LOCAL, True), (2, Keep.BOTH, False)]


@pytest.mark.parametrize("verb", ["conflict_diff", "conflict_resolve"])
def test_a_conflict_that_is_not_there(verb: str) -> None:
    refusal = refused(make()[1], verb, id=3, keep="both")
    assert (refusal.code, refusal.errno) == (ErrorCode.NOT_FOUND, errno.ENOENT)


def test_what_waits_and_what_happens_is_for_admins() -> None:
    daemon, service = make()
    daemon.pending = {b"dir/a": 1, b"mine": 2, b"theirs": 3}
    daemon.news = [{"path": "mine"}]
    for verb in ("queue", "watch"):
        assert refused(service, verb, STRANGER).code is ErrorCode.PERMISSION
        assert refused(service, verb, after="1").code is ErrorCode.BAD_REQUEST
        assert refused(service, verb, after=-1).code is ErrorCode.BAD_REQUEST
    page = ask(service, "queue", ADMIN_BY_GROUP)
    assert ([row["path"] for row in page["entries"]], page["next"]) == (["dir/a", "mine"], 2)
    assert [row["path"] for row in ask(service, "queue", after=2)["entries"]] == ["theirs"]
    assert [row["path"] for row in ask(service, "queue", path="dir")["entries"]] == ["dir/a"]
    assert ask(service, "watch", ADMIN_BY_GROUP) == {"changes": [], "next": 0, "missed": 0}
    assert ask(service, "watch", after=0)["changes"] == [{"path": "mine"}]


def test_every_verb_has_a_rule_and_a_handler() -> None:
    _, service = make()
    for verb in service.verbs:
        try:
            ask(service, verb)
        except Refusal as refusal:
            assert refusal.code is not ErrorCode.UNKNOWN_VERB
    unknown = refused(service, "explode")
    assert unknown.code is ErrorCode.UNKNOWN_VERB and "known: status, info" in str(unknown)


def test_unmount_drains_first_and_tells_what_is_left() -> None:
    daemon, service = make()
    daemon.pending = {b"mine": 10, b"dir/a": 20}
    assert ask(service, "unmount") == {"pid": 4242, "pending_exports": 0, "dirty_bytes": 0}
    assert daemon.unmounted == [(True, False)]


@pytest.mark.parametrize(("args", "called"), [({"drain": False}, (False, False)), ({"lazy": True}, (True, True))])
def test_unmount_without_waiting_leaves_what_is_pending(args: Mapping[str, Any], called: tuple[bool, bool]) -> None:
    daemon, service = make()
    daemon.pending = {b"mine": 10, b"dir/a": 20}
    assert ask(service, "unmount", **args) == {"pid": 4242, "pending_exports": 2, "dirty_bytes": 30}
    assert daemon.unmounted == [called]


def test_the_drain_of_an_unmount_has_a_limit() -> None:
    daemon = ScriptedDaemon()
    daemon.pending, daemon.stalled = {b"mine": 10}, True
    service = Service(daemon, [TaskVerbs(daemon.tasks)], daemon_uid=500, drain_timeout_s=30)
    assert ask(service, "unmount") == {"pid": 4242, "pending_exports": 1, "dirty_bytes": 10}
    assert daemon.unmounted == [(False, False)]  # the time is used up, ending must not wait again


def test_what_cannot_be_uploaded_keeps_the_mount() -> None:
    daemon, service = make()
    daemon.failure = StoreError(StoreErrorKind.ACCESS_DENIED, "no", key="dir/a")
    assert refused(service, "unmount").errno == errno.EACCES
    assert daemon.unmounted == []


def test_a_mount_in_use_is_busy() -> None:
    daemon, service = make()
    daemon.busy = True
    refusal = refused(service, "unmount")
    assert (refusal.code, refusal.errno) == (ErrorCode.BUSY, errno.EBUSY)


def test_wait_ends_with_timeout_and_harms_nothing() -> None:
    daemon, service = make()
    daemon.pending = {b"mine": 10}
    refusal = refused(service, "wait", timeout_s=5)
    assert (refusal.code, refusal.errno) == (ErrorCode.TIMEOUT, errno.ETIMEDOUT)
    assert "after 5 s" in str(refusal) and daemon.waiters_cancelled == 1


def test_wait_does_not_hurry_and_sync_does() -> None:
    daemon, service = make()
    daemon.pending = {b"mine": 10, b"dir/a": 5}
    assert ask(service, "sync", path="dir") == {"synced": True}
    assert daemon.pending == {b"mine": 10}
    assert refused(service, "wait", timeout_s=1, path="mine").code is ErrorCode.TIMEOUT
    assert ask(service, "wait", timeout_s=1, path="dir") == {"synced": True}


def test_the_root_of_the_mount_means_everything() -> None:
    daemon, service = make()
    ask(service, "sync", path="")
    ask(service, "sync", path="dir/")
    assert daemon.synced == [None, b"dir"]


@pytest.mark.parametrize("verb", ["info", "wait", "sync"])
def test_a_path_that_is_not_there(verb: str) -> None:
    refusal = refused(make()[1], verb, path="absent")
    assert (refusal.code, refusal.errno) == (ErrorCode.NOT_FOUND, errno.ENOENT)


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("info", {}),
        ("info", {"path": 7}),
        ("info", {"path": "/mine"}),
        ("info", {"path": "dir/../mine"}),
        ("info", {"path": "a\0b"}),
        ("info", {"path": "\ud800"}),
        ("wait", {"timeout_s": "5"}),
        ("wait", {"timeout_s": -1}),
        ("wait", {"timeout_s": True}),
        ("wait", {"timeout_s": float("nan")}),
        ("unmount", {"drain": 1}),
        ("unmount", {"lazy": "yes"}),
        ("conflicts", {"after": -1}),
        ("conflicts", {"path": "/mine"}),
        ("conflict_diff", {}),
        ("conflict_diff", {"id": "1"}),
        ("conflict_diff", {"id": True}),
        ("conflict_diff", {"id": 1 << 63}),
        ("conflict_resolve", {"id": 1}),
        ("conflict_resolve", {"id": 1, "keep": "best"}),
        ("conflict_resolve", {"id": 1, "keep": ["local"]}),
        ("conflict_resolve", {"id": 1, "keep": "local", "dry_run": "yes"}),
    ],
)
def test_wrong_arguments_are_refused_before_anything_happens(verb: str, args: Mapping[str, Any]) -> None:
    daemon, service = make()
    assert refused(service, verb, **args).code is ErrorCode.BAD_REQUEST
    assert daemon.unmounted == [] and daemon.resolved == []


def test_a_store_error_keeps_its_words_and_errno_and_is_not_a_wrong_path() -> None:
    daemon, service = make()
    daemon.failure = StoreError(StoreErrorKind.NOT_FOUND, "no such upload", key="dir/a", request_id="r1")
    refusal = refused(service, "sync")
    assert (refusal.code, refusal.errno) == (ErrorCode.FAILED, errno.ENOENT)
    assert "dir/a" in str(refusal) and "r1" in str(refusal)


def test_a_fault_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    daemon, service = make()
    daemon.fault = KeyError("inner detail")
    refusal = refused(service, "status")
    assert refusal.code is ErrorCode.INTERNAL and "inner detail" not in str(refusal)
    assert "inner detail" in caplog.text
    assert [getattr(record, "event", "") for record in caplog.records] == ["TFS7001"]


def test_info_on_the_root() -> None:
    assert ask(make()[1], "info", path="")["path"] == ""
