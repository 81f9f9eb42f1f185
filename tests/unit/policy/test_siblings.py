"""Which opens count as in order, and how many files that is worth."""

from tierfs.policy.siblings import Order, files_to_ask, follow


def test_opens_near_the_furthest_name_lengthen_the_order_and_others_end_it() -> None:
    order = Order(b"a")
    order = follow(order, b"c", is_near=True)
    order = follow(order, b"b", is_near=True)  # overtaken by another reader
    assert order == Order(b"c", 3)
    assert follow(order, b"z", is_near=False) == Order(b"z", 1)


def test_two_opens_are_not_an_order() -> None:
    assert files_to_ask(Order(b"a", 1), 0) == 0
    assert files_to_ask(Order(b"a", 2), 0) == 0
    assert files_to_ask(Order(b"a", 3), 0) == 6


def test_the_window_is_twice_the_opens_and_has_a_ceiling() -> None:
    for opens in range(3, 40):
        assert files_to_ask(Order(b"a", opens), 0) == min(32, 2 * opens)


def test_more_is_asked_for_when_half_the_window_was_opened() -> None:
    order = Order(b"a", 100)
    assert files_to_ask(order, 32) == 0
    assert files_to_ask(order, 17) == 0
    assert files_to_ask(order, 16) == 16
