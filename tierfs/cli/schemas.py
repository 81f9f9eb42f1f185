"""What `--json` of each verb of tierctl prints, said once: for `VERB --help`, the manual and the tests.

A shape is the name of a type, or a mapping of fields to shapes (`name?`: the field may be missing; `*`: any names), or
a list with the shape of its members, or a tuple of shapes of which one holds. Everything has `schema` beside its fields
(`terminal.SCHEMA`: a new field is no reason to raise it), and what fails prints ERROR.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from tierfs.cli.terminal import SCHEMA

INT: Final = "int"
NUMBER: Final = "number"
TEXT: Final = "text"
FLAG: Final = "flag"
NULL: Final = "null"
ANY: Final = "any"
TYPES: Final[Mapping[str, str]] = {
    INT: "a whole number",
    NUMBER: "a number",
    TEXT: "a string; of a path, what is not UTF-8 is a lone surrogate",
    FLAG: "true or false",
    NULL: "nothing: it is not there, or not known",
    ANY: "what Amazon's API has there",
}

Shape: TypeAlias = Any
"""Recursive, see the module; `object` would have every reader cast."""

_MAYBE_INT: Final = (INT, NULL)
_MAYBE_NUMBER: Final = (NUMBER, NULL)
_MAYBE_TEXT: Final = (TEXT, NULL)

ERROR: Final[Shape] = {"error": {"exit_code": INT, "message": TEXT, "errno": INT}}

_TIER: Final = {"size_bytes": INT, "used_bytes": INT, "dirty_bytes": INT}
_EVENTS: Final = {
    "source": TEXT,
    "sweep?": {"interval_s": NUMBER, "sweeps": INT, "directories": INT, "found": INT, "last_age_s": _MAYBE_NUMBER,
               "is_running": FLAG},
    "address?": TEXT, "state?": TEXT, "state_age_s?": _MAYBE_NUMBER, "reason?": TEXT,
    "last_event_age_s?": _MAYBE_NUMBER, "lag_s?": _MAYBE_NUMBER, "received?": INT, "applied?": INT, "own?": INT,
    "known?": INT, "ignored?": INT, "malformed?": INT, "errors?": INT, "refused?": INT, "pending?": INT,
    "missed?": INT, "missed_examples?": [TEXT],
}  # fmt: skip
_STATUS: Final = {
    "version": TEXT, "pid": INT, "source": TEXT, "mountpoint": TEXT, "mode": TEXT, "read_only": FLAG,
    "uptime_s": NUMBER, "tier": _TIER, "pending_exports": INT, "conflicts": INT, "redacted": FLAG,
    "is_degraded?": FLAG, "holder_pid?": _MAYBE_INT, "cache?": TEXT, "mode_reason?": TEXT, "native?": FLAG,
    "native_reason?": TEXT, "oldest_export_age_s?": _MAYBE_NUMBER, "failing_exports?": [{"path": TEXT, "error": TEXT}],
    "metrics?": {"PendingExports": INT, "ExportAge": NUMBER, "ExportFailures": INT, "ImportAge": _MAYBE_NUMBER,
                 "Conflicts": INT},
    "removals?": ({"since_s": _MAYBE_NUMBER, "names": INT, "entries": INT, "examples": [TEXT],
                   "verdict": _MAYBE_TEXT}, NULL),
    "degraded?": ({"since_s": NUMBER, "reason": TEXT}, NULL),
    "events?": _EVENTS,
    "scan?": ({"state": TEXT, "directories": INT, "requests": INT, "at": [TEXT], "age_s": _MAYBE_NUMBER,
               "error": TEXT}, NULL),
    "index?": {"entries": INT, "bytes": INT}, "store_warnings?": [TEXT], "requests?": {"*": INT},
    "rss_anon_bytes?": INT,
}  # fmt: skip
_INFO: Final = {
    "path": TEXT, "ino": INT, "type": TEXT, "mode": INT, "uid": INT, "gid": INT, "nlink": INT, "size_bytes": INT,
    "mtime_ns": INT, "residency": TEXT, "hot_bytes": INT, "pinned": FLAG, "dirty": FLAG, "synced": FLAG,
    "export": {"mode": TEXT, "quiet_s": NUMBER}, "key": TEXT, "object_key": _MAYBE_TEXT, "etag": _MAYBE_TEXT,
    "storage_class": _MAYBE_TEXT,
    "pending": ({"op": TEXT, "age_s": NUMBER, "attempts": INT, "error": TEXT}, NULL),
}  # fmt: skip
_MOUNT: Final = {
    "mount_id": TEXT, "mountpoint": TEXT, "socket": TEXT, "pid": INT, "source": TEXT, "cache": TEXT, "running": FLAG,
}  # fmt: skip
_SUMS: Final = {"size_bytes": INT, "hot_bytes": INT, "files": INT, "directories": INT, "unlisted": INT}
_ENTRY: Final = {
    "path": TEXT, "depth": INT, "name": TEXT, "type": TEXT, "size_bytes": INT, "residency": TEXT, "hot_bytes": INT,
    "pinned": FLAG, "synced": FLAG, "listed?": FLAG,
}  # fmt: skip
_QUEUED: Final = {
    "seq": INT, "op": TEXT, "path": TEXT, "age_s": NUMBER, "size_bytes": INT, "reason": TEXT, "detail": TEXT,
    "attempts": INT, "next_attempt_s": _MAYBE_NUMBER,
}  # fmt: skip
_VERDICT: Final = {
    "verdict": TEXT, "dry_run": FLAG, "names": INT, "removed": INT, "restored": INT, "uploaded": INT,
    "unreadable": INT, "returned": INT,
}  # fmt: skip
_CONFLICT: Final = {
    "id": INT, "time_ns": INT, "kind": TEXT, "path": TEXT, "winner": _MAYBE_TEXT, "loser": _MAYBE_TEXT,
    "bucket": _MAYBE_TEXT, "local": _MAYBE_TEXT, "state": TEXT,
}  # fmt: skip
_SIDE: Final = (
    {"type": TEXT, "mode": INT, "uid": INT, "gid": INT, "size_bytes": INT, "mtime_ns": INT, "etag": _MAYBE_TEXT,
     "last_modified_ns": _MAYBE_INT, "checksum": _MAYBE_TEXT},
    NULL,
)  # fmt: skip
_DIFFERENCE: Final = (
    {"kind": TEXT, "differs_at": _MAYBE_INT, "looked_at_bytes": INT, "checksums": ([TEXT], NULL),
     "diff": ([TEXT], NULL)},
    NULL,
)  # fmt: skip
_RESOLVED: Final = {
    "id": INT, "keep": TEXT, "dry_run": FLAG, "action": ({"verb": TEXT, "path": _MAYBE_TEXT, "to?": TEXT}, NULL),
}  # fmt: skip
_VERSIONS: Final = {
    "key": TEXT, "deleted": FLAG, "more": INT,
    "versions": [{"id": TEXT, "time_ns": INT, "state": TEXT, "size_bytes": INT, "etag": TEXT, "storage_class": TEXT}],
}  # fmt: skip
_FILE_STATE: Final = {
    "path": TEXT, "flags": [TEXT], "size_bytes": INT, "here_bytes": INT, "here_percent": INT, "storage_class": TEXT,
    "restore": ({"stage": TEXT, "ready_ns": INT, "speed": TEXT, "days": INT, "message": TEXT}, NULL),
}  # fmt: skip
_TIERS: Final = {
    "classes": [{"class": TEXT, "files": INT, "bytes": INT, "here_bytes": INT, "is_archive": FLAG, "refusal": TEXT}],
    "restores": {"files": INT, "size_bytes": INT, "failed": INT, "ready_ns": INT},
    "moves": {"spent_today": NUMBER,
              "rules": {"*": {"moved": INT, "moved_bytes": INT, "left": INT, "failed": INT, "stopped": TEXT}}},
}  # fmt: skip
_TASK: Final = {
    "id": INT, "kind": TEXT, "path": TEXT, "more_paths": INT, "state": TEXT, "created_ns": INT, "started_ns": INT,
    "ended_ns": INT, "elapsed_s": NUMBER, "eta_s": _MAYBE_NUMBER, "total": INT, "is_counted": FLAG, "done": INT,
    "failed": INT, "total_bytes": INT, "done_bytes": INT, "notes": {"*": INT}, "code": TEXT, "message": TEXT,
}  # fmt: skip
_STARTED: Final = {**_TASK, "dry_run?": FLAG}
_DECISIONS: Final = [
    {"action": TEXT, "at_s?": NUMBER, "in_s": NUMBER, "rule": _MAYBE_TEXT, "storage_class": _MAYBE_TEXT}
]
_EXPLAINED: Final = {
    "path": TEXT, "size_bytes": INT, "rule": _MAYBE_TEXT, "rules_from": TEXT, "last_use_s": NUMBER, "age_s": NUMBER,
    "hot_bytes": INT, "storage_class": _MAYBE_TEXT, "pinned": FLAG, "cached": FLAG, "stays_until_s": _MAYBE_NUMBER,
    "kept": _MAYBE_TEXT, "decisions": _DECISIONS, "problems": [TEXT], "clock_set": FLAG,
    "next": ({"rule": _MAYBE_TEXT, "in_s": NUMBER, "at_s?": NUMBER, "decisions": _DECISIONS}, NULL),
}  # fmt: skip
_POLICY: Final = {
    "source": TEXT, "tree_rules": FLAG, "rules": [{"*": TEXT}], "recalls": [{"*": TEXT}],
    "released": {"files": INT, "bytes": INT}, "evicted_bytes": INT,
    "cold_opens": {"admitted": INT, "read_through": INT, "refused": INT},
}  # fmt: skip
_OUTCOME: Final = {
    "name": TEXT, "reads": INT, "hits": INT, "read_bytes": INT, "hit_bytes": INT, "moved_bytes": INT, "requests": INT,
    "released": INT, "demoted": INT, "hits_over_time_percent": [NUMBER],
    "cost": {"currency": TEXT, "requests": NUMBER, "retrieval": NUMBER, "transfer": NUMBER, "storage": NUMBER,
             "total": NUMBER},
}  # fmt: skip
_PROFILE: Final = {
    "path": TEXT, "output": TEXT, "began_ns": INT, "is_recording": FLAG, "duration_s": NUMBER, "accesses": INT,
    "dropped": INT,
}  # fmt: skip
_BILL: Final = {"requests": NUMBER, "retrieval": NUMBER, "transfer": NUMBER, "storage": NUMBER, "total": NUMBER}
_TRAFFIC: Final = {"requests": INT, "sent_bytes": INT, "received_bytes": INT, "cost": NUMBER}
_COST: Final = {
    "month": TEXT, "counted_from_ns": INT, "prices": {"name": TEXT, "date": TEXT, "currency": TEXT},
    "pays_transfer": FLAG, "path": TEXT, "bill": _BILL, "projection": (_BILL, NULL),
    "by_prefix": [{"prefix": TEXT, **_TRAFFIC}],
    "by_kind": [{"kind": TEXT, "storage_class": TEXT, "speed": TEXT, **_TRAFFIC}],
    "storage": [{"storage_class": TEXT, "objects": INT, "size_bytes": INT, "month": NUMBER}],
    "month_of_storage": NUMBER, "month_of_all_local": NUMBER, "month_of_all_standard": NUMBER,
    "month_as_it_is": NUMBER,
}  # fmt: skip
_FORECAST: Final = {
    "command": TEXT, "currency": TEXT, "prices": TEXT, "files": INT, "directories": INT, "unlisted": INT,
    "size_bytes": INT, "cold_bytes": INT, "archived": INT, "requests_cost": NUMBER, "retrieval_cost": NUMBER,
    "transfer_cost": NUMBER, "early_end_cost": NUMBER, "cost": NUMBER, "storage_change_month": NUMBER,
    "uses": [{"kind": TEXT, "storage_class": TEXT, "requests": INT, "bytes": INT, "cost": NUMBER}],
}  # fmt: skip
_RATES: Final = {
    "seconds": NUMBER, "operations_per_s": NUMBER, "p50_s": _MAYBE_NUMBER, "p90_s": _MAYBE_NUMBER,
    "p99_s": _MAYBE_NUMBER, "read_local_bytes_per_s": NUMBER, "read_bucket_bytes_per_s": NUMBER,
    "written_bytes_per_s": NUMBER, "received_bytes_per_s": NUMBER, "sent_bytes_per_s": NUMBER,
    "requests_per_s": NUMBER, "hit_share": _MAYBE_NUMBER, "tier": _TIER, "pending_exports": INT,
}  # fmt: skip
_BUSY: Final = {"operations": INT, "size_bytes": INT, "duration_s": NUMBER, "waited": INT}
_BUSIEST: Final = {
    "files": [{"path": TEXT, **_BUSY}], "processes": [{"pid": INT, "uid": INT, "name": TEXT, **_BUSY}],
    "missed": INT, "next": INT,
}  # fmt: skip
_WORK: Final = {
    "name": TEXT, "count": INT, "failures": INT, "total_s": NUMBER, "p50_s": _MAYBE_NUMBER, "p90_s": _MAYBE_NUMBER,
    "p99_s": _MAYBE_NUMBER,
}  # fmt: skip
_OPERATION: Final = {
    "number": INT, "time_ns": INT, "operation": TEXT, "uid": INT, "pid": INT, "path": TEXT, "size_bytes": INT,
    "duration_ns": INT, "tier": TEXT, "error": TEXT,
}  # fmt: skip
_CHANGE: Final = {"number": INT, "time_ns": INT, "direction": TEXT, "what": TEXT, "path": TEXT, "detail": TEXT}
_SETTING: Final = {"key": TEXT, "value": TEXT, "default": TEXT, "is_default": FLAG, "is_live": FLAG}
_DAEMON: Final = {"pid": INT, "version": TEXT}
_FINDING: Final = {"check": TEXT, "severity": TEXT, "message": TEXT, "reason": TEXT, "action": TEXT}

ANSWERS: Final[Mapping[str, Shape]] = {
    "status": _STATUS,
    "info": _INFO,
    "mounts": {"mounts": [_MOUNT]},
    "du": {**_SUMS, "children": [{"name": TEXT, "type": TEXT, **_SUMS}], "rest": INT},
    "summary": _SUMS,
    "tree": _ENTRY,
    "sync": {"synced": FLAG},
    "sync held": {"removals": [{"path": TEXT, "entries": INT, "moved_to": _MAYBE_TEXT, "state": TEXT}]},
    "sync approve": _VERDICT,
    "sync reject": _VERDICT,
    "wait": {"synced": FLAG},
    "queue": {"entries": [_QUEUED], "rest": INT, "is_rest_exact": FLAG},
    "watch": ({"what": TEXT, "mountpoint": TEXT}, _CHANGE, {"what": TEXT, "changes": INT}),
    "conflicts list": {"conflicts": [_CONFLICT]},
    "conflicts diff": {"conflict": _CONFLICT, "bucket": _SIDE, "local": _SIDE, "content": _DIFFERENCE},
    "conflicts resolve": {
        "resolved": [_RESOLVED], "failed": [{"id": INT, "exit_code": INT, "message": TEXT, "errno": INT}],
    },
    "versions": {"files": [_VERSIONS]},
    "undelete": {"files": INT, "bytes": INT, "examples": [TEXT], "dry_run": FLAG},
    "events status": _EVENTS,
    "events setup": {
        "bucket": TEXT, "target_arn": TEXT, "dry_run": FLAG, "changes": [{"where": TEXT, "what": {"*": ANY}}],
    },
    "state": {"files": [_FILE_STATE]},
    "tier ls": _TIERS,
    **dict.fromkeys(("archive", "restore", "tier set", "import", "export", "warm", "release", "pin"), _STARTED),
    **dict.fromkeys(("unpin", "verify", "scrub", "salvage", "profile replay"), _STARTED),
    "tasks list": {"tasks": [_TASK]},
    **dict.fromkeys(("tasks show", "tasks wait", "tasks cancel"), _TASK),
    "explain": _EXPLAINED,
    "hint": ({"path": TEXT, "hint": TEXT}, _STARTED),
    "policy show": _POLICY,
    "policy check": {"rules": INT, "recalls": INT},
    "policy load": {"source": TEXT, "rules": INT, "recalls": INT},
    "policy simulate": {"tier_bytes": INT, "accesses": INT, "outcomes": [_OUTCOME]},
    "profile record": _PROFILE,
    "profile show": _PROFILE,
    "profile stop": {**_PROFILE, "files": INT, "opens": INT},
    "cost": _COST,
    "cost explain": _FORECAST,
    "top": {**_RATES, "busiest": _BUSIEST},
    "stats": _RATES,
    "latency": {"seconds": NUMBER, "operations": [_WORK], "requests": [_WORK]},
    "oplog": (
        {"what": TEXT, "mountpoint": TEXT, "hidden": [TEXT]}, _OPERATION, {"what": TEXT, "operations": INT},
    ),
    "dashboard": {"url": TEXT, "mountpoint": TEXT},
    "config show": {"settings": [_SETTING]},
    "config check": {"file": TEXT, "usable": FLAG},
    "config set": {"set": [{"key": TEXT, "value": TEXT, "before": TEXT}]},
    "restart": {"mountpoint": TEXT, "before": _DAEMON, "after": _DAEMON, "took_s": NUMBER},
    "doctor": {
        "version": TEXT, "mountpoint": _MAYBE_TEXT, "source": _MAYBE_TEXT, "worst": TEXT, "findings": [_FINDING],
        "bundle": _MAYBE_TEXT,
    },
}  # fmt: skip
"""By verb. `cost prices` prints TOML, with `--json`, too."""

LINES: Final = frozenset({"tree", "watch", "top", "stats", "oplog", "dashboard"})
"""The verbs that print an object a line, until they end."""


def general() -> str:
    """What holds for all of them."""
    types = [f"  {name:<34} {meaning}" for name, meaning in TYPES.items()]
    errors = [f"  {name:<34} {kind}" for name, kind in _fields(ERROR, "")]
    heads = ["Every answer has `schema`, which rises when a field goes or means something else.", *types]
    return "\n".join([*heads, "", "What fails prints:", *errors])


def text_of(verb: str) -> str:
    """The fields of a verb's answer, a line each: `tasks[].id  int`. "" for one that has none."""
    shape = ANSWERS.get(verb)
    if shape is None:
        return ""
    head = f"--json prints {'an object a line' if verb in LINES else 'an object'}, schema {SCHEMA}:"
    several = shape if isinstance(shape, tuple) else (shape,)
    blocks = ["\n".join(f"  {name:<34} {kind}" for name, kind in _fields(one, "")) for one in several]
    return f"{head}\n" + "\n  or\n".join(blocks)


def _fields(shape: Shape, name: str) -> Iterator[tuple[str, str]]:
    """(name with those above it, type) of what is in a shape."""
    match shape:
        case dict():
            for key, below in shape.items():
                yield from _fields(below, f"{name}.{key}".lstrip("."))
        case [below]:
            yield from _fields(below, f"{name}[]")
        case tuple() if all(isinstance(one, str) for one in shape):
            yield name, " or ".join(shape)
        case tuple():
            for one in shape:
                yield from _fields(one, name)
        case _:
            yield name, shape
