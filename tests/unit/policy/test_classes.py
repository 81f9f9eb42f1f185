"""Who may move to whom, and whether it pays."""

import pytest

from tierfs.objectstore.base import StorageClass
from tierfs.policy.classes import (
    DAY_S,
    LADDER,
    RUNGS,
    Abilities,
    ClassPrice,
    Holding,
    Speed,
    balance,
    is_archive,
    refusal,
    restore_times_s,
    speed_of,
)
from tierfs.units import GIB, KIB, NS_PER_S

PRICES = {
    "STANDARD": ClassPrice(0.023, 0.005),
    "STANDARD_IA": ClassPrice(0.0125, 0.01, 0.01),
    "GLACIER": ClassPrice(0.0036, 0.03, 0.0),
    "DEEP_ARCHIVE": ClassPrice(0.00099, 0.05, 0.0),
}
NOW_NS = 1_000 * DAY_S * NS_PER_S


def held(size_bytes: int, storage_class: str = "STANDARD", *, days: float = 400, been_days: float = 200) -> Holding:
    return Holding(size_bytes, storage_class, NOW_NS - int(been_days * DAY_S) * NS_PER_S, days * DAY_S)


def pays(holding: Holding, target: str) -> bool:
    found = balance(holding, target, PRICES, NOW_NS)
    assert found is not None
    return found.pays


def test_the_ladder_has_the_classes_of_the_stores() -> None:
    assert {rung.name for rung in LADDER} == {each.value for each in StorageClass}
    assert [rung.name for rung in LADDER if rung.is_archive] == ["GLACIER", "DEEP_ARCHIVE"]


def test_moves_that_can_be() -> None:
    for source in ("STANDARD", "STANDARD_IA", "GLACIER_IR", "INTELLIGENT_TIERING", "GLACIER"):
        for target in set(RUNGS) - {source, "EXPRESS_ONEZONE"}:
            assert refusal(source, target, Abilities()) == "", (source, target)


@pytest.mark.parametrize(
    ("source", "target", "abilities", "is_archived", "words"),
    [
        ("STANDARD", "COLD", Abilities(), False, "no storage class"),
        ("GLACIER", "GLACIER", Abilities(), True, "already"),
        ("GLACIER", "STANDARD", Abilities(), True, "restore it first"),
        ("STANDARD", "EXPRESS_ONEZONE", Abilities(), False, "directory bucket"),
        ("EXPRESS_ONEZONE", "STANDARD", Abilities(), False, "directory bucket"),
        ("STANDARD", "STANDARD_IA", Abilities(keeps_classes=False), False, "knows no storage classes"),
        ("STANDARD", "STANDARD_IA", Abilities(changes_classes=False), False, "does not change"),
        ("STANDARD", "GLACIER", Abilities(restores=False), False, "could not be read again"),
    ],
)
def test_moves_that_cannot(source: str, target: str, abilities: Abilities, is_archived: bool, words: str) -> None:
    assert words in refusal(source, target, abilities, is_archived=is_archived)


def test_a_store_that_restores_nothing_takes_what_is_read_at_once() -> None:
    assert refusal("STANDARD", "GLACIER_IR", Abilities(restores=False)) == ""


def test_how_long_restores_take() -> None:
    assert restore_times_s("GLACIER")[Speed.EXPEDITED] == 300
    assert restore_times_s("DEEP_ARCHIVE")[Speed.BULK] == 48 * 3600
    assert restore_times_s("INTELLIGENT_TIERING") == {} == restore_times_s("STANDARD") == restore_times_s("OF_OTHERS")
    assert restore_times_s("INTELLIGENT_TIERING", "ARCHIVE_ACCESS") == restore_times_s("GLACIER")
    assert speed_of("DEEP_ARCHIVE", "", Speed.EXPEDITED) is Speed.STANDARD
    assert speed_of("GLACIER", "", Speed.EXPEDITED) is Speed.EXPEDITED
    assert is_archive("DEEP_ARCHIVE") and not is_archive("GLACIER_IR")


def test_a_large_object_that_rests_for_a_year_pays() -> None:
    assert pays(held(10 * GIB), "STANDARD_IA") and pays(held(10 * GIB), "DEEP_ARCHIVE")


def test_a_small_object_does_not_pay() -> None:
    assert not pays(held(KIB), "STANDARD_IA"), "it is billed as 128 KiB"
    assert not pays(held(4 * KIB), "DEEP_ARCHIVE"), "40 KiB are added to it"


def test_what_is_touched_soon_does_not_pay() -> None:
    assert pays(held(GIB, days=30), "STANDARD_IA")
    assert not pays(held(GIB, days=10), "STANDARD_IA"), "30 days are paid for"
    assert not pays(held(GIB, days=5), "DEEP_ARCHIVE"), "180 days are paid for"


def test_leaving_a_class_early_costs_what_is_left_of_its_least_time() -> None:
    early = balance(held(GIB, "STANDARD_IA", been_days=1), "GLACIER", PRICES, NOW_NS)
    late = balance(held(GIB, "STANDARD_IA", been_days=31), "GLACIER", PRICES, NOW_NS)
    assert early is not None and late is not None
    assert early.cost - late.cost == pytest.approx(0.0125 * 29 / 30)
    assert late.cost == pytest.approx(0.03 / 1000 + 0.01)


def test_without_a_price_nothing_can_be_said() -> None:
    assert balance(held(GIB), "GLACIER_IR", PRICES, NOW_NS) is None
    assert balance(held(GIB, "OF_OTHERS"), "GLACIER", PRICES, NOW_NS) is None
