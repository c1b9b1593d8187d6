"""The tables of both files, and the CRC that every row bears and is read against."""

import zlib
from collections.abc import Sequence
from functools import cached_property

from cpctl.store.errors import BooksDamaged
from hal.late import dataclass

Value = int | str | None
Row = tuple[Value, ...]


@dataclass(frozen=True)
class Table:
    """`columns` without the last one, `crc`. `rowid`: the first column is sqlite's row number."""

    name: str
    columns: tuple[str, ...]
    rowid: bool = False

    @cached_property
    def insert(self) -> str:
        marks = ",".join("?" * (len(self.columns) + 1))
        return f"INSERT OR REPLACE INTO {self.name} VALUES({marks})"

    @cached_property
    def select(self) -> str:
        return ", ".join((*self.columns, "crc"))

    def sealed(self, values: Row) -> Row:
        """The row as it is stored: the values and their CRC."""
        return (*values, self.crc(values))

    def crc(self, values: Sequence[object]) -> int:
        return zlib.crc32(ascii((self.name, *values)).encode())

    def is_sound(self, row: Sequence[object]) -> bool:
        return row[-1] == self.crc(row[:-1])

    def opened(self, row: Sequence[object]) -> Row:
        """The values of a stored row. Raises BooksDamaged when the CRC says otherwise."""
        values: Row = tuple(row[:-1])  # type: ignore[arg-type]
        if row[-1] != self.crc(values):
            raise BooksDamaged(f"{self.name}: row {row[0]!r} is not what was written (CRC)")
        return values


META = Table("meta", ("key", "value"))
FACTS = Table("facts", ("no", "book", "session", "seq", "lane", "kind", "body", "boot", "mono",
                        "utc", "quality"), rowid=True)
DELIVERY = Table("delivery", ("fact", "state", "attempts", "calls", "rev", "reason"), rowid=True)
ALIAS = Table("alias", ("session", "dialect", "csms_id"))
REGISTER = Table("register", ("session", "register_wh", "boot", "mono", "utc", "quality"),
                 rowid=True)
BOOTS = Table("boots", ("ordinal", "boot", "estimate", "segments"), rowid=True)
JOURNAL_TABLES = (META, FACTS, DELIVERY, ALIAS, REGISTER, BOOTS)

SETTINGS = Table("settings", ("id", "text"))
KEPT = Table("kept", ("key", "value"))
TOKENS = Table("tokens", ("key", "used", "status", "group_value", "group_kind", "expires"))
LISTED = Table("listed", ("key", "status", "group_value", "group_kind", "expires"))
LISTING = Table("listing", ("id", "version", "length", "digest"), rowid=True)
STATION_TABLES = (SETTINGS, KEPT, TOKENS, LISTED, LISTING)
