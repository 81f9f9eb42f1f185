"""Wrong usage names the right one, and help is in groups."""

import pytest

from tierfs.cli import tierctl, tierfs
from tierfs.control.exitcodes import ExitCode


@pytest.mark.parametrize(
    ("argv", "usage", "words"),
    [
        (["statsu"], "usage: tierctl ", "did you mean 'stats'?"),
        (["tasks", "lst"], "usage: tierctl tasks ", "did you mean 'list'?"),
        (
            ["conflicts", "resolve", "3", "--keep", "bukket"],
            "usage: tierctl conflicts resolve ",
            "did you mean 'bucket'?",
        ),
        (["qqqq"], "usage: tierctl ", "`tierctl --help` lists"),
        (["info"], "usage: tierctl info ", "PATH"),
        (["info", "a", "b"], "usage: tierctl ", "unrecognized arguments: b"),
    ],
)
def test_the_nearest_verb_and_its_usage(
    argv: list[str], usage: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        tierctl.main(argv)
    said = capsys.readouterr().err
    assert ended.value.code == ExitCode.USAGE and said.startswith(usage) and words in said


def test_so_does_the_other_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tierfs.main(["mout", "s3://b", "/mnt"])
    assert "did you mean 'mount'?" in capsys.readouterr().err


def test_help_lists_every_verb_below_its_heading() -> None:
    text = tierctl.parser().format_help()
    lines = [line for line in text.splitlines() if line.startswith("  ") and line.endswith(":")]
    assert lines[0] == "  a mount and its files:" and lines[-1] == "  running it:"
    assert text.index("  a mount and its files:") < text.index("    status ") < text.index("  running it:")
    assert text.index("  running it:") < text.index("    doctor ")
