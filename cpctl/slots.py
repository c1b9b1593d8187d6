#!/usr/bin/python3 -I
"""Releases in slots: which one is started, which one is on trial, and the way back.

A copy of this file is the launcher (`<root>/launch`): it needs nothing but the standard library and
decides before anything of a possibly broken release is imported. Layout of the releases folder:

    launch               this file
    current              symlink to releases/<version>, replaced atomically
    releases/<version>/  a whole tree with bin/cpctl
    update.json          how the last update stands; the one word that counts
    books/               copies of the books, while a release that rewrites them is on trial

A power cut at any instant leaves `update.json` as it was before or after a change, and each word in
it tells what `current` has to be; `choose` carries it out. A release on trial that does not confirm
itself within its time, or within `MOST_STARTS` starts, is left for the one before it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

DEFAULT_ROOT = "/opt/cpctl"
MOST_STARTS = 3  # of a release on trial
SAFE = ["hw", "safe"]
SAFE_LIMIT_S = 9.0  # for one release; two fit into the TimeoutStopSec of the service
LOOK_S = 0.5  # how often the guard looks
KILL_S = 20.0  # from SIGTERM to SIGKILL
NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_~-]{0,49}")

# The words of `state` in update.json.
TRIAL = "trial"  # `version` is to run, and has to confirm itself
GOOD = "good"  # it has
FAILING = "failing"  # `previous` is to run again
FAILED = "failed"  # it does

MARK = "update.json"
BOOKS = "books"
PROGRAM = ("bin", "cpctl")


class NoRelease(Exception):
    """There is nothing to start."""


# --- the mark ------------------------------------------------------------------------------------


def read(root: str) -> dict[str, Any] | None:
    """What update.json says; None: nothing, or nothing that can be read."""
    try:
        with open(os.path.join(root, MARK), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not _is_name(found.get("version")):
        return None
    if found.get("previous") is not None and not _is_name(found["previous"]):
        return None
    return found


def _is_name(text: object) -> bool:
    return isinstance(text, str) and NAME.fullmatch(text) is not None


def _write(root: str, state: dict[str, Any]) -> None:
    """On the disk, whole, when this returns. For our own eyes: the order may hold a password."""
    path = os.path.join(root, MARK)
    half = path + ".half"
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(half)
        raise
    sync_folder(root)


def sync_folder(path: str) -> None:
    """What was renamed in `path` stays so."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _alone(root: str) -> Iterator[None]:
    """The guard of a release and the release itself do not decide at the same time."""
    import fcntl

    descriptor = os.open(os.path.join(root, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


# --- slots ---------------------------------------------------------------------------------------


def folder(root: str, version: str) -> str:
    return os.path.join(root, "releases", version)


def current(root: str) -> str | None:
    """The version that `current` points to, there or not."""
    try:
        target = os.readlink(os.path.join(root, "current"))
    except OSError:
        return None
    version = os.path.basename(target.rstrip("/"))
    return version if _is_name(version) else None


def releases(root: str) -> list[str]:
    """The versions that are there, the newest slot first."""
    try:
        names = [name for name in os.listdir(os.path.join(root, "releases")) if _is_name(name)]
    except OSError:
        return []
    return sorted((name for name in names if is_runnable(root, name)), reverse=True,
                  key=lambda name: os.stat(folder(root, name)).st_mtime)


def release_of(root: str, file: str) -> str | None:
    """The version of the slot that `file` lies in; None: in none of them."""
    slots = os.path.realpath(os.path.join(root, "releases"))
    inside = os.path.relpath(os.path.realpath(file), slots).split(os.sep)
    return inside[0] if len(inside) > 1 and _is_name(inside[0]) else None


def is_runnable(root: str, version: str | None) -> bool:
    return version is not None and os.path.isfile(os.path.join(folder(root, version), *PROGRAM))


def point(root: str, version: str) -> None:
    """`current` is `version` from here on; there is no moment without a `current`."""
    link = os.path.join(root, "current")
    half = link + ".half"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(half)
    os.symlink(os.path.join("releases", version), half)
    os.replace(half, link)
    sync_folder(root)


def begin_trial(root: str, version: str, *, key: str, order: dict[str, Any], trial_s: float,
                books: list[str] | None = None) -> None:
    """`version` is started next and has to confirm itself. `key` names the order that wants it;
    `books` are the files that it rewrites, so that the release before could not read them."""
    with _alone(root):
        _write(root, {"format": 1, "state": TRIAL, "version": version, "previous": current(root),
                      "key": key, "order": order, "trial_s": trial_s, "starts": 0, "reason": "",
                      "books": books or []})
        point(root, version)


def confirm(root: str, key: str) -> bool:
    """The release on trial stays. False: it is no longer on trial."""
    with _alone(root):
        state = read(root)
        if state is None or state.get("key") != key or state.get("state") not in (TRIAL, GOOD):
            return False
        if state["state"] == TRIAL:
            _write(root, {**state, "state": GOOD})
        return True


def fail(root: str, reason: str, key: str | None = None) -> bool:
    """Back to the release before, from the next start on. False: none is on trial (of this
    `key`)."""
    with _alone(root):
        state = read(root)
        if state is None or state.get("state") != TRIAL or key not in (None, state.get("key")):
            return False
        _write(root, {**state, "state": FAILING, "reason": reason})
        _point_back(root, state)
        return True


def adopt(root: str, version: str) -> str:
    """`version`, which a package brought, is `current` from here on. Nothing of it may run.

    A release on trial stays, with `version` as the one to go back to. The answer: what is to be
    said of it, "" where `version` is current.
    """
    with _alone(root):
        state = read(root)
        word = state.get("state") if state is not None else None
        if state is not None and word == TRIAL and is_runnable(root, state["version"]):
            _write(root, {**state, "previous": version})
            return f"release {state['version']} is on trial and stays, unless it fails"
        if state is not None and word in (TRIAL, FAILING):
            _go_back(root, {**state, "previous": version}, state["reason"] or "it was removed")
        point(root, version)
        return ""


def _point_back(root: str, state: dict[str, Any]) -> None:
    back = state.get("previous")
    if not is_runnable(root, back):
        back = next((one for one in releases(root) if one != state["version"]), None)
    if back is not None:
        point(root, back)


def _go_back(root: str, state: dict[str, Any], reason: str) -> None:
    """Nothing runs: all of the way back at once."""
    state = {**state, "state": FAILING, "reason": reason}
    _write(root, state)
    _finish_going_back(root, state)


def _finish_going_back(root: str, state: dict[str, Any]) -> None:
    _restore_books(root, state)
    _point_back(root, state)
    _write(root, {**state, "state": FAILED})


# --- books that a new release rewrites -----------------------------------------------------------


def _copies(root: str, state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(book, its copy) of each file of the books."""
    for book in state.get("books") or ():
        for ending in ("-wal", ""):
            yield book + ending, os.path.join(root, BOOKS, os.path.basename(book) + ending)


def _keep_books(root: str, state: dict[str, Any]) -> None:
    """Before the first start: nobody has them open."""
    if not state.get("books"):
        return
    os.makedirs(os.path.join(root, BOOKS), mode=0o700, exist_ok=True)
    for book, copy in _copies(root, state):
        if os.path.exists(book):
            _copy(book, copy)


def _restore_books(root: str, state: dict[str, Any]) -> None:
    """As they were before the trial. Done again from the beginning after a power cut."""
    for book, copy in _copies(root, state):
        if not os.path.exists(copy.removesuffix("-wal")):
            continue  # it was not there before the trial, or the trial never began
        if os.path.exists(copy):
            _copy(copy, book)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(book)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(book.removesuffix("-wal") + "-shm")


def _copy(source: str, target: str) -> None:
    half = target + ".half"
    with open(source, "rb") as there:
        status = os.fstat(there.fileno())
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as here:
            os.fchmod(descriptor, status.st_mode & 0o777)
            while chunk := there.read(1 << 20):
                here.write(chunk)
            here.flush()
            os.fsync(descriptor)
    os.replace(half, target)
    sync_folder(os.path.dirname(target))


# --- the choice at each start --------------------------------------------------------------------


def choose(root: str) -> str:
    """The version to start now. Raises NoRelease.

    Counts the start of a release on trial, and leaves it when it had enough of them; brings
    `current` in line with update.json after a power cut.
    """
    try:
        with _alone(root):
            _settle(root)
    except OSError as error:  # a full or read-only disk: what was proved good is started
        say(f"the state of the last update cannot be kept: {error}")
        state = read(root)
        if state is not None and state.get("state") in (TRIAL, FAILING) and is_runnable(
                root, state.get("previous")):
            return str(state["previous"])
    version = current(root)
    if version is not None and is_runnable(root, version):
        return version
    return _anything(root, version)


def _settle(root: str) -> None:
    state = read(root)
    if state is None:
        return
    if state.get("state") == FAILING:
        _finish_going_back(root, state)
    if state.get("state") != TRIAL:
        return
    starts = int(state.get("starts", 0))
    if not is_runnable(root, state["version"]):
        _go_back(root, state, "it cannot be started")
    elif starts and current(root) != state["version"]:
        _write(root, {**state, "state": FAILED, "reason": "replaced by hand"})
    elif starts >= MOST_STARTS:
        _go_back(root, state, f"started {starts} times and never reached the central system")
    else:
        if not starts:
            _keep_books(root, state)
        _write(root, {**state, "starts": starts + 1})
        if current(root) != state["version"]:
            point(root, state["version"])


def _anything(root: str, wanted: str | None) -> str:
    """`current` leads nowhere: the newest release that can be started."""
    there = releases(root)
    if not there:
        raise NoRelease(f"{root}: current is {wanted or 'missing'}, and no release can be started;"
                        " install the package again")
    say(f"current is {wanted or 'missing'} and cannot be started; {there[0]} is instead")
    with contextlib.suppress(OSError):
        point(root, there[0])
    return there[0]


# --- launching -----------------------------------------------------------------------------------


def launch(root: str, words: list[str]) -> None:
    """Become the release that is to run; does not return. Raises NoRelease, OSError."""
    version = choose(root)
    state = read(root)
    if state is not None and state.get("state") == TRIAL and state["version"] == version:
        _leave_guard(root, state)
    os.environ["CPCTL_LAUNCHER"] = os.path.abspath(__file__)
    os.environ.pop("PYTHONPATH", None)  # of the release that started us over
    program = os.path.join(folder(root, version), *PROGRAM)
    os.execv(sys.executable, [sys.executable, program, *words])


def make_safe(root: str, words: list[str]) -> int:
    """Outputs to their safe level by the release that runs, and by one other when that fails.

    Counts no start and changes nothing: it is called after every end, and at boot. Raises
    NoRelease.
    """
    limit_s = SAFE_LIMIT_S + _wait_s(words)
    codes = []
    for version in _drivers(root)[:2]:
        program = os.path.join(folder(root, version), *PROGRAM)
        try:
            code = _run([sys.executable, program, *words], limit_s)
        except OSError as error:
            say(f"release {version} does not drive the outputs to their safe level: {error}")
            code = 1
        if code == 0:
            return 0
        codes.append(code)
    if not codes:
        raise NoRelease(f"{root}: no release can be started; install the package again")
    return codes[0] if codes[0] > 0 else 1


def _run(words: list[str], limit_s: float) -> int:
    """The exit code of a process; negative: the signal that ended it. Raises TimeoutError, OSError.

    A coil may wait for it: importing subprocess would take as long as the interpreter's start.
    """
    process = os.posix_spawn(words[0], words, os.environ)
    end = time.monotonic() + limit_s
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise TimeoutError(f"no end within {limit_s:g} s")
        time.sleep(0.02)


def _wait_s(words: list[str]) -> float:
    """What `--wait` among the words allows for devices that come up late."""
    given = words[words.index("--wait") + 1:] if "--wait" in words else []
    try:
        return min(float(given[0]), 60.0) if given else 0.0
    except ValueError:
        return 0.0


def _drivers(root: str) -> list[str]:
    """Releases that can be started, the one that runs first, then the one it came after."""
    state = read(root)
    wanted = [current(root), None if state is None else state.get("previous"), *releases(root)]
    return [one for one in dict.fromkeys(wanted) if one is not None and is_runnable(root, one)]


def _leave_guard(root: str, state: dict[str, Any]) -> None:
    """A process of its own that outlives what this one becomes, and watches it."""
    watched = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        guard(root, state, watched)
    finally:
        os._exit(0)


def guard(root: str, state: dict[str, Any], pid: int) -> None:
    """Wait until the release confirms itself or ends; else go back and end it."""
    import select

    process = os.pidfd_open(pid)
    ended = select.poll()
    ended.register(process, select.POLLIN)
    trial_s = float(state.get("trial_s", 600))
    until = time.monotonic() + trial_s
    while time.monotonic() < until:
        if ended.poll(LOOK_S * 1000):
            return  # the next start decides
        now = read(root)
        if now is None or now.get("state") != TRIAL or now.get("key") != state.get("key"):
            return
    if not fail(root, f"did not reach the central system within {trial_s:.0f} s",
                state.get("key")):
        return
    say(f"release {state['version']} did not reach the central system within {trial_s:.0f} s; "
        f"back to {state.get('previous')}")
    signal.pidfd_send_signal(process, signal.SIGTERM)
    if not ended.poll(KILL_S * 1000):
        signal.pidfd_send_signal(process, signal.SIGKILL)


def say(text: str) -> None:
    sys.stderr.write(f"cpctl-launch: {text}\n")
    sys.stderr.flush()


def root_of(file: str) -> str:
    """The releases folder of a launcher: the one it lies in, else the default."""
    given = os.environ.get("CPCTL_RELEASES")
    if given:
        return given
    here = os.path.dirname(os.path.realpath(file))
    return here if os.path.isdir(os.path.join(here, "releases")) else DEFAULT_ROOT


def main(words: list[str]) -> int:
    root = root_of(__file__)
    try:
        if words[:2] == SAFE:
            return make_safe(root, words)
        launch(root, words)
    except (NoRelease, OSError) as error:
        say(str(error))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
