"""Alert rules and dashboard: they ask for metrics and labels that are there, and promtool finds nothing in them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.figures import figures
from tierfs.control.exposition import exposition

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus/tierfs.rules.yml"


def exposed() -> dict[str, set[str]]:
    """Each series and its labels."""
    full = {**figures()["metrics"], "ImportAge": 1.0}
    text = exposition(figures(metrics=full)).decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> Iterator[str]:
    yield from re.findall(r"^\s+expr: (.+)$", RULES.read_text(), re.MULTILINE)
    for panel in json.loads((DEPLOY / "grafana/tierfs.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_what_they_ask_for_is_there() -> None:
    there = exposed()
    asked = [match for expression in expressions() for match in re.findall(r"(tierfs_\w+)(?:\{([^}]*)\})?", expression)]
    assert len(asked) > 30
    for name, selector in asked:
        labels = set(re.findall(r"(\w+)=", selector)) - {"instance", "job"}
        assert name in there and labels <= there[name], (name, selector)


def test_every_alert_says_what_to_do() -> None:
    text = RULES.read_text()
    alerts = text.count("- alert: ")
    assert alerts and text.count("summary: ") == text.count("description: ") == text.count("severity: ") == alerts


@pytest.mark.parametrize("words", [("check", "rules", "tierfs.rules.yml"), ("test", "rules", "tierfs.test.yml"),
                                   ("check", "config", "scrape.example.yml")])  # fmt: skip
def test_promtool_takes_them(words: tuple[str, ...]) -> None:
    """Debian has it in the package prometheus."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run([promtool, *words], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
