"""A fact and its row: JSON text for what is particular to its kind, columns for the rest.

The codec is made from the dataclasses themselves and is strict: a field, kind, version or value
that this release does not know is an error that names it. A fact's own fields go by name, those
that have their default are left out; values inside (tokens, measured values) go by position.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from operator import call
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from cpctl.core import facts
from cpctl.core.facts import Fact
from cpctl.core.now import Now, TimeQuality
from cpctl.store.errors import FactUnreadable, FactUnwritable

VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Encode = Callable[[Any], Any]
Decode = Callable[[Any], Any]
Codec = tuple[Encode, Decode]

KINDS: dict[str, type[Fact]] = {
    name: kind for name, kind in vars(facts).items()
    if isinstance(kind, type) and issubclass(kind, Fact) and kind is not Fact
}
_QUALITIES = {quality.value: quality for quality in TimeQuality}


def utc_us(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(us: int) -> datetime:
    """The aware UTC moment of `utc_us`. Raises ValueError for one that no calendar has."""
    try:
        return _EPOCH + timedelta(microseconds=us)
    except OverflowError as error:
        raise ValueError(f"{us} µs lies outside the calendar") from error


def now_of(boot: str, mono: int, us: int, quality: str) -> Now:
    """The `Now` of four columns. Raises FactUnreadable for an unknown quality."""
    known = _QUALITIES.get(quality)
    if known is None:
        raise FactUnreadable(f"quality of time {quality!r} is not known to this release")
    return Now(mono_ns=mono, boot=boot, utc=moment_of(us), quality=known)


def encode(fact: Fact) -> str:
    """The body of a fact's row. Raises FactUnwritable for a value that cannot be kept."""
    kind = type(fact)
    if KINDS.get(kind.__name__) is not kind:
        raise FactUnwritable(f"{kind.__name__} is no fact the books know; add it to effects.py")
    body: dict[str, Any] = {"v": VERSION}
    try:
        for name, (into, _), default in _plan(kind):
            value = getattr(fact, name)
            if default is MISSING or value != default:
                body[name] = into(value)
        return json.dumps(body, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, AttributeError) as error:
        raise FactUnwritable(f"{kind.__name__} of session {fact.session}: {error}") from error


def decode(kind: str, body: str, at: Now, session: int | None) -> Fact:
    """The fact of a row. Raises FactUnreadable naming what this release does not know."""
    reader = _readers.get(kind) or _reader(kind)
    try:
        raw = _READ(body)
    except ValueError as error:
        raise FactUnreadable(f"{kind}: the body is no JSON: {error}") from error
    if not isinstance(raw, dict) or raw.pop("v", None) != VERSION:
        raise FactUnreadable(f"{kind}: written in a version this release does not know")
    known, outs, defaults, needed = reader
    values = defaults | {"at": at, "session": session}
    name = value = None
    try:
        for name, value in raw.items():
            values[name] = outs[name](value)
    except (TypeError, ValueError, KeyError) as error:
        if name not in outs:
            raise FactUnreadable(f"{kind}: field {name} is not known to this release") from None
        raise FactUnreadable(f"{kind}: field {name} holds {value!r}: {error}") from error
    if len(values) != needed:
        missing = next(name for name in outs if name not in values)
        raise FactUnreadable(f"{kind}: field {missing} is missing")
    fact: Fact = _bare(known)
    fact.__dict__.update(values)  # as its __init__ would, in a third of the time
    return fact


_Reader = tuple[type[Fact], dict[str, Decode], dict[str, Any], int]
_readers: dict[str, _Reader] = {}
_bare: Callable[[type[Fact]], Fact] = object.__new__
_READ = json.JSONDecoder().decode


def _reader(kind: str) -> _Reader:
    """How facts of a kind are read: class, decoders by field, defaults, the number of fields."""
    known = KINDS.get(kind)
    if known is None:
        raise FactUnreadable(f"kind {kind} is not known to this release")
    plan = _plan(known)
    outs = {name: out for name, (_, out), _ in plan}
    defaults = {name: default for name, _, default in plan if default is not MISSING}
    _readers[kind] = (known, outs, defaults, len(plan) + 2)
    return _readers[kind]


_plans: dict[type[Fact], tuple[tuple[str, Codec, Any], ...]] = {}


def _plan(kind: type[Fact]) -> tuple[tuple[str, Codec, Any], ...]:
    """(name, codec, default) of each field that stands in the body; made when first asked for."""
    plan = _plans.get(kind)
    if plan is None:
        plan = _plans[kind] = _planned(kind)
    return plan


def _planned(kind: type[Fact]) -> tuple[tuple[str, Codec, Any], ...]:
    hints = get_type_hints(kind)
    return tuple((field.name, _codec(hints[field.name]), field.default)
                 for field in fields(kind) if field.name not in ("at", "session"))


@cache
def _codec(hint: Any) -> Codec:
    if get_origin(hint) is UnionType:
        return _optional(hint)
    if get_origin(hint) is tuple:
        return _sequence(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _word(hint)
    if hint is datetime:
        return utc_us, moment_of
    if is_dataclass(hint) and isinstance(hint, type):
        return nested_codec(hint)
    if hint in _PLAIN:
        return _plain(hint)
    raise TypeError(f"no way to keep a value of {hint!r}; teach facts_json.py")


_PLAIN: dict[type, tuple[type, ...]] = {int: (int,), str: (str,), bool: (bool,),
                                        float: (float, int)}


def _plain(hint: type) -> Codec:
    allowed = _PLAIN[hint]

    def same(value: Any) -> Any:
        if type(value) not in allowed:
            raise TypeError(f"expected {hint.__name__}, found {type(value).__name__}")
        return value

    return same, same


def _optional(hint: Any) -> Codec:
    inner = [each for each in get_args(hint) if each is not NoneType]
    if len(inner) != 1:
        raise TypeError(f"no way to keep a choice of {hint!r}; teach facts_json.py")
    into, out = _codec(inner[0])
    return (lambda value: None if value is None else into(value),
            lambda raw: None if raw is None else out(raw))


def _sequence(hint: Any) -> Codec:
    into, out = _codec(get_args(hint)[0])

    def read(raw: Any) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            raise TypeError("expected a list")
        return tuple(map(out, raw))

    return (lambda value: [into(each) for each in value]), read


def _word(kind: type[Enum]) -> Codec:
    words = {member.value: member for member in kind}

    def read(raw: Any) -> Enum:
        word = words.get(raw)
        if word is None:
            raise ValueError(f"{raw!r} is no {kind.__name__} of this release")
        return word

    return (lambda member: kind(member).value), read


@cache
def nested_codec(kind: type) -> Codec:
    """Of a dataclass, by position; values at the end that have their default are left out."""
    hints = get_type_hints(kind)
    plan = tuple((field.name, *_codec(hints[field.name]), field.default) for field in fields(kind))
    needed = sum(1 for step in plan if step[3] is MISSING)
    outs = tuple(step[2] for step in plan)

    def write(value: Any) -> list[Any]:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
        last = len(plan)
        while last > needed and getattr(value, plan[last - 1][0]) == plan[last - 1][3]:
            last -= 1
        return [into(getattr(value, name)) for name, into, _, _ in plan[:last]]

    def read(raw: Any) -> Any:
        if type(raw) is not list or not needed <= len(raw) <= len(outs):
            raise TypeError(f"no {kind.__name__} of this release")
        return kind(*map(call, outs, raw))

    return write, read
