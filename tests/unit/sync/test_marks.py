"""What was noted since a mark."""

from tierfs.sync.marks import Marks


def test_a_mark_taken_with_another_one_knows_what_that_knows() -> None:
    marks: Marks[int] = Marks(10)
    first = marks.begin()
    marks.note(1)
    later, twin = marks.begin(), marks.begin(first)
    assert marks.noted_since(first, 1) and marks.noted_since(twin, 1) and not marks.noted_since(later, 1)
    marks.end(first)
    assert marks.noted_since(twin, 1)


def test_nothing_is_kept_while_nobody_has_a_mark() -> None:
    marks: Marks[int] = Marks(10)
    marks.note(1)
    assert not marks.is_any
    mark = marks.begin()
    assert marks.is_any and not marks.noted_since(mark, 1)
    marks.note(1)
    marks.end(mark)
    assert not marks.noted_since(marks.begin(), 1)


def test_too_many_are_all_of_them() -> None:
    marks: Marks[int] = Marks(2)
    mark = marks.begin()
    marks.note(1, 2, 3)
    assert marks.noted_since(mark, 9) and not marks.noted_since(marks.begin(), 9)
