"""One entry among others': what is merged, and a server that has it."""

import json
from typing import Any

import pytest
import trio

from tests.support.moto_server import MotoServer
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore import notifications
from tierfs.objectstore.notifications import Outcome, entry_of, merged, merged_policy, statement_of
from tierfs.objectstore.settings import S3Settings

ARN = "arn:aws:sqs:us-east-1:123456789012:queue"
OTHERS: dict[str, Any] = {
    "TopicConfigurations": [{"Id": "t", "TopicArn": "arn:t", "Events": ["s3:ReducedRedundancyLostObject"]}],
    "QueueConfigurations": [{"Id": "q", "QueueArn": "arn:q", "Events": ["s3:ObjectTagging:*"]}],
    "EventBridgeConfiguration": {},
}


def test_others_entries_stay_as_they_are() -> None:
    entry = entry_of(ARN, "some/prefix/", is_amazon=True)
    wanted = merged({**OTHERS, "ResponseMetadata": {"HTTPStatusCode": 200}}, entry)
    assert wanted == {**OTHERS, "QueueConfigurations": [*OTHERS["QueueConfigurations"], entry]}
    assert merged(wanted, entry) is None


def test_what_a_server_spells_in_its_own_way_is_recognised() -> None:
    entry = entry_of(ARN, "p/", is_amazon=False)
    spelled = {
        "Id": entry["Id"],
        "QueueArn": ARN,
        "Events": list(reversed(entry["Events"])),
        "Filter": {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "p/"}]}},
    }
    assert merged({"QueueConfigurations": [spelled]}, entry) is None
    whole = entry_of(ARN, "", is_amazon=False)
    assert merged({"QueueConfigurations": [{**whole, "Filter": {"Key": {"FilterRules": []}}}]}, whole) is None


def test_our_own_entry_is_renewed_in_its_place() -> None:
    entry = entry_of(ARN, "", is_amazon=True)
    old = {**entry, "Events": ["s3:ObjectCreated:Put"]}
    after = {"Id": "later", "QueueArn": "arn:x", "Events": []}
    wanted = merged({"QueueConfigurations": [old, after]}, entry)
    assert wanted == {"QueueConfigurations": [entry, after]}


def test_entries_of_other_mounts_are_others() -> None:
    entries = [entry_of(arn, prefix, is_amazon=True) for arn in (ARN, ARN + "2") for prefix in ("", "a/", "b/")]
    assert len({entry["Id"] for entry in entries}) == 6


def test_the_policy_of_a_queue() -> None:
    statement = statement_of(ARN.replace("aws", "aws-cn"), "bucket")
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": "arn:aws-cn:s3:::bucket"}}
    policy = merged_policy("", statement)
    assert policy is not None and merged_policy(policy, statement) is None
    other = {"Sid": "other", "Effect": "Deny"}
    for statements in (other, [other], [other, {**statement, "Action": "sqs:*"}]):
        renewed = merged_policy(json.dumps({"Id": "x", "Statement": statements}), statement)
        assert renewed is not None and json.loads(renewed) == {"Id": "x", "Statement": [other, statement]}


@pytest.mark.parametrize("policy", ["{", "[]", "{}", '{"Statement": 3}', '{"Statement": ["x"]}'])
def test_a_policy_that_cannot_be_read_is_not_written_over(policy: str) -> None:
    with pytest.raises(StoreError, check=lambda error: error.kind is StoreErrorKind.INVALID):
        merged_policy(policy, statement_of(ARN, "bucket"))


def test_a_bucket_of_a_server(moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket, url, other_url = moto_server.create_bucket(), moto_server.create_queue(), moto_server.create_queue()
    s3, sqs = moto_server.client(), moto_server.client("sqs")
    other_arn = sqs.get_queue_attributes(QueueUrl=other_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    other = {"Id": "other", "QueueArn": other_arn, "Events": ["s3:ObjectRestore:*"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [other]})
    settings = S3Settings(bucket=bucket, prefix="p/", endpoint_url=moto_server.endpoint_url)

    def set_up(*, dry_run: bool = False) -> Outcome:
        return trio.run(lambda: notifications.set_up(settings, queue_url=url, target_arn="", dry_run=dry_run))

    def configured() -> dict[str, Any]:
        found = s3.get_bucket_notification_configuration(Bucket=bucket)
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    before = configured()
    assert len(set_up(dry_run=True).changes) == 2
    assert configured() == before
    assert "Policy" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    done = set_up()
    assert [change.where for change in done.changes] == [f"policy of queue {url}", f"notifications of bucket {bucket}"]
    after = configured()
    assert [entry["QueueArn"] for entry in after["QueueConfigurations"]] == [other_arn, done.queue_arn]
    assert after["QueueConfigurations"][0] == before["QueueConfigurations"][0]
    assert set_up() == Outcome(bucket, done.queue_arn)
    for key in ("p/a b", "elsewhere"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    bodies = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [message["Body"] for message in messages]
    assert ["p%2Fa+b" in body for body in bodies if "Records" in body] == [True]


def test_a_target_that_is_named_by_its_arn(moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket, url = moto_server.create_bucket(), moto_server.create_queue()
    arn = f"arn:aws:sqs:us-east-1:123456789012:{url.rpartition('/')[2]}"
    settings = S3Settings(bucket=bucket, endpoint_url=moto_server.endpoint_url)
    outcome = trio.run(lambda: notifications.set_up(settings, queue_url="", target_arn=arn, dry_run=False))
    assert (outcome.queue_arn, len(outcome.changes)) == (arn, 1)
    attributes = moto_server.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert "Policy" not in attributes
