"""The least rights that a mount needs in a bucket, as a policy of Amazon's IAM, which other servers read too. Pure.

Which request needs which action: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

VERSION: Final = "2012-10-17"  # of the policy language
_READ: Final = ("s3:GetObject", "s3:GetObjectTagging")
_WRITE: Final = ("s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject", "s3:AbortMultipartUpload")
_QUEUE: Final = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
_QUEUE_SETUP: Final = ("sqs:GetQueueAttributes", "sqs:SetQueueAttributes")
_NOTIFICATIONS: Final = ("s3:GetBucketNotification", "s3:PutBucketNotification")
_SQS_URL: Final = re.compile(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([0-9]{12})/([\w-]+(?:\.fifo)?)")


@frozen(kw_only=True)
class Use:
    """What a mount does. `prefix` is "" or ends with a slash."""

    bucket: str
    prefix: str = ""
    read_only: bool = False
    queue_url: str = ""  # events are read from it
    undeletes: bool = False  # tierctl versions and undelete
    restores: bool = False  # archived objects are brought back
    sets_up_events: bool = False  # tierctl events setup
    kms_key_arn: str = ""  # the bucket encrypts with it


def policy(use: Use) -> dict[str, Any]:
    """The document. ValueError for a queue whose ARN does not follow from its URL."""
    partition = _partition_of(use.queue_url)
    bucket = f"arn:{partition}:s3:::{use.bucket}"
    objects = f"{bucket}/{use.prefix}*"
    statements = [_statement("List", _listing(use), bucket, _below(use.prefix))]
    statements.append(_statement("Objects", _READ if use.read_only else (*_READ, *_WRITE), objects))
    if not use.read_only:
        # S3 knows no condition on the prefix here
        statements.append(_statement("Uploads", ("s3:ListBucketMultipartUploads",), bucket))
    if use.undeletes and not use.read_only:
        statements.append(_statement("Undelete", ("s3:DeleteObjectVersion",), objects))
    if use.restores:
        statements.append(_statement("Restore", ("s3:RestoreObject",), objects))
    if use.queue_url:
        statements.append(_statement("Events", _QUEUE, _queue_arn(use.queue_url)))
    if use.sets_up_events:
        statements.append(_statement("SetUpEvents", _NOTIFICATIONS, bucket))
        if use.queue_url:
            statements.append(_statement("SetUpQueue", _QUEUE_SETUP, _queue_arn(use.queue_url)))
    if use.kms_key_arn:
        actions = ("kms:Decrypt",) if use.read_only else ("kms:Decrypt", "kms:GenerateDataKey")
        statements.append(_statement("Encryption", actions, use.kms_key_arn))
    return {"Version": VERSION, "Statement": statements}


def _listing(use: Use) -> Sequence[str]:
    return ("s3:ListBucket", "s3:ListBucketVersions") if use.undeletes else ("s3:ListBucket",)


def _below(prefix: str) -> Mapping[str, Any] | None:
    return {"StringLike": {"s3:prefix": [f"{prefix}*"]}} if prefix else None


def _statement(
    name: str, actions: Sequence[str], resource: str, condition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"Sid": name, "Effect": "Allow", "Action": sorted(actions), "Resource": resource}
    return made if condition is None else {**made, "Condition": dict(condition)}


def _partition_of(queue_url: str) -> str:
    return "aws-cn" if ".amazonaws.com.cn/" in queue_url else "aws"


def _queue_arn(url: str) -> str:
    found = _SQS_URL.fullmatch(url)
    if found is None:
        raise ValueError(f"the ARN of the queue {url!r} does not follow from its URL: it is not one of Amazon's")
    region, account, name = found.groups()
    return f"arn:{_partition_of(url)}:sqs:{region}:{account}:{name}"
