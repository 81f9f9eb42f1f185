"""From a command line to what it would do."""

import pytest

from tierfs.cli.costcommand import Step, parse
from tierfs.control.exitcodes import ExitCode, ExitError


def steps(command: str) -> list[Step]:
    return list(parse(command, lambda path: path.startswith("/m"), lambda path: path in ("/m/dir", "/m")))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("mv /m/a /m/b", [Step("move", "/m/a"), Step("attributes", "/m", False)]),
        (
            "mv -v /m/x/a /m/y/b /m/dir",
            [
                Step("move", "/m/x/a"),
                Step("move", "/m/y/b"),
                Step("attributes", "/m/x", False),
                Step("attributes", "/m/y", False),
                Step("attributes", "/m/dir", False),
            ],
        ),
        ("mv /m/a /tmp/b", [Step("read", "/m/a"), Step("remove", "/m/a"), Step("attributes", "/m", False)]),
        ("cp -r /m/a /m/dir", [Step("copy", "/m/a", True), Step("attributes", "/m/dir", False)]),
        ("cp /m/a /tmp/b", [Step("read", "/m/a", False)]),
        ("rm -rf '/m/with space'", [Step("remove", "/m/with space", True), Step("attributes", "/m", False)]),
        ("rm /m/a", [Step("remove", "/m/a", False), Step("attributes", "/m", False)]),
        ("/bin/chmod -R u+w,g-x /m/d /m/e", [Step("attributes", "/m/d"), Step("attributes", "/m/e")]),
        ("chmod 600 /m/d", [Step("attributes", "/m/d", False)]),
        ("chown --reference=/m/x /m/d", [Step("attributes", "/m/d", False)]),
        ("touch -d '2 days ago' /m/d", [Step("attributes", "/m/d", False)]),
        ("setfattr -n user.a -v 1 /m/d", [Step("attributes", "/m/d", False)]),
        ("cat /m/a /m/b", [Step("read", "/m/a", False), Step("read", "/m/b", False)]),
        ("grep -r word /m/d", [Step("read", "/m/d", True)]),
        ("cat -- /m/-a", [Step("read", "/m/-a", False)]),
        ("warm /m/d", [Step("warm", "/m/d")]),
        ("tierctl release /m/d", [Step("release", "/m/d")]),
        ("tierctl archive /m/d", [Step("archive", "/m/d", True, "GLACIER")]),
        ("archive --class DEEP_ARCHIVE /m/d", [Step("archive", "/m/d", True, "DEEP_ARCHIVE")]),
        ("restore --speed=standard /m/d", [Step("restore", "/m/d", True, "", "standard")]),
    ],
)
def test_a_command_is_understood(command: str, expected: list[Step]) -> None:
    assert steps(command) == expected


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("", "what 'nothing' costs is not known; known: chmod"),
        ("dd if=/m/a", "what 'dd' costs is not known"),
        ("mv 'a", "No closing quotation"),
        ("mv /m/a", "mv: two paths are missing"),
        ("chmod 600", "chmod: a path is missing"),
        ("cat /m/a | wc", "without pipes"),
        ("cp /tmp/a /m/b", "/tmp/a is in no mount"),
        ("chmod 600 /tmp/a", "/tmp/a is in no mount"),
    ],
)
def test_what_is_not_understood_is_said(command: str, reason: str) -> None:
    with pytest.raises(ExitError) as caught:
        steps(command)
    assert caught.value.code is ExitCode.USAGE and reason in str(caught.value)
