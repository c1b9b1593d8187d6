"""The listening socket that systemd hands over, where cpctl.socket made it.

Source: sd_listen_fds(3): descriptors from 3 on, LISTEN_PID names whose they are.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

FIRST = 3  # SD_LISTEN_FDS_START
MOST = 16


def handed_over(path: Path, environ: Mapping[str, str] | None = None) -> socket.socket | None:
    """A listening Unix socket at `path` that is ours to serve; None: we bind one ourselves.

    A descriptor of our own: the one handed over stays as it is, so that a start over in place
    finds it again. Sockets elsewhere are told in the log and left alone.
    """
    for number in _descriptors(os.environ if environ is None else environ):
        try:
            one = socket.socket(fileno=os.dup(number))
        except OSError as error:
            log.warning("descriptor %d from systemd is no socket: %s", number, error)
            continue
        where = _listens_at(one)
        if where == str(path):
            return one
        one.close()
        log.warning("systemd listens on %s for us, api.socket is %s: change one of the two "
                    "(systemctl edit cpctl.socket)", where or "something else", path)
    return None


def _descriptors(environ: Mapping[str, str]) -> range:
    count, pid = environ.get("LISTEN_FDS", ""), environ.get("LISTEN_PID", "")
    if not count.isdigit() or pid != str(os.getpid()):
        return range(0)
    return range(FIRST, FIRST + min(int(count), MOST))


def _listens_at(one: socket.socket) -> str | None:
    if one.family != socket.AF_UNIX or one.type != socket.SOCK_STREAM:
        return None
    if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return None
    name = one.getsockname()
    return name if isinstance(name, str) else None
