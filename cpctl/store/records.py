"""What is kept of a record (`KeepRecord`) as text, and back: the class's name, then JSON.

The codec is made from the dataclasses, as that of the facts. A record of a class that this release
does not know is passed over aloud: what it stood for does not hold any more.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from cpctl.core.values import Kept
from cpctl.store.errors import FactUnwritable
from cpctl.store.facts_json import nested_codec

log = logging.getLogger(__name__)

PREFIX = "record."


def text_of(record: Kept) -> str:
    """The text of a record. Raises FactUnwritable for a value that cannot be kept."""
    kind: Any = type(record)
    write, _ = nested_codec(kind)
    try:
        return f"{kind.__name__} {json.dumps(write(record), separators=(',', ':'))}"
    except (TypeError, ValueError, AttributeError) as error:
        raise FactUnwritable(f"{kind.__name__}: {error}") from error


def records_of(kept: Mapping[str, str], kinds: Iterable[type[Kept]] | None = None
               ) -> dict[str, Kept]:
    """The records among what is kept, by key without the prefix. Unreadable ones are told."""
    found: dict[str, Kept] = {}
    known = _known() if kinds is None else {kind.__name__: kind for kind in kinds}
    for key, text in kept.items():
        if not key.startswith(PREFIX):
            continue
        name, _, body = text.partition(" ")
        try:
            kind: Any = known[name]
            found[key.removeprefix(PREFIX)] = nested_codec(kind)[1](json.loads(body))
        except (KeyError, TypeError, ValueError) as error:
            log.error("kept record %s cannot be read and no longer holds: %s: %s", key,
                      type(error).__name__, error)
    return found


def _known() -> dict[str, type[Kept]]:
    return {kind.__name__: kind for kind in Kept.__subclasses__()}
