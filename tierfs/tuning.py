"""Settings that are changed while the mount lives: `config.live` says which, this module carries them into the parts.

What was set holds until the mount ends, also over a restart of the daemon: it is kept in the index, and forgotten by
the next mount, which reads its settings file. Sync code, event-loop thread only.
"""

import json
import logging
from typing import Final

from tierfs import translation
from tierfs.config import Settings
from tierfs.config.live import LIVE
from tierfs.config.loading import with_option
from tierfs.errors import ConfigError
from tierfs.index import settings as stored
from tierfs.index.env import Index
from tierfs.sync.exporter import Exporter
from tierfs.sync.importer import Importer
from tierfs.sync.pathrules import PathRules

_ROW: Final = "tuned"
_log: Final = logging.getLogger(__name__)


class Tuning:
    """The settings of one mount as they are now."""

    def __init__(
        self,
        settings: Settings,
        *,
        index: Index,
        exporter: Exporter,
        importer: Importer,
        rules: PathRules,
        goes_on: bool,
    ) -> None:
        """`goes_on`: the mount is older than this daemon, so what was set before holds."""
        self.settings = settings
        self._index = index
        self._exporter = exporter
        self._importer = importer
        self._rules = rules
        self._set: dict[str, str] = {}
        if goes_on:
            self._recall()
        elif stored.get(index, _ROW) is not None:
            self._remember()

    def set(self, name: str, text: str) -> str:
        """Changes one setting, as the command line writes it; returns its full name. ConfigError, FsError."""
        settings, key = with_option(self.settings, name, text)
        if key not in LIVE:
            raise ConfigError(
                f"{key} cannot be changed while the mount lives: write it into the settings and mount again"
            )
        before, self._set = self._set, {**self._set, key: text}
        try:
            self._remember()
        except BaseException:
            self._set = before
            raise
        self._carry(settings)
        _log.info("%s is %s now", key, text, extra={"event": "TFS1008"})
        return key

    def _carry(self, settings: Settings) -> None:
        self.settings = settings
        exporter, importer = self._exporter, self._importer
        self._rules.rules = translation.export_rules(settings)
        exporter.settings = settings.export
        exporter.records.quiet_s = settings.export.quiet_s
        exporter.uploader.resize(2 * settings.export.concurrency)
        exporter.wake()
        importer.settings = settings.import_
        importer.heads.total_tokens = settings.import_.head_concurrency
        importer.guard.limits = translation.guard_limits(settings)
        logging.getLogger().setLevel(settings.log.level.upper())

    def _remember(self) -> None:
        with self._index.transaction() as txn:
            stored.put(txn, _ROW, json.dumps(self._set).encode())

    def _recall(self) -> None:
        settings = self.settings
        for key, text in json.loads(stored.get(self._index, _ROW) or b"{}").items():
            try:
                settings, _ = with_option(settings, key, text)
            except ConfigError as error:  # another version of tierfs wrote it
                _log.warning("%s was set before and is not any more: %s", key, error, extra={"event": "TFS1009"})
                continue
            self._set[key] = text
        self._carry(settings)
