"""Parameters of a method, read with care: types, names nobody knows."""

from __future__ import annotations

import math

from cpctl.api import wire
from cpctl.api.wire import ApiError

LARGEST = 10**18 - 1  # what every book can hold


class Args:
    """The parameters of one call. `done` refuses what was not asked for."""

    def __init__(self, method: str, params: wire.Params):
        self._method = method
        self._params = params
        self._known: list[str] = []

    def _take(self, name: str, *, required: bool) -> object:
        self._known.append(name)
        value = self._params.get(name)
        if value is None and required:
            raise self._wrong(f"{name} is missing")
        return value

    def _wrong(self, sentence: str) -> ApiError:
        return ApiError(wire.INVALID_PARAMS, f"{self._method}: {sentence}",
                        f"see cpctl {self._method.replace('.', ' ').replace('_', '-')} --help")

    def text(self, name: str) -> str:
        value = self._take(name, required=True)
        return self._text(name, value)

    def text_or_none(self, name: str) -> str | None:
        value = self._take(name, required=False)
        return None if value is None else self._text(name, value)

    def _text(self, name: str, value: object) -> str:
        if not isinstance(value, str) or not value:
            raise self._wrong(f"{name} is a text that is not empty")
        return value

    def whole(self, name: str) -> int:
        return self._whole(name, self._take(name, required=True))

    def whole_or_none(self, name: str) -> int | None:
        value = self._take(name, required=False)
        return None if value is None else self._whole(name, value)

    def _whole(self, name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(f"{name} is a whole number")
        if abs(value) > LARGEST:
            raise self._wrong(f"{name} is a whole number of at most 18 digits")
        return value

    def number_or_none(self, name: str) -> float | None:
        value = self._take(name, required=False)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or (
                not math.isfinite(value)):
            raise self._wrong(f"{name} is a number")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._take(name, required=False)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(f"{name} is true or false")
        return value

    def done(self) -> None:
        for name in self._params:
            if name not in self._known:
                known = ", ".join(self._known) or "none"
                raise self._wrong(f"unknown parameter {name} (known: {known})")
