"""Manual pages and completions, by the programs that will read them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tierfs.cli import manual, tierctl


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("share")
    assert manual.main([str(directory)]) == 0
    return directory


@pytest.mark.parametrize("name", ["tierfs", "tierctl"])
def test_pages_can_be_set(share: Path, name: str) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    page = share / f"man/man1/{name}.1"
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", page], capture_output=True, text=True, timeout=60, check=True
    )
    assert not [line for line in done.stderr.splitlines() if "error" in line]


def test_every_verb_has_its_place(share: Path) -> None:
    page = (share / "man/man1/tierctl.1").read_text().replace("\\-", "-")
    for verb in ("status", "tasks", "restart", "doctor"):
        assert f"tierctl {verb}" in page
    assert tierctl.parser().format_help().splitlines()[2] in page


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["tierctl", "conf"], {"conflicts", "config"}),
        (["tierctl", "config", "s"], {"show", "set"}),
        (["tierctl", "doctor", "--bu"], {"--bundle"}),
        (["tierfs", "um"], {"umount"}),
    ],
)
def test_bash_completes(share: Path, words: list[str], found: set[str]) -> None:
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; '
        "_shtab_$1; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    completion = share / f"bash-completion/completions/{words[0]}"
    done = subprocess.run(
        ["bash", "-c", script, "bash", completion, *words], capture_output=True, text=True, timeout=30, check=True
    )
    assert found <= set(done.stdout.split())
