"""The verbs of those who watch: pages of operations, who is busy, and what is refused."""

import os
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from tests.support.figures import figures
from tierfs.clock import ManualClock
from tierfs.control.arguments import Refusal
from tierfs.control.metering import Metering
from tierfs.control.observing import ObservingVerbs
from tierfs.control.protocol import Request
from tierfs.control.verbs import Peer
from tierfs.telemetry.meters import Meters
from tierfs.telemetry.oplog import NOBODY, OperationLog, waited_for_bucket

ROOT = Peer(1, 0, 0)


class NoUsage:
    """Is not asked."""


class HolderDouble:
    def __init__(self, **counts: int) -> None:
        self.counts = counts

    async def holder_counts(self) -> Mapping[str, int]:
        return self.counts


def status() -> Mapping[str, Any]:
    full = figures()
    return {**full, "removals": None, "degraded": None, "index": {"entries": 5, "bytes": 1}}


def verbs_over(log: OperationLog, meters: Meters | None = None) -> ObservingVerbs:
    return ObservingVerbs(Metering(meters or Meters(), HolderDouble(), status), log, NoUsage())  # type: ignore[arg-type]


async def ask(verbs: ObservingVerbs, verb: str, **args: Any) -> Mapping[str, Any]:
    return await verbs.verbs[verb].handler(Request(1, verb, args), ROOT, lambda fields: None)


def carry_out(log: OperationLog, path: str, size_bytes: int, *, pid: int = NOBODY, waits: bool = False) -> None:
    running = log.begin()
    if waits:
        waited_for_bucket()
    log.end(running, "read", 1000, path=path, uid=7, pid=pid, size_bytes=size_bytes, error="")


def test_operations_come_in_pages_that_fit_an_answer() -> None:
    async def main() -> None:
        log = OperationLog(ManualClock())
        verbs = verbs_over(log)
        at = (await ask(verbs, "oplog"))["next"]
        for number in range(200):
            carry_out(log, f"f{number}", 1)
        paths: list[str] = []
        while len(paths) < 200:
            page = await ask(verbs, "oplog", after=at)
            assert page["missed"] == 0
            at = page["next"]
            paths += [each["path"] for each in page["operations"]]
        assert paths == [f"f{number}" for number in range(200)]

    trio.run(main)


def test_who_is_busy_is_told_by_bytes_since_the_last_time() -> None:
    async def main() -> None:
        log = OperationLog(ManualClock())
        verbs = verbs_over(log)
        at = (await ask(verbs, "busiest"))["next"]
        carry_out(log, "a", 10, pid=os.getpid())
        carry_out(log, "b", 15, pid=os.getpid(), waits=True)
        carry_out(log, "a", 10, pid=4_194_305)  # no process has that number
        carry_out(log, "", 500)
        found = await ask(verbs, "busiest", after=at)
        assert [(row["path"], row["operations"], row["size_bytes"], row["waited"]) for row in found["files"]] == [
            *(("a", 2, 20, 0), ("b", 1, 15, 1))
        ]
        mine, ended = found["processes"]
        assert (mine["pid"], mine["uid"], mine["size_bytes"], mine["name"] != "") == (os.getpid(), 7, 25, True)
        assert (ended["name"], ended["duration_s"]) == ("", pytest.approx(1e-6))
        again = await ask(verbs, "busiest", after=found["next"])
        assert again["files"] == again["processes"] == []

    trio.run(main)


def test_figures_have_every_number_as_it_is() -> None:
    async def main() -> None:
        meters = Meters()
        meters.read(5, waited=True)
        meters.operation("read", 5000)
        told = await ask(verbs_over(OperationLog(ManualClock()), meters), "figures")
        assert set(told) == set(figures())
        assert told["reads"] == {"local": 0, "bucket": 1} and told["operations"]["read"]["count"] == 1

    trio.run(main)


def test_a_read_that_waited_is_not_counted_again_when_the_holder_answers_it() -> None:
    async def main() -> None:
        meters, holder = Meters(), HolderDouble(served_reads=5, served_read_bytes=500, served_write_bytes=70)
        metering = Metering(meters, holder, status)
        meters.wrote(7)
        told = await metering.figures()
        assert (told["reads"], told["read_bytes"]) == ({"local": 5, "bucket": 0}, {"local": 500, "bucket": 0})
        assert told["written_bytes"] == 77
        meters.brought(100)
        between = await metering.figures()
        assert (between["reads"], between["read_bytes"]) == ({"local": 5, "bucket": 1}, {"local": 500, "bucket": 100})
        holder.counts = {"served_reads": 6, "served_read_bytes": 600}
        assert (await metering.figures())["reads"] == {"local": 5, "bucket": 1}
        holder.counts = {"served_reads": 7, "served_read_bytes": 650}
        assert (await metering.figures())["read_bytes"] == {"local": 550, "bucket": 100}

    trio.run(main)


def test_what_a_holder_counted_for_the_daemon_before_is_not_ours() -> None:
    """Else all that it ever served would look as if it had come in the first second after a restart."""

    async def main() -> None:
        holder = HolderDouble(restarts=1, served_reads=1000, served_read_bytes=5000, served_write_bytes=7000)
        metering = Metering(Meters(), holder, status)
        told = await metering.figures()
        assert (told["reads"]["local"], told["read_bytes"]["local"], told["written_bytes"]) == (0, 0, 0)
        holder.counts = {"restarts": 1, "served_reads": 1002, "served_read_bytes": 5300, "served_write_bytes": 7070}
        told = await metering.figures()
        assert (told["reads"]["local"], told["read_bytes"]["local"], told["written_bytes"]) == (2, 300, 70)

    trio.run(main)


@pytest.mark.parametrize("after", [7, "zz", "abc", "ab" * 256])
def test_a_page_that_nobody_has_told_is_refused(after: object) -> None:
    with pytest.raises(Refusal, match="after must be the next of a page"):
        trio.run(lambda: ask(verbs_over(OperationLog(ManualClock())), "children", after=after))
