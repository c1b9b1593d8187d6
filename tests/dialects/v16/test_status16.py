"""The status matrix of 1.6: what each picture is called, and the way from one to the next."""

import pytest
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus
from support.dialect_world import (
    TWINS,
    World,
    evse_picture,
    fault,
    moment,
    station_picture,
)

from cpctl.core.faults import CATALOGUE, FaultCode
from cpctl.core.views import ClaimState, EvsePicture, PowerState, StationPicture
from cpctl.dialects.base import StatusReport
from cpctl.dialects.v16 import status
from cpctl.dialects.v16.dialect import Dialect16
from hal.values import PilotState

DIALECT = Dialect16()
IN_USE = {"transaction": True, "plugged": True, "session": 7, "claim": ClaimState.GRANTED,
          "pilot": PilotState.B, "offering": True, "offered_a": 16.0}

# letter/number of the matrix -> pictures that stand for the status
PICTURES: dict[str, list[EvsePicture]] = {
    "Available": [evse_picture(), evse_picture(session=7)],
    "Preparing": [
        evse_picture(plugged=True, pilot=PilotState.B),
        evse_picture(claim=ClaimState.ASKED),
        evse_picture(claim=ClaimState.GRANTED),
        evse_picture(plugged=True, finishing=True, claim=ClaimState.GRANTED),
    ],
    "Charging": [
        evse_picture(**IN_USE | {"car_asks": True, "power": PowerState.ON}),
        evse_picture(**IN_USE | {"car_asks": True, "power": PowerState.CLOSING}),
        evse_picture(**IN_USE | {"car_asks": True, "power": PowerState.ON, "power_w": 0.0}),
        evse_picture(**IN_USE | {"car_asks": True, "power": PowerState.WINDING_DOWN,
                                 "offering": False, "ending": True}),
    ],
    "SuspendedEV": [
        evse_picture(**IN_USE),
        evse_picture(**IN_USE | {"plugged": False, "pilot": PilotState.A,
                                 "unplugged_inside": True}),
        evse_picture(**IN_USE | {"plugged": False, "pilot": PilotState.A, "offering": False,
                                 "unplugged_inside": True}),
    ],
    "SuspendedEVSE": [
        evse_picture(**IN_USE | {"offering": False}),
        evse_picture(**IN_USE | {"offering": False, "car_asks": True}),
        evse_picture(**IN_USE | {"car_asks": True, "refused": ("rcd",)}),
        evse_picture(**IN_USE | {"claim": ClaimState.REVOKED, "offering": False}),
    ],
    "Finishing": [
        evse_picture(plugged=True, finishing=True),
        evse_picture(plugged=True, finishing=True, claim=ClaimState.REVOKED),
        evse_picture(**IN_USE | {"ending": True, "offering": False, "power": PowerState.OPENING}),
        evse_picture(**IN_USE | {"ending": True, "offering": False, "plugged": False}),
    ],
    "Reserved": [evse_picture(reserved=5), evse_picture(reserved=5, plugged=True)],
    "Unavailable": [
        evse_picture(operative=False),
        evse_picture(operative=False, plugged=True, finishing=True),
        evse_picture(operative=False, reserved=5),
    ],
    "Faulted": [
        evse_picture(faults=(fault(FaultCode.RCD_TRIPPED),)),
        evse_picture(operative=False, faults=(fault(FaultCode.RCD_TRIPPED),)),
        evse_picture(**IN_USE | {"faults": (fault(FaultCode.CONTACTOR_WELDED),)}),
    ],
}
COLUMNS = list(PICTURES)
MATRIX_ROWS = {
    "A": "2345789",
    "B": "134569",
    "C": "145689",
    "D": "135689",
    "E": "134689",
    "F": "1289",
    "G": "1289",
    "H": "123459",
    "I": "12345678",
}
MATRIX = [letter + number for letter, numbers in MATRIX_ROWS.items() for number in numbers]


def reports(picture: StationPicture, world: World | None = None) -> tuple[StatusReport, ...]:
    return DIALECT.statuses(picture, (world or World()).context)


def status_of(one: EvsePicture) -> str:
    return reports(station_picture(one, evse_picture(2)))[1].status


@pytest.mark.requirement("16.STAT.1", "16.STAT.2", "16.STAT.3", "16.TX.12", "16.TX.15")
@pytest.mark.parametrize(("word", "picture"), [
    (word, picture) for word, pictures in PICTURES.items() for picture in pictures])
def test_a_picture_has_its_status(word: str, picture: EvsePicture) -> None:
    assert status_of(picture) == word
    assert word in {one.value for one in ChargePointStatus}


@pytest.mark.requirement("16.STAT.1")
@pytest.mark.parametrize("row", MATRIX)
def test_every_step_of_the_matrix_is_a_new_report_of_that_connector_alone(row: str) -> None:
    before, after = COLUMNS["ABCDEFGHI".index(row[0])], COLUMNS[int(row[1]) - 1]
    for one in PICTURES[before]:
        for other in PICTURES[after]:
            was = reports(station_picture(one, evse_picture(2)))
            now = reports(station_picture(other, evse_picture(2)))

            assert [report.status for report in was] == ["Available", before, "Available"]
            assert [report.status for report in now] == ["Available", after, "Available"]
            assert was[1] != now[1] and was[0] == now[0] and was[2] == now[2]


def test_an_inoperative_change_waits_for_the_transaction_in_the_status_too() -> None:
    running = evse_picture(**IN_USE | {"operative": False, "car_asks": True,
                                       "power": PowerState.ON, "availability_pending": True})

    assert status_of(running) == "Charging"


@pytest.mark.requirement("16.TX.12", "16.TX.13")
def test_a_car_that_is_gone_is_told_in_the_info() -> None:
    pictures = (
        evse_picture(**IN_USE | {"unplugged_inside": True, "plugged": False}),
        evse_picture(**IN_USE | {"ending": True, "plugged": False}),
        evse_picture(plugged=True, finishing=True, stopped_because="EVDisconnected"))

    told = [reports(station_picture(one, evse_picture(2)))[1] for one in pictures]

    assert [one.info for one in told] == ["EV side disconnected"] * 3
    assert [one.error for one in told] == ["NoError"] * 3
    other = reports(station_picture(evse_picture(plugged=True, finishing=True,
                                                 stopped_because="Local"), evse_picture(2)))[1]
    assert other.info == ""


# --- connector 0 and the station -------------------------------------------------------------


@pytest.mark.requirement("16.BOOT.4", "16.STAT.1")
def test_connector_0_comes_first_and_then_each_connector() -> None:
    told = reports(station_picture(), World(layout=TWINS))

    assert [(one.connector, one.evse) for one in told] == [(0, None), (1, 1), (2, 1), (3, 2)]


@pytest.mark.parametrize(("changes", "word", "error"), [
    ({}, "Available", "NoError"),
    ({"operative": False}, "Unavailable", "NoError"),
    ({"faults": (fault(FaultCode.JOURNAL_FAILED),)}, "Faulted", "InternalError"),
    ({"faults": (fault(FaultCode.READER_LOST),)}, "Available", "ReaderFailure"),
    ({"faults": (fault(FaultCode.RESET_FAILED),), "operative": False}, "Unavailable",
     "ResetFailure"),
])
def test_connector_0_uses_three_statuses(
        changes: dict[str, object], word: str, error: str) -> None:
    told = reports(station_picture(**changes))[0]

    assert (told.status, told.error) == (word, error)


@pytest.mark.requirement("16.STAT.9")
def test_a_station_that_is_unavailable_does_not_rewrite_its_connectors() -> None:
    told = reports(station_picture(operative=False))

    assert [one.status for one in told] == ["Unavailable", "Available", "Available"]


def test_a_fault_that_stops_the_station_is_told_of_each_connector() -> None:
    told = reports(station_picture(faults=(fault(FaultCode.JOURNAL_FAILED),)))

    assert [(one.status, one.error) for one in told] == [("Faulted", "InternalError")] * 3


@pytest.mark.requirement("16.TX.9")
def test_a_sibling_of_a_connector_in_use_is_unavailable() -> None:
    world = World(layout=TWINS)
    free = station_picture(evse_picture(1), evse_picture(2))
    used = station_picture(evse_picture(1, plugged=True, connector=2), evse_picture(2))
    out = station_picture(evse_picture(1, out=(2,)), evse_picture(2))

    assert [one.status for one in reports(free, world)] == ["Available"] * 4
    assert [one.status for one in reports(used, world)] == [
        "Available", "Unavailable", "Preparing", "Available"]
    assert [one.status for one in reports(out, world)] == [
        "Available", "Available", "Unavailable", "Available"]


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.requirement("16.STAT.4")
@pytest.mark.parametrize("code", FaultCode)
def test_every_fault_has_an_error_code_and_a_status_that_may_go_with_it(code: FaultCode) -> None:
    world = World()
    picture = station_picture(evse_picture(faults=(fault(code, "V-17"),)), evse_picture(2))

    report = reports(picture, world)[1]
    call = DIALECT.status_call(report, moment(3), world.context)

    assert report.status == ("Faulted" if CATALOGUE[code].stops else "Available")
    assert report.error in {one.value for one in ChargePointErrorCode} - {
        "NoError", "EVCommunicationError"}
    assert report.vendor_error == ("V-17" if code is FaultCode.OTHER else code.value)
    assert call.payload["vendorId"] == "Example"
    assert call.payload["timestamp"] == "2026-03-01T12:00:03.000Z"
    assert DIALECT.check(call.action, call.payload, response=False, ours=True) is None


def test_a_fault_that_stops_is_told_before_a_warning() -> None:
    both = evse_picture(faults=(fault(FaultCode.METER_LOST), fault(FaultCode.OVER_TEMPERATURE)))

    report = reports(station_picture(both, evse_picture(2)))[1]

    assert (report.status, report.error) == ("Faulted", "HighTemperature")


@pytest.mark.requirement("16.MET.14")
def test_a_warning_keeps_the_status() -> None:
    charging = evse_picture(**IN_USE | {"car_asks": True, "power": PowerState.ON,
                                        "faults": (fault(FaultCode.METER_LOST),)})

    report = reports(station_picture(charging, evse_picture(2)))[1]

    assert (report.status, report.error) == ("Charging", "PowerMeterFailure")


def test_a_long_vendor_code_is_cut_to_what_the_field_holds() -> None:
    world = World()
    strange = evse_picture(faults=(fault(FaultCode.OTHER, "x" * 80),))

    report = reports(station_picture(strange, evse_picture(2)), world)[1]

    assert len(report.vendor_error) == 50
    call = DIALECT.status_call(report, moment(), world.context)
    assert DIALECT.check(call.action, call.payload, response=False, ours=True) is None


def test_equal_pictures_make_equal_reports() -> None:
    first = reports(station_picture(evse_picture(power_w=1.0, energy_wh=1), evse_picture(2)))
    second = reports(station_picture(evse_picture(power_w=2.0, energy_wh=2), evse_picture(2)))

    assert first == second
    assert {one.status for one in first} <= {word.value for word in ChargePointStatus}
    assert set(status.ERROR_CODES) == set(FaultCode)
