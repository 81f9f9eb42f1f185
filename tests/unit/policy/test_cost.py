"""What requests, objects and moves cost, to the last digit."""

import pytest

from tierfs.policy.classes import DAY_S, MONTH_S, RUNGS, ClassPrice, Speed
from tierfs.policy.cost import (
    Bill,
    Held,
    Month,
    PriceTable,
    Rates,
    RequestKind,
    RestorePrice,
    Savings,
    Traffic,
    Use,
    bill,
    bill_all,
    projection,
    rung_of,
    savings,
    storage_month,
)
from tierfs.units import GIB, KIB, NS_PER_S

TABLE = PriceTable(
    name="round",
    date="2025-01-31",
    currency="USD",
    list_1000=4.0,
    transfer_out_gib=0.5,
    local_gib_month=10.0,
    rates={
        "STANDARD": Rates(RUNGS["STANDARD"], storage_gib_month=2.0, write_1000=3.0, read_1000=1.0),
        "STANDARD_IA": Rates(
            RUNGS["STANDARD_IA"], storage_gib_month=1.0, write_1000=6.0, read_1000=2.0, retrieval_gib=0.25
        ),
        "INTELLIGENT_TIERING": Rates(
            RUNGS["INTELLIGENT_TIERING"], storage_gib_month=2.0, write_1000=3.0, read_1000=1.0, watch_1000_month=8.0
        ),
        "GLACIER": Rates(
            RUNGS["GLACIER"], storage_gib_month=0.5, write_1000=9.0, read_1000=1.0,
            restores={Speed.BULK: RestorePrice(), Speed.STANDARD: RestorePrice(100.0, 0.125)},
        ),
        "EXPRESS_ONEZONE": Rates(RUNGS["EXPRESS_ONEZONE"], storage_gib_month=8.0, write_1000=1.0, upload_gib=0.5),
    },
)  # fmt: skip
NOW_NS = 1_739_620_800 * NS_PER_S  # 2025-02-15 12:00 UTC


@pytest.mark.parametrize(
    ("kind", "storage_class", "expected"),
    [
        (RequestKind.PUT, "STANDARD", 6.0),
        (RequestKind.PUT, "STANDARD_IA", 12.0),
        (RequestKind.COPY, "STANDARD_IA", 12.0),
        (RequestKind.POST, "STANDARD", 6.0),
        (RequestKind.LIST, "STANDARD", 8.0),
        (RequestKind.LIST, "GLACIER", 8.0),
        (RequestKind.GET, "STANDARD", 2.0),
        (RequestKind.GET, "STANDARD_IA", 4.0),
        (RequestKind.HEAD, "STANDARD_IA", 4.0),
        (RequestKind.OTHER, "STANDARD", 2.0),
        (RequestKind.DELETE, "STANDARD_IA", 0.0),
        (RequestKind.GET, "A_CLASS_OF_NEXT_YEAR", 2.0),
    ],
)
def test_a_request_costs_by_its_kind_and_class(kind: RequestKind, storage_class: str, expected: float) -> None:
    assert bill(TABLE, Use(kind, storage_class), Traffic(2000), pays_transfer=True) == Bill(requests=expected)


def test_bytes_that_are_read_cost_their_retrieval_and_their_way_out() -> None:
    read = Traffic(1000, received_bytes=4 * GIB)
    assert bill(TABLE, Use(RequestKind.GET, "STANDARD_IA"), read, pays_transfer=True) == Bill(2.0, 1.0, 2.0)
    assert bill(TABLE, Use(RequestKind.GET, "STANDARD_IA"), read, pays_transfer=False) == Bill(2.0, 1.0, 0.0)


def test_bytes_that_are_sent_cost_where_a_class_takes_money_for_them() -> None:
    sent = Traffic(1000, sent_bytes=4 * GIB)
    assert bill(TABLE, Use(RequestKind.PUT, "STANDARD"), sent, pays_transfer=True) == Bill(3.0)
    assert bill(TABLE, Use(RequestKind.PUT, "EXPRESS_ONEZONE"), sent, pays_transfer=True) == Bill(3.0)


def test_a_restore_costs_by_its_speed() -> None:
    asked = Traffic(1000, received_bytes=8 * GIB)
    standard = bill(TABLE, Use(RequestKind.RESTORE, "GLACIER", "standard"), asked, pays_transfer=True)
    assert standard == Bill(100.0, 1.0)
    assert bill(TABLE, Use(RequestKind.RESTORE, "GLACIER", "bulk"), asked, pays_transfer=True) == Bill()
    assert TABLE.restore(8 * GIB, "GLACIER", Speed.STANDARD) == pytest.approx(1.1)


def test_a_sum_of_uses_is_billed_as_each() -> None:
    uses = [(Use(RequestKind.PUT), Traffic(1000)), (Use(RequestKind.LIST), Traffic(1000))]
    assert bill_all(TABLE, uses, pays_transfer=True) == Bill(7.0)
    assert Traffic(1, 2, 3) + Traffic(10, 20, 30) == Traffic(11, 22, 33)


def test_small_objects_are_billed_as_the_class_says() -> None:
    rung = rung_of("STANDARD_IA")
    held = Held().plus(rung, 28 * KIB).plus(rung, 200 * KIB)
    assert held == Held(2, 228 * KIB, 100 * KIB, 1)
    assert held.plus(rung, 28 * KIB, -1) == Held(1, 200 * KIB, 0, 1)
    assert rung_of("A_CLASS_OF_NEXT_YEAR") == RUNGS["STANDARD"]


def test_a_month_of_storage() -> None:
    held = {
        "STANDARD": Held(1, GIB, 0, 1),
        "STANDARD_IA": Held(8192, GIB // 2, GIB // 2, 0),
        "INTELLIGENT_TIERING": Held(2000, GIB, 0, 1000),
    }
    assert storage_month(TABLE, held) == 2.0 + 1.0 + 2.0 + 8.0
    assert TABLE.of("INTELLIGENT_TIERING").month(GIB) == 2.008


def test_tiering_saves_against_a_disk_for_all_and_against_standard_alone() -> None:
    held = {"STANDARD": Held(1, 2 * GIB, 0, 1), "GLACIER": Held(1, 6 * GIB, 0, 1)}
    assert savings(TABLE, held, tier_bytes=GIB) == Savings(
        actual=4.0 + 3.0 + 10.0, all_local=80.0, all_standard=16.0 + 10.0
    )


def test_a_tier_larger_than_all_data_saves_nothing_against_itself() -> None:
    found = savings(TABLE, {"STANDARD": Held(1, GIB, 0, 1)}, tier_bytes=4 * GIB)
    assert (found.all_local, found.actual) == (40.0, 42.0)


def test_a_move_costs_a_look_a_copy_and_the_bytes_that_it_reads() -> None:
    assert TABLE.move(4 * GIB, "STANDARD", "STANDARD_IA") == pytest.approx(0.001 + 0.006)
    assert TABLE.move(4 * GIB, "STANDARD_IA", "STANDARD") == pytest.approx(0.002 + 0.003 + 1.0)


def test_the_prices_that_a_move_is_weighed_with() -> None:
    assert TABLE.class_prices()["STANDARD_IA"] == ClassPrice(1.0, 6.0, 0.25)


def test_months_are_those_of_the_calendar_in_utc() -> None:
    month = Month.at(NOW_NS)
    assert (month.name, (month.stop_ns - month.start_ns) // NS_PER_S) == ("2025-02", 28 * DAY_S)
    assert Month.at(month.stop_ns).name == "2025-03"
    assert Month.at(month.stop_ns - 1).name == "2025-02"
    assert Month.at(1_735_689_599 * NS_PER_S).name == "2024-12"


def test_a_month_goes_on_as_it_began() -> None:
    month = Month.at(NOW_NS)  # half of it is over: 14.5 days are counted, 13.5 are left
    so_far = Bill(requests=14.5, transfer=29.0, storage=3.0)
    found = projection(so_far, 30.0, counted_from_ns=0, month=month, now_ns=NOW_NS)
    assert found is not None
    assert (found.requests, found.transfer) == pytest.approx((28.0, 56.0))
    assert found.storage == pytest.approx(3.0 + 30.0 * 13.5 * DAY_S / MONTH_S)


def test_who_counts_since_yesterday_projects_from_yesterday() -> None:
    counted_from_ns = NOW_NS - DAY_S * NS_PER_S
    found = projection(Bill(1.0), 0.0, counted_from_ns=counted_from_ns, month=Month.at(NOW_NS), now_ns=NOW_NS)
    assert found == Bill(requests=pytest.approx(14.5))


def test_a_minute_says_nothing_of_a_month() -> None:
    counted_from_ns = NOW_NS - 60 * NS_PER_S
    assert projection(Bill(1.0), 0.0, counted_from_ns=counted_from_ns, month=Month.at(NOW_NS), now_ns=NOW_NS) is None
