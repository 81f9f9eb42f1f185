"""From the URL that a user gives to an object store. No I/O: the first request opens the connection."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import evolve

from tierfs.errors import ConfigError
from tierfs.objectstore.directory import DirectoryStore
from tierfs.objectstore.retrying import RetryingStore
from tierfs.objectstore.s3 import S3Store
from tierfs.objectstore.s3_billing import Tell, tell_nobody
from tierfs.objectstore.settings import S3Settings

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and what older buckets
# and other servers allow beyond it
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def s3_settings(source_url: str, settings: S3Settings) -> S3Settings:
    """The settings with bucket and prefix of `s3://bucket/prefix`. ConfigError."""
    bucket, _slash, prefix = source_url.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigError(f"{source_url!r}: {bucket!r} cannot be the name of a bucket")
    prefix = prefix.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise ConfigError(f"{source_url!r}: the prefix has an empty or dotted component")
    return evolve(settings, bucket=bucket, prefix=prefix and prefix + "/")


def open_store(
    source_url: str,
    settings: S3Settings,
    *,
    on_call: Callable[[str], None] | None = None,
    on_received: Callable[[int], None] | None = None,
    on_answer: Callable[[str, int, str], None] | None = None,
    on_sent: Callable[[int], None] | None = None,
    tell: Tell = tell_nobody,
) -> RetryingStore:
    """The store behind `s3://bucket/prefix` or `file:///directory`, with failures repeated.

    `settings` says how; its bucket and prefix come from the URL. The prefix is taken as it is
    written, `%` and `?` included. `on_...`: see RetryingStore; `tell`: see `s3_billing`, a directory sends no
    requests. ConfigError for any other URL.
    """
    counted = functools.partial(
        RetryingStore, on_call=on_call, on_received=on_received, on_answer=on_answer, on_sent=on_sent
    )
    scheme, separator, _rest = source_url.partition("://")
    if separator and scheme == "s3":
        chosen = s3_settings(source_url, settings)
        return counted(S3Store(chosen, tell), chosen.retry)
    if separator and scheme == "file":
        parts = urlsplit(source_url)
        path = Path(unquote(parts.path))
        if parts.netloc not in ("", "localhost") or not path.is_absolute():
            raise ConfigError(f"{source_url!r}: write file:///absolute/directory")
        store = DirectoryStore(path, part_size_bytes=settings.part_size_bytes)
        return counted(store, settings.retry)
    raise ConfigError(f"{source_url!r} is no source: write s3://bucket/prefix or file:///absolute/directory")
