"""Random changes on both sides of one mount: both views agree in the end, and nobody loses a version unseen.

Every write has bytes of its own. A version may be gone only when somebody replaced or removed it who had it before him:
a program of the mount what the mount showed, the other client what the bucket had. The policies but `keep-both` give
up the versions of one side, and never those of the other.
"""

import contextlib
import tempfile
from pathlib import Path
from typing import Final

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import FsError, StoreError
from tierfs.policy.merge import Policy

NAMES: Final = ("a", "b", "c")
OPERATIONS: Final = st.lists(
    st.tuples(
        st.sampled_from(["write", "put", "put", "write", "unlink", "delete", "rename", "wait", "list"]),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
    ),
    min_size=2,
    max_size=12,
)
PROTECTED: Final = {
    Policy.KEEP_BOTH: ("mine", "theirs"),
    Policy.BUCKET_WINS: ("theirs",),
    Policy.LOCAL_WINS: ("mine",),
    Policy.NEWEST: (),
}


class _Sides:
    """Carries out operations; `written` and `given_up` are versions."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.written: list[bytes] = []
        self.given_up: set[bytes] = set()

    def _new(self, side: str) -> bytes:
        self.written.append(f"{side} {len(self.written)}".encode())
        return self.written[-1]

    async def _see_here(self, name: str) -> None:
        """A program is about to replace or remove what the mount shows under the name."""
        # what cannot be read any more was replaced there, by somebody who had it
        with contextlib.suppress(FsError, StoreError):
            if self.rig.find(name) is not None:
                self.given_up.add(await self.rig.read(name))

    def _see_there(self, key: str) -> None:
        if key in self.rig.store.objects:
            self.given_up.add(self.rig.store.content(key))

    async def do(self, what: str, name: str, other: str) -> None:
        rig = self.rig
        if what == "write":
            await self._see_here(name)
            await rig.write(name, self._new("mine"))
        elif what == "put":
            self._see_there(name)
            rig.put_remote(name, self._new("theirs"))
        elif what == "unlink" and rig.find(name) is not None:
            await self._see_here(name)
            rig.unlink(name)
        elif what == "delete":
            self._see_there(name)
            rig.store.objects.pop(name, None)
        elif what == "rename" and name != other and rig.find(name) is not None:
            await self._see_here(other)
            rig.rename(name, other)
        elif what == "wait":
            await trio.sleep(3)  # less than the quiet time: some exports are under way, others are not
        elif what == "list":
            await rig.list()

    async def settle(self) -> dict[str, bytes]:
        """What both sides have when nothing happens any more."""
        await self.rig.sync()
        names = await self.rig.list()
        await self.rig.sync()
        here = {name: await self.rig.read(name) for name in names}
        there = {key: self.rig.store.content(key) for key in self.rig.keys}
        assert here == there
        assert not self.rig.pending()
        return there


@pytest.mark.parametrize("policy", Policy)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations=OPERATIONS)
def test_no_version_is_lost_by_who_has_not_seen_it(policy: Policy, operations: list[tuple[str, str, str]]) -> None:
    async def main(rig: Rig) -> None:
        sides = _Sides(rig)
        for name in NAMES[:2]:
            await sides.do("write", name, "")
        await sides.settle()
        for operation in operations:
            await sides.do(*operation)
        kept = set((await sides.settle()).values())
        lost = [version for version in sides.written if version not in kept | sides.given_up]
        assert not [version for version in lost if version.decode().split()[0] in PROTECTED[policy]]

    with tempfile.TemporaryDirectory() as directory:
        run_rig(Path(directory), main, policy=policy)
