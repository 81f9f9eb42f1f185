"""A point kills the process that comes to it often enough, once; without the variable it is nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tierfs import faultpoints
from tierfs.faultpoints import VARIABLE, Point, reach

PROGRAM = """
import os
from tierfs import faultpoints
from tierfs.faultpoints import Point, reach
faultpoints.arm_from(os.environ)
for _ in range(3):
    reach(Point.EXPORT_SENT)
    reach(Point.EXPORT_BEGUN)
    print("on", flush=True)
"""


def come_to(said: str) -> tuple[int, str]:
    """The exit code and what was printed before it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, VARIABLE: said}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_it_dies_at_the_second_time_and_never_again(tmp_path: Path) -> None:
    said = f"export-sent:2:{tmp_path}/mark"
    assert come_to(said) == (-signal.SIGKILL, "on\n")
    assert (tmp_path / "mark").exists()
    assert come_to(said) == (0, "on\non\non\n")


def test_other_points_and_no_variable_are_nothing(tmp_path: Path) -> None:
    assert come_to(f"delete-sent:1:{tmp_path}/mark") == (0, "on\non\non\n")
    faultpoints.arm_from({})
    reach(Point.EXPORT_SENT)


def test_a_point_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="no-such"):
        faultpoints.arm_from({VARIABLE: "no-such:1:mark"})
