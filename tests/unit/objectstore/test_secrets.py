"""Which texts are secrets."""

from pathlib import Path

import pytest

from tierfs.objectstore.secrets import configured_secrets, secret_values


def test_names_say_what_is_secret() -> None:
    named = {"AWS_SECRET_ACCESS_KEY": "aaaa", "API_TOKEN": "bbbb", "HOME": "cccc", "DB_PASSWORD": "dddd", "KEY": "x"}
    assert secret_values(named) == {"aaaa", "bbbb", "dddd"}


def test_those_of_the_configuration_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    file.write_text("[one]\naws_secret_access_key = first\nregion = eu-west-1\n[two]\naws_session_token = second\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "absent"))
    assert configured_secrets() == {"first", "second"}


def test_files_that_cannot_be_read_hold_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    file.write_text("[one\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "absent"))
    assert configured_secrets() == set()
