"""The rules of the house as tests: sizes, docstrings, layers, what must not be in the tree.

An exception stands in a table below with its reason. A reason that is no longer needed fails, too.
"""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tierfs.telemetry.events import EVENTS, table
from tierfs.telemetry.logs import EVENT_CODE

REPO = Path(__file__).parents[2]
FILE_LIMIT_LINES = 500
FUNCTION_LIMIT_LINES = 60

LONG_FILES = {"tests/unit/sync/test_exporter.py": "one table of cases over one engine"}
LONG_FUNCTIONS: dict[str, str] = {}

STAR_IMPORTS = {"tests/conformance/test_memstore.py": "runs the tests of the one suite for a store of its own"}

# modules that no test imports by name: where they are tested all the same
TESTED_ELSEWHERE = {
    "tierfs/config/checking.py": "tests/unit/test_config.py",
    "tierfs/cli/fsckoptions.py": "tests/unit/cli/test_fsck.py",
    "tierfs/cli/filelists.py": "tests/unit/cli/test_classes.py",
    "tierfs/cli/grammar.py": "tests/unit/cli/test_tierctl.py",
    "tierfs/cli/syncing.py": "tests/unit/cli/test_tierctl.py",
    "tierfs/cli/doctoring/store.py": "tests/unit/cli/doctoring/test_report.py",
    "tierfs/config/archive.py": "tests/unit/test_config.py",
    "tierfs/config/money.py": "tests/unit/test_config.py",
    "tierfs/config/operating.py": "tests/unit/test_config.py",
    "tierfs/content/archive.py": "tests/unit/tiering/test_opening.py",
    "tierfs/content/brake.py": "tests/unit/content/test_lending.py",
    "tierfs/content/fetch.py": "tests/unit/content/test_reader.py",
    "tierfs/content/ledger.py": "tests/unit/content/test_writer.py",
    "tierfs/content/live.py": "tests/unit/content/test_writer.py",
    "tierfs/content/ranks.py": "tests/unit/content/test_ranks.py",
    "tierfs/content/loans.py": "tests/unit/content/test_lending.py",
    "tierfs/content/reclaim.py": "tests/unit/content/test_tier_full.py",
    "tierfs/content/tiercheck.py": "tests/unit/content/test_checkup.py",
    "tierfs/control/archiving.py": "tests/mount/test_archive.py",
    "tierfs/control/costverbs.py": "tests/mount/test_cost.py",
    "tierfs/control/desk.py": "tests/mount/test_commands.py",
    "tierfs/control/inspector.py": "tests/mount/test_commands.py",
    "tierfs/control/stopping.py": "tests/mount/test_commands.py",
    "tierfs/daemon.py": "tests/mount/test_commands.py",
    "tierfs/fuse/kernel.py": "tests/mount/test_passthrough.py",
    "tierfs/fuse/session.py": "tests/mount/test_posix.py",
    "tierfs/memory.py": "tests/mount/test_commands.py",
    "tierfs/namespace/cookies.py": "tests/unit/test_filesystem.py",
    "tierfs/namespace/unlinked.py": "tests/unit/sync/test_aside.py",
    "tierfs/sync/attempts.py": "tests/unit/sync/test_exporter.py",
    "tierfs/objectstore/s3_billing.py": "tests/conformance/test_billing.py",
    "tierfs/sync/deletes.py": "tests/unit/sync/test_exporter.py",
    "tierfs/sync/hardlinks.py": "tests/unit/sync/test_exporter.py",
    "tierfs/sync/linkwriter.py": "tests/unit/sync/test_exporter.py",
    "tierfs/sync/listing.py": "tests/unit/sync/test_importer.py",
    "tierfs/sync/bell.py": "tests/mount/test_cold.py",
    "tierfs/sync/looking.py": "tests/unit/sync/test_eventfeed.py",
    "tierfs/sync/reconcile.py": "tests/unit/sync/test_exporter.py",
    "tierfs/sync/proofs.py": "tests/unit/sync/test_verifying.py",
    "tierfs/sync/records.py": "tests/unit/sync/test_exporter.py",
    "tierfs/sync/subtree.py": "tests/unit/sync/test_jobs.py",
    "tierfs/sync/vanished.py": "tests/unit/sync/test_guard.py",
    "tierfs/tiering/rules.py": "tests/unit/tiering/test_rulebook.py",
    "tierfs/translation.py": "tests/mount/test_commands.py",
}


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository that match; work in progress that nobody has added yet is not judged."""
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=REPO, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := REPO / name).is_file()]


def relative(path: Path) -> str:
    return str(path.relative_to(REPO))


def parsed(*patterns: str) -> Iterator[tuple[str, ast.Module]]:
    for path in tracked(*patterns):
        yield relative(path), ast.parse(path.read_text())


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_are_short_or_say_why() -> None:
    lengths = {
        relative(path): len(path.read_text().splitlines()) for path in tracked("*.py", "*.c", "*.h", "*.sh", ".ci/run")
    }
    long = {name for name, lines in lengths.items() if lines > FILE_LIMIT_LINES}
    assert long == set(LONG_FILES), f"over {FILE_LIMIT_LINES} lines, against those with a reason"


def test_functions_are_short_or_say_why() -> None:
    long = {
        f"{name}:{node.name}"
        for name, tree in parsed("*.py")
        for node in functions(tree)
        if node.end_lineno is not None and node.end_lineno - node.lineno >= FUNCTION_LIMIT_LINES
    }
    assert long == set(LONG_FUNCTIONS), f"over {FUNCTION_LIMIT_LINES} lines, against those with a reason"


def test_the_library_does_not_print() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in parsed("tierfs/*.py")
        if not name.startswith("tierfs/cli/") and not name.endswith("__main__.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not found


def logged_codes(call: ast.Call) -> set[str]:
    """The event codes in the `extra` of a call of a logger."""
    extra = next((keyword.value for keyword in call.keywords if keyword.arg == "extra"), None)
    texts = {node.value for node in ast.walk(extra) if isinstance(node, ast.Constant)} if extra is not None else set()
    return {text for text in texts if isinstance(text, str) and EVENT_CODE.fullmatch(text)}


def test_every_warning_has_a_code_that_the_catalogue_explains() -> None:
    """Operators search for codes and alert on them: extra={"event": "TFS...."}, explained in telemetry/events.py."""
    silent, used = [], set()
    for name, tree in parsed("tierfs/*.py"):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if ast.unparse(node.func.value) not in ("log", "_log"):
                continue
            used |= logged_codes(node)
            if node.func.attr in ("warning", "error", "exception", "critical") and not logged_codes(node):
                silent.append(f"{name}:{node.lineno}")
    assert not silent, "a warning or error without a code"
    assert used == set(EVENTS), "codes that are used, against those in tierfs/telemetry/events.py"


def test_readme_has_the_table_of_codes() -> None:
    assert table() in (REPO / "README.md").read_text(), f"README.md must have this table:\n{table()}"


def test_nobody_imports_everything() -> None:
    found = {
        name
        for name, tree in parsed("*.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    }
    assert found == set(STAR_IMPORTS)


def test_every_module_says_what_it_is() -> None:
    silent = [name for name, tree in parsed("*.py") if not ast.get_docstring(tree) and Path(REPO / name).stat().st_size]
    assert not silent
    promised = [name for name, tree in parsed("tierfs/*.py") if "docstring pending" in (ast.get_docstring(tree) or "")]
    assert not promised, "a docstring that promises one"


def test_public_names_of_the_library_are_described() -> None:
    """Classes, and functions of a module, but not methods that only carry out a described interface."""
    silent = [
        f"{name}:{node.name}"
        for name, tree in parsed("tierfs/*.py")
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent


def test_methods_of_an_interface_are_described() -> None:
    silent = [
        f"{name}:{node.name}.{method.name}"
        for name, tree in parsed("tierfs/*.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("Protocol") for base in node.bases)
        for method in functions(node)
        if not method.name.startswith("_") and not ast.get_docstring(method)
    ]
    assert not silent


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules of tierfs that a file imports, as paths."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            yield f"{name.replace('.', '/')}.py"


def test_every_module_is_tested() -> None:
    """By tests that mirror its place, by one that imports it, or where the table says."""
    in_tests = {module for _, tree in parsed("tests/*.py") for module in imported(tree)}
    missing = []
    for name in map(relative, tracked("tierfs/*.py")):
        module = Path(name)
        mirror = Path("tests/unit", *module.parts[1:-1], f"test_{module.name}")
        is_told = name in TESTED_ELSEWHERE or f"{module.parent}/" in TESTED_ELSEWHERE
        is_tested = name in in_tests or is_told or (REPO / mirror).exists()
        if module.name not in ("__init__.py", "__main__.py") and not is_tested:
            missing.append(f"{name}: no {mirror}, and no test imports it")
    assert not missing, "\n".join(missing)
    stale = [
        name
        for name, home in TESTED_ELSEWHERE.items()
        if name in in_tests or not (REPO / home).exists() or not (REPO / name).exists()
    ]
    assert not stale, "exceptions that are needed no more, or lead nowhere"


def test_imports_only_go_down() -> None:
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or "lint-imports"
    done = subprocess.run([program, "--no-cache"], cwd=REPO, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_layers_name_every_package() -> None:
    """import-linter cannot be told of a module before it exists; once it does, each of its contracts must know it."""
    exempt = {
        "only the FUSE front knows pyfuse3": {"fuse"},
        "only the index knows lmdb": {"index", "policy", "fuse", "control"},
        "only the object stores know obstore and boto3": {"objectstore", "policy"},
    }
    packages = [
        "filesystem",
        "sync",
        "tiering",
        "content",
        "namespace",
        "index",
        "objectstore",
        "hottier",
        "policy",
        "control",
        "fuse",
    ]
    there = {name for name in packages if (REPO / "tierfs" / name).is_dir() or (REPO / f"tierfs/{name}.py").exists()}
    contracts = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {contract["name"]: contract for contract in contracts}
    for name, without in exempt.items():
        assert set(named[name]["source_modules"]) == {f"tierfs.{package}" for package in there - without}, name
    pure = {f"tierfs.{name}" for name in ("clock", "config", "telemetry") if list((REPO / "tierfs").glob(f"{name}*"))}
    assert pure <= set(named["policy is pure"]["forbidden_modules"])
    if (REPO / "tierfs/cli/tierctl.py").exists():
        assert "tierfs.daemon" in named["tierctl starts without the daemon"]["forbidden_modules"]


def lines_that_match(pattern: str, *patterns: str) -> list[str]:
    found = []
    for path in tracked(*patterns):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{relative(path)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if re.search(pattern, line)
        ]
    return found


def test_nothing_is_left_undone() -> None:
    # put together here, so that this file does not find itself
    words = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error", "pragma: no " + "cover"]
    assert not lines_that_match(rf"\b({'|'.join(words)})\b", "*.py", "*.c", "*.h", "*.sh", "*.toml", "*.md")


def test_no_test_is_switched_off() -> None:
    """A test skips itself, with a reason, where the machine lacks what it needs; it is never marked as one to skip."""
    assert not lines_that_match(r"pytest\.mark\.(sk" + r"ip|xfa" + r"il)", "*.py")
    silent = [
        f"{name}:{node.lineno}"
        for name, tree in parsed("tests/*.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.skip" and not (node.args or node.keywords)
    ]
    assert not silent


def test_no_path_of_one_machine() -> None:
    assert not lines_that_match(r"(?<![\w.$}>)*-])/(work|farm|root|home/[a-z]+|Users)/")


def test_no_registry_is_named() -> None:
    hosts = ["py" + "pi.org", "python" + "hosted", "deb.deb" + "ian.org", "npm" + "js.org"]
    assert not lines_that_match("|".join(map(re.escape, hosts)))


@pytest.mark.parametrize("name", ["deploy/quickstart.sh", "tests/run.sh", ".ci/run"])
def test_commands_can_be_run(name: str) -> None:
    assert (REPO / name).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", REPO / name], timeout=20, check=True)


def test_readme_begins_with_the_two_commands() -> None:
    screen = "\n".join((REPO / "README.md").read_text().splitlines()[:40])
    assert "./deploy/quickstart.sh" in screen
    assert "./tests/run.sh" in screen


def test_ci_runs_the_same_command() -> None:
    assert "tests/run.sh" in (REPO / ".ci/run").read_text()
