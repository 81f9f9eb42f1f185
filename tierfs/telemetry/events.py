"""The catalogue of what the log may tell: each code of a warning or error, what it means and what to do about it.

A code never changes its meaning and is never used again; the words of a message may change. README.md has the table,
and tests/tidy sees that code, catalogue and table agree.

| codes | of |
|---|---|
| TFS10.. | the daemon: start, stop, mount, signals |
| TFS20.. | the object store |
| TFS30.. | content and the hot tier |
| TFS40.. | export |
| TFS50.. | import, events |
| TFS60.. | index and journal |
| TFS70.. | the control socket and the metrics |
| TFS80.. | the FUSE front |
| TFS90.. | long work: tasks, moves, restores |
"""

from collections.abc import Mapping
from typing import Final

from attrs import frozen


@frozen
class Event:
    """What happened, and what an operator does; "" where that is nothing."""

    meaning: str
    advice: str = ""


EVENTS: Final[Mapping[str, Event]] = {
    "TFS1001": Event("mounted"),
    "TFS1002": Event("the daemon ended with an error", "the line says why; correct it and mount again"),
    "TFS1003": Event("the daemon ended by a fault of tierfs", "report it; the traceback is in the log"),
    "TFS1004": Event("systemd cannot be told how the daemon is", "check NotifyAccess= of the unit"),
    "TFS1005": Event("the uploads at the end of the mount failed", "mount again with the same cache"),
    "TFS1006": Event("changes are left for the next mount", "mount again with the same cache"),
    "TFS1007": Event("a planned restart: the next daemon takes over"),
    "TFS1008": Event("a setting was changed while the mount lives"),
    "TFS1009": Event("such a setting of before is none any more", "see tierctl config show"),
    "TFS2001": Event("the server lacks something", "see Servers differ and what the line says it costs"),
    "TFS2002": Event("a name in a directory that serves as a bucket is not UTF-8 and not shown", "rename it"),
    "TFS2003": Event("the metadata of an object in such a directory cannot be read", "write the file anew"),
    "TFS3001": Event("a backing file is gone: changes that were not uploaded are lost", "look for what removes files"),
    "TFS3002": Event("a file was written before a power loss and never synced", "check it; what is left is kept"),
    "TFS3003": Event("parts of a large file cannot be spilled to the bucket", "it is tried again; see the reason"),
    "TFS3004": Event("a checksum does not fit: the bytes are fetched again", "if it comes again, verify the object"),
    "TFS3005": Event("hot files are served without passthrough", "tierctl doctor says what is missing"),
    "TFS3006": Event("programs that write in place cannot be held", "watch the disk under the cache"),
    "TFS3007": Event("the hot tier is over its size by what mappings stored", "more disk, or a faster upload"),
    "TFS3008": Event("files in the hot tier belong to an index that is gone", "look in lost+found of the cache"),
    "TFS3009": Event("a program opens so many files that are not here that its breaker trips", "see tiering.recalls"),
    "TFS3010": Event("the wall clock was set: files age as if it had not been", "set it right, or leave it for a day"),
    "TFS3021": Event("bytes on the local disk were damaged, and are the bucket's again", "look after that disk"),
    "TFS3022": Event("an object was damaged, and was uploaded again", "look after the bucket's server"),
    "TFS4001": Event("a change could not be uploaded, and is tried again", "the line says what; tierctl queue"),
    "TFS4002": Event("an export failed by a fault of tierfs", "report it; the traceback is in the log"),
    "TFS4003": Event("the store cannot be reached: exports wait", "it goes on by itself; look at network and server"),
    "TFS4004": Event("the store answers again"),
    "TFS4005": Event("both sides changed a file: the local version is kept beside it", "tierctl conflicts list"),
    "TFS4006": Event("deleted here, changed there: deleted there, too, by conflicts.policy"),
    "TFS4007": Event("deleted here, changed there: the bucket's version comes back"),
    "TFS4008": Event("the bucket's part of a changed file is gone: only changed ranges are left", "see versions"),
    "TFS4009": Event("both sides changed a file: one version was given up, by conflicts.policy"),
    "TFS4010": Event("an object came to where a file was renamed from: it has a name of its own"),
    "TFS4011": Event("an object cannot be a path, and stays when its directory is renamed", "rename it with S3 tools"),
    "TFS5001": Event("the bucket has lost much: it is kept here", "tierctl sync held, then approve or reject"),
    "TFS5002": Event("somebody has decided about what the bucket has lost"),
    "TFS5003": Event("a directory cannot be listed and is shown as it was", "it is tried again; see the reason"),
    "TFS5004": Event("events cannot be relied on: directories are listed again", "tierctl events status"),
    "TFS5005": Event("a request to the webhook had no token", "check the server's setting, or who else posts"),
    "TFS5006": Event("a message is no notification", "check what else sends to the queue or webhook"),
    "TFS5007": Event("a file is not restored from its versions", "the line says why; tierctl versions"),
    "TFS5008": Event("a decision about removals waits for the store", "it goes on by itself"),
    "TFS6001": Event("the index is damaged or the journal cannot be written", "the line says which, and what to do"),
    "TFS6002": Event("the index works again"),
    "TFS6003": Event("the index does not take a note", "make room on the disk under the cache"),
    "TFS7001": Event("a verb of the control socket failed by a fault of tierfs", "report it; see the traceback"),
    "TFS7002": Event("the control socket cannot be removed", "remove the file"),
    "TFS7003": Event("the control socket cannot take a client", "raise the limit of open files"),
    "TFS7004": Event("the address of [metrics] cannot be used: there are no metrics", "change it and mount again"),
    "TFS8001": Event("a program could not get something", "the line has path, key, request id and what to do"),
    "TFS8002": Event("the same by a fault of tierfs", "report it; the traceback is in the log"),
    "TFS8003": Event("the kernel does not drop what it remembers", "if it stays, mount again"),
    "TFS8004": Event("the holder did not end and was killed", "report it"),
    "TFS8005": Event("a file could not be opened again after a restart: its programs get errors", "reopen it there"),
    "TFS9001": Event("half of a rule's moves fail: they are stopped for a while", "see the reason, then the rule"),
    "TFS9002": Event("an archived object could not be restored", "tierctl restore asks for it again"),
    "TFS9003": Event("a task failed by a fault of tierfs", "report it; the traceback is in the log"),
    "TFS9004": Event("an object went while it was archived: nothing of it comes back", "see versions"),
    "TFS9005": Event("a restored file was not fetched to the local disk", "reading it fetches it"),
}


def table() -> str:
    """For README.md."""
    rows = [f"| {code} | {event.meaning} | {event.advice} |" for code, event in EVENTS.items()]
    return "\n".join(["| code | what happened | what to do |", "|---|---|---|", *rows])
