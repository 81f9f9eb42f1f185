"""Where a connection goes and with whose credentials. Nothing is contacted: the region is always given."""

from pathlib import Path
from typing import Any

import pytest

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.s3_connection import Connection, RawHeaders, connect
from tierfs.objectstore.settings import S3Settings

SECRET = "a-secret-of-the-tests"


@pytest.fixture(autouse=True)
def only_these_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def opened(**changes: Any) -> tuple[str, bool]:
    """obstore's endpoint, and whether the bucket is in the host's name."""
    connection = connect(S3Settings(**{"bucket": "bucket", "region": "eu-west-1", **changes}))
    config = connection.objects.config
    connection.close()
    return str(config["endpoint"]), config["virtual_hosted_style_request"] in (True, "true")


@pytest.mark.parametrize(
    ("changes", "endpoint", "is_virtual"),
    [
        ({}, "https://bucket.s3.eu-west-1.amazonaws.com", True),
        ({"addressing": "path"}, "https://s3.eu-west-1.amazonaws.com", False),
        ({"bucket": "dots.in.it"}, "https://s3.eu-west-1.amazonaws.com", False),
        ({"endpoint_url": "http://s3.example.org:9000"}, "http://s3.example.org:9000", False),
        (
            {"endpoint_url": "https://s3.example.org", "addressing": "virtual"},
            "https://bucket.s3.example.org",
            True,
        ),
    ],
)
def test_both_clients_go_where_botocore_says(changes: dict[str, Any], endpoint: str, is_virtual: bool) -> None:
    assert opened(**changes) == (endpoint, is_virtual)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_of_the_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://from-environment:1")
    assert opened() == ("http://from-environment:1", False)


def test_the_setting_wins_over_the_environment_in_both_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://from-environment:1")
    connection = connect(S3Settings(bucket="bucket", region="r", endpoint_url="http://from-settings:2"))
    assert connection.client.meta.endpoint_url == "http://from-settings:2"
    assert connection.objects.config["endpoint"] == "http://from-settings:2"
    connection.close()


def shown(connection: Connection) -> str:
    parts = (connection, connection.objects, connection.objects.config, connection.wire, connection.settings)
    return " ".join(map(repr, parts))


def test_credentials_reach_obstore_by_callback_and_nobody_else() -> None:
    connection = connect(S3Settings(bucket="bucket", region="r"))
    provider: Any = connection.objects.credential_provider
    given = provider()
    assert (given["access_key_id"], given["secret_access_key"], given["token"]) == ("AKIATEST", SECRET, None)
    assert given["expires_at"].tzinfo is not None
    assert SECRET not in shown(connection)
    connection.close()


def test_anonymous_requests_need_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, check=lambda error: error.kind is StoreErrorKind.BAD_CREDENTIALS):
        connect(S3Settings(bucket="bucket", region="r"))
    connection = connect(S3Settings(bucket="bucket", region="r", anonymous=True))
    assert connection.objects.credential_provider is None
    connection.close()


def test_a_profile_that_does_not_exist() -> None:
    with pytest.raises(StoreError, check=lambda error: error.kind is StoreErrorKind.BAD_CREDENTIALS):
        connect(S3Settings(bucket="bucket", region="r", profile="nobody"))


def test_directory_buckets_are_refused() -> None:
    with pytest.raises(StoreError, check=lambda error: error.kind is StoreErrorKind.UNSUPPORTED):
        connect(S3Settings(bucket="b--usw2-az1--x-s3", region="r"))


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_body_is_signed_unless_tls_and_a_checksum_guard_it(scheme: str, checksums: bool) -> None:
    connection = connect(S3Settings(bucket="bucket", region="r", endpoint_url=f"{scheme}://server"))
    config = connection.with_checksums(checksums).objects.config
    assert (config["unsigned_payload"] in (True, "true")) == (scheme == "https" and checksums)
    assert ("checksum_algorithm" in config) == checksums
    connection.close()


def test_raw_headers_are_for_one_call() -> None:
    raw, params = RawHeaders(), {"headers": {"a": "1"}}
    with raw({"Expires": "0"}):
        raw.before_call(params)
    assert params == {"headers": {"a": "1", "Expires": "0"}}
    later: dict[str, Any] = {"headers": {}}
    raw.before_call(later)
    assert later == {"headers": {}}
