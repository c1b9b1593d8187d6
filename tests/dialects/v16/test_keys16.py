"""Every configuration key is read and written, good values and bad."""

from pathlib import Path

import pytest
from support import conformance
from support.dialect_world import TWINS, World

from cpctl.core.events import SettingChangeRequested
from cpctl.core.metering import SUPPORTED
from cpctl.core.settings import TABLE, Access, Kind, SettingError, Settings
from cpctl.core.values import EvseLayout, StationLayout
from cpctl.dialects.base import Call, Result
from cpctl.dialects.v16 import incoming, keys
from cpctl.dialects.v16.dialect import Dialect16
from cpctl.dialects.v16.measurands import OF, list_from_wire, list_to_wire

DIALECT = Dialect16()
#: What has every key: a plug lock, lights that can be dimmed.
FITTED = StationLayout((EvseLayout(1, has_lock=True, has_lights=True), EvseLayout(2)))
REJECTED, NOT_SUPPORTED = Result({"status": "Rejected"}), Result({"status": "NotSupported"})
MEASURED = [quantity for quantity in OF if quantity in SUPPORTED]
BAD_INTEGERS = ("-1", "+5", "1.0", "1e3", "", " ", "ten", "0x10", "1" * 13, "²")
BAD_FLAGS = ("1", "0", "yes", "", "TRUE!", "wahr")
BAD_MEASURANDS = ("Energy", "SoC", "Voltage,Nonsense", "Voltage.L4", "Voltage.N",
                  "Voltage,,Voltage", ",", "Energy.Active.Import.Register;Voltage", "RPM")
# key: (default as read, a good new value, the canonical text of it)
WRITABLE = {
    "AllowOfflineTxForUnknownId": ("false", "TRUE", "true"),
    "AuthorizationCacheEnabled": ("true", "false", "false"),
    "AuthorizeRemoteTxRequests": ("false", "True", "true"),
    "BlinkRepeat": ("3", "5", "5"),
    "ClockAlignedDataInterval": ("0", "900", "900"),
    "ConnectionTimeOut": ("60", "0", "0"),
    "ConnectorPhaseRotation": ("1.Unknown,2.Unknown", "1.RST, 2.RTS", "1.RST,2.RTS"),
    "HeartbeatInterval": ("300", "86400", "86400"),
    "LightIntensity": ("100", "0", "0"),
    "LocalAuthorizeOffline": ("true", "false", "false"),
    "LocalPreAuthorize": ("false", "true", "true"),
    "MaxEnergyOnInvalidId": ("0", "500", "500"),
    "MessageTimeout": ("30", "20", "20"),
    "MeterValuesAlignedData": ("Energy.Active.Import.Register", "", ""),
    "MeterValuesSampledData": ("Energy.Active.Import.Register,Power.Active.Import",
                               "Voltage.L1-N, current.import", "voltage@L1,current_import"),
    "MeterValueSampleInterval": ("60", "0", "0"),
    "MinimumStatusDuration": ("0", "5", "5"),
    "ResetRetries": ("1", "3", "3"),
    "StopTransactionOnEVSideDisconnect": ("true", "false", "false"),
    "StopTransactionOnInvalidId": ("true", "false", "false"),
    "StopTxnAlignedData": ("", "Energy.Active.Import.Register", "energy_import_register"),
    "StopTxnSampledData": ("", "Voltage,Voltage", "voltage"),
    "TransactionMessageAttempts": ("3", "0", "0"),
    "TransactionMessageRetryInterval": ("60", "10", "10"),
    "UnlockConnectorOnEVSideDisconnect": ("true", "false", "false"),
    "WebSocketPingInterval": ("60", "0", "0"),
    "LocalAuthListEnabled": ("true", "false", "false"),
    "CpoName": ("", "Example Charging Ltd", "Example Charging Ltd"),
    "SecurityProfile": ("0", "2", "2"),
}
WRITE_ONLY = "AuthorizationKey"
#: What no hardware here can do, and what errata 3.81 takes away.
ABSENT = ("ConnectorSwitch3to1PhaseSupported", "SupportedFeatureProfilesMaxLength")
ORDER = [name for name in conformance.wanted()["keys"] if name not in ABSENT]
READ_ONLY = {
    "ConnectorPhaseRotationMaxLength": "3",
    "GetConfigurationMaxKeys": "100",
    "MeterValuesAlignedDataMaxLength": "39",
    "MeterValuesSampledDataMaxLength": "39",
    "NumberOfConnectors": "2",
    "StopTransactionMaxMeterValues": "500",
    "StopTxnAlignedDataMaxLength": "39",
    "StopTxnSampledDataMaxLength": "39",
    "SupportedFeatureProfiles": "Core,FirmwareManagement,LocalAuthListManagement,Reservation,"
                                "SmartCharging,RemoteTrigger",
    "SupportedFileTransferProtocols": "FTP,FTPS,HTTP,HTTPS",
    "LocalAuthListMaxLength": "5000",
    "SendLocalListMaxLength": "500",
    "ReserveConnectorZeroSupported": "true",
    "ChargeProfileMaxStackLevel": "10",
    "ChargingScheduleAllowedChargingRateUnit": "Current,Power",
    "ChargingScheduleMaxPeriods": "96",
    "MaxChargingProfilesInstalled": "64",
    "AdditionalRootCertificateCheck": "false",
    "CertificateSignedMaxChainSize": "10000",
    "CertificateStoreMaxLength": "20",
}


def change(key: str, value: str, layout: StationLayout = FITTED) -> object:
    payload = {"key": key, "value": value}
    assert DIALECT.check("ChangeConfiguration", payload, response=False, ours=False) is None
    return DIALECT.request(Call("ChangeConfiguration", payload), World(layout=layout).context)


def value_of(name: str, settings: Settings, layout: StationLayout = FITTED) -> str:
    key = keys.find(name, FITTED)
    assert key is not None
    return keys.reading(key, settings, layout)


@pytest.mark.requirement("16.CONF.1")
def test_the_keys_stand_in_the_order_of_the_reference() -> None:
    assert [key.name for key in keys.KEYS.values()] == ORDER
    assert len(ORDER) == 50
    assert set(ORDER) == {*WRITABLE, *READ_ONLY, WRITE_ONLY}
    assert list(keys.KEYS) == [name.lower() for name in ORDER]


#: What each profile brings: it is named only if every call of it has a handler.
PROFILES = {
    "FirmwareManagement": ("GetDiagnostics", "UpdateFirmware"),
    "LocalAuthListManagement": ("GetLocalListVersion", "SendLocalList"),
    "Reservation": ("CancelReservation", "ReserveNow"),
    "SmartCharging": ("ClearChargingProfile", "GetCompositeSchedule", "SetChargingProfile"),
    "RemoteTrigger": ("TriggerMessage",),
}


@pytest.mark.requirement("key:SupportedFeatureProfiles", "key:SupportedFileTransferProtocols")
def test_a_profile_is_told_whose_calls_are_all_handled() -> None:
    told = value_of("SupportedFeatureProfiles", Settings()).split(",")

    assert told == ["Core", *PROFILES]
    for profile, actions in PROFILES.items():
        assert set(actions) <= set(incoming.HANDLERS), profile


@pytest.mark.requirement("16.CONF.1", "key:AuthorizationKey")
def test_a_secret_is_listed_without_its_value() -> None:
    world = World(settings=Settings().with_text("link.password", "00112233445566778899aabbccdd"))
    said = DIALECT.request(Call("GetConfiguration", {"key": [WRITE_ONLY.lower()]}), world.context)

    assert said == Result({"configurationKey": [{"key": WRITE_ONLY, "readonly": False}]})


@pytest.mark.requirement("16.CONF.1")
@pytest.mark.parametrize("name", [*WRITABLE, *READ_ONLY])
def test_a_key_reads_as_the_reference_has_it(name: str) -> None:
    expected = READ_ONLY.get(name) or WRITABLE[name][0]

    assert value_of(name.upper(), Settings()) == expected
    assert len(value_of(name, Settings())) <= 500


@pytest.mark.requirement("16.CONF.2", "16.CONF.3",
                         "key:AllowOfflineTxForUnknownId", "key:AuthorizationCacheEnabled",
                         "key:AuthorizeRemoteTxRequests", "key:BlinkRepeat",
                         "key:LightIntensity", "key:ClockAlignedDataInterval",
                         "key:ConnectionTimeOut", "key:ConnectorPhaseRotation",
                         "key:HeartbeatInterval", "key:LocalAuthorizeOffline",
                         "key:LocalPreAuthorize", "key:MaxEnergyOnInvalidId", "key:MessageTimeout",
                         "key:MeterValuesAlignedData", "key:MeterValuesSampledData",
                         "key:MeterValueSampleInterval", "key:MinimumStatusDuration",
                         "key:ResetRetries", "key:StopTransactionOnEVSideDisconnect",
                         "key:StopTransactionOnInvalidId", "key:StopTxnAlignedData",
                         "key:StopTxnSampledData", "key:TransactionMessageAttempts",
                         "key:TransactionMessageRetryInterval",
                         "key:UnlockConnectorOnEVSideDisconnect", "key:WebSocketPingInterval",
                         "key:LocalAuthListEnabled", "key:CpoName", "key:SecurityProfile")
@pytest.mark.parametrize("name", WRITABLE)
def test_a_key_is_written_and_then_reads_as_written(name: str) -> None:
    _, wire, canonical = WRITABLE[name]
    key = keys.find(name, FITTED)
    assert key is not None and key.setting is not None

    said = change(name.lower(), wire)

    assert isinstance(said, SettingChangeRequested)
    assert (said.setting, said.text) == (key.setting, canonical)
    after = Settings().with_text(said.setting, said.text)
    assert keys.new_value(key, value_of(name, after), FITTED) == canonical


@pytest.mark.requirement("16.CONF.2",
                         "key:ConnectorPhaseRotationMaxLength", "key:GetConfigurationMaxKeys",
                         "key:MeterValuesAlignedDataMaxLength",
                         "key:MeterValuesSampledDataMaxLength", "key:NumberOfConnectors",
                         "key:StopTransactionMaxMeterValues", "key:StopTxnAlignedDataMaxLength",
                         "key:StopTxnSampledDataMaxLength", "key:LocalAuthListMaxLength",
                         "key:SendLocalListMaxLength", "key:ReserveConnectorZeroSupported",
                         "key:ChargeProfileMaxStackLevel",
                         "key:ChargingScheduleAllowedChargingRateUnit",
                         "key:ChargingScheduleMaxPeriods", "key:MaxChargingProfilesInstalled",
                         "key:AdditionalRootCertificateCheck", "key:CertificateSignedMaxChainSize",
                         "key:CertificateStoreMaxLength")
@pytest.mark.parametrize("name", READ_ONLY)
def test_a_read_only_key_is_rejected(name: str) -> None:
    key = keys.find(name, FITTED)

    assert key is not None and keys.is_read_only(key, FITTED)
    assert change(name, READ_ONLY[name]) == REJECTED


@pytest.mark.requirement("16.CONF.2", "key:SupportedFeatureProfilesMaxLength")
@pytest.mark.parametrize("name", ["", "Nonsense", "ISO15118PnCEnabled",
                                  "SupportedFeatureProfilesMaxLength"])
def test_an_unknown_key_is_not_supported(name: str) -> None:
    assert change(name, "1") == NOT_SUPPORTED


def bad_values() -> list[tuple[str, str]]:
    bad: list[tuple[str, str]] = []
    for name in WRITABLE:
        setting = keys.KEYS[name.lower()].setting
        assert setting is not None
        row = TABLE[setting]
        if row.kind is Kind.INTEGER:
            assert row.limit is not None
            bad += [(name, text) for text in (*BAD_INTEGERS, str(row.limit + 1))]
            bad += [(name, str(row.minimum - 1))] if row.minimum else []
        elif row.kind is Kind.FLAG:
            bad += [(name, text) for text in BAD_FLAGS]
        elif row.kind is Kind.MEASURANDS:
            bad += [(name, text) for text in BAD_MEASURANDS]
        elif row.kind is Kind.TEXT:
            bad += [(name, text) for text in ("x" * ((row.limit or 0) + 1), "a\nb")]
    rotations = ("1.XYZ", "1", "RST", "3.RST", "1.RST,1.RTS", "01.RST", "1.rst", "-1.RST",
                 "1.RST,,2.RST", "²." + "RST")
    return bad + [("ConnectorPhaseRotation", text) for text in rotations]


@pytest.mark.requirement("16.CONF.2", "16.CONF.3", "16.MET.9")
@pytest.mark.parametrize(("name", "text"), bad_values())
def test_a_bad_value_is_rejected(name: str, text: str) -> None:
    assert change(name, text) == REJECTED


@pytest.mark.requirement("16.MET.9")
def test_all_measurands_of_1_6_at_once_are_rejected_when_some_are_not_measured() -> None:
    every = ",".join([*(one.name for one in OF.values()), "Current.Export", "RPM"])

    assert change("MeterValuesSampledData", every) == REJECTED


@pytest.mark.requirement("16.MET.6", "16.MET.9")
@pytest.mark.parametrize(("wire", "canonical"), [
    ("", ""), ("  ", ""),
    ("Voltage.L1,Voltage.L2-N,Voltage.L3", "voltage@L1,voltage@L2,voltage@L3"),
    ("power.active.import.l2", "power_import@L2"),
    (",".join(OF[quantity].name for quantity in MEASURED),
     ",".join(quantity.value for quantity in MEASURED)),
])
def test_lists_of_measurands_are_read(wire: str, canonical: str) -> None:
    assert list_from_wire(wire) == canonical
    assert list_from_wire(list_to_wire(canonical)) == canonical


def test_a_list_too_long_for_a_value_is_cut_after_a_whole_entry() -> None:
    names = [f"{quantity.value}@{phase}" for quantity in MEASURED for phase in ("L1", "L2", "L3")]

    wire = list_to_wire(",".join(names))

    assert len(wire) <= 500
    assert ",".join(names).startswith(list_from_wire(wire))
    with pytest.raises(SettingError):
        list_from_wire("V" * 501)


@pytest.mark.requirement("16.CONF.4", "key:BlinkRepeat", "key:LightIntensity",
                         "key:ConnectorSwitch3to1PhaseSupported")
@pytest.mark.parametrize("name", ["BlinkRepeat", "LightIntensity",
                                  "ConnectorSwitch3to1PhaseSupported"])
def test_a_key_does_not_exist_where_no_hardware_can_do_it(name: str) -> None:
    dark = StationLayout((EvseLayout(1),))

    assert keys.find(name, dark) is None
    assert name not in [key.name for key in keys.listed(dark)]
    assert change(name, "5", dark) == NOT_SUPPORTED


@pytest.mark.requirement("16.CONF.4", "key:BlinkRepeat", "key:LightIntensity")
def test_lights_that_blink_and_do_not_dim_have_one_key_of_two() -> None:
    lamps = StationLayout((EvseLayout(1, has_lights=True, lights_dim=False), EvseLayout(2)))

    assert keys.find("BlinkRepeat", lamps) is not None
    assert keys.find("LightIntensity", lamps) is None
    assert change("LightIntensity", "5", lamps) == NOT_SUPPORTED


@pytest.mark.requirement("16.TX.14")
def test_a_fixed_cable_cannot_be_unlocked_on_unplug() -> None:
    fixed = StationLayout((EvseLayout(1),))
    key = keys.find("UnlockConnectorOnEVSideDisconnect", fixed)

    assert key is not None and keys.is_read_only(key, fixed)
    assert value_of(key.name, Settings(), fixed) == "false"
    assert change(key.name, "true", fixed) == REJECTED


def test_the_rotation_of_each_connector_is_told_and_of_the_mains_when_known() -> None:
    settings = Settings().with_text("meter.phase_rotation", "0.RST,3.TRS")

    assert value_of("ConnectorPhaseRotation", settings, TWINS) == (
        "0.RST,1.Unknown,2.Unknown,3.TRS")
    assert value_of("ConnectorPhaseRotationMaxLength", settings, TWINS) == "4"


def test_each_setting_has_one_key_at_most_and_its_own_access() -> None:
    named = [key for key in keys.KEYS.values() if key.setting is not None]

    assert len({key.setting for key in named}) == len(named)
    for key in named:
        assert key.setting is not None and key.access is TABLE[key.setting].access
    assert all(key.access is Access.READ_ONLY for key in keys.KEYS.values() if not key.setting)


def test_every_setting_decides_something() -> None:
    """A row that no code reads would be a promise that nobody keeps."""
    product = Path(keys.__file__).parents[2]
    read = "".join(path.read_text() for path in product.rglob("*.py")
                   if path.parts[-2:] != ("core", "settings.py"))
    told_only = {"meter.phase_rotation"}  # read by the key alone: it is a fact of the wiring

    unread = {name for name in TABLE if f'("{name}")' not in read and name not in told_only}
    assert unread == set()
