"""tierfs iam: a policy from the settings in use."""

import json
from pathlib import Path
from typing import Any

import pytest

from tierfs.cli import tierfs
from tierfs.control.exitcodes import ExitCode

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/changes"


def policy(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert tierfs.main(["iam", *argv]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return {statement["Sid"]: statement for statement in document["Statement"]}


def test_what_the_settings_use_is_granted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tierfs.toml"
    file.write_text(
        f'[events]\nsource = "sqs"\nqueue_url = "{QUEUE}"\n[mount]\nread_only = true\n[archive]\nopen = "fail"\n'
    )
    found = policy(capsys, "s3://bucket/a/b/", "--config", str(file))
    assert set(found) == {"List", "Objects", "Events"}
    assert (
        found["Objects"]["Resource"] == "arn:aws:s3:::bucket/a/b/*" and "s3:PutObject" not in found["Objects"]["Action"]
    )


def test_what_is_asked_for_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    found = policy(capsys, "s3://bucket", "--undelete", "--restore", "--events-setup", "--kms-key", "arn:aws:kms:x")
    assert set(found) == {"List", "Objects", "Uploads", "Undelete", "Restore", "SetUpEvents", "Encryption"}


def test_a_directory_needs_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert tierfs.main(["iam", "file:///srv"]) == ExitCode.USAGE
    assert "permissions" in capsys.readouterr().err


def test_a_queue_that_has_no_arn_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    options = "events.source=sqs,events.queue_url=http://127.0.0.1:9324/1/q"
    assert tierfs.main(["iam", "s3://bucket", "-o", options]) == ExitCode.CONFIG
    assert "does not follow from its URL" in capsys.readouterr().err
