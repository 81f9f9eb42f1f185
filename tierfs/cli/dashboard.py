"""tierctl dashboard: a web page of one mount, served to this machine for as long as the command runs.

Standard library only, as all of tierctl; what a web server needs is imported when one is started.
"""

import argparse
import sys

from tierfs.cli import terminal
from tierfs.cli.grammar import Verbs
from tierfs.control import registry
from tierfs.control.exitcodes import ExitCode, ExitError


def add_verbs(verbs: Verbs) -> None:
    """Its verb."""
    dashboard = verbs.add(
        "dashboard", run_dashboard, "serve a web page of a mount to this machine", "tierctl dashboard /mnt/data"
    )
    dashboard.add_argument("--port", type=_port, default=0, metavar="N", help="at 127.0.0.1; default: any free one")
    dashboard.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def run_dashboard(options: argparse.Namespace) -> int:
    """Until somebody ends it; the page says so when the daemon ends."""
    from tierfs.cli.page import Page  # http.server takes 50 ms, which every other verb would wait for

    entry = registry.find(options.path)
    try:
        page = Page(entry, options.port)
    except OSError as error:
        raise ExitError(ExitCode.FAILED, f"cannot listen on 127.0.0.1:{options.port}: {error.strerror}") from None
    with page:
        if options.json:
            print(terminal.json_line({"url": page.url, "mountpoint": entry.mountpoint}), flush=True)
        else:
            print(f"{terminal.printable(entry.mountpoint)} at {page.url}", flush=True)
            print("Ctrl-C ends it. Who has the address sees names of files.", file=sys.stderr)
        page.serve_forever()
    return ExitCode.OK
