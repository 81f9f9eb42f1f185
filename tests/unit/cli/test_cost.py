"""What people read of costs."""

import tomllib
from typing import Any

import pytest

from tests.unit.cli.test_tierctl import run, run_directory
from tierfs.cli import cost

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight

BILL = {"requests": 1.5, "retrieval": 0.0, "transfer": 0.25, "storage": 10.0, "total": 11.75}
TRAFFIC = {"requests": 1200, "sent_bytes": 2048, "received_bytes": 0, "cost": 1.5}
MONTH: dict[str, Any] = {
    "month": "2025-02",
    "counted_from_ns": 1_738_368_000_000_000_000,
    "prices": {"name": "AWS us-east-1, list prices", "date": "2025-06-01", "currency": "USD"},
    "pays_transfer": True,
    "path": "",
    "bill": BILL,
    "projection": {**BILL, "total": 23.5},
    "by_prefix": [{"prefix": f"a-rather-long-name-of-a-directory-{number}", **TRAFFIC} for number in range(10)],
    "by_kind": [{"kind": "put", "storage_class": "INTELLIGENT_TIERING", "speed": "", **TRAFFIC}],
    "storage": [{"storage_class": "STANDARD", "objects": 12, "size_bytes": 1 << 40, "month": 23.55}],
    "month_of_storage": 23.55,
    "month_of_all_local": 80.0,
    "month_of_all_standard": 31.5,
    "month_as_it_is": 30.0,
}
EXPLAINED: dict[str, Any] = {
    "command": "mv /mnt/data/a /mnt/data/b",
    "files": 3,
    "directories": 1,
    "unlisted": 2,
    "size_bytes": 4096,
    "cold_bytes": 1024,
    "archived": 1,
    "requests_cost": 0.0123456,
    "retrieval_cost": 0.0,
    "transfer_cost": 0.0,
    "early_end_cost": 2.5,
    "cost": 2.5123456,
    "storage_change_month": -0.25,
    "uses": [{"kind": "copy", "storage_class": "STANDARD_IA", "requests": 3, "bytes": 4096, "cost": 0.0123}],
    "currency": "USD",
    "prices": "AWS us-east-1, list prices, 2025-06-01",
}


def test_a_month() -> None:
    assert cost.month_text(MONTH).splitlines()[:7] == [
        "2025-02, counted since 2025-02-01, in USD",
        "           UNTIL NOW  AT THE END",
        "requests   1.50       1.50",
        "retrieval  0          0",
        "transfer   0.25       0.25",
        "storage    10.00      10.00",
        "total      11.75      23.50",
    ]


def test_a_month_fits_a_terminal_and_says_what_it_leaves_out() -> None:
    text = cost.month_text(MONTH)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "2 more" in text and "put INTELLIGENT_TIERING" in text
    assert "all of it in STANDARD, same hot tier  31.50" in text
    assert text.endswith("by AWS us-east-1, list prices, 2025-06-01")


def test_a_part_of_the_tree_has_requests_only_and_a_new_mount_no_end() -> None:
    text = cost.month_text({**MONTH, "path": "train", "projection": None})
    assert "storage" not in text and "an hour has to be counted" in text


def test_a_forecast() -> None:
    assert cost.explain_text(EXPLAINED).splitlines() == [
        "mv /mnt/data/a /mnt/data/b",
        "  what it is about        3 files, 1 directories, 4.0 KiB",
        "  not here                1.0 KiB",
        "  requests                0.012346",
        "  minimum durations       2.50",
        "  total                   2.51 USD",
        "  storage, every 30 days  -0.250000",
        "",
        "REQUEST           NUMBER  BYTES    COST",
        "copy STANDARD_IA  3       4.0 KiB  0.0123",
        "1 files are archived: they are restored first, which is not counted here",
        "2 directories were never listed: what is in them is not counted",
        "by AWS us-east-1, list prices, 2025-06-01",
    ]


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (12.345, "12.35"), (0.00125, "0.00125"), (1e-9, "<0.000001"), (0.5, "0.5"), (-3, "-3.00")],
)
def test_money(amount: float, text: str) -> None:
    assert cost.money(amount) == text


def test_the_price_table_can_be_taken_as_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "cost", "prices")
    assert code == 0 and tomllib.loads(out)["classes"]["STANDARD"]["storage_gib_month"] == 0.023
