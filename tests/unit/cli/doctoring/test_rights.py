"""The rights that `tierfs iam` names, given to a user of a server that enforces them: enough, and each needed.

The server (moto) does not look at conditions, so the one on the prefix is not played here.
"""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.moto_server import REGION, MotoServer
from tierfs.cli.doctoring import report
from tierfs.cli.doctoring.report import Subject
from tierfs.policy.diagnosis import Severity
from tierfs.policy.iam import Use, policy


def enforce(server: MotoServer, *, requests_before: str) -> None:
    """From now on, or never."""
    url = f"{server.endpoint_url}/moto-api/reset-auth"
    plain = {"Content-Type": "text/plain"}
    with urllib.request.urlopen(urllib.request.Request(url, requests_before.encode(), plain, method="POST")):
        pass


@pytest.fixture
def enforcing(moto_server: MotoServer) -> Iterator[MotoServer]:
    yield moto_server
    enforce(moto_server, requests_before="inf")


@pytest.mark.parametrize(
    ("without", "refused"),
    [
        ("", set()),
        ("s3:ListBucket", {"bucket-list"}),
        ("s3:GetObject", {"bucket-head", "bucket-get", "bucket-multipart"}),  # a rewrite keeps what others put there
        ("s3:PutObject", {"bucket-put", "bucket-multipart"}),
        ("s3:DeleteObject", {"bucket-delete"}),
    ],
)
def test_each_right_is_enough_and_needed(
    enforcing: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: str, refused: set[str]
) -> None:
    bucket, iam = enforcing.create_bucket(), enforcing.client("iam")
    document = policy(Use(bucket=bucket, prefix="a/"))
    for statement in document["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action != without] or ["s3:None"]
    iam.create_user(UserName=bucket)
    iam.put_user_policy(UserName=bucket, PolicyName="tierfs", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=bucket)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    enforce(enforcing, requests_before="0")
    subject = Subject(
        source=f"s3://{bucket}/a", cache=str(tmp_path), options={"store.endpoint_url": enforcing.endpoint_url}
    )
    found = [one for one in report.examine(subject).findings if one.check.startswith("bucket-")]
    assert {one.check for one in found if one.severity is Severity.ERROR} == refused
    assert all("tierfs iam" in one.action for one in found if one.check in refused)
