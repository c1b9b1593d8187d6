"""What passed on the wire, in order, and whether each frame of the station is what it must be."""

import json
from decimal import Decimal
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
from support.world import World

Payload = dict[str, Any]
ANY_TIME = ("Heartbeat", "SecurityEventNotification")  # these may come between any others


class Trace:
    """The station's frames since `begin`, as the central system received them."""

    def __init__(self, station: World, *, from_the_start: bool = False) -> None:
        self._central = station.central
        self._from = 0
        if not from_the_start:
            self.begin()

    def begin(self) -> None:
        """From here on."""
        self._from = len(self._central.frames)

    @property
    def calls(self) -> list[tuple[str, Payload]]:
        """Action and payload of each call of the station, a repetition left out."""
        found: dict[str, tuple[str, Payload]] = {}
        for frame in self._central.frames[self._from:]:
            parts = frame.parts
            if not frame.sent and parts[0] == 2:
                found.setdefault(parts[1], (parts[2], parts[3]))
        return list(found.values())

    def actions(self, *left_out: str) -> list[str]:
        """The actions in order, without heartbeats and security events."""
        return [action for action, _ in self.calls if action not in (*ANY_TIME, *left_out)]

    def of(self, action: str) -> list[Payload]:
        return [payload for name, payload in self.calls if name == action]

    def one(self, action: str) -> Payload:
        """The only call of that action."""
        payload, = self.of(action)
        return payload

    def statuses(self, connector: int = 1) -> list[str]:
        return [one["status"] for one in self.of("StatusNotification")
                if one["connectorId"] == connector]

    def story(self, connector: int = 1) -> list[str]:
        """What happened at a connector: its statuses, and the actions that are no status."""
        told = []
        for action, payload in self.calls:
            if action == "StatusNotification":
                if payload["connectorId"] == connector:
                    told.append(payload["status"])
            elif action not in (*ANY_TIME, "MeterValues"):
                told.append(action)
        return told


@cache
def _validator(name: str) -> Any:
    spec = find_spec("ocpp")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "v16", "schemas", f"{name}.json")
    schema = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    return jsonschema.validators.validator_for(schema)(schema)


def assert_every_frame_fits_its_schema(station: World, *, redated: bool = False) -> None:
    """Each call and each result of the station, by the schemas of another implementation; a
    message id of the station's stands for one call only. `redated`: the clock was set, so that the
    same call may come with a better time."""
    asked: dict[str, str] = {}
    called: dict[str, tuple[str, Any]] = {}
    for frame in station.central.frames:
        try:
            parts = json.loads(frame.text, parse_float=Decimal)  # 8.7 is a multiple of 0.1
        except ValueError:
            continue
        if frame.sent:
            if parts[0] == 2:
                asked[parts[1]] = parts[2]
        elif parts[0] == 2:
            _, message, action, payload = parts
            _validator(action).validate(payload)
            assert len(message) <= 36
            said = (action, _undated(payload) if redated else payload)
            assert called.setdefault(message, said) == said
        elif parts[0] == 3 and parts[1] in asked:
            _validator(f"{asked[parts[1]]}Response").validate(parts[2])


def _undated(value: Any) -> Any:
    if isinstance(value, list):
        return [_undated(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _undated(one) for name, one in value.items() if name != "timestamp"}
