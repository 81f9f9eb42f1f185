"""Credentials expire in the middle, or the clock is wrong: uploads wait and go on. And no secret is left anywhere."""

import os
from pathlib import Path

import pytest

from tests.faults.conftest import Rig
from tests.support import programs
from tests.support.s3double import Fault

SECRET = b"double-secret"


@pytest.mark.parametrize(("status", "code"), [(400, "ExpiredToken"), (403, "RequestTimeTooSkewed")])
def test_what_is_refused_until_it_is_put_right_waits(rig: Rig, status: int, code: str) -> None:
    rig.put("there", b"bytes")
    with rig.mounted() as mount:
        assert (mount.path / "there").read_bytes() == b"bytes"
        rig.double.fail_next("*", "*", Fault(status=status, code=code), times=0)
        (mount.path / "new").write_bytes(b"new bytes")
        (mount.path / "there").rename(mount.path / "moved")
        assert (mount.path / "moved").read_bytes() == b"bytes"
        assert programs.wait_until(lambda: mount.status()["degraded"] is not None, 30)
        assert mount.status()["pending_exports"] > 0
        rig.double.clear_faults()
        mount.wait_synced()
        assert rig.object_keys() == ["moved", "new"]
        assert rig.body("new") == b"new bytes"
        assert mount.status()["conflicts"] == 0


def test_no_secret_is_in_a_log_an_answer_a_process_list_or_the_cache(rig: Rig) -> None:
    with rig.mounted(log={"level": "debug"}) as mount:
        rig.double.fail_next("PutObject", "*", Fault(status=403, code="SignatureDoesNotMatch"), times=2)
        (mount.path / "new").write_bytes(b"new bytes")
        assert programs.wait_until(
            lambda: "is not in the bucket yet" in mount.log() or rig.object_keys() == ["new"], 30
        )
        said = mount.log().encode() + mount.tierctl("status", mount.path, "--json").stdout.encode()
        said += b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in mount.daemons())
        assert SECRET not in said
        assert said.count(b"tierfs") > 3
        mount.wait_synced()
        mount.umount()
        files = [Path(top, name) for top, _, names in os.walk(mount.cache) for name in names]
        assert files
        assert [path for path in files if SECRET in path.read_bytes()] == []
