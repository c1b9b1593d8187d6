"""connectorId of OCPP 1.6: 1.. over all EVSEs and their connectors as installed, 0 the station."""

from collections.abc import Iterator

from cpctl.core.values import StationLayout


def numbered(layout: StationLayout) -> Iterator[tuple[int, int, int]]:
    """(connectorId, EVSE, connector of that EVSE) in the order of connectorId."""
    number = 0
    for evse in layout.evses:
        for connector in evse.connectors:
            number += 1
            yield number, evse.id, connector.id


def count(layout: StationLayout) -> int:
    return sum(len(evse.connectors) for evse in layout.evses)


def to_wire(layout: StationLayout, evse: int | None, connector: int | None) -> int:
    """The connectorId of a connector; the first one's of its EVSE when `connector` is None.

    A connector that is not installed any more keeps a number: what happened there must still be
    told. Source: OCPP 1.6 §3.3 (0 is the whole charge point).
    """
    if evse is None:
        return 0
    first: int | None = None
    for number, at, one in numbered(layout):
        if at == evse:
            if connector in (None, one):
                return number
            first = number if first is None else first
    return evse if first is None else first


def from_wire(layout: StationLayout, connector_id: int) -> tuple[int, int] | None:
    """(EVSE, connector) of a connectorId above 0; None when there is no such connector."""
    for number, evse, connector in numbered(layout):
        if number == connector_id:
            return evse, connector
    return None


def siblings(layout: StationLayout, evse: int) -> int:
    """How many connectors the EVSE has."""
    return sum(1 for _, at, _ in numbered(layout) if at == evse)
