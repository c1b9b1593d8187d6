"""GetConfiguration and ChangeConfiguration for every key."""

import pytest
from support.story import FIXED_CABLE, configure, read_key, story
from support.world import CARD, World, world

from cpctl.demo.csms import CallFailed

ACCEPTED, REJECTED = {"status": "Accepted"}, {"status": "Rejected"}

#: Keys that may be changed: a valid value beside the default, as it is read back.
CHANGEABLE = {
    "AllowOfflineTxForUnknownId": "true", "AuthorizationCacheEnabled": "false",
    "AuthorizeRemoteTxRequests": "true", "BlinkRepeat": "5", "ClockAlignedDataInterval": "900",
    "ConnectionTimeOut": "45", "ConnectorPhaseRotation": "1.RST", "HeartbeatInterval": "120",
    "LightIntensity": "40", "LocalAuthorizeOffline": "false", "LocalPreAuthorize": "true",
    "MaxEnergyOnInvalidId": "500",
    "MessageTimeout": "20", "MeterValuesAlignedData": "Voltage,Current.Import",
    "MeterValuesSampledData": "Energy.Active.Import.Register,Voltage.L1",
    "MeterValueSampleInterval": "30", "MinimumStatusDuration": "5", "ResetRetries": "3",
    "StopTransactionOnEVSideDisconnect": "false", "StopTransactionOnInvalidId": "false",
    "StopTxnAlignedData": "Energy.Active.Import.Register",
    "StopTxnSampledData": "Power.Active.Import", "TransactionMessageAttempts": "5",
    "TransactionMessageRetryInterval": "10", "UnlockConnectorOnEVSideDisconnect": "false",
    "WebSocketPingInterval": "30", "LocalAuthListEnabled": "false", "CpoName": "Example Ltd",
}
READ_ONLY = (
    "ConnectorPhaseRotationMaxLength", "GetConfigurationMaxKeys", "MeterValuesAlignedDataMaxLength",
    "MeterValuesSampledDataMaxLength", "NumberOfConnectors", "StopTransactionMaxMeterValues",
    "StopTxnAlignedDataMaxLength", "StopTxnSampledDataMaxLength", "SupportedFeatureProfiles",
    "SupportedFileTransferProtocols", "LocalAuthListMaxLength", "SendLocalListMaxLength",
    "ReserveConnectorZeroSupported", "ChargeProfileMaxStackLevel",
    "ChargingScheduleAllowedChargingRateUnit", "ChargingScheduleMaxPeriods",
    "MaxChargingProfilesInstalled", "AdditionalRootCertificateCheck",
    "CertificateSignedMaxChainSize", "CertificateStoreMaxLength",
)
WRITE_ONLY = "AuthorizationKey"
RECONNECTS = "SecurityProfile"  # a change is tried on the wire
BOOLEANS = [name for name, value in CHANGEABLE.items() if value in ("true", "false")]
NUMBERS = [name for name, value in CHANGEABLE.items() if value.isdigit()]
LISTS = [name for name in CHANGEABLE if name.endswith("Data")]


async def all_keys(w: World) -> dict[str, dict[str, object]]:
    answer = await w.central.call("GetConfiguration", {})
    assert "unknownKey" not in answer
    return {entry["key"]: entry for entry in answer["configurationKey"]}


async def change(w: World, key: str, value: str) -> str:
    answer = await w.central.call("ChangeConfiguration", {"key": key, "value": value})
    return str(answer["status"])


@pytest.mark.octt("TC_019_CS")
@pytest.mark.requirement("16.CONF.1", "16.CONF.4")
@story
async def test_without_a_list_all_keys_are_told() -> None:
    async with world(evses=2) as w:
        keys = await all_keys(w)
        assert set(keys) == {*CHANGEABLE, *READ_ONLY, WRITE_ONLY, RECONNECTS}
        assert keys[WRITE_ONLY] == {"key": WRITE_ONLY, "readonly": False}
        for name in (*CHANGEABLE, RECONNECTS):
            assert keys[name]["readonly"] is False, name
        for name in READ_ONLY:
            assert keys[name]["readonly"] is True, name
        assert keys["NumberOfConnectors"]["value"] == "2"
        assert keys["SupportedFeatureProfiles"]["value"].startswith("Core,")
        assert await w.central.call("GetConfiguration", {"key": []}) == await w.central.call(
            "GetConfiguration", {})


@pytest.mark.octt("TC_019_CS", "TC_040_1_CS")
@pytest.mark.requirement("16.CONF.1", "16.RPC.9")
@story
async def test_named_keys_are_found_in_any_case_and_unknown_ones_are_named() -> None:
    async with world() as w:
        answer = await w.central.call("GetConfiguration", {
            "key": ["metervaluesampleinterval", "NoSuchKey", "NUMBEROFCONNECTORS"]})
        assert answer["configurationKey"] == [
            {"key": "MeterValueSampleInterval", "readonly": False, "value": "60"},
            {"key": "NumberOfConnectors", "readonly": True, "value": "1"}]
        assert answer["unknownKey"] == ["NoSuchKey"]


@pytest.mark.requirement("16.CONF.1")
@story
async def test_more_keys_than_the_maximum_are_a_callerror() -> None:
    async with world() as w:
        most = int(await read_key(w, "GetConfigurationMaxKeys"))
        with pytest.raises(CallFailed) as refused:
            await w.central.call("GetConfiguration", {
                "key": [f"Key{number}" for number in range(most + 1)]})
        assert refused.value.code == "OccurenceConstraintViolation"
        answer = await w.central.call("GetConfiguration", {
            "key": [f"Key{number}" for number in range(most)]})
        assert len(answer["unknownKey"]) == most


@pytest.mark.octt("TC_021_CS")
@pytest.mark.requirement("16.CONF.2", "16.CONF.5", "16.OFF.9")
@pytest.mark.parametrize("end", ["power_cut", "kill"])
@story
async def test_every_changeable_key_is_changed_and_outlives_the_daemon(end: str) -> None:
    async with world() as w:
        before = await all_keys(w)
        for name, value in CHANGEABLE.items():
            assert before[name]["value"] != value, name
            assert await change(w, name, value) == "Accepted", name
            assert await read_key(w, name) == value
        await (w.power_cut() if end == "power_cut" else w.kill())
        await w.until(lambda: len(w.central.books.boots) == 2, 60)
        await w.advance(5)
        after = await all_keys(w)
        for name, value in CHANGEABLE.items():
            if name != "HeartbeatInterval":  # the boot answer writes it anew
                assert after[name]["value"] == value, name


@pytest.mark.octt("TC_040_1_CS")
@pytest.mark.requirement("16.CONF.2")
@pytest.mark.parametrize("name", ["NoSuchKey", "ISO15118PnCEnabled", "*"])
@story
async def test_an_unknown_key_is_not_supported(name: str) -> None:
    async with world() as w:
        assert await change(w, name, "1") == "NotSupported"


@pytest.mark.octt("TC_040_2_CS")
@pytest.mark.requirement("16.CONF.2", "16.CONF.3", "16.MET.9")
@story
async def test_values_that_do_not_fit_are_rejected_and_change_nothing() -> None:
    bad = [(name, value) for name in BOOLEANS for value in ("", "yes", "1", "tru", "true,false")]
    bad += [(name, value) for name in NUMBERS for value in
            ("", "-1", "+5", "1.5", "1e3", "0x10", "ten", "9" * 30, "\u0663")]
    bad += [(name, value) for name in LISTS for value in
            ("NoSuchMeasurand", "Voltage,,Voltage", "Voltage;Frequency", "SoC",
             "Energy.Active.Import.Register,NoSuchMeasurand", "Voltage.L4")]
    bad += [("ConnectorPhaseRotation", value) for value in ("RST", "1.XYZ", "9.RST", "1.RST,1.RTS")]
    bad += [(name, "1") for name in READ_ONLY]
    async with world() as w:
        before = await all_keys(w)
        for name, value in bad:
            assert await change(w, name, value) == "Rejected", (name, value)
        assert await all_keys(w) == before


@pytest.mark.octt("TC_021_CS")
@pytest.mark.requirement("16.CONF.3", "16.MET.9")
@story
async def test_booleans_come_in_any_case_and_lists_may_be_empty() -> None:
    async with world() as w:
        for value, told in (("TRUE", "true"), ("False", "false"), ("tRuE", "true")):
            assert await change(w, "LocalPreAuthorize", value) == "Accepted"
            assert await read_key(w, "LocalPreAuthorize") == told
        for name in LISTS:
            assert await change(w, name, "") == "Accepted"
            assert await read_key(w, name) == ""
        assert await change(w, "metervaluessampleddata", "voltage") == "Accepted"
        assert await read_key(w, "MeterValuesSampledData") == "Voltage"


@pytest.mark.requirement("16.TX.14", "16.CONF.2")
@story
async def test_with_a_fixed_cable_the_unlock_key_is_false_and_read_only() -> None:
    async with world(evse_more=FIXED_CABLE) as w:
        keys = await all_keys(w)
        assert keys["UnlockConnectorOnEVSideDisconnect"] == {
            "key": "UnlockConnectorOnEVSideDisconnect", "readonly": True, "value": "false"}
        assert await change(w, "UnlockConnectorOnEVSideDisconnect", "true") == "Rejected"


@pytest.mark.requirement("16.CONF.5")
@story
async def test_a_changed_key_holds_at_once_and_for_ever() -> None:
    async with world() as w:
        await configure(w, HeartbeatInterval=20)
        await w.advance(21)
        assert w.central.books.heartbeats == 1
        await configure(w, MeterValueSampleInterval=15)
        await w.charge(50)
        assert len(w.calls("MeterValues")) == 3
        await configure(w, MeterValueSampleInterval=0)
        await w.advance(60)
        assert len(w.calls("MeterValues")) == 3


@pytest.mark.octt("TC_062_CS")
@pytest.mark.requirement("16.DT.1", "16.DT.2")
@pytest.mark.parametrize("payload", [
    {"vendorId": "com.example"}, {"vendorId": "com.example", "messageId": "hello"},
    {"vendorId": "com.example", "messageId": "hello", "data": "x" * 5000}])
@story
async def test_a_message_of_an_unknown_vendor_is_told_to_be_one(payload: dict[str, str]) -> None:
    async with world() as w:
        assert await w.central.call("DataTransfer", payload) == {"status": "UnknownVendorId"}
        await w.charge(5, token=CARD)
        assert w.coil()


@pytest.mark.requirement("16.CONF.4", "16.CONF.5", "key:BlinkRepeat", "key:LightIntensity")
@story
async def test_the_lights_follow_their_keys_at_once_and_after_a_power_cut() -> None:
    async with world() as w:
        assert w.board.lights(1) == (100, 3)
        await configure(w, LightIntensity=40, BlinkRepeat=5)
        await w.advance(1)
        assert w.board.lights(1) == (40, 5)
        assert await change(w, "LightIntensity", "101") == "Rejected"
        await w.power_cut()
        await w.advance(5)
        assert w.board.lights(1) == (40, 5)


@pytest.mark.requirement("16.CONF.4", "key:BlinkRepeat", "key:LightIntensity")
@story
async def test_without_lights_there_are_no_keys_of_lights() -> None:
    async with world(evse_more=FIXED_CABLE) as w:
        keys = await all_keys(w)
        assert not {"LightIntensity", "BlinkRepeat"} & set(keys)
        assert await change(w, "LightIntensity", "40") == "NotSupported"
