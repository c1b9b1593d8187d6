"""Certificates and keys of the station: files, and an index that tells what they are.

Nothing here knows cryptography: what a certificate says was found out once, in a child process, and
stands in the index. The index decides: it is replaced as a whole behind the files it names, so a
power cut leaves the old state or the new one. A damaged index is made anew from the names of the
files, which tell what each is for.

What the configuration names is used from its own place until it has been taken into the store, once
for each content; what the central system changed later stands.
Source: security whitepaper edition 3, M03 to M05, A02.FR.09, A00.FR.507.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cpctl.core.jobs import CertificateHash, CertificateUse
from cpctl.core.now import Now
from cpctl.store.db import Writer
from cpctl.store.errors import FactUnreadable, StoreError
from cpctl.store.facts_json import nested_codec
from cpctl.store.key_files import KeyFolder
from hal.late import dataclass

log = logging.getLogger(__name__)

INDEX = "index.json"
FOLDER = "keys"
ALWAYS_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)
ALWAYS_AFTER = datetime(9999, 1, 1, tzinfo=UTC)
STATION = "station"
KEY = "key"
_NAMES: Mapping[CertificateUse, str] = {
    CertificateUse.CSMS_ROOT: "csms-root", CertificateUse.MANUFACTURER_ROOT: "manufacturer-root",
    CertificateUse.V2G_ROOT: "v2g-root", CertificateUse.MO_ROOT: "mo-root"}


@dataclass(frozen=True)
class Certificate:
    """One certificate of the store. `use` None: the station's own, a chain with its `key` file.

    `hashes` empty: not described yet, the dates mean nothing. A root has as many as it may be asked
    for by. `fallback`: replaced, trusted until its successor has proved itself. `proved`: a
    connection has stood on it.
    """

    file: str
    use: CertificateUse | None
    added: datetime
    subject: str = ""
    issuer: str = ""
    serial: str = ""
    fingerprint: str = ""  # SHA-256 of the DER form, hex
    not_before: datetime = ALWAYS_BEFORE
    not_after: datetime = ALWAYS_AFTER
    hashes: tuple[CertificateHash, ...] = ()
    key: str = ""
    fallback: bool = False
    proved: bool = False

    @property
    def described(self) -> bool:
        return bool(self.hashes)

    def named_by(self, asked: CertificateHash) -> bool:
        """Whether `asked` means this one; case and zeros ahead do not count."""
        return any(_plain(one) == _plain(asked) for one in self.hashes)


def _plain(one: CertificateHash) -> tuple[str, str, str, str]:
    return (one.algorithm, one.issuer_name.lower(), one.issuer_key.lower(),
            one.serial.lower().lstrip("0"))


@dataclass(frozen=True)
class PendingKey:
    """A key of ours (its file) whose certificate is awaited. `csr` is empty after the index was
    lost."""

    key: str
    csr: str
    made: datetime


@dataclass(frozen=True)
class Renewal:
    """How far the renewal on our own is: tries so far, and not again before `next_at`."""

    tries: int
    next_at: datetime


@dataclass(frozen=True)
class State:
    """All that the index holds. `imported`: SHA-256 of what was taken over from the files that the
    configuration names."""

    certificates: tuple[Certificate, ...] = ()
    pending: tuple[PendingKey, ...] = ()  # the newest first
    imported: tuple[str, ...] = ()
    renewal: Renewal | None = None

    @property
    def files(self) -> frozenset[str]:
        """Every file that must be there."""
        named = [one.file for one in self.certificates] + [one.key for one in self.certificates]
        return frozenset(filter(None, [*named, *(one.key for one in self.pending)]))

    def of(self, use: CertificateUse | None) -> tuple[Certificate, ...]:
        """Those of one use (None: the station's own), the newest first."""
        mine = [one for one in self.certificates if one.use is use]
        return tuple(sorted(mine, key=lambda one: (one.not_before, one.added), reverse=True))

    @property
    def roots(self) -> tuple[Certificate, ...]:
        return tuple(one for one in self.certificates if one.use is not None)

    def with_certificate(self, changed: Certificate) -> State:
        """`changed` in its place, or behind the others."""
        if all(one.file != changed.file for one in self.certificates):
            return replace(self, certificates=(*self.certificates, changed))
        return replace(self, certificates=tuple(
            changed if one.file == changed.file else one for one in self.certificates))

    def without(self, *gone: Certificate) -> State:
        names = {one.file for one in gone}
        return replace(self, certificates=tuple(
            one for one in self.certificates if one.file not in names))


class Credential(NamedTuple):
    """What a TLS client shows: files in PEM; `cert` holds the chain, its own certificate first."""

    cert: Path
    key: Path
    not_before: datetime
    not_after: datetime


class Configured(NamedTuple):
    """The files that the configuration names. `client`: certificate and key."""

    csms_root: tuple[Path, ...] = ()
    manufacturer_root: tuple[Path, ...] = ()
    client: tuple[Path, Path] | None = None

    def roots(self) -> tuple[tuple[CertificateUse, Path], ...]:
        return (*((CertificateUse.CSMS_ROOT, path) for path in self.csms_root),
                *((CertificateUse.MANUFACTURER_ROOT, path) for path in self.manufacturer_root))


class Waiting(NamedTuple):
    """A file of the configuration that is not in the store. `use` None: the station's own."""

    use: CertificateUse | None
    path: Path
    content: str  # SHA-256 of the file
    key: Path | None = None


def file_of(use: CertificateUse | None, fingerprint: str) -> str:
    """The name of a certificate's file."""
    return f"{STATION if use is None else _NAMES[use]}-{fingerprint[:16]}.pem"


def key_file_of(public_key: str) -> str:
    """The name of a key's file, by the SHA-256 (hex) of its public half. It tells whose
    certificate is whose without a look into the key."""
    return f"{KEY}-{public_key[:16]}.pem"


class CertificateStore:
    """Make one with `CertificateStore.open`; all calls from the loop's thread.

    Reading is at once and touches no disk. `trust_files`, `trust_sets`, `client_credentials` and
    `listen` are for whoever makes connections.
    """

    def __init__(self, folder: KeyFolder, writer: Writer, now: Callable[[], Now], state: State,
                 waiting: tuple[Waiting, ...], *, rebuilt: bool) -> None:
        self._folder, self._writer, self._now = folder, writer, now
        self._state = state
        self._waiting = waiting
        self.rebuilt = rebuilt  # the index was damaged or lost
        self._listeners: list[Callable[[], None]] = []
        self._in_use: frozenset[str] = frozenset()
        self.on_connected: Callable[[Certificate | None], None] = lambda credential: None

    @classmethod
    async def open(cls, path: Path, writer: Writer, now: Callable[[], Now],
                   configured: Configured | None = None, trace: Callable[[str], None] | None = None
                   ) -> CertificateStore:
        """The store in the folder `path`, which is made if need be. Raises StoreError."""
        folder = KeyFolder(path, trace) if trace is not None else KeyFolder(path)
        utc = now().utc

        def job() -> tuple[State, bool, tuple[Waiting, ...]]:
            folder.prepare()
            state, rebuilt = _read(folder, utc)
            return state, rebuilt, _waiting(configured or Configured(), state)

        state, rebuilt, waiting = await writer.run(job)
        return cls(folder, writer, now, state, waiting, rebuilt=rebuilt)

    # --- for who makes connections -----------------------------------------------------------

    def trust_files(self, use: CertificateUse) -> tuple[Path, ...]:
        """The roots trusted for `use`, in PEM; the newest first, fallbacks last."""
        mine = sorted(self._state.of(use), key=lambda one: one.fallback)
        return (*(self._path(one.file) for one in mine),
                *(one.path for one in self._waiting if one.use is use))

    def trust_sets(self) -> tuple[tuple[Path, ...], ...]:
        """What to verify the central system against, one set after the other: while a new root
        has not proved itself, first without, then with nothing but the one it replaced.

        Each file is an anchor of its own, whoever signed it: X509_V_FLAG_PARTIAL_CHAIN is needed.
        Empty: no root is known here. Source: M05.FR.12, M05.FR.13, whitepaper 7.1 (note).
        """
        fallbacks = {self._path(one.file) for one in self._state.of(CertificateUse.CSMS_ROOT)
                     if one.fallback}
        files = self.trust_files(CertificateUse.CSMS_ROOT)
        sets = (tuple(one for one in files if one not in fallbacks),
                tuple(one for one in files if one in fallbacks))
        return tuple(one for one in sets if one)

    def client_credentials(self) -> tuple[Credential, ...]:
        """What the station may show of itself: of the certificates valid now the newest first.

        None valid (or the clock not trusted): all there are; the central system judges them.
        Source: 16.SEC.10, A02.FR.09.
        """
        now = self._now()
        mine = self._state.of(None)
        valid = [one for one in mine if one.not_before <= now.utc < one.not_after]
        chosen = valid if valid and now.quality.trusted else mine
        return (*(Credential(self._path(one.file), self._path(one.key), one.not_before,
                             one.not_after) for one in chosen),
                *(Credential(one.path, one.key, ALWAYS_BEFORE, ALWAYS_AFTER)
                  for one in self._waiting if one.use is None and one.key is not None))

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """`listener` is called after each change; what is returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def connected(self, chain: Sequence[bytes] = (), credential: Path | None = None) -> None:
        """A TLS connection to the central system stands. `chain`: its verified chain in DER, the
        root too; `credential`: the file of the certificate that we showed."""
        self._in_use = frozenset(sha256(one).hexdigest() for one in chain)
        self.on_connected(next((one for one in self._state.of(None)
                                if self._path(one.file) == credential), None))

    def disconnected(self) -> None:
        self._in_use = frozenset()

    # --- for who keeps them ------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def path(self) -> Path:
        return self._folder.path

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """What the configuration names and the store has not taken over."""
        return self._waiting

    def in_use(self, one: Certificate) -> bool:
        """Whether the present connection stands on it."""
        return one.fingerprint in self._in_use

    async def text(self, name: str) -> str:
        """The content of a file of the store. Raises StoreError."""
        content = await self._writer.run(lambda: self._folder.read(name))
        return content.decode(errors="replace")

    async def put(self, state: State, files: Mapping[str, str] | None = None) -> None:
        """`state` holds, and the new `files` it names are there, when this returns; what it does
        not name any more is removed. Raises StoreError: the old state stands."""
        folder, before = self._folder, self._state

        def job() -> None:
            for name, content in (files or {}).items():
                folder.write(name, content.encode())
            folder.write(INDEX, _sealed(state))
            _sweep(folder, before.files - state.files)

        def then(_: None, error: BaseException | None) -> None:
            if error is None:
                self._state = state
                self._waiting = tuple(one for one in self._waiting
                                      if one.content not in state.imported)
                for listener in tuple(self._listeners):
                    listener()

        await self._writer.run(job, then)

    def _path(self, name: str) -> Path:
        return self._folder.path / name


def _sweep(folder: KeyFolder, names: Iterable[str]) -> None:
    """What is not needed any more; a failure costs room, no more."""
    for name in names:
        try:
            folder.remove(name)
        except StoreError as error:
            log.warning("certificates: left behind: %s", error)


# --- the index -----------------------------------------------------------------------------------


def _sealed(state: State) -> bytes:
    write, _ = nested_codec(State)
    body = json.dumps(write(state), separators=(",", ":")).encode()
    return b"%08x\n" % zlib.crc32(body) + body


def _opened(content: bytes) -> State:
    """Raises ValueError for what nobody of ours wrote."""
    seal, _, body = content.partition(b"\n")
    if seal != b"%08x" % zlib.crc32(body):
        raise ValueError("its check sum is wrong")
    _, read = nested_codec(State)
    state: State = read(json.loads(body))
    return state


def _read(folder: KeyFolder, utc: datetime) -> tuple[State, bool]:
    """The state, and whether it had to be made from the names of the files."""
    names = frozenset(folder.names())
    if INDEX not in names:
        made = _from_names(names, utc)
        return made, bool(made.files)
    try:
        state = _opened(folder.read(INDEX))
    except (ValueError, KeyError, TypeError, FactUnreadable) as error:
        log.error("%s/%s is damaged (%s); the certificates are looked at anew", folder.path, INDEX,
                  error)
        return _from_names(names, utc), True
    _sweep(folder, names - state.files - {INDEX})
    return _present(state, names), False


def _present(state: State, names: frozenset[str]) -> State:
    """Without what somebody removed by hand."""
    lost = state.files - names
    if not lost:
        return state
    log.error("certificates: %s gone from the store; what needed it is forgotten",
              ", ".join(sorted(lost)))
    return replace(
        state, pending=tuple(one for one in state.pending if one.key not in lost),
        certificates=tuple(one for one in state.certificates
                           if one.file not in lost and one.key not in lost))


def _from_names(names: frozenset[str], utc: datetime) -> State:
    """What the files are by their names alone; the rest is found out later."""
    uses = {prefix: use for use, prefix in _NAMES.items()}
    found = [Certificate(name, uses[prefix], utc) for name in sorted(names)
             if (prefix := name.rpartition("-")[0]) in uses]
    own = [Certificate(name, None, utc) for name in sorted(names) if name.startswith(f"{STATION}-")]
    keys = tuple(PendingKey(name, "", utc) for name in sorted(names)
                 if name.startswith(f"{KEY}-"))
    return State((*found, *own), keys)


def _waiting(configured: Configured, state: State) -> tuple[Waiting, ...]:
    """The files of the configuration whose content was not taken over yet."""
    found = []
    for use, path in configured.roots():
        found.append(Waiting(use, path, _content(path)))
    if configured.client is not None:
        certificate, key = configured.client
        found.append(Waiting(None, certificate, _content(certificate), key))
    return tuple(one for one in found if one.content not in state.imported)


def _content(path: Path) -> str:
    """What tells one content from another; a file that cannot be read is tried each time."""
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        log.error("%s cannot be read: %s", path, error.strerror)
        return ""
