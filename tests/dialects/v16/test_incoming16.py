"""Every action of 1.6 is answered properly: done, refused in its own words, or by an error."""

from typing import Any

import pytest
from support.dialect_world import TWINS, World

from cpctl.core.events import AvailabilityRequested, Request, StartRequested, StopRequested
from cpctl.core.values import EvseLayout, Outcome, Registration, Reply, StationLayout
from cpctl.dialects.base import Call, CallError, Result
from cpctl.dialects.v16 import incoming, keys
from cpctl.dialects.v16.dialect import ACTIONS, ERROR_CODES, Dialect16

DIALECT = Dialect16()
PROFILE = {"chargingProfileId": 1, "stackLevel": 0, "chargingProfilePurpose": "TxProfile",
           "chargingProfileKind": "Relative",
           "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [
               {"startPeriod": 0, "limit": 16.0}]}}
LATER = "2027-01-01T00:00:00Z"
HASHES = {"hashAlgorithm": "SHA256", "issuerNameHash": "a", "issuerKeyHash": "b",
          "serialNumber": "1"}

SOUND: dict[str, dict[str, Any]] = {
    "CancelReservation": {"reservationId": 1},
    "CertificateSigned": {"certificateChain": "x"},
    "ChangeAvailability": {"connectorId": 1, "type": "Operative"},
    "ChangeConfiguration": {"key": "HeartbeatInterval", "value": "60"},
    "ClearCache": {},
    "ClearChargingProfile": {},
    "DataTransfer": {"vendorId": "org.example"},
    "DeleteCertificate": {"certificateHashData": HASHES},
    "ExtendedTriggerMessage": {"requestedMessage": "BootNotification"},
    "GetCompositeSchedule": {"connectorId": 1, "duration": 60},
    "GetConfiguration": {},
    "GetDiagnostics": {"location": "ftp://x"},
    "GetInstalledCertificateIds": {"certificateType": "CentralSystemRootCertificate"},
    "GetLocalListVersion": {},
    "GetLog": {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": "ftp://x"}},
    "InstallCertificate": {"certificateType": "CentralSystemRootCertificate", "certificate": "x"},
    "RemoteStartTransaction": {"idTag": "A", "connectorId": 1},
    "RemoteStopTransaction": {"transactionId": 1},
    "ReserveNow": {"connectorId": 1, "expiryDate": LATER, "idTag": "A", "reservationId": 1},
    "Reset": {"type": "Hard"},
    "SendLocalList": {"listVersion": 1, "updateType": "Full"},
    "SetChargingProfile": {"connectorId": 1, "csChargingProfiles": PROFILE},
    "SignedUpdateFirmware": {"requestId": 1, "firmware": {
        "location": "x", "retrieveDateTime": LATER, "signingCertificate": "x", "signature": "x"}},
    "TriggerMessage": {"requestedMessage": "Heartbeat"},
    "UnlockConnector": {"connectorId": 1},
    "UpdateFirmware": {"location": "ftp://x", "retrieveDate": LATER},
}


def answer(action: str, payload: Any, world: World) -> Request | Result | CallError:
    """What the link gets: the check first, then the request."""
    wrong = DIALECT.check(action, payload, response=False, ours=False)
    return wrong if wrong is not None else DIALECT.request(Call(action, payload), world.context)


@pytest.mark.requirement("16.RPC.7")
@pytest.mark.parametrize("action", ACTIONS)
def test_every_known_action_is_answered(action: str) -> None:
    world = World(aliases={7: 1})

    said = answer(action, SOUND.get(action, {}), world)

    if ACTIONS[action] != "out":
        assert isinstance(said, Request | Result)
    else:
        assert said == CallError("NotSupported", f"{action} is not supported")
    if isinstance(said, Result):
        assert DIALECT.check(action, said.payload, response=True, ours=False) is None


def test_the_table_of_sound_calls_is_complete() -> None:
    assert set(SOUND) == {name for name, way in ACTIONS.items() if way != "out"}
    assert set(incoming.HANDLERS) == set(SOUND)


@pytest.mark.requirement("16.RPC.7")
@pytest.mark.parametrize("action", ["authorize", "Fly", "NotifyReport", "x" * 300])
def test_an_unknown_action_is_not_implemented(action: str) -> None:
    said = answer(action, {}, World())

    assert isinstance(said, CallError)
    assert said.code == "NotImplemented"
    assert len(said.description) <= 255
    assert DIALECT.request(Call(action, {}), World().context) == said


@pytest.mark.requirement("16.RPC.7")
@pytest.mark.parametrize(("action", "payload", "code"), [
    ("Reset", {}, "ProtocolError"),
    ("Reset", {"type": "Soft", "extra": 1}, "FormationViolation"),
    ("Reset", {"type": "Lukewarm"}, "PropertyConstraintViolation"),
    ("Reset", {"type": 5}, "TypeConstraintViolation"),
    ("Reset", [], "TypeConstraintViolation"),
    ("RemoteStartTransaction", {"idTag": "x" * 21}, "PropertyConstraintViolation"),
    ("RemoteStartTransaction", {"idTag": "x", "chargingProfile": {}}, "ProtocolError"),
    ("SendLocalList", {"listVersion": 1, "updateType": "Some"}, "PropertyConstraintViolation"),
])
def test_a_bad_payload_is_refused_with_the_code_of_1_6(
        action: str, payload: Any, code: str) -> None:
    said = answer(action, payload, World())

    assert isinstance(said, CallError)
    assert said.code == code
    assert len(said.description) <= 255


def test_too_few_or_too_many_of_something_bears_the_old_spelling() -> None:
    wrong = DIALECT.check("MeterValues", {"connectorId": 1, "meterValue": []}, response=False,
                          ours=True)

    assert wrong is not None and wrong.code == "OccurenceConstraintViolation"


def test_errors_are_spelled_as_1_6_spells_them() -> None:
    kinds = ("not_implemented", "not_supported", "internal", "protocol", "security", "format",
             "property", "occurrence", "type", "generic", "framework", "message_type")

    assert set(ERROR_CODES) == set(kinds)
    assert {DIALECT.error_code(kind) for kind in kinds} == {
        "NotImplemented", "NotSupported", "InternalError", "ProtocolError", "SecurityError",
        "FormationViolation", "PropertyConstraintViolation", "OccurenceConstraintViolation",
        "TypeConstraintViolation", "GenericError"}


# --- remote start and stop -------------------------------------------------------------------


@pytest.mark.requirement("16.BOOT.5")
@pytest.mark.parametrize("registration", [Registration.PENDING, Registration.NONE])
@pytest.mark.parametrize("action", ["RemoteStartTransaction", "RemoteStopTransaction"])
def test_nothing_is_started_or_stopped_remotely_before_we_are_accepted(
        action: str, registration: Registration) -> None:
    world = World(aliases={7: 1}, registration=registration)

    assert answer(action, SOUND[action], world) == Result({"status": "Rejected"})


@pytest.mark.requirement("16.RSTART.2")
@pytest.mark.octt("TC_027_CS")
@pytest.mark.parametrize("number", [0, -1, 4, 99])
def test_a_remote_start_at_no_connector_is_rejected(number: int) -> None:
    payload = {"idTag": "A", "connectorId": number}

    assert answer("RemoteStartTransaction", payload, World(layout=TWINS)) == Result(
        {"status": "Rejected"})


@pytest.mark.requirement("16.RSTART.1", "16.RSTART.5")
@pytest.mark.parametrize("authorize", ["true", "false"])
def test_a_remote_start_is_authorized_when_the_key_says_so(authorize: str) -> None:
    world = World(layout=TWINS).set({"auth.remote_needs_authorization": authorize})
    payload = {"idTag": "A", "connectorId": 3, "chargingProfile": PROFILE}

    said = answer("RemoteStartTransaction", payload, world)

    assert isinstance(said, StartRequested)
    assert (said.evse, said.connector, said.authorize) == (2, 1, authorize == "true")


@pytest.mark.requirement("16.RSTART.3")
def test_a_remote_start_without_connector_leaves_the_choice_to_the_station() -> None:
    said = answer("RemoteStartTransaction", {"idTag": "A"}, World())

    assert isinstance(said, StartRequested)
    assert (said.evse, said.connector) == (None, None)


@pytest.mark.requirement("16.RSTOP.1", "16.TX.7")
@pytest.mark.parametrize("alias", [0, 5, -3])
def test_a_remote_stop_finds_the_session_of_its_transaction(alias: int) -> None:
    world = World(aliases={7: alias})

    said = answer("RemoteStopTransaction", {"transactionId": alias}, world)
    other = answer("RemoteStopTransaction", {"transactionId": alias + 1}, world)

    assert isinstance(said, StopRequested) and said.session == 7
    assert other == Result({"status": "Rejected"})


# --- availability, unlock --------------------------------------------------------------------


@pytest.mark.requirement("16.AVAIL.1", "16.AVAIL.3")
@pytest.mark.parametrize(("number", "place"), [
    (0, (None, None)), (1, (1, 1)), (2, (1, 2)), (3, (2, None))])
def test_availability_is_asked_for_the_station_an_evse_or_one_of_its_connectors(
        number: int, place: tuple[int | None, int | None]) -> None:
    said = answer("ChangeAvailability", {"connectorId": number, "type": "Inoperative"},
                  World(layout=TWINS))

    assert isinstance(said, AvailabilityRequested)
    assert (said.evse, said.connector) == place
    assert said.operative is False


@pytest.mark.requirement("16.AVAIL.1")
@pytest.mark.parametrize("number", [-1, 4])
def test_availability_of_an_unknown_connector_is_rejected(number: int) -> None:
    assert answer("ChangeAvailability", {"connectorId": number, "type": "Operative"},
                  World(layout=TWINS)) == Result({"status": "Rejected"})


@pytest.mark.requirement("16.UNLOCK.1")
@pytest.mark.octt("TC_031_CS")
@pytest.mark.parametrize("number", [0, -1, 3])
def test_unlocking_an_unknown_connector_is_not_supported(number: int) -> None:
    assert answer("UnlockConnector", {"connectorId": number}, World()) == Result(
        {"status": "NotSupported"})


@pytest.mark.requirement("16.CACHE.6")
def test_a_cache_that_is_switched_off_cannot_be_cleared() -> None:
    world = World().set({"auth.cache_enabled": "false"})

    assert answer("ClearCache", {}, world) == Result({"status": "Rejected"})


# --- replies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("action", incoming.REPLIES)
def test_whatever_the_core_says_has_a_word(action: str, outcome: Outcome) -> None:
    said = DIALECT.reply(Call(action, SOUND[action]), Reply(outcome), World().context)

    assert isinstance(said, Result)
    assert DIALECT.check(action, said.payload, response=True, ours=False) is None


@pytest.mark.parametrize(("action", "outcome", "word"), [
    ("ChangeAvailability", Outcome.ACCEPTED, "Accepted"),
    ("ChangeAvailability", Outcome.SCHEDULED, "Scheduled"),
    ("ChangeAvailability", Outcome.REJECTED, "Rejected"),
    ("ChangeConfiguration", Outcome.REBOOT_REQUIRED, "RebootRequired"),
    ("ChangeConfiguration", Outcome.NOT_SUPPORTED, "NotSupported"),
    ("ChangeConfiguration", Outcome.REJECTED, "Rejected"),
    ("ClearCache", Outcome.FAILED, "Rejected"),
    ("DataTransfer", Outcome.ACCEPTED, "Accepted"),
    ("DataTransfer", Outcome.UNKNOWN_MESSAGE, "UnknownMessageId"),
    ("DataTransfer", Outcome.FAILED, "Rejected"),
    ("DataTransfer", Outcome.UNKNOWN, "UnknownVendorId"),
    ("RemoteStartTransaction", Outcome.ACCEPTED, "Accepted"),
    ("RemoteStartTransaction", Outcome.OCCUPIED, "Rejected"),
    ("RemoteStopTransaction", Outcome.UNKNOWN, "Rejected"),
    ("Reset", Outcome.SCHEDULED, "Accepted"),
    ("Reset", Outcome.REJECTED, "Rejected"),
    ("UnlockConnector", Outcome.UNLOCKED, "Unlocked"),
    ("UnlockConnector", Outcome.UNLOCK_FAILED, "UnlockFailed"),
    ("UnlockConnector", Outcome.NOT_SUPPORTED, "NotSupported"),
])
def test_an_outcome_is_said_in_the_word_of_the_message(
        action: str, outcome: Outcome, word: str) -> None:
    assert incoming.reply(action, Reply(outcome), World().context) == Result({"status": word})


# --- reading configuration -------------------------------------------------------------------


def read(keys: list[str] | None, world: World) -> Any:
    said = answer("GetConfiguration", {} if keys is None else {"key": keys}, world)
    if isinstance(said, Result):
        assert DIALECT.check("GetConfiguration", said.payload, response=True, ours=False) is None
        return said.payload
    return said


@pytest.mark.requirement("16.CONF.1")
def test_no_key_and_no_list_read_all_keys() -> None:
    world = World()

    assert read(None, world) == read([], world)
    told = [one["key"] for one in read(None, world)["configurationKey"]]
    assert told == [key.name for key in keys.listed(world.layout)]
    assert "unknownKey" not in read(None, world)


@pytest.mark.requirement("16.CONF.1")
def test_keys_are_found_in_any_case_and_unknown_ones_echoed() -> None:
    told = read(["NUMBEROFCONNECTORS", "numberofconnectors", "Foo", "Foo", "BlinkRepeat"], World())

    assert told == {"configurationKey": [
        {"key": "NumberOfConnectors", "readonly": True, "value": "2"}],
        "unknownKey": ["Foo", "BlinkRepeat"]}


@pytest.mark.requirement("16.CONF.1")
def test_one_unknown_key_leaves_an_empty_list_of_known_ones() -> None:
    assert read(["BlinkRepeat"], World()) == {"configurationKey": [],
                                              "unknownKey": ["BlinkRepeat"]}


@pytest.mark.requirement("16.CONF.1", "16.SEC.3", "key:AuthorizationKey")
def test_a_secret_is_listed_without_its_value() -> None:
    world = World().set({"link.password": "0123456789ABCDEF0123456789ABCDEF"})

    assert read(["authorizationkey"], world) == {"configurationKey": [
        {"key": "AuthorizationKey", "readonly": False}]}
    assert "0123456789" not in str(read(None, world))


@pytest.mark.requirement("16.CONF.1")
def test_more_keys_than_can_be_asked_for_are_an_error_unless_tolerated() -> None:
    many = [f"Key{n}" for n in range(101)]

    assert read(many[:100], World())["unknownKey"] == many[:100]
    refused = read(many, World())
    assert isinstance(refused, CallError)
    assert refused.code == "OccurenceConstraintViolation"
    tolerant = World().set({"compat.too_many_keys": "answer_all"})
    assert read(many, tolerant)["unknownKey"] == many


def test_a_station_with_one_connector_says_so() -> None:
    world = World(layout=StationLayout((EvseLayout(1),)))

    assert read(["NumberOfConnectors"], world)["configurationKey"][0]["value"] == "1"
