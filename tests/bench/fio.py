"""fio over one file: the arguments that the rows need, and the figure that they want."""

import json
from pathlib import Path
from typing import Final

from tests.support import programs

TIMEOUT_S: Final = 900.0


def run(
    path: Path, work: str, block: str, *, size_bytes: int, engine: str = "psync", jobs: int = 1, runtime_s: float = 0
) -> tuple[float, float]:
    """(MB/s, operations/s) of `work` (read, randread, randwrite) on a file that is there.

    With `runtime_s` for so long, else until every byte was read once. fio drops no cache: who calls decides that.
    """
    kind = "write" if work.endswith("write") else "read"
    words = [
        *("fio", "--name=row", f"--filename={path}", f"--rw={work}", f"--bs={block}", f"--ioengine={engine}"),
        *(f"--numjobs={jobs}", f"--size={size_bytes}", "--invalidate=0", "--fadvise_hint=0", "--group_reporting"),
        *("--fallocate=none", "--randrepeat=0", "--norandommap", "--output-format=json"),
    ]
    if kind == "read":
        words.append("--readonly")
    if runtime_s:
        words += ["--time_based", f"--runtime={runtime_s:g}"]
    output = programs.run(words, timeout_s=TIMEOUT_S).stdout
    # fio prints its notes before the JSON
    (job,) = json.loads(output[output.index("{") :])["jobs"]
    if job["error"]:
        raise programs.ProgramError(f"fio: error {job['error']} in {' '.join(words)}")
    return job[kind]["bw_bytes"] / 1e6, job[kind]["iops"]
