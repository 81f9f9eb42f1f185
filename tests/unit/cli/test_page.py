"""The page of tierctl dashboard: who is let in, what it is told, and how it looks to a browser."""

import contextlib
import http.client
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support import programs
from tests.support.control_daemon import ScriptedDaemon
from tests.support.figures import figures
from tests.unit.cli.test_tierctl import mount, run_directory
from tierfs.cli.page import Page
from tierfs.control import registry

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight

HOSTILE = "<script>document.title = 'taken'</script>"


class Asked:
    """One answer of the page's server."""

    def __init__(self, answer: HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.text = answer.read().decode()


def ask(url: str, path: str | None = None, host: str | None = None) -> Asked:
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=30)) as connection:
        headers = {"Host": f"{host}:{parts.port}"} if host is not None else {}
        connection.request("GET", f"{parts.path}?{parts.query}" if path is None else path, headers=headers)
        return Asked(connection.getresponse())


def told(url: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(ask(url.replace("/?", "/data.json?")).text)
    return answer


@contextlib.contextmanager
def page(tmp_path: Path) -> Iterator[tuple[str, ScriptedDaemon]]:
    """Its address, once it knows something."""
    with mount(tmp_path) as (place, daemon):
        daemon.pending = {f"dir/{HOSTILE}".encode(): 3 << 20}
        daemon.add_conflict(7, "mine")
        with Page(registry.find(str(place)), 0) as served:
            serving = threading.Thread(target=served.serve_forever)
            serving.start()
            try:
                assert programs.wait_until(lambda: told(served.url)["entries"] == 5, 60)
                yield served.url, daemon
            finally:
                served.stop()
                serving.join()


def test_the_page_is_one_file_that_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    with page(tmp_path) as (url, _):
        answer = ask(url)
        assert answer.status == 200 and "<title>tierfs</title>" in answer.text
        assert not re.search(r"(src|href)=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)", answer.text)
        policy = answer.headers["Content-Security-Policy"]
        nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)
        assert nonce and f'<script nonce="{nonce[1]}">' in answer.text and "default-src 'none'" in policy
        assert ask(url).headers["Content-Security-Policy"] != policy
        assert answer.headers["Cache-Control"] == "no-store" and "tierctl" in answer.headers["Server"]


@pytest.mark.parametrize("path", ["/", "/data.json", "/?token=", "/?token=guessed", "/data.json?token=%C3%A4"])
def test_without_the_token_nobody_is_let_in(tmp_path: Path, path: str) -> None:
    with page(tmp_path) as (url, _):
        answer = ask(url, path)
        assert answer.status == 403 and "/mnt" not in answer.text


def test_a_page_of_another_site_cannot_mean_this_one(tmp_path: Path) -> None:
    with page(tmp_path) as (url, _):
        assert ask(url, host="evil.example").status == 403
        assert ask(url, host="localhost").status == 200
        assert ask(url, url[url.index("/?") :].replace("/?", "/other?")).status == 404


def test_it_is_told_of_tier_queue_conflicts_and_tasks(tmp_path: Path) -> None:
    with page(tmp_path) as (url, _):
        data = told(url)
        assert data["tier"]["used_bytes"] == 5 << 30 and data["pending"] == 3 and data["trouble"] == ""
        assert [row["path"] for row in data["queue"]] == [f"dir/{HOSTILE}"]
        assert [row["id"] for row in data["conflicts"]] == [7]
        assert isinstance(data["tasks"], list)


def test_history_grows_and_trouble_is_told(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        url, daemon = stack.enter_context(page(tmp_path))
        later = {"time_ns": figures()["time_ns"] + 10**9, "uptime_s": 101.0, "degraded": True}
        daemon.observing.figures = [figures(**later, written_bytes=(3 << 20) + 5000)]
        assert programs.wait_until(lambda: any(row["written_bytes_per_s"] == 5000 for row in told(url)["history"]), 60)
        assert told(url)["trouble"] == "the store or the index does not work as it should"


def test_the_end_of_the_daemon_is_said(tmp_path: Path) -> None:
    with contextlib.ExitStack() as mounts:
        place, _ = mounts.enter_context(mount(tmp_path))
        with Page(registry.find(str(place)), 0) as served:
            serving = threading.Thread(target=served.serve_forever)
            serving.start()
            try:
                assert programs.wait_until(lambda: told(served.url)["entries"] == 5, 60)
                mounts.close()
                assert programs.wait_until(lambda: told(served.url)["trouble"] != "", 60)
                assert told(served.url)["entries"] == 5
            finally:
                served.stop()
                serving.join()


def test_a_browser_shows_it(tmp_path: Path) -> None:
    """Debian has one in the packages chromium-headless-shell and chromium."""
    browser = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if browser is None:
        pytest.skip("no Chromium is installed")
    with page(tmp_path) as (url, _):
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/browser", "--dump-dom"]
        command = [browser, *options, "--virtual-time-budget=3000", url]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "taken" not in (re.search(r"<title>(.*?)</title>", dom) or [""])[0]
    shown = re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)
    for text in (
        "5.0 GiB of 10.0 GiB",
        "up 1 min, 5 entries",
        "&lt;script&gt;",
        "2 open",
        "3 changes",
        "s3://bucket/prefix, holder",
    ):
        assert text in shown, text
    assert shown.count("<svg") == 5 and "does not answer" not in shown
