"""The price table as a file: what the package has, and every mistake with its line."""

from pathlib import Path

import pytest

from tierfs.errors import ConfigError
from tierfs.policy.classes import RUNGS, Speed
from tierfs.policy.cost import RestorePrice
from tierfs.tiering import prices

HEAD = 'name = "mine"\ndate = "2025-01-31"\ncurrency = "EUR"\n'
STANDARD = "[classes.STANDARD]\nstorage_gib_month = 0.02\nwrite_1000 = 0.005\nread_1000 = 0.0004\n"


def loaded(tmp_path: Path, text: str) -> object:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    return prices.load(path)


def test_the_shipped_table_prices_every_class() -> None:
    table = prices.load()
    assert set(table.rates) == set(RUNGS)
    assert (table.name, table.currency) == ("AWS us-east-1, list prices", "USD")
    assert table.of("STANDARD").storage_gib_month == 0.023
    assert table.of("GLACIER").restores == {
        Speed.EXPEDITED: RestorePrice(10.0, 0.03),
        Speed.STANDARD: RestorePrice(0.05, 0.01),
        Speed.BULK: RestorePrice(),
    }


def test_the_shipped_minimums_are_those_of_the_ladder() -> None:
    assert {name: rates.rung for name, rates in prices.load().rates.items()} == dict(RUNGS)


def test_a_table_of_ones_own_says_what_it_wants_and_has_the_rest_from_the_ladder(tmp_path: Path) -> None:
    text = f"{HEAD}{STANDARD}minimum_days = 90\n[classes.GLACIER]\nstorage_gib_month = 0.004\n"
    table = loaded(tmp_path, f"{text}write_1000 = 0.03\nread_1000 = 0.0004\n")
    assert table.of("STANDARD").rung.minimum_s == 90 * 86400
    assert table.of("GLACIER").rung == RUNGS["GLACIER"]
    assert table.of("STANDARD_IA") is table.of("STANDARD")


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (HEAD, 0, "there is no [classes.STANDARD]"),
        (HEAD + "lst_1000 = 1\n" + STANDARD, 4, "lst_1000: unknown key; did you mean 'list_1000'?"),
        (HEAD + "list_1000 = -1\n" + STANDARD, 4, "list_1000: -1 is not a number of at least 0"),
        (HEAD + "list_1000 = nan\n" + STANDARD, 4, "list_1000: nan is not a number of at least 0"),
        (HEAD + 'list_1000 = "1"\n' + STANDARD, 4, "list_1000: '1' is not a number of at least 0"),
        (HEAD + "list_1000 = true\n" + STANDARD, 4, "list_1000: True is not a number of at least 0"),
        (HEAD.replace("2025-01-31", "2025-02-31") + STANDARD, 2, "date: '2025-02-31' is not a date"),
        (HEAD.replace("EUR", "Euro") + STANDARD, 3, "currency: 'Euro' is not a currency"),
        (HEAD.replace('"mine"', "7") + STANDARD, 1, "name: 7 is not a text in quotes"),
        (STANDARD, 0, "name is missing"),
        (HEAD + STANDARD.replace("write_1000 = 0.005\n", ""), 4, "[classes.STANDARD] write_1000 is missing"),
        (
            HEAD + STANDARD + "[classes.STANDARD-IA]\n",
            8,
            "'STANDARD-IA' is no storage class; there are EXPRESS_ONEZONE, STANDARD",
        ),
        (HEAD + STANDARD + "minimum_das = 3\n", 8, "[classes.STANDARD] minimum_das: unknown key; did you mean"),
        (HEAD + STANDARD + "[classes.STANDARD.restore.bulk]\n", 8, "'bulk' is no way to restore from it"),
        (HEAD + STANDARD + "restore = 3\n", 8, "[classes.STANDARD] restore: 3 is not a table"),
        (HEAD + "classes = 3\n", 4, "there is no [classes.STANDARD]"),
        (HEAD + "[classes]\nSTANDARD = 3\n", 5, "[classes] STANDARD: 3 is not a table"),
        (HEAD + "list_1000 =\n" + STANDARD, 4, "Invalid value"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/prices.toml:{line}: " if line else f"{tmp_path}/prices.toml: ")
    assert reason in message


def test_a_mistake_in_the_price_of_a_restore_is_told_with_its_line(tmp_path: Path) -> None:
    glacier = "[classes.GLACIER]\nstorage_gib_month = 0.004\nwrite_1000 = 0.03\nread_1000 = 0.0004\n"
    with pytest.raises(ConfigError, match=r"prices.toml:13: \[classes.GLACIER.restore.bulk\] gb: unknown key"):
        loaded(tmp_path, f"{HEAD}{STANDARD}{glacier}[classes.GLACIER.restore.bulk]\ngb = 1\n")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        prices.load(tmp_path / "none.toml")
