"""Where a queue's client goes. Nothing is contacted."""

from pathlib import Path

import pytest

from tierfs.objectstore.settings import S3Settings
from tierfs.objectstore.sqs import connect_sqs


@pytest.mark.parametrize(
    ("origin", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("https://sqs-fips.us-east-2.amazonaws.com", "us-east-2"),
        ("https://sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("https://sqs.eu-west-1.api.aws", "eu-west-1"),
        ("https://eu-west-3.queue.amazonaws.com", "eu-west-3"),
        ("https://vpce-1-2.sqs.us-east-1.vpce.amazonaws.com", "of-settings"),
        ("http://127.0.0.1:5000", "of-settings"),
    ],
)
def test_the_url_says_where_to_go(origin: str, region: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://elsewhere:1")
    client = connect_sqs(f"{origin}/123456789012/name", S3Settings(region="of-settings"))
    assert (client.meta.endpoint_url, client.meta.region_name) == (origin, region)
    client.close()
