"""What goes into the archive for support, and that no secret does."""

import json
import tarfile
from pathlib import Path

import pytest

from tierfs.cli.doctoring import bundle
from tierfs.cli.doctoring.bundle import Redactor
from tierfs.cli.doctoring.report import Report, Subject
from tierfs.config import Settings
from tierfs.control import registry
from tierfs.control.exitcodes import ExitError

PLANTED = {
    "environment": "planted-env-2f41",
    "config": "planted-conf-77aa",
    "log": "planted-log-9c1e",
    "url": "planted-url-51d0",
    "file": "planted-token-e88b",
    "profile": "planted-profile-3b2c",
}


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """A report over a configuration, a log, an environment and files that all hold secrets."""
    token = tmp_path / "token"
    token.write_text(f"{PLANTED['file']}\n")
    credentials = tmp_path / "credentials"
    credentials.write_text(
        f"[default]\naws_access_key_id = AKIAABCDEFGHIJKLMNOP\naws_secret_access_key = {PLANTED['profile']}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED["environment"])
    config = tmp_path / "tierfs.toml"
    config.write_text(
        f'[store]\nendpoint_url = "https://me:{PLANTED["url"]}@s3.example.org"\n# password = {PLANTED["config"]}\n'
    )
    log = tmp_path / "cache" / "tierfs.log"
    log.parent.mkdir()
    log.write_text(
        "INFO an ordinary line\n"
        f"GET https://b.example/k?X-Amz-Signature={PLANTED['log']}&a=1\n"
        f"posted with {PLANTED['file']}, signed with {PLANTED['environment']} and {PLANTED['profile']}\n"
    )
    entry = registry.Entry("0" * 16, str(tmp_path / "mnt"), str(tmp_path / "s"), 1, "s3://b", str(log.parent))
    found = Report(Subject(entry=entry, config_file=str(config)), Settings())
    found.daemon_settings = {"events.token_file": f'"{token}"'}
    return found


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {
            member.name.removeprefix("tierfs-support/"): file.read().decode()
            for member in archive.getmembers()
            if (file := archive.extractfile(member)) is not None
        }


def test_a_bundle_holds_no_secret(planted: Report, tmp_path: Path) -> None:
    target = tmp_path / "support.tar.gz"
    bundle.write(planted, target)
    texts = contents(target)
    whole = "\n".join(texts.values())
    assert not [where for where, secret in PLANTED.items() if secret in whole]
    assert "an ordinary line" in texts["log.txt"] and "s3.example.org" in texts["tierfs.toml"]
    assert "AWS_SECRET_ACCESS_KEY" in texts["environment.txt"].splitlines()
    assert "tierfs 0." in texts["packages.txt"] and "/proc/version" in texts["machine.txt"]
    assert json.loads(texts["report.json"])["source"] == "s3://b"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_bundle_does_not_replace_a_file(planted: Report, tmp_path: Path) -> None:
    target = tmp_path / "support.tar.gz"
    target.write_text("mine")
    with pytest.raises(ExitError, match="File exists"):
        bundle.write(planted, target)
    assert target.read_text() == "mine"


def test_secrets_are_found_in_every_spelling() -> None:
    redact = Redactor(['a/b"c+d', "a/b"])
    assert redact('plain a/b"c+d url a%2Fb%22c%2Bd json a/b\\"c+d, and a/b') == "plain *** url *** json ***, and ***"
    assert redact("https://token@host/x") == "https://***@host/x"
