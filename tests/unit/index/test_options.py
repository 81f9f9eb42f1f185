"""Settings that cannot work are refused where they are made, and states are told."""

from typing import Any

import pytest

from tierfs.index.options import IndexSettings, IndexState, tell


def test_the_defaults_reserve_much_address_space_and_little_disk() -> None:
    settings = IndexSettings()
    assert settings.map_size_bytes == 1 << 40
    assert settings.journal_segments * settings.journal_segment_bytes == 64 << 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"map_size_bytes": 1 << 20},
        {"journal_segment_bytes": 4096},
        {"journal_segments": 1},
        {"max_uncommitted_changes": 0},
        {"node": 0x8000},
        {"node": -1},
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        IndexSettings(**wrong)


@pytest.mark.parametrize(
    ("state", "words"),
    [(IndexState.STALLED, "Make room"), (IndexState.READ_ONLY, "until the next mount"), (IndexState.HEALTHY, "again")],
)
def test_a_change_of_state_is_told_with_what_to_do(
    caplog: pytest.LogCaptureFixture, state: IndexState, words: str
) -> None:
    caplog.set_level("INFO")
    tell(state, "no space left")
    assert words in caplog.text


def test_a_clean_end_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    tell(IndexState.CLOSED, "")
    assert not caplog.records
