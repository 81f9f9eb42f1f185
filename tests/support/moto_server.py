"""S3 and SQS of Amazon, imitated by moto's server: buckets that really send their notifications to queues.

Archived objects, too: a restore is done at once, or when the test says.

One server a pytest session (`moto_server` in tests/conftest.py), in this process, on a free loopback port.
"""

import uuid
from types import TracebackType
from typing import Any, Final, Self

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_api import state_manager
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

REGION: Final = "us-east-1"
IDENTITY: Final = ("tierfs", "tierfs-secret")


class MotoServer:
    """A context manager; see the module."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop()

    @property
    def endpoint_url(self) -> str:
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """Credentials for whoever asks this server."""
        key, secret = IDENTITY
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": REGION}

    def client(self, service: str = "s3") -> Any:
        """A boto3 client that needs no environment."""
        key, secret = IDENTITY
        return boto3.client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def create_bucket(self) -> str:
        """A fresh, empty bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def hold_restore(self, bucket: str, key: str) -> None:
        """A restore of the object, to be asked for yet, takes until `finish_restore`."""
        state_manager.set_transition("s3::keyrestore", {"progression": "manual", "times": 1 << 60})
        self._object(bucket, key).status = "IN_PROGRESS"

    def finish_restore(self, bucket: str, key: str) -> None:
        """The copy that can be read is there."""
        self._object(bucket, key).status = "RESTORED"

    @staticmethod
    def _object(bucket: str, key: str) -> Any:
        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys[key]

    def create_queue(self) -> str:
        """The URL of a fresh, empty queue."""
        return str(self.client("sqs").create_queue(QueueName=f"queue-{uuid.uuid4().hex[:12]}")["QueueUrl"])
