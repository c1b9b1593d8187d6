"""Frozen values as JSON values: dataclasses as objects, enums by value, moments as RFC 3339."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from cpctl.api.pictures import time_of
from cpctl.core.facts import Fact
from cpctl.core.now import Now
from cpctl.core.values import IdToken


def plain(value: Any) -> Any:
    """`value` as JSON can hold it; a fact tells its kind."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Now | datetime):
        return time_of(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, IdToken):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _object(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return repr(value)


def _object(value: Any) -> dict[str, Any]:
    shown = {one.name: plain(getattr(value, one.name)) for one in fields(value) if one.repr}
    return {"kind": type(value).__name__, **shown} if isinstance(value, Fact) else shown
