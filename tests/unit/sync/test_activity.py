"""What a listing may not believe because it was overtaken."""

from tierfs.sync.activity import Activity


def test_touched_after_the_mark_counts_and_before_does_not() -> None:
    activity = Activity()
    outer = activity.begin()
    activity.note("a/b/early")
    mark = activity.begin()
    activity.note("a/b/late")
    assert activity.touched_since(mark, "a/b/late")
    assert not activity.touched_since(mark, "a/b/early")
    assert activity.touched_since(outer, "a/b/early")
    assert not activity.touched_since(mark, "a/other")


def test_ancestors_of_a_touched_key_are_touched() -> None:
    activity = Activity()
    mark = activity.begin()
    activity.note("a/b/c/")
    assert activity.touched_since(mark, "a/b/c/")
    assert activity.touched_since(mark, "a/b/")
    assert activity.touched_since(mark, "a/")
    assert not activity.touched_since(mark, "a/b")


def test_touching_again_renews_for_a_later_mark() -> None:
    activity = Activity()
    first = activity.begin()
    activity.note("k")
    second = activity.begin()
    assert not activity.touched_since(second, "k")
    activity.note("k")
    assert activity.touched_since(second, "k")
    activity.end(first)
    assert activity.touched_since(second, "k")


def test_nothing_is_kept_when_nobody_lists() -> None:
    activity = Activity()
    activity.note("before")
    mark = activity.begin()
    assert not activity.touched_since(mark, "before")
    activity.note("k")
    activity.end(mark)
    assert not activity.touched_since(activity.begin(), "k")


def test_too_many_keys_make_older_marks_doubt_everything() -> None:
    activity = Activity(keys_max=3)
    old = activity.begin()
    for name in "abcd":
        activity.note(name)
    assert activity.touched_since(old, "never-touched")
    young = activity.begin()
    assert not activity.touched_since(young, "never-touched")
