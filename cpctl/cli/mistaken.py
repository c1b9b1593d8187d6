"""The daemon with a configuration that has mistakes, under systemd: it is started again for ever.

A station must not stay dead because a file was damaged, so exit code 78 ends no restarts. The first
time it ends at once, so that `systemctl start` fails where a person sees it. Where nothing is
different since, it waits for the files to change, at most a minute, before it ends: whoever mends
them needs no further command, and the journal is not filled.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cpctl.config import ConfigError

MARK = "mistakes"  # in the service's runtime directory: what was told last
WAIT_S = 60.0
LOOK_S = 1.0


def wait_for_a_change(file: str, error: ConfigError, *,
                      pause: Callable[[float], None] = time.sleep) -> None:
    """Return when `cpctl run` shall end with these mistakes. At once where systemd is not there."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if not folder or "NOTIFY_SOCKET" not in os.environ:
        return
    seen = _state(file)
    if not _told_before(os.path.join(folder, MARK), f"{seen}\n{error}"):
        return
    from cpctl.runtime.supervisor import Notifier

    notifier = Notifier()
    notifier.say("STATUS=waiting for the configuration to be mended: "
                 + str(error).partition("\n")[0][:200])
    waited_s = 0.0
    while waited_s < WAIT_S and _state(file) == seen:
        pause(LOOK_S)
        waited_s += LOOK_S
    notifier.close()


def forget() -> None:
    """The configuration is good: the next mistake is news."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if folder:
        try:
            os.unlink(os.path.join(folder, MARK))
        except OSError:
            return  # it was not there, as nearly always


def _told_before(mark: str, text: str) -> bool:
    try:
        with open(mark, encoding="utf-8") as there:
            if there.read() == text:
                return True
    except (OSError, UnicodeDecodeError):
        pass  # not there, or not ours: news either way
    try:
        with open(mark, "w", encoding="utf-8") as here:
            here.write(text)
    except OSError:
        return True  # it cannot be remembered: rather too slow than a flood
    return False


def _state(file: str) -> str:
    """What changes with the files: name, time and size of each."""
    folder = os.path.join(os.path.dirname(file), "conf.d")
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".toml"))
    except OSError:
        names = []
    return "; ".join(_look(path) for path in (file, *(os.path.join(folder, one) for one in names)))


def _look(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError as error:
        return f"{path} {error.errno}"
    return f"{path} {found.st_mtime_ns} {found.st_size} {found.st_mode:o}"
