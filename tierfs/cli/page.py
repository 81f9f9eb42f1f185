"""The web page of one mount: a server for this machine only, and the figures that it gathers.

Everybody on the machine can reach the port, so the address has a token that nobody guesses: without it, or with another
host name in the request than the one that it was given out with (a page elsewhere that means us), the answer is 403.
Nothing can be changed from the page. It has no part from elsewhere, and its browser is told to load none.

One thread gathers, one for each request serves; they share the last answer under a lock. Standard library only.
"""

import hmac
import json
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from tierfs.cli.connecting import connect
from tierfs.cli.live import summary
from tierfs.cli.rates import Figures, Rates
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.control.registry import Entry

_INTERVAL_S: Final = 2.0
_KEPT_SAMPLES: Final = 900  # half an hour
_SHOWN_ROWS: Final = 10
_REQUEST_S: Final = 30.0
_HTML: Final = Path(__file__).with_name("dashboard.html")
_JSON: Final = "application/json"


class Feed:
    """What the page shows, gathered from the daemon again and again."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._lock = threading.Lock()
        self._history: deque[Mapping[str, Any]] = deque(maxlen=_KEPT_SAMPLES)
        self._told: dict[str, Any] = _nothing_known(entry)
        self._before: Figures | None = None

    def latest(self) -> Mapping[str, Any]:
        """See `dashboard.html` for who reads which field."""
        with self._lock:
            return {**self._told, "history": list(self._history)}

    def run(self, end: threading.Event) -> None:
        """Until `end`. A daemon that goes is looked for again: it may come back."""
        while not end.is_set():
            try:
                with connect(self._entry) as client:
                    while not end.is_set():
                        self.gather(client)
                        end.wait(_INTERVAL_S)
            except ExitError as error:
                with self._lock:
                    self._told = {**self._told, "trouble": str(error)}
                end.wait(_INTERVAL_S)

    def gather(self, client: Client) -> None:
        """One sample. ExitError."""
        figures = client.call("figures")
        queue = _optional(client, "queue", {"path": ""}).get("entries", [])
        tasks = _optional(client, "tasks").get("tasks", [])
        told = {
            **{name: figures[name] for name in ("mountpoint", "source", "mode", "uptime_s", "tier")},
            "entries": figures["index"]["entries"],
            "pending": figures["metrics"]["PendingExports"],
            "open_conflicts": figures["metrics"]["Conflicts"],
            "trouble": "the store or the index does not work as it should" if figures["degraded"] else "",
            "queue": queue[:_SHOWN_ROWS],
            "conflicts": _optional(client, "conflicts").get("conflicts", [])[:_SHOWN_ROWS],
            "tasks": tasks[-_SHOWN_ROWS:],
        }
        with self._lock:
            self._told = told
            if self._before is not None:
                self._history.append(summary(Rates(self._before, figures)))
            self._before = figures


def _nothing_known(entry: Entry) -> dict[str, Any]:
    return {
        **{"mountpoint": entry.mountpoint, "source": entry.source, "mode": "mode not known yet", "uptime_s": 0.0},
        **{"tier": {"size_bytes": 0, "used_bytes": 0, "dirty_bytes": 0}, "entries": 0, "pending": 0},
        **{"open_conflicts": 0, "trouble": "", "queue": [], "conflicts": [], "tasks": []},
    }


def _optional(client: Client, verb: str, args: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """The answer, or nothing where it is not ours to see."""
    try:
        return client.call(verb, args)
    except ExitError as error:
        if error.code is not ExitCode.PERMISSION:
            raise
        return {}


class Page:
    """A server of one mount's page. Use it in a `with`."""

    def __init__(self, entry: Entry, port: int) -> None:
        """Listens; OSError when the port is taken."""
        token, feed = secrets.token_urlsafe(24), Feed(entry)
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(feed, token))
        self._server.daemon_threads = True
        self._end = threading.Event()
        self._gathering = threading.Thread(target=feed.run, args=(self._end,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/?token={token}"

    def __enter__(self) -> Self:
        self._gathering.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._server.server_close()
        self._gathering.join()

    def serve_forever(self) -> None:
        """Until `stop`, or an exception such as KeyboardInterrupt."""
        self._server.serve_forever()

    def stop(self) -> None:
        """Ends `serve_forever`, from another thread."""
        self._server.shutdown()


def _handler(feed: Feed, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_S
        server_version, sys_version = "tierctl", ""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            given = parse_qs(parts.query).get("token", [""])[0]
            if not self._is_ours() or not hmac.compare_digest(given.encode(), token.encode()):
                self._send(HTTPStatus.FORBIDDEN, "text/plain", "tierctl dashboard has printed the whole address\n")
            elif parts.path == "/":
                nonce = secrets.token_urlsafe(16)
                self._send(HTTPStatus.OK, "text/html", _HTML.read_text().replace("NONCE", nonce), nonce)
            elif parts.path == "/data.json":
                self._send(HTTPStatus.OK, _JSON, json.dumps(feed.latest()))
            else:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", "there is nothing here\n")

        def _is_ours(self) -> bool:
            """By the name that the browser was sent to: no page of another site can mean this one."""
            host = self.headers.get("Host", "").rpartition(":")[0]
            return host in ("127.0.0.1", "localhost")

        def _send(self, status: HTTPStatus, content_type: str, text: str, nonce: str = "") -> None:
            body = text.encode()
            script = f"'nonce-{nonce}'" if nonce else "'none'"
            self.send_response(status)
            self.send_header("Content-Type", f"{content_type}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header(
                "Content-Security-Policy",
                f"default-src 'none'; style-src 'unsafe-inline'; script-src {script}; connect-src 'self'; "
                "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            )
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are nobody's news, and their addresses have the token."""

    return Handler
