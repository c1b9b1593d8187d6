"""The methods of the local API against a whole daemon on the simulated board, in virtual time."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.station_bench import StationBench, with_app

from cpctl.api import wire
from cpctl.api.methods import Methods
from cpctl.api.server import Caller, Peer, Right
from cpctl.core.settings import TABLE

Story = Callable[["Api"], Awaitable[None]]

#: Every method of the local API that this release has, by right.
ACTING = {
    "evse": ["start", "stop", "unlock", "availability", "clear_fault"],
    "journal": ["retry"],
    "ocpp": ["disconnect", "connect", "data_transfer"],
    "certificates": ["renew"],
    "settings": ["set"],
    "hw": ["contactor_test"],
    "sim": ["plug", "unplug", "pilot", "tap", "meter", "fault", "clear", "cable"],
}
READING = {
    "": ["status", "watch", "why", "limits", "doctor", "firmware"],
    "evse": ["show"],
    "sessions": ["list", "show"],
    "journal": ["list", "show", "export"],
    "ocpp": ["tail"],
    "certificates": ["list"],
    "settings": ["list", "get"],
    "auth": ["list", "check"],
    "hw": ["list", "meter", "reader", "pilot", "bus"],
    "support": ["bundle"],
}


def methods_in(table: dict[str, list[str]]) -> list[str]:
    return [f"{group}.{name}".lstrip(".") for group, names in table.items() for name in names]


class Listener(Caller):
    """A caller that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(Peer(1, 0, 0), None)  # type: ignore[arg-type]
        self.told: list[dict[str, Any]] = []

    def tell(self, method: str, params: dict[str, Any]) -> None:
        self.told.append(json.loads(json.dumps({"method": method, **params})))


class Api:
    """Calls methods as the server does; answers must be JSON."""

    def __init__(self, bench: StationBench) -> None:
        self.bench = bench
        self.methods = Methods(bench.app)
        self.listener = Listener()

    async def __call__(self, method: str, **params: Any) -> Any:
        answer = await self.methods.call(method, params, self.listener)
        return json.loads(json.dumps(answer, allow_nan=False))

    async def fails(self, method: str, **params: Any) -> wire.ApiError:
        with pytest.raises(wire.ApiError) as caught:
            await self(method, **params)
        return caught.value


def with_api(story: Story, path: Path, **options: Any) -> None:
    async def whole(bench: StationBench) -> None:
        await story(Api(bench))

    with_app(whole, path, **options)


async def first_reason(api: Api) -> str:
    """The weightiest reason of EVSE 1 that `why` tells; each has a sentence and a next step."""
    (evse,) = (await api("why", evse=1))["evses"]
    assert all(one["sentence"] and one["would_change"] for one in evse["reasons"])
    code: str = evse["reasons"][0]["code"]
    return code


def test_all_methods_are_there_and_need_their_right(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        acting, reading = methods_in(ACTING), methods_in(READING)
        assert sorted(api.methods.names) == sorted([*acting, *reading])
        assert {api.methods.right_for(name) for name in acting} == {Right.ACT}
        assert {api.methods.right_for(name) for name in reading} == {Right.READ}

    with_api(story, tmp_path)


@pytest.mark.parametrize(("name", "hint"), [
    ("statis", "did you mean status?"), ("hw.contactor_tset", "did you mean hw.contactor_test?"),
    ("xyz", "cpctl --help")])
def test_unknown_method_comes_with_a_hint(name: str, hint: str, tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        with pytest.raises(wire.ApiError) as caught:
            api.methods.right_for(name)
        assert caught.value.code == wire.METHOD_NOT_FOUND
        assert hint in caught.value.hint

    with_api(story, tmp_path)


def test_status_pictures_the_station(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api.bench.charge(token="04A1B2C3")
        await api.bench.pass_s(60)
        picture = await api("status")

        assert picture["identity"] == "CP001"
        assert picture["link"]["state"] == "offline"
        assert picture["link"]["url"].startswith("ws://csms.invalid/ocpp")
        assert picture["clock"]["utc"].endswith("Z")
        assert picture["journal"]["waiting"] > 0 and picture["journal"]["oldest"].endswith("Z")
        evse = picture["evses"][0]
        assert (evse["id"], evse["status"], evse["pilot"], evse["session"], evse["token"]) == (
            1, "Charging", "C", 1, "04A1B2C3")
        assert evse["power_w"] > 20_000 and evse["energy_wh"] > 300 and evse["offered_a"] == 32
        assert evse["connectors"] == [{"id": 1, "status": "Charging"}]
        assert evse["faults"] == []
        assert await api("evse.show", evse=1) == (await api("status"))["evses"][0]

    with_api(story, tmp_path)


def test_watch_tells_each_change_until_the_client_is_gone(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        first = await api("watch")
        assert first["evses"][0]["status"] == "Available"
        await api("sim.plug", evse=1)
        await api.bench.pass_s(1)
        assert api.listener.told[-1]["method"] == "watch"
        assert api.listener.told[-1]["evses"][0]["status"] == "Preparing"

        for end in api.listener.at_end:
            end()
        told = len(api.listener.told)
        await api("sim.unplug", evse=1)
        await api.bench.pass_s(1)
        assert len(api.listener.told) == told

    with_api(story, tmp_path)


def test_start_and_stop_with_a_token(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api("sim.plug", evse=1)
        await api.bench.pass_s(1)
        assert (await api("evse.start", evse=1, token="ABC"))["outcome"] == "accepted"
        await api.bench.until(api.bench.coil)
        assert (await api("evse.stop", evse=1, token="ABC"))["outcome"] == "accepted"
        await api.bench.until(lambda: not api.bench.coil())
        await api.bench.pass_s(2)
        (row,) = (await api("sessions.list"))["sessions"]
        assert (row["no"], row["evse"], row["token"], row["stop_reason"], row["delivery"]) == (
            1, 1, "ABC", "Local", "waiting")
        assert row["started"].endswith("Z") and row["ended"] > row["started"]
        shown = await api("sessions.show", no=1)
        assert shown["session"]["no"] == 1
        assert shown["facts"][0]["kind"] in ("SessionOpened", "TransactionStarted")
        await api("sim.unplug", evse=1)
        await api.bench.pass_s(5)
        kinds = [fact["kind"] for fact in (await api("sessions.show", no=1))["facts"]]
        assert kinds[-2:] == ["TransactionEnded", "SessionClosed"]

    with_api(story, tmp_path)


def test_stop_with_a_foreign_token_is_refused(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api.bench.charge(token="ABC")
        problem = await api.fails("evse.stop", evse=1, token="DEF")
        assert problem.code == wire.REFUSED and problem.hint
        assert api.bench.coil()

    with_api(story, tmp_path)


def test_stop_without_a_transaction_is_refused(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        problem = await api.fails("evse.stop", evse=1)
        assert problem.code == wire.REFUSED and problem.hint

    with_api(story, tmp_path)


@pytest.mark.parametrize("method", ["evse.show", "evse.start", "evse.stop", "evse.unlock",
                                    "sim.plug", "hw.meter", "why", "limits"])
def test_evse_that_is_not_there_is_told(method: str, tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        more = {"token": "ABC"} if method == "evse.start" else {}
        problem = await api.fails(method, evse=7, **more)
        assert (problem.code, problem.hint) == (wire.NOT_FOUND, "the EVSEs are: 1")

    with_api(story, tmp_path)


@pytest.mark.parametrize(("method", "params", "word"), [
    ("evse.show", {}, "evse is missing"),
    ("evse.show", {"evse": "1"}, "whole number"),
    ("evse.show", {"evse": True}, "whole number"),
    ("evse.show", {"evse": 1.0}, "whole number"),
    ("sessions.show", {"no": 2**63}, "18 digits"),
    ("journal.retry", {"no": -2**70}, "18 digits"),
    ("evse.start", {"evse": 1}, "token is missing"),
    ("evse.start", {"evse": 1, "token": 5}, "text"),
    ("evse.start", {"evse": 1, "token": ""}, "not empty"),
    ("sim.plug", {"evse": 1, "power_w": "much"}, "number"),
    ("sim.plug", {"evse": 1, "power_w": float("inf")}, "number"),
    ("sim.plug", {"evse": 1, "auto": 1}, "true or false"),
    ("sim.plug", {"evse": 1, "connector": "one"}, "whole number"),
    ("sim.pilot", {"evse": 1, "state": "G"}, "state of the pilot"),
    ("status", {"evse": 1}, "unknown parameter evse"),
    ("settings.set", {"name": "HeartbeatInterval", "value": "soon"}, "whole number"),
])
def test_wrong_parameters_are_told(method: str, params: dict[str, Any], word: str,
                                   tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        problem = await api.fails(method, **params)
        assert problem.code == wire.INVALID_PARAMS
        assert word in problem.message and problem.hint

    with_api(story, tmp_path)


def test_availability_of_the_evse_and_of_the_station(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        assert (await api("evse.availability", evse=1, operative=False))["outcome"] == "accepted"
        await api.bench.pass_s(1)
        assert (await api("evse.show", evse=1))["status"] == "Unavailable"
        assert await first_reason(api) == "evse_inoperative"
        await api("evse.availability", evse=1, operative=True)
        await api("evse.availability", operative=False)
        await api.bench.pass_s(1)
        assert await first_reason(api) == "station_inoperative"

    with_api(story, tmp_path)


def test_availability_of_a_charging_evse_waits(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api.bench.charge()
        answer = await api("evse.availability", evse=1, operative=False)
        assert answer["outcome"] == "scheduled"
        assert (await api("evse.show", evse=1))["availability_pending"] is True

    with_api(story, tmp_path)


def test_why_names_the_next_step_all_the_way(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        assert await first_reason(api) == "not_plugged"
        await api("sim.plug", evse=1, auto=False)
        await api.bench.pass_s(1)
        assert await first_reason(api) == "no_token"
        await api("sim.tap", token="ABC")
        await api.bench.pass_s(2)
        assert await first_reason(api) == "car_not_asking"
        await api("sim.fault", kind="rcd", evse=1)
        await api.bench.pass_s(1)
        assert await first_reason(api) == "rcd_tripped"

    with_api(story, tmp_path)


def test_limits_mark_the_least_claim(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api("sim.cable", evse=1, rating_a=13)
        await api("sim.plug", evse=1)
        await api.bench.pass_s(1)
        (evse,) = (await api("limits"))["evses"]
        assert {one["owner"]: (one["current_a"], one["leads"]) for one in evse["claims"]} == {
            "hardware": (32.0, False), "cable": (13.0, True)}

    with_api(story, tmp_path)


def test_settings_by_id_and_by_key_in_any_case(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        answer = await api("settings.set", name="metervaluesampleinterval", value="30")
        assert (answer["id"], answer["value"], answer["outcome"]) == (
            "sampling.interval_s", "30", "accepted")
        await api.bench.pass_s(1)
        for name in ("sampling.interval_s", "MeterValueSampleInterval", "METERVALUESAMPLEINTERVAL"):
            assert (await api("settings.get", name=name))["value"] == "30"
        assert (await api("settings.get", name="NumberOfConnectors"))["value"] == "1"
        answer = await api("settings.set", name="StopTxnSampledData", value="Voltage")
        assert answer["value"] == "voltage"
        rows = {one["id"]: one for one in (await api("settings.list"))["settings"]}
        assert rows["link.heartbeat_s"]["keys"] == ["HeartbeatInterval"]

    with_api(story, tmp_path)


@pytest.mark.parametrize(("name", "code"), [
    ("HartbeatInterval", wire.NOT_FOUND), ("NumberOfConnectors", wire.REFUSED),
    ("policy.plug_timeout", wire.REFUSED)])
def test_setting_that_cannot_be_set_says_why(name: str, code: int, tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        problem = await api.fails("settings.set", name=name, value="finishing")
        assert problem.code == code and problem.hint

    with_api(story, tmp_path)


@pytest.mark.parametrize("value", ["-5", "999999999999"])
def test_number_out_of_range_is_told_with_the_range(value: str, tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        problem = await api.fails("settings.set", name="MeterValueSampleInterval", value=value)
        assert problem.code == wire.INVALID_PARAMS
        assert f"0 to {TABLE['sampling.interval_s'].limit} s" in problem.message

    with_api(story, tmp_path)


def test_journal_shows_what_waits(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api.bench.charge()
        answer = await api("journal.list", state="waiting")
        assert answer["waiting"] == len(answer["entries"]) > 0
        number = answer["entries"][0]["no"]
        assert (await api("journal.show", no=number))["entry"]["no"] == number
        assert (await api.fails("journal.show", no=999)).code == wire.NOT_FOUND
        assert (await api.fails("journal.retry", no=999)).code == wire.NOT_FOUND
        assert (await api.fails("journal.retry", no=number)).code == wire.REFUSED
        exported = await api("journal.export")
        numbers = [json.loads(line)["no"] for line in exported["lines"]]
        assert numbers == sorted(numbers) and not exported["more"]
        assert (await api("journal.export", after=numbers[0]))["lines"] == exported["lines"][1:]

    with_api(story, tmp_path)


def test_token_is_judged_without_asking_anybody(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        answer = await api("auth.check", token="ABC")
        assert (answer["decision"], answer["source"], answer["online"]) == (
            "Accepted", "offline_rules", False)
        assert await api("auth.list") == {"cache": [], "list": [], "list_version": 0,
                                          "list_enabled": True}

    with_api(story, tmp_path)


def test_devices_are_listed_and_read(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api.bench.pass_s(2)
        devices = {one["name"]: one for one in (await api("hw.list"))["devices"]}
        assert {one["kind"] for one in devices.values()} == {
            "reader", "meter", "pilot", "contactor", "lock", "indicator", "input"}
        assert {one["health"] for one in devices.values()} == {"ok"}
        await api("sim.meter", evse=1, energy_wh=4711)
        assert (await api("hw.meter", evse=1))["reading"]["energy_import_wh"] == 4711
        assert (await api("hw.pilot", evse=1))["reading"]["state"] == "A"
        await api("sim.fault", kind="meter_lost", evse=1)
        problem = await api.fails("hw.meter", evse=1)
        assert problem.code == wire.FAILED and "meter 1" in problem.message and problem.hint

    with_api(story, tmp_path)


@pytest.mark.parametrize("method", ["watch", "hw.reader", "ocpp.tail"])
def test_who_asks_twice_to_be_told_is_told_once(method: str, tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        for _ in range(3):
            await api(method)
        assert len(api.listener.at_end) == 1

    with_api(story, tmp_path)


def test_cards_are_told_to_who_watches_the_reader(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        answer = await api("hw.reader")
        assert [one["kind"] for one in answer["devices"]] == ["reader"]
        await api("sim.tap", token="04A1B2C3")
        await api.bench.pass_s(1)
        assert {"method": "hw.reader", "reader": "front", "token": "04A1B2C3",
                "random": False} in api.listener.told

    with_api(story, tmp_path)


def test_link_is_held_down_and_released(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        assert (await api("ocpp.disconnect"))["state"] == "held"
        assert (await api("ocpp.connect"))["state"] == "offline"
        assert (await api("ocpp.tail"))["frames"] == []

    with_api(story, tmp_path)


@pytest.mark.parametrize(("method", "params"), [
    ("sim.unplug", {"evse": 1}), ("sim.pilot", {"evse": 1, "state": "c"}),
    ("sim.fault", {"kind": "weld", "evse": 1}), ("sim.clear", {"kind": "weld"}),
    ("sim.meter", {"evse": 1, "power_w": 1000, "voltage_v": 231.0}),
    ("sim.fault", {"kind": "other", "vendor_code": "E42"})])
def test_hands_of_the_board_answer_at_once(method: str, params: dict[str, Any],
                                           tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        before = api.bench.now_s
        await api(method, **params)
        assert api.bench.now_s == before

    with_api(story, tmp_path)


def test_hands_of_what_is_not_simulated_are_refused(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        problem = await api.fails("sim.meter", evse=2, power_w=1)
        assert "not simulated" in problem.message and '"sim"' in problem.hint

    with_api(story, tmp_path, after="""
[serial.a]
port = "/nowhere/ttyUSB9"
[[evse]]
id = 2
pilot = { driver = "sim" }
contactor = { driver = "sim" }
meter = { driver = "eastron_sdm630", bus = "a", address = 2 }
""")


def test_doctor_names_what_is_wrong_and_the_next_step(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api("sim.fault", kind="rcd", evse=1)
        await api.bench.pass_s(5)
        checks = {one["check"]: one for one in (await api("doctor"))["checks"]}
        assert not checks["central system"]["good"] and checks["central system"]["next"]
        assert not checks["EVSE 1 rcd_tripped"]["good"]
        assert checks["meter 1"]["good"] and not checks["meter 1"]["next"]

    with_api(story, tmp_path)


def test_what_was_given_up_is_shown(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api.bench.charge()
        api.bench.app.journal._shed = 7  # what a short disk leaves behind
        assert (await api("status"))["journal"]["shed"] == 7
        no = (await api("journal.list", state="waiting"))["entries"][0]["no"]
        await api.bench.app.journal.abandon(no, "refused 3 times")
        assert (await api("status"))["journal"]["abandoned"] == 1
        checks = {one["check"]: one for one in (await api("doctor"))["checks"]}
        assert not checks["told"]["good"] and "cpctl journal" in checks["told"]["next"]

    with_api(story, tmp_path)


def test_doctor_tells_of_a_link_that_is_held_down(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api("ocpp.disconnect")
        checks = {one["check"]: one for one in (await api("doctor"))["checks"]}
        assert checks["central system"]["next"] == "cpctl ocpp connect"

    with_api(story, tmp_path)


def test_why_tells_of_a_meter_that_was_never_read(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api("sim.plug", evse=2)
        await api("evse.start", evse=2, token="04A1B2C3")
        await api.bench.pass_s(5)
        (evse,) = (await api("why", evse=2))["evses"]
        assert "meter_lost" in [one["code"] for one in evse["reasons"]]

    with_api(story, tmp_path, after="""
[serial.a]
port = "/nowhere/ttyUSB9"
[[evse]]
id = 2
pilot = { driver = "sim" }
contactor = { driver = "sim" }
meter = { driver = "eastron_sdm630", bus = "a", address = 2 }
""")


def test_latched_fault_is_cleared_only_out_of_service(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await api.bench.charge()
        await api("sim.fault", kind="weld", evse=1)
        await api("sim.tap", token="04A1B2C3")
        await api.bench.pass_s(20)
        assert (await api("evse.show", evse=1))["faults"][0]["code"] == "CONTACTOR_WELDED"
        problem = await api.fails("evse.clear_fault", evse=1, code="contactor_welded")
        assert problem.code == wire.REFUSED and problem.hint
        assert (await api.fails("evse.clear_fault", evse=1, code="bogus")).code == wire.NOT_FOUND

    with_api(story, tmp_path)
