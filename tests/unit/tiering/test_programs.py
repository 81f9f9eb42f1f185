"""The names of who sent a request."""

import os
import threading
from pathlib import Path

from tierfs.policy.recalls import Program
from tierfs.tiering.programs import program


def test_this_process_has_its_name() -> None:
    comm = Path("/proc/self/comm").read_text().rstrip("\n")
    assert program(7, os.getpid()) == Program(7, (comm,))


def test_a_thread_has_its_own_name_and_that_of_its_process(tmp_path: Path) -> None:
    for tid, comm in ((11, "pool-tracker\n"), (10, "tracker-miner-f\n")):
        (tmp_path / str(tid)).mkdir()
        (tmp_path / str(tid) / "comm").write_text(comm)
        (tmp_path / str(tid) / "status").write_text(f"Name:\t{comm}Umask:\t0022\nTgid:\t10\nPid:\t{tid}\n")
    assert program(0, 11, proc=tmp_path) == Program(0, ("pool-tracker", "tracker-miner-f"))
    assert program(0, 10, proc=tmp_path) == Program(0, ("tracker-miner-f",))


def test_a_thread_of_this_process_is_found_by_its_number() -> None:
    found: list[Program] = []
    thread = threading.Thread(target=lambda: found.append(program(0, threading.get_native_id())))
    thread.start()
    thread.join()
    comm = Path("/proc/self/comm").read_text().rstrip("\n")
    assert comm in found[0].commands


def test_who_cannot_be_told_has_no_name(tmp_path: Path) -> None:
    assert program(3, 0) == program(3, -5) == program(3, 12, proc=tmp_path) == Program(3)
