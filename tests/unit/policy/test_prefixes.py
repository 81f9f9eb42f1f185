"""Which rule a path has."""

import pytest

from tierfs.policy.prefixes import Mode, Rule, Rules

DEFAULT = Rule((), Mode.WRITE_BACK, 5.0)


def names(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")) if path else ()


def rules(*rows: tuple[str, Mode]) -> Rules:
    return Rules(DEFAULT, tuple(Rule(names(path), mode, 1.0) for path, mode in rows))


@pytest.mark.parametrize(
    ("pattern", "named", "others"),
    [
        ("a", ["a", "a/b", "a/b/c"], ["", "b", "ab", "b/a"]),
        ("a/b", ["a/b", "a/b/c"], ["a", "a/c", "b"]),
        ("*.tmp", ["x.tmp", ".tmp", "x.tmp/y"], ["a/x.tmp", "x.tmpx", "x"]),
        ("**/*.tmp", ["x.tmp", "a/x.tmp", "a/b/x.tmp/y"], ["a", "a/x"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z/d"], ["a", "a/b", "z"]),
        ("run-[0-9]/?", ["run-1/x", "run-1/x/y"], ["run-a/x", "run-1", "run-1/xy"]),
        ("**", ["a", "a/b"], [""]),
        ("\udcff*", ["\udcff", "\udcffa"], ["ÿ"]),
        ("A", ["A"], ["a"]),
    ],
)
def test_a_pattern_names_what_has_the_path_and_all_below(pattern: str, named: list[str], others: list[str]) -> None:
    found = rules((pattern, Mode.ON_CLOSE))
    assert [path for path in named if found.of(names(path)).mode is not Mode.ON_CLOSE] == []
    assert [path for path in others if found.of(names(path)) is not DEFAULT] == []


def test_whether_anything_is_ignored() -> None:
    assert rules(("a", Mode.READ_ONLY), ("b", Mode.IGNORE)).ignores_some
    assert not rules(("a", Mode.READ_ONLY), ("b", Mode.ON_CLOSE)).ignores_some


def test_the_first_that_names_a_path_counts() -> None:
    found = rules(("a/b", Mode.WRITE_BACK), ("a", Mode.READ_ONLY), ("**", Mode.ON_CLOSE))
    expected = {"a/b/c": Mode.WRITE_BACK, "a/c": Mode.READ_ONLY, "b": Mode.ON_CLOSE, "": Mode.WRITE_BACK}
    assert {path: found.of(names(path)).mode for path in expected} == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("", True), ("a", True), ("a/x", True), ("a/x/b", False), ("a/x/b/c", False), ("b", False), ("a/x/c", False)],
)
def test_what_may_not_change_lies_below(path: str, expected: bool) -> None:
    found = rules(("a/*/b", Mode.READ_ONLY), ("b/c", Mode.ON_CLOSE), ("**/c", Mode.READ_ONLY))
    assert found.has_below(names(path), Mode.READ_ONLY) is expected
