"""The folder of keys and certificates: small files that are there whole, or not at all.

The folder is closed to others (0700), each file is made closed (0600). A file is written beside its
place, put on the disk, then renamed into it: whatever happens, the old or the new one is found.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from cpctl.store.errors import StoreError

log = logging.getLogger(__name__)

FOLDER_MODE = 0o700
FILE_MODE = 0o600
LARGEST = 1 << 20  # bytes of one file
_BESIDE = ".new"

Trace = Callable[[str], None]


class KeyFolderError(StoreError):
    """A key or certificate could not be read or written."""


class KeyFolder:
    """One folder. `trace` is called with each step before it is done."""

    def __init__(self, path: Path, trace: Trace = lambda step: None) -> None:
        self.path = path
        self._trace = trace

    def prepare(self) -> None:
        """The folder is there, closed to others; what an interrupted write left is gone.

        Raises KeyFolderError.
        """
        try:
            self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            if self.path.stat().st_mode & 0o077:
                log.warning("%s was open to others, closed now", self.path)
                self.path.chmod(FOLDER_MODE)
            for left in self.path.glob(f"*{_BESIDE}"):
                left.unlink()
        except OSError as error:
            raise self._error(error, "cannot be prepared") from error

    def names(self) -> tuple[str, ...]:
        """The files that are there. Raises KeyFolderError."""
        try:
            return tuple(sorted(one.name for one in self.path.iterdir() if one.is_file()
                                and not one.name.endswith(_BESIDE)))
        except OSError as error:
            raise self._error(error, "cannot be read") from error

    def read(self, name: str) -> bytes:
        """The content of a file. Raises KeyFolderError."""
        try:
            with (self.path / name).open("rb") as file:
                return file.read(LARGEST)
        except OSError as error:
            raise self._error(error, f"{name} cannot be read") from error

    def write(self, name: str, content: bytes) -> None:
        """`content` is on the disk under `name` when this returns. Raises KeyFolderError: what was
        there before still is."""
        beside = self.path / f"{name}{_BESIDE}"
        try:
            self._trace(f"open {beside.name}")
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW,
                             FILE_MODE)
            try:
                self._fill(handle, beside.name, content)
            finally:
                os.close(handle)
            self._trace(f"rename {beside.name}")
            beside.rename(self.path / name)
            self._sync_folder()
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise self._error(error, f"{name} cannot be written") from error

    def _fill(self, handle: int, name: str, content: bytes) -> None:
        half = len(content) // 2
        for part in (content[:half], content[half:]):
            self._trace(f"write {name}")
            while part:
                part = part[os.write(handle, part):]
        self._trace(f"sync {name}")
        os.fsync(handle)

    def remove(self, name: str) -> None:
        """A file that is not there any more when this returns. Raises KeyFolderError."""
        try:
            self._trace(f"remove {name}")
            (self.path / name).unlink(missing_ok=True)
            self._sync_folder()
        except OSError as error:
            raise self._error(error, f"{name} cannot be removed") from error

    def _sync_folder(self) -> None:
        self._trace("sync folder")
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _error(self, error: OSError, finding: str) -> KeyFolderError:
        return KeyFolderError(f"{self.path}: {finding}: {error.strerror or error}; check the disk,"
                              " and the rights of the folder")
