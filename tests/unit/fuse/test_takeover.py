"""The commands that make the next daemon, or try it out."""

from tierfs.fuse.takeover import CHECK_ONLY, IN_BACKGROUND, check_command, command

ARGV = [
    "python3",
    "-P",
    "-m",
    "tierfs.cli.tierfs",
    "mount",
    "--foreground",
    "--status-fd=5",
    "-o",
    "ro",
    "--",
    "s",
    "d",
]


def test_nobody_waits_for_the_next_daemon_to_be_ready() -> None:
    assert command(ARGV) == [IN_BACKGROUND if word == "--status-fd=5" else word for word in ARGV]


def test_it_is_tried_out_with_the_same_words() -> None:
    for argv in (ARGV, command(ARGV)):
        words = check_command(argv)
        assert words[4:6] == ["mount", CHECK_ONLY] and words[-3:] == ["--", "s", "d"]
        assert "--status-fd=5" not in words and IN_BACKGROUND not in words
