"""DataTransfer of the central system and its answer."""

from collections.abc import Mapping

from cpctl.dialects.v16.answers import Confirmation, Handler, Reading, Telling

HANDLERS: Mapping[str, Handler] = {}
REPLIES: Mapping[str, Confirmation] = {}
CALLS: Mapping[type, Telling] = {}
READINGS: Mapping[type, Reading] = {}
