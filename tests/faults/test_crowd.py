"""More programs wait for the store than the daemon works on at one time: everybody else is still served."""

import os
import signal
import subprocess
import sys
import time

from tests.faults.conftest import MIB, Rig
from tests.support import programs
from tests.support.tap import Tap

CROWD = 1200
READ = f"""
import mmap, os, sys, threading
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
threading.stack_size(65536)
for number in range({CROWD}):
    threading.Thread(target=os.preadv, args=(fd, [mmap.mmap(-1, 4096)], number * 4096)).start()
print(flush=True)
"""


def test_statfs_and_hot_files_do_not_wait_behind_a_crowd(rig: Rig) -> None:
    rig.put("cold", os.urandom(8 * MIB))
    rig.put("hot", b"hot bytes")
    with Tap(rig.double.endpoint_url) as tap:
        store = {"endpoint_url": tap.url, "read_timeout_s": 100, "retry_budget_s": 200}
        with rig.mounted(store=store) as mount:
            assert (mount.path / "hot").read_bytes() == b"hot bytes"
            assert (mount.path / "cold").stat().st_size == 8 * MIB
            tap.pause()
            with subprocess.Popen([sys.executable, "-c", READ, mount.path / "cold"], stdout=subprocess.PIPE) as crowd:
                assert crowd.stdout is not None
                crowd.stdout.readline()
                time.sleep(1)
                began_s = time.monotonic()
                for _ in range(10):
                    os.statvfs(mount.path)
                    assert (mount.path / "hot").read_bytes() == b"hot bytes"
                    (mount.path / "new").write_bytes(b"new bytes")
                assert time.monotonic() - began_s < 5
                crowd.send_signal(signal.SIGKILL)
                assert programs.wait_until(lambda: crowd.poll() is not None, 10)
            tap.resume()
