"""An SQS queue (see queue.Queue), by boto3.

The endpoint and, where it is Amazon's, the region follow from the queue's URL. Requests run in worker
threads of a limiter of their own, so that a poll that waits takes no slot of the object store. A cancelled request
leaves its thread behind: what that receives comes again after the visibility time. boto3 does not repeat anything;
whoever calls does (`sync.queuesource`).
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.session
import trio
from botocore.config import Config

from tierfs.errors import ConfigError
from tierfs.objectstore.queue import WAIT_MAX_S, Message
from tierfs.objectstore.s3_connection import DEFAULT_REGION, tls_of
from tierfs.objectstore.s3_errors import Effect, translating
from tierfs.objectstore.settings import S3Settings

T = TypeVar("T")
_THREADS: Final = 4
# https://docs.aws.amazon.com/general/latest/gr/sqs-service.html
_AMAZON: Final = re.compile(
    r"sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)|([a-z0-9-]+)\.queue\.amazonaws\.com(?:\.cn)?"
)


class SqsQueue:
    """One queue. `settings` say how to connect; their endpoint and bucket are the store's and not used."""

    def __init__(self, url: str, settings: S3Settings, *, visibility_s: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.count("/") < 1:
            raise ConfigError(f"[events] queue_url: {url!r} is no URL of a queue")
        self._url = url
        self._settings = settings
        self._visibility_s = visibility_s
        self._limiter = trio.CapacityLimiter(_THREADS)
        self._client: Any = None
        self._opening = trio.Lock()

    @property
    def source(self) -> str:
        return self._url

    async def receive(self, *, limit: int, wait_s: int) -> Sequence[Message]:
        def ask(client: Any) -> Sequence[Message]:
            with translating("", Effect.READS):
                answer = client.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=limit,
                    WaitTimeSeconds=wait_s,
                    VisibilityTimeout=self._visibility_s,
                )
            return [Message(found["Body"], found["ReceiptHandle"]) for found in answer.get("Messages", ())]

        return await self._run(ask)

    async def delete(self, receipts: Sequence[str]) -> None:
        entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]

        def ask(client: Any) -> None:
            with translating("", Effect.READS):  # repeatable, so an unclear answer is as good as none
                client.delete_message_batch(QueueUrl=self._url, Entries=entries)

        if entries:
            await self._run(ask)

    async def give_back(self, receipts: Sequence[str], *, after_s: int) -> None:
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": after_s}
            for number, receipt in enumerate(receipts)
        ]

        def ask(client: Any) -> None:
            with translating("", Effect.READS):
                client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

        if entries:
            await self._run(ask)

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _run(self, ask: Callable[[Any], T]) -> T:
        async with self._opening:
            if self._client is None:
                self._client = await trio.to_thread.run_sync(self._connect, limiter=self._limiter)
        return await trio.to_thread.run_sync(ask, self._client, limiter=self._limiter, abandon_on_cancel=True)

    def _connect(self) -> Any:
        return connect_sqs(self._url, self._settings)


def connect_sqs(url: str, settings: S3Settings) -> Any:
    """boto3's client for the queue at `url`. Blocks; nothing is sent. BAD_CREDENTIALS, INVALID."""
    parts = urlsplit(url)
    amazon = _AMAZON.fullmatch(parts.hostname or "")
    with translating("", Effect.READS):
        session = botocore.session.Session(profile=settings.profile or None)
        verify, _ca_file = tls_of(session, settings)
        region = settings.region or str(session.get_config_variable("region") or DEFAULT_REGION)
        if amazon is not None:
            region = amazon[1] or amazon[2]
        return boto3.Session(botocore_session=session).client(
            "sqs",
            region_name=region,
            endpoint_url=f"{parts.scheme}://{parts.netloc}",
            verify=verify,
            config=Config(
                connect_timeout=settings.connect_timeout_s,
                read_timeout=settings.read_timeout_s + WAIT_MAX_S,
                retries={"total_max_attempts": 1, "mode": "standard"},
                user_agent_extra="tierfs",
            ),
        )
