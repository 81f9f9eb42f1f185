"""The least rights, by what a mount does."""

from typing import Any

import pytest

from tierfs.policy.iam import Use, policy

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/changes"
QUEUE_ARN = "arn:aws:sqs:eu-west-1:123456789012:changes"


def by_name(use: Use) -> dict[str, dict[str, Any]]:
    return {statement["Sid"]: statement for statement in policy(use)["Statement"]}


def actions(use: Use) -> set[str]:
    return {action for statement in by_name(use).values() for action in statement["Action"]}


def test_a_prefix_bounds_names_and_objects() -> None:
    found = by_name(Use(bucket="b", prefix="a/"))
    assert found["List"]["Condition"] == {"StringLike": {"s3:prefix": ["a/*"]}}
    assert found["List"]["Resource"] == "arn:aws:s3:::b"
    assert found["Objects"]["Resource"] == "arn:aws:s3:::b/a/*"


def test_a_whole_bucket_needs_no_condition() -> None:
    found = by_name(Use(bucket="b"))
    assert "Condition" not in found["List"] and found["Objects"]["Resource"] == "arn:aws:s3:::b/*"


def test_who_only_reads_may_only_read() -> None:
    use = Use(bucket="b", read_only=True, undeletes=True)
    assert actions(use) == {"s3:ListBucket", "s3:ListBucketVersions", "s3:GetObject", "s3:GetObjectTagging"}


def test_what_is_not_used_is_not_granted() -> None:
    granted = actions(Use(bucket="b"))
    assert not {action for action in granted if action.startswith(("sqs:", "kms:")) or "Version" in action}
    assert "s3:RestoreObject" not in granted
    assert by_name(Use(bucket="b", restores=True))["Restore"]["Action"] == ["s3:RestoreObject"]
    assert "s3:PutBucketNotification" not in granted


def test_events_and_keys() -> None:
    use = Use(bucket="b", queue_url=QUEUE, sets_up_events=True, kms_key_arn="arn:aws:kms:eu-west-1:1:key/k")
    found = by_name(use)
    assert found["Events"]["Resource"] == found["SetUpQueue"]["Resource"] == QUEUE_ARN
    assert "s3:PutBucketNotification" in actions(use) and "kms:GenerateDataKey" in actions(use)
    assert "kms:GenerateDataKey" not in actions(Use(bucket="b", read_only=True, kms_key_arn="arn:aws:kms:x"))


def test_china_is_a_partition_of_its_own() -> None:
    url = QUEUE.replace("eu-west-1.amazonaws.com", "cn-north-1.amazonaws.com.cn")
    found = by_name(Use(bucket="b", queue_url=url))
    assert found["List"]["Resource"] == "arn:aws-cn:s3:::b"
    assert found["Events"]["Resource"] == "arn:aws-cn:sqs:cn-north-1:123456789012:changes"


def test_a_queue_of_another_server_is_told() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        policy(Use(bucket="b", queue_url="http://127.0.0.1:9324/000000000000/q"))
