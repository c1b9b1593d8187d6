"""What a release bundle is made of, and how one becomes a slot. Runs in a child process.

A bundle is a tar.gz: `manifest.json`, where wished `manifest.sig` and `signer.pem`, then every file
of the tree as `tree/<path>`. Nothing is written but what the manifest names, with the content that
it names: no path leads out of the slot, there are no links, no devices, no modes but 644 and 755.
Format: docs/releases.md.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from cpctl import slots
from cpctl.services.child import ChildFailed
from hal.late import dataclass

FORMAT = 1
PRODUCT = "cpctl"
MANIFEST, SIGNATURE, SIGNER, TREE = "manifest.json", "manifest.sig", "signer.pem", "tree/"
HEAD_LIMITS = {MANIFEST: 8 << 20, SIGNATURE: 4096, SIGNER: 8192}  # bytes
MOST_FILES = 50_000
LONGEST_PATH = 512
ROOM_LEFT = 16 << 20  # bytes that stay free on the disk of the releases
TRY_LIMIT_S = 60.0  # for the new release to tell its version
MODES = {"644": 0o644, "755": 0o755}
STAGING, ASIDE = ".new-", ".old-"
CHUNK = 1 << 18
_SHA256 = re.compile(r"[0-9a-f]{64}")


def bad(detail: str) -> ChildFailed:
    """The bundle is not what it should be."""
    return ChildFailed("verification", detail)


@dataclass(frozen=True)
class Entry:
    """A file of the tree; `size` in bytes."""

    sha256: str
    size: int
    mode: int


@dataclass(frozen=True)
class Manifest:
    """What the bundle says of itself.

    `data`: by book the version that the release writes, `minimum_data` the oldest it can read.
    `text` is the manifest byte for byte, as it was signed.
    """

    version: str
    files: Mapping[str, Entry]
    data: Mapping[str, int]
    minimum_data: Mapping[str, int]
    machine: str
    python: tuple[int, ...]
    text: bytes


@dataclass(frozen=True)
class Head:
    """What stands before the tree. `signature` empty: the bundle itself is not signed."""

    manifest: Manifest
    signature: bytes
    signer: str


# --- reading -------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(bundle: Path) -> Iterator[tarfile.TarFile]:
    """The archive, to be read once in order. Damage is told as ChildFailed("verification")."""
    try:
        with tarfile.open(bundle, "r|gz") as archive:
            yield archive
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError, ValueError) as error:
        raise bad(f"the archive cannot be read: {str(error)[:120]}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise bad(f"the archive cannot be read: {str(error)[:120]}") from error


def head_of(bundle: Path) -> Head:
    """Manifest and signature of a bundle. Raises ChildFailed("verification")."""
    found: dict[str, bytes] = {}
    with opened(bundle) as archive:
        for member in archive:
            if member.name not in HEAD_LIMITS:
                break
            found[member.name] = _head_part(archive, member, found)
    if MANIFEST not in found:
        raise bad("no release: it does not begin with manifest.json")
    return Head(manifest_of(found[MANIFEST]), found.get(SIGNATURE, b""),
                found.get(SIGNER, b"").decode("ascii", errors="replace"))


def _head_part(archive: tarfile.TarFile, member: tarfile.TarInfo, found: Mapping[str, bytes]
               ) -> bytes:
    if not member.isreg() or member.size > HEAD_LIMITS[member.name] or member.name in found:
        raise bad(f"{member.name} is not as it should be")
    content = archive.extractfile(member)
    return content.read() if content is not None else b""


def manifest_of(text: bytes) -> Manifest:
    """The manifest that `text` is. Raises ChildFailed("verification")."""
    try:
        raw = json.loads(text)
        if raw["format"] != FORMAT or raw["name"] != PRODUCT:
            raise bad(f"a release of {raw['name']!r} in format {raw['format']!r}, expected "
                      f"{PRODUCT!r} in format {FORMAT}")
        manifest = Manifest(
            str(raw["version"]), {path: _entry(one) for path, one in raw["files"].items()},
            _versions(raw["data"]), _versions(raw["minimum_data"]), str(raw["machine"]),
            tuple(int(part) for part in str(raw["python"]).split(".")), text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise bad(f"the manifest cannot be read: {type(error).__name__} {str(error)[:80]}"
                  ) from error
    if slots.NAME.fullmatch(manifest.version) is None:
        raise bad(f"{manifest.version[:60]!r} is no name of a release")
    if len(manifest.files) > MOST_FILES:
        raise bad(f"{len(manifest.files)} files, expected {MOST_FILES} at most")
    for path in manifest.files:
        _must_stay_inside(path)
    if "/".join(slots.PROGRAM) not in manifest.files:
        raise bad("there is no bin/cpctl in it")
    return manifest


def _entry(raw: Mapping[str, Any]) -> Entry:
    digest, size = raw["sha256"], raw["size"]
    if not _SHA256.fullmatch(digest) or type(size) is not int or size < 0:
        raise ValueError("sha256 or size")
    return Entry(digest, size, MODES[raw["mode"]])


def _versions(raw: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(version) for name, version in raw.items()}


def _must_stay_inside(path: str) -> None:
    """A plain relative path: nothing that climbs, nothing that a file system reads otherwise."""
    parts = path.split("/")
    plain = all(part not in ("", ".", "..") and part.isprintable() and "\\" not in part
                for part in parts)
    if not plain or len(path) > LONGEST_PATH or path == MANIFEST:
        raise bad(f"the path {path[:80]!r} cannot be in a release")


# --- does it fit here ----------------------------------------------------------------------------


def must_fit(manifest: Manifest, data: Mapping[str, int], machine: str) -> None:
    """Whether this machine and these books can do with the release. Raises ChildFailed."""
    if manifest.python > sys.version_info[:len(manifest.python)]:
        raise bad(f"it needs Python {'.'.join(map(str, manifest.python))}")
    if manifest.machine not in ("any", machine):
        raise bad(f"it is made for {manifest.machine}, this is {machine}")
    for book, version in data.items():
        if manifest.data.get(book, 0) < version:
            raise bad(f"it cannot read the books: {book} has version {version}, "
                      f"it knows {manifest.data.get(book, 0)}")
        if manifest.minimum_data.get(book, 0) > version:
            raise bad(f"it cannot take over the books: {book} has version {version}, it needs "
                      f"{manifest.minimum_data[book]}; install a release in between first")


def must_have_room(manifest: Manifest, folder: Path, most_bytes: int) -> None:
    """Raises ChildFailed("disk_full" or "too_large")."""
    size = sum(one.size for one in manifest.files.values())
    if size > most_bytes:
        raise ChildFailed("too_large", f"{size >> 20} MB unpacked, expected "
                          f"{most_bytes >> 20} MB at most (firmware.max_mb)")
    room = os.statvfs(folder)
    if room.f_bavail * room.f_frsize < size + ROOM_LEFT:
        raise ChildFailed("disk_full", f"{folder}: {size >> 20} MB are needed, "
                          f"{room.f_bavail * room.f_frsize >> 20} MB are free")


# --- unpacking -----------------------------------------------------------------------------------


def unpack(bundle: Path, manifest: Manifest, into: Path) -> None:
    """The tree, whole and on the disk, in the new folder `into`. Raises ChildFailed, OSError."""
    into.mkdir(mode=0o755)
    missing = dict(manifest.files)
    folders = {into}
    with opened(bundle) as archive:
        for member in archive:
            if member.name in HEAD_LIMITS or member.isdir():
                continue
            path = member.name.removeprefix(TREE)
            entry = missing.pop(path, None) if member.name.startswith(TREE) else None
            if entry is None or not member.isreg():
                raise bad(f"{member.name[:80]!r} is not in the manifest, or twice, or no file")
            content = archive.extractfile(member)
            assert content is not None
            _write(into / path, content, entry, folders)
    if missing:
        raise bad(f"{len(missing)} files are missing, {next(iter(missing))!r} among them")
    (into / MANIFEST).write_bytes(manifest.text)
    _sync(into / MANIFEST)
    for folder in folders:
        slots.sync_folder(str(folder))


def _write(path: Path, content: IO[bytes], entry: Entry, folders: set[Path]) -> None:
    """One file, with the content that the manifest names."""
    parent = path.parent
    while parent not in folders:
        folders.add(parent)
        parent = parent.parent
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    digest, left = hashlib.sha256(), entry.size
    with os.fdopen(os.open(path, flags, entry.mode), "wb") as file:
        while chunk := content.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                break
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fchmod(file.fileno(), entry.mode)
        os.fsync(file.fileno())
    if left or digest.hexdigest() != entry.sha256:
        raise bad(f"{path.name}: not the content that the manifest names")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- becoming a slot -----------------------------------------------------------------------------


def install(bundle: Path, root: Path, manifest: Manifest, most_bytes: int) -> None:
    """`releases/<version>` is the tree of `bundle` when this returns; nothing runs it yet.

    A slot that the system's package brought (it is another user's) is used as it is, when it is
    this very release. Raises ChildFailed; then nothing of the bundle is left.
    """
    releases = root / "releases"
    if _is_packaged(releases / manifest.version):
        if not is_same(releases / manifest.version, manifest):
            raise bad(f"the package brought a release {manifest.version} with other content; "
                      "give this one a version of its own")
        return must_start(releases / manifest.version, manifest.version)
    staging = releases / f"{STAGING}{manifest.version}"
    try:
        sweep(releases)
        must_have_room(manifest, releases, most_bytes)
        unpack(bundle, manifest, staging)
        must_start(staging, manifest.version)
        _promote(staging, releases / manifest.version)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise ChildFailed("disk_full" if full else "disk", f"{releases}: {error.strerror}"
                          ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_packaged(slot: Path) -> bool:
    return slot.is_dir() and slot.stat().st_uid != os.geteuid()


def must_start(tree: Path, version: str) -> None:
    """The release can tell its version. Raises ChildFailed("verification")."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, str(tree.joinpath(*slots.PROGRAM)), "--version"], cwd=tree,
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=TRY_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise bad(f"it does not tell its version: {type(error).__name__}") from error
    if done.returncode or done.stdout.strip() != f"{PRODUCT} {version}":
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise bad(f"asked for its version it says {said[-1][:120] if said else 'nothing'!r}")


def _promote(staging: Path, slot: Path) -> None:
    """The slot has the new tree; what was in it is gone."""
    aside = slot.with_name(f"{ASIDE}{slot.name}")
    if slot.exists():
        os.rename(slot, aside)
    os.rename(staging, slot)
    slots.sync_folder(str(slot.parent))
    shutil.rmtree(aside, ignore_errors=True)


def sweep(releases: Path) -> None:
    """Remove what a power cut left half done."""
    for left in releases.glob(".*"):
        if left.name.startswith((STAGING, ASIDE)):
            shutil.rmtree(left, ignore_errors=True)


def is_same(slot: Path, manifest: Manifest) -> bool:
    """The slot holds this very release."""
    try:
        return (slot / MANIFEST).read_bytes() == manifest.text
    except OSError:
        return False
