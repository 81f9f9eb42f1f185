"""Paths of a command line: one argument, or many in a file, a line each. Standard library only."""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Final

from tierfs.control import protocol, registry
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.control.registry import Entry

_REQUEST_BYTES: Final = 32 * 1024  # of paths as JSON has them; the protocol takes 64 KiB


def add_paths(parser: argparse.ArgumentParser, text: str = "a file or directory in a mount") -> None:
    """PATH, or --filelist in its place."""
    parser.add_argument("path", nargs="?", metavar="PATH", help=text)
    parser.add_argument("--filelist", metavar="FILE", help="paths in a file, a line each; -: standard input")


def paths_of(options: argparse.Namespace) -> list[str]:
    """All of them. ExitError when there are none, or the file cannot be read."""
    if options.filelist is None:
        if options.path is None:
            raise ExitError(ExitCode.USAGE, "a PATH is missing, or --filelist FILE")
        return [options.path]
    if options.path is not None:
        raise ExitError(ExitCode.USAGE, "PATH or --filelist, not both")
    paths = [line for line in _lines(options.filelist) if line]
    if not paths:
        raise ExitError(ExitCode.USAGE, f"{options.filelist} names no path")
    return paths


def _lines(name: str) -> list[str]:
    try:
        if name == "-":
            return os.fsdecode(sys.stdin.buffer.read()).split("\n")
        with open(name, "rb") as file:  # noqa: PTH123 - a path need not be UTF-8
            return os.fsdecode(file.read()).split("\n")
    except OSError as error:
        raise ExitError(ExitCode.FAILED, f"cannot read {name}: {error.strerror}") from None


def requests_of(options: argparse.Namespace) -> tuple[Entry, Iterator[list[str]]]:
    """The mount, and the paths within it as the daemon takes them, as many at a time as fit into a request.

    ExitError when one of them leads out of the mount of the first.
    """
    paths = paths_of(options)
    entry = registry.find(paths[0])
    within = [protocol.path_to_json(registry.path_within(entry, path)) for path in paths]
    return entry, batches(within)


def batches(paths: list[str]) -> Iterator[list[str]]:
    """Paths within a mount, as many at a time as fit into a request, in their order."""
    batch: list[str] = []
    size_bytes = 0
    for path in paths:
        cost_bytes = 6 * len(path) + 4  # an escaped character at most
        if batch and size_bytes + cost_bytes > _REQUEST_BYTES:
            yield batch
            batch, size_bytes = [], 0
        batch.append(path)
        size_bytes += cost_bytes
    yield batch
