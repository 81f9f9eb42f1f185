"""What a bucket of moto's server sends on each of its ways to a queue, received and read as the daemon does it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.support.moto_server import REGION, MotoServer
from tierfs.objectstore.settings import S3Settings
from tierfs.objectstore.sqs import SqsQueue
from tierfs.sync.events import EventKind, ObjectEvent, parse

KEY = "a b/c+d é"
ALL = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]


def directly(moto: MotoServer, bucket: str, queue_arn: str) -> None:
    moto.client().put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [{"QueueArn": queue_arn, "Events": ALL}]}
    )


def through_sns(moto: MotoServer, bucket: str, queue_arn: str) -> None:
    sns = moto.client("sns")
    topic = sns.create_topic(Name=f"topic-{bucket}")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    moto.client().put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [{"TopicArn": topic, "Events": ALL}]}
    )


def through_eventbridge(moto: MotoServer, bucket: str, queue_arn: str) -> None:
    bridge = moto.client("events")
    pattern = json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}})
    bridge.put_rule(Name=f"rule-{bucket}", EventPattern=pattern, State="ENABLED")
    bridge.put_targets(Rule=f"rule-{bucket}", Targets=[{"Id": "queue", "Arn": queue_arn}])
    moto.client().put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )


async def received(url: str, count: int) -> list[ObjectEvent]:
    queue = SqsQueue(url, S3Settings(region=REGION), visibility_s=30)
    events: list[ObjectEvent] = []
    try:
        with trio.fail_after(30):
            while len(events) < count:
                for message in await queue.receive(limit=10, wait_s=1):
                    parsed = parse(message.body)
                    assert not parsed.malformed
                    events += parsed.events
                    await queue.delete([message.receipt])
    finally:
        await queue.aclose()
    return events


@pytest.mark.parametrize("way", [directly, through_sns, through_eventbridge])
def test_what_a_bucket_sends(
    moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch, way: Callable[[MotoServer, str, str], None]
) -> None:
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket, url, s3 = moto_server.create_bucket(), moto_server.create_queue(), moto_server.client()
    sqs: Any = moto_server.client("sqs")
    way(moto_server, bucket, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["QueueArn"])
    etag = s3.put_object(Bucket=bucket, Key=KEY, Body=b"12345")["ETag"]
    (event,) = trio.run(received, url, 1)
    assert (event.kind, event.bucket, event.key, event.size_bytes) == (EventKind.CREATED, bucket, KEY, 5)
    if way is not through_eventbridge:  # where moto spells the ETag and the time in another way than Amazon
        assert event.etag == etag.strip('"') and event.time_ns > 0
    s3.delete_object(Bucket=bucket, Key=KEY)
    (event,) = trio.run(received, url, 1)
    assert (event.kind, event.key) == (EventKind.REMOVED, KEY)
