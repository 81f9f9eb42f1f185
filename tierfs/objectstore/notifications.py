"""Sets up that a bucket sends its events to a queue: reads what is configured, adds one entry, writes it back.

Entries of others stay as they are, in order. Our own is found again by its id, so that a second call changes nothing
and one after a change of the settings replaces it. S3 has no condition for this request: who changes the configuration
between the reading and the writing loses that change, as with every tool that does it.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import trio
from attrs import field, frozen

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.s3_connection import connect
from tierfs.objectstore.s3_errors import Effect, translating
from tierfs.objectstore.settings import S3Settings
from tierfs.objectstore.sqs import connect_sqs

EVENTS: Final = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
# what servers like S3 do not know, and refuse
AMAZON_EVENTS: Final = ("s3:LifecycleExpiration:*", "s3:LifecycleTransition", "s3:ObjectRestore:Completed")
_AMAZON_HOST: Final = (".amazonaws.com", ".amazonaws.com.cn")

Json = Mapping[str, Any]


@frozen
class Change:
    """One thing that setting up changes: where, and what would stand there."""

    where: str
    what: Json


@frozen
class Outcome:
    """What was changed, or would be; nothing where all was as it should be."""

    bucket: str
    queue_arn: str
    changes: tuple[Change, ...] = field(factory=tuple)


def entry_of(queue_arn: str, prefix: str, *, is_amazon: bool) -> dict[str, Any]:
    """The entry that sends the events of keys below `prefix` ("" for all) to the queue."""
    name = hashlib.sha256(f"{queue_arn}\n{prefix}".encode()).hexdigest()[:12]
    entry: dict[str, Any] = {
        "Id": f"tierfs-{name}",
        "QueueArn": queue_arn,
        "Events": sorted((*EVENTS, *AMAZON_EVENTS) if is_amazon else EVENTS),
    }
    if prefix:
        entry["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}
    return entry


def merged(configuration: Json, entry: Json) -> dict[str, Any] | None:
    """The bucket's configuration with our entry in it; None when it is there already."""
    kept = {name: value for name, value in configuration.items() if name != "ResponseMetadata"}
    entries = list(kept.get("QueueConfigurations", ()))
    at = next((number for number, other in enumerate(entries) if other.get("Id") == entry["Id"]), None)
    if at is None:
        entries.append(dict(entry))
    elif _plain(entries[at]) == _plain(entry):
        return None
    else:
        entries[at] = dict(entry)
    return {**kept, "QueueConfigurations": entries}


def _plain(entry: Json) -> Json:
    """In one form: servers sort events as they like, and spell "prefix" with a capital or add an empty filter."""
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    return {
        "arn": entry.get("QueueArn"),
        "events": sorted(entry.get("Events", ())),
        "rules": sorted((rule["Name"].lower(), rule["Value"]) for rule in rules),
    }


def statement_of(queue_arn: str, bucket: str) -> dict[str, Any]:
    """What the queue's policy has to say, so that S3 may send to it."""
    partition = queue_arn.split(":")[1]
    return {
        "Sid": f"tierfs-{bucket}",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:{partition}:s3:::{bucket}"}},
    }


def merged_policy(policy: str, statement: Json) -> str | None:
    """The queue's policy with our statement in it; None when it is there already. StoreError for what is no policy."""
    try:
        document = json.loads(policy) if policy else {"Version": "2012-10-17", "Statement": []}
        found: Any = document["Statement"]
        statements = [found] if isinstance(found, dict) else list(found)
        others = [other for other in statements if other.get("Sid") != statement["Sid"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StoreError(
            StoreErrorKind.INVALID, "the policy of the queue cannot be read: nothing was changed"
        ) from None
    if statement in statements:
        return None
    return json.dumps({**document, "Statement": [*others, statement]})


async def set_up(settings: S3Settings, *, queue_url: str, target_arn: str, dry_run: bool) -> Outcome:
    """Has the bucket and prefix of `settings` send their events to the queue at `queue_url`, which is let to take them.

    With `target_arn` the events go there, and no queue is touched (for servers whose targets are named by an ARN).
    `dry_run` only tells. StoreError.
    """
    return await trio.to_thread.run_sync(_set_up, settings, queue_url, target_arn, dry_run)


def _set_up(settings: S3Settings, queue_url: str, target_arn: str, dry_run: bool) -> Outcome:
    changes: list[Change] = []
    if not target_arn:
        target_arn, changed = _let_in(queue_url, settings, dry_run)
        changes += changed
    connection = connect(settings)
    try:
        client = connection.client
        is_amazon = client.meta.endpoint_url.split("://")[-1].split("/")[0].endswith(_AMAZON_HOST)
        entry = entry_of(target_arn, settings.prefix, is_amazon=is_amazon)
        with translating("", Effect.READS):
            found = client.get_bucket_notification_configuration(Bucket=settings.bucket)
        wanted = merged(found, entry)
        if wanted is not None:
            changes.append(Change(f"notifications of bucket {settings.bucket}", entry))
        if wanted is not None and not dry_run:
            with translating("", Effect.WRITES):
                client.put_bucket_notification_configuration(Bucket=settings.bucket, NotificationConfiguration=wanted)
    finally:
        connection.close()
    return Outcome(settings.bucket, target_arn, tuple(changes))


def _let_in(queue_url: str, settings: S3Settings, dry_run: bool) -> tuple[str, list[Change]]:
    """The queue's ARN; its policy lets the bucket send."""
    client = connect_sqs(queue_url, settings)
    try:
        with translating("", Effect.READS):
            answer = client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn", "Policy"])
        attributes = answer.get("Attributes", {})
        arn = str(attributes["QueueArn"])
        statement = statement_of(arn, settings.bucket)
        policy = merged_policy(attributes.get("Policy", ""), statement)
        if policy is None:
            return arn, []
        if not dry_run:
            with translating("", Effect.WRITES):
                client.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": policy})
        return arn, [Change(f"policy of queue {queue_url}", statement)]
    finally:
        client.close()
