"""SIGHUP: reads the configuration again, applies what is safe, names what waits for a restart."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cpctl import config as configuration
from cpctl.config import Config, ConfigError
from cpctl.core.settings import TABLE, to_text
from cpctl.runtime.loop import Loop
from cpctl.runtime.supervisor import Notifier
from cpctl.store.settings_store import StationStore

log = logging.getLogger(__name__)


class Running(Protocol):
    """The daemon, as far as a new configuration reaches it."""

    config: Config
    loop: Loop
    notifier: Notifier
    station_store: StationStore


def reload(app: Running) -> None:
    """Apply what changed in the files, those that are new in conf.d and those that are gone
    included. A mistake in them changes nothing and is told."""
    app.notifier.reloading()
    try:
        fresh = configuration.load(Path(app.config.files[0]))
    except ConfigError as error:
        log.error("configuration not reloaded: %s", error)
    else:
        _apply(app, fresh)
    app.notifier.say("READY=1")


def _apply(app: Running, fresh: Config) -> None:
    change = configuration.difference(app.config, fresh)
    for name, text in change.now.items():
        app.loop.change_setting(name, text)
        log.info("configuration: %s = %s applies now", name, text)
    for name in change.initial:
        _apply_initial(app, name, fresh)
    for sentence in change.waits:
        log.warning("configuration: %s", sentence)
    if not (change.now or change.initial or change.waits):
        log.info("configuration: read again, nothing is different")
    app.config = replace(app.config, initial=fresh.initial)


def _apply_initial(app: Running, name: str, fresh: Config) -> None:
    if name in app.station_store.settings_texts:
        log.info("configuration: %s is only an initial value; the stored one stays", name)
    elif TABLE[name].restart:
        log.warning("configuration: %s waits for a restart", name)
    else:
        app.loop.change_setting(name, fresh.initial.get(name, to_text(TABLE[name].default)))
        log.info("configuration: %s applies now", name)
