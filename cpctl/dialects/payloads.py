"""Whether a payload fits its JSON schema, in the time that parsing it takes.

The schema files that the `ocpp` package ships are compiled, each when it is first needed, into
nested closures. The package itself is not imported: only its folder is looked up. What an error is
called on the wire is the dialect's business.
"""

import importlib.util
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from hal.late import dataclass

Check = Callable[[Any], "Flaw | None"]
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a payload: `kind` is one of `format` (structure), `protocol` (something
    required is missing), `property` (value), `occurrence` (count), `type`; `where` a path such as
    `meterValue[0].timestamp`."""

    kind: str
    finding: str
    where: str = ""

    def within(self, name: str) -> "Flaw":
        joint = "" if not self.where or self.where.startswith("[") else "."
        return Flaw(self.kind, self.finding, f"{name}{joint}{self.where}")

    def __str__(self) -> str:
        return f"{self.where}: {self.finding}" if self.where else self.finding


class SchemaError(Exception):
    """A schema is missing or uses a keyword that is not understood."""


def parse_time(text: str) -> datetime:
    """The moment an ISO 8601 date-time means, aware. Without an offset it is taken as UTC.

    Fractions and offsets are accepted (16.RPC.9), a leap second is its predecessor.
    Raises ValueError, also for what its offset puts outside the years 1 to 9999.
    """
    if len(text) < 19 or text[4] != "-" or text[7] != "-" or text[10] not in "Tt ":
        raise ValueError(f"not a date-time: {text[:40]!r}")
    if text[13] != ":" or text[16] != ":":
        raise ValueError(f"not a date-time: {text[:40]!r}")
    if text[17:19] == "60":
        text = f"{text[:17]}59{text[19:]}"
    moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"outside the calendar: {text[:40]!r}") from error
    return moment


class Payloads:
    """The schemas of one version of OCPP: `version` as the folder of the package has it ("v16").

    `request_suffix` is what the file name of a request ends with ("" in 1.6, "Request" in 2.x).
    """

    def __init__(self, version: str, request_suffix: str = ""):
        self._version = version
        self._suffix = {False: request_suffix, True: "Response"}
        self._checks: dict[tuple[str, bool, bool], Check] = {}

    def flaw(self, action: str, payload: Any, *, response: bool = False,
             tolerant: bool = False) -> Flaw | None:
        """The first thing wrong with `payload`, or None.

        `tolerant` is for answers of the central system: properties that the schema does not know,
        and optional ones that do not fit, are removed from `payload` instead of refused.
        Raises SchemaError for an action without schema.
        """
        key = (action, response, tolerant)
        check = self._checks.get(key)
        if check is None:
            schema = self.schema(action, response=response)
            check = self._checks[key] = compiled(schema, tolerant=tolerant)
        return check(payload)

    def schema(self, action: str, *, response: bool = False) -> Schema:
        """The schema as shipped."""
        name = f"{action}{self._suffix[response]}.json"
        path = f"{_package_folder()}/{self._version}/schemas/{name}"
        try:
            with open(path, encoding="utf-8-sig") as file:
                schema: Schema = json.load(file)
        except OSError as error:
            raise SchemaError(f"no schema {name} for {self._version}: {error}") from error
        return schema


def compiled(schema: Schema, *, tolerant: bool = False) -> Check:
    """The check of one whole schema. Raises SchemaError for a keyword that is not understood."""
    return _Compiler(schema, tolerant=tolerant).compile(schema)


def _package_folder() -> str:
    spec = importlib.util.find_spec("ocpp")
    if spec is None or not spec.submodule_search_locations:
        raise SchemaError("the package ocpp is not installed; pip install ocpp")
    return spec.submodule_search_locations[0]


_ANNOTATIONS = frozenset((
    "$schema", "$id", "id", "title", "comment", "description", "javaType", "default", "definitions",
    "additionalItems",  # means nothing beside an `items` that is an object
))
_OF_TYPE = {
    "string": frozenset(("enum", "maxLength", "format", "additionalProperties")),
    "integer": frozenset(("minimum", "maximum")),
    "number": frozenset(("minimum", "maximum", "multipleOf")),
    "boolean": frozenset[str](),
    "array": frozenset(("items", "minItems", "maxItems")),
    "object": frozenset(("properties", "required", "additionalProperties")),
}


class _Compiler:
    """Turns one schema file into closures; `$ref` leads to its own definitions."""

    def __init__(self, root: Schema, *, tolerant: bool):
        self._root = root
        self._tolerant = tolerant
        self._referred: dict[str, Check] = {}

    def compile(self, schema: Schema) -> Check:
        if "$ref" in schema:
            return self._refer(schema["$ref"])
        kind = schema.get("type")
        if kind is None:
            if set(schema) - _ANNOTATIONS:
                raise SchemaError(f"keywords without a type: {sorted(schema)}")
            return _anything
        strange = set(schema) - _ANNOTATIONS - {"type"} - _OF_TYPE[kind]
        if strange:
            raise SchemaError(f"unknown keywords for {kind}: {sorted(strange)}")
        match kind:
            case "object":
                return self._object(schema)
            case "array":
                return self._array(schema)
            case "string":
                return _string(schema)
            case "boolean":
                return _boolean
        return _number(schema, whole=kind == "integer")

    def _refer(self, reference: str) -> Check:
        if reference not in self._referred:
            start, _, name = reference.rpartition("/")
            if start != "#/definitions":
                raise SchemaError(f"a reference to elsewhere: {reference}")
            self._referred[reference] = self.compile(self._root["definitions"][name])
        return self._referred[reference]

    def _object(self, schema: Schema) -> Check:
        properties = schema.get("properties", {})
        inner = {name: self.compile(one) for name, one in properties.items()}
        required = tuple(schema.get("required", ()))
        is_open = schema.get("additionalProperties", True)
        if self._tolerant:
            return _tolerant_object(inner, required, is_open=is_open)
        words = {name: found for name, one in properties.items() if (found := self._words(one))}
        return _object(inner, words, required, is_open=is_open)

    def _words(self, schema: Schema) -> frozenset[str]:
        """The words allowed, where only some are."""
        name = schema.get("$ref", "").rpartition("/")[2]
        return frozenset((self._root["definitions"][name] if name else schema).get("enum", ()))

    def _array(self, schema: Schema) -> Check:
        return _array(self.compile(schema.get("items", {})), schema.get("minItems", 0),
                      schema.get("maxItems"))


def _anything(_: Any) -> Flaw | None:
    return None


def _boolean(value: Any) -> Flaw | None:
    return None if type(value) is bool else _wrong_type("true or false", value)


_JSON_NAMES = {dict: "an object", list: "a list", str: "a text", bool: "true or false",
               int: "a whole number", float: "a number", type(None): "null"}


def _wrong_type(wanted: str, value: Any) -> Flaw:
    return Flaw("type", f"expected {wanted}, not {_JSON_NAMES.get(type(value), 'this')}")


def _missing(required: tuple[str, ...], value: Mapping[str, Any]) -> Flaw | None:
    for name in required:
        if name not in value:
            return Flaw("protocol", "is missing", name)
    return None


def _object(inner: Mapping[str, Check], words: Mapping[str, frozenset[str]],
            required: tuple[str, ...], *, is_open: bool) -> Check:
    """`words`: the properties that are one of some words, which is seen without a call."""
    find, allowed = inner.get, words.get

    def check(value: Any) -> Flaw | None:
        if type(value) is not dict:
            return _wrong_type("an object", value)
        for name, one in value.items():
            if type(one) is str and one in allowed(name, ()):
                continue
            known = find(name)
            if known is None:
                if is_open:
                    continue
                return Flaw("format", "is not known here", str(name)[:50])
            flaw = known(one)
            if flaw is not None:
                return flaw.within(name)
        for name in required:
            if name not in value:
                return _missing(required, value)
        return None

    return check


def _tolerant_object(inner: Mapping[str, Check], required: tuple[str, ...], *, is_open: bool
                     ) -> Check:
    def check(value: Any) -> Flaw | None:
        if type(value) is not dict:
            return _wrong_type("an object", value)
        unfit = []
        for name, one in value.items():
            known = inner.get(name)
            if known is None:
                if not is_open:
                    unfit.append(name)
                continue
            flaw = known(one)
            if flaw is not None:
                if name in required:
                    return flaw.within(name)
                unfit.append(name)
        for name in unfit:
            del value[name]
        return _missing(required, value)

    return check


def _array(item: Check, least: int, most: int | None) -> Check:
    def check(value: Any) -> Flaw | None:
        if type(value) is not list:
            return _wrong_type("a list", value)
        if len(value) < least or (most is not None and len(value) > most):
            return Flaw("occurrence", f"has {len(value)} entries, allowed are {least} to "
                                      f"{'any number' if most is None else most}")
        for position, one in enumerate(value):
            flaw = item(one)
            if flaw is not None:
                return flaw.within(f"[{position}]")
        return None

    return check


def _string(schema: Schema) -> Check:
    if "enum" in schema:
        return _word(frozenset(schema["enum"]))
    if schema.get("format") == "date-time":
        return _date_time
    if schema.get("format") not in (None, "uri"):
        raise SchemaError(f"unknown format {schema['format']}")
    return _text(schema.get("maxLength"))


def _word(words: frozenset[str]) -> Check:
    def check(value: Any) -> Flaw | None:
        if type(value) is str:
            if value in words:
                return None
            return Flaw("property", f"{value[:40]!r} is none of the words allowed")
        return _wrong_type("a text", value)

    return check


def _text(most: int | None) -> Check:
    limit = 1 << 62 if most is None else most

    def check(value: Any) -> Flaw | None:
        if type(value) is str:
            if len(value) <= limit:
                return None
            return Flaw("property", f"has {len(value)} characters, allowed are {limit}")
        return _wrong_type("a text", value)

    return check


def _date_time(value: Any) -> Flaw | None:
    if type(value) is not str:
        return _wrong_type("a text", value)
    try:
        parse_time(value)
    except ValueError:
        return Flaw("property", f"{value[:40]!r} is not a date-time")
    return None


def _number(schema: Schema, *, whole: bool) -> Check:
    least, most = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
    tenths = "multipleOf" in schema
    if tenths and schema["multipleOf"] != 0.1:
        raise SchemaError(f"multipleOf {schema['multipleOf']}: only 0.1 is understood")
    wanted = "a whole number" if whole else "a number"
    kinds = (int,) if whole else (int, float)

    def check(value: Any) -> Flaw | None:
        if type(value) not in kinds:
            return _wrong_type(wanted, value)
        if not least <= value <= most or value - value != 0:  # NaN and infinity are no JSON
            return Flaw("property", f"{value} is out of range")
        if tenths and not _is_tenth(value):
            return Flaw("property", f"{value} has more than one decimal")
        return None

    return check


def _is_tenth(value: float) -> bool:
    """Whether the shortest decimal text of `value` has at most one decimal (binary 16.1 has)."""
    return type(value) is int or round(value, 1) == value
