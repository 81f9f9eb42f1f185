"""Two mounts and an outside client change one bucket, while it fails and daemons die: all agree, and nothing is lost.

CI plays 200 histories, the same each time. For thousands of others, and then again with another seed:

    TIERFS_TEST_LONG=1 TIERFS_TEST_SEED=7 .venv/bin/python -m pytest tests/model

A failing history is shrunk and printed as data: paste it into FOUND, which is played first.
"""

import os
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.model.history import run
from tests.model.steps import SETUPS, STEPS, Append, Chmod, Evict, Link, Remove, Rename, Setup, Step, Wait

IS_LONG = bool(os.environ.get("TIERFS_TEST_LONG"))
EXAMPLES = 5000 if IS_LONG else 200
LIMIT_S = 3 * 3600 if IS_LONG else 300
SEED = int(os.environ.get("TIERFS_TEST_SEED", "1"))
FOUND: list[tuple[Setup, list[Step]]] = [
    (
        # a copy from outside has the op id of a write of the mount, which took it for that one
        Setup(revalidate_s=86_400.0, quiet_s=0.1, reads_ahead=True),
        [
            Rename(by="A", path="d/f", to="f", mode="exchange"),
            Evict(by="A", path="d/f"),
            Wait(seconds=10.0),
            Rename(by="outside", path="f", to="d/f"),
            Chmod(by="A", path="d/f", mode=0o640),
        ],
    ),
    # the file that gets the name of a directory was shown as beside it
    (Setup(revalidate_s=86_400.0), [Rename(by="A", path="h", to="d/f", mode="exchange")]),
    # the second name of a file that another mount deletes or replaces had no bytes
    (Setup(revalidate_s=86_400.0), [Link(by="B", path="f", to="d/g"), Remove(by="A", path="f")]),
    (
        Setup(revalidate_s=86_400.0),
        [Link(by="B", path="f", to="d/g"), Append(by="A", path="f"), Evict(by="B", path="f")],
    ),
    (
        Setup(revalidate_s=86_400.0, reads_ahead=True),
        [
            Link(by="A", path="d/f", to="d/g"),
            Evict(by="A", path="d/f"),
            Rename(by="A", path="d", to="h", mode="exchange"),
        ],
    ),
]


@pytest.mark.parametrize(("setup", "steps"), FOUND)
def test_what_was_found_before(setup: Setup, steps: Sequence[Step]) -> None:
    run(setup, steps)


@pytest.mark.timeout(LIMIT_S)
@seed(SEED)
@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(SETUPS, STEPS)
def test_all_sides_agree_and_nothing_is_lost(setup: Setup, steps: Sequence[Step]) -> None:
    run(setup, steps)
