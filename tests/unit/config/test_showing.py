"""The settings in use, beside their defaults."""

import pytest

from tierfs.config import Settings, load
from tierfs.config.sections import changed, value_of
from tierfs.config.showing import rows


def test_each_setting_is_a_row_and_says_whether_it_was_changed() -> None:
    found = {row.key: row for row in rows(load(None, {"export.quiet_s": "90s", "import.scan": "true"}))}
    assert (found["export.quiet_s"].value, found["export.quiet_s"].default) == ("90s".join('""'), '"5s"')
    assert not found["export.quiet_s"].is_default and found["import.scan"].value == "true"
    assert [row.key for row in found.values() if not row.is_default] == ["export.quiet_s", "import.scan"]


def test_what_is_automatic_says_so() -> None:
    found = {row.key: row for row in rows(Settings())}
    assert found["hot_tier.size_bytes"].value == found["mount.uid"].value == '"auto"'
    sized = {row.key: row for row in rows(load(None, {"hot_tier.size_bytes": "2GiB"}))}
    assert sized["hot_tier.size_bytes"].value == '"2GiB"'


def test_one_value_is_exchanged() -> None:
    settings = changed(Settings(), "import.revalidate_s", 5.0)
    assert value_of(settings, "import.revalidate_s") == 5.0 and settings.export == Settings().export
    with pytest.raises(ValueError, match="at least"):
        changed(Settings(), "export.concurrency", 0)
