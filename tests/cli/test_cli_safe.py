"""`cpctl hw safe` drives every output to its safe level, without a daemon, whatever is wrong."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cpctl import app_outputs
from cpctl.app_outputs import Output, Outputs
from cpctl.cli import safe as module
from cpctl.cli.main import main
from cpctl.config import from_text
from hal import registry
from hal.contracts import Contactor, ControlPilot, Heartbeat, Option, PlugLock
from hal.errors import DeviceGone
from hal.values import NO_OFFER, Offer, PilotReading

HEAD = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "PiPost 2"
[csms]
url = "ws://127.0.0.1:9000/ocpp"
[store]
path = "{home}"
"""
EVSE = """\
[[evse]]
id = {id}
pilot = {{ driver = "{pilot}" }}
contactor = {{ driver = "fake", output = {output} }}
meter = {{ driver = "sim" }}
"""
BEAT = """\
[heartbeat]
driver = "fake"
"""

Safe = Callable[..., tuple[int, str]]


def evse(id: int, *, pilot: str = "sim", output: object = 0) -> str:
    return EVSE.format(id=id, pilot=pilot, output=output or id)


class World:
    """Outputs and what was done to them, in order."""

    did: ClassVar[list[str]] = []
    broken: ClassVar[set[str]] = set()
    late: ClassVar[dict[str, int]] = {}  # looks that find nothing yet
    hangs: ClassVar[set[str]] = set()
    let_go: ClassVar[threading.Event] = threading.Event()

    @classmethod
    def reach(cls, name: str) -> None:
        if cls.late.get(name, 0):
            cls.late[name] -= 1
            raise DeviceGone(f"{name}: not there yet")
        if name in cls.hangs:
            cls.let_go.wait(60)
        if name in cls.broken:
            raise DeviceGone(f"{name}: no such line; check the wiring")


class FakeSwitch(Contactor):
    OPTIONS = (Option("output", int, required=True, role="pin"),)

    async def prepare(self) -> None:
        World.reach(self.name)
        World.did.append(f"{self.name} prepared at {self.options['output']}")

    def _energise(self) -> None:
        World.did.append(f"{self.name} ENERGISED")

    def _release(self) -> None:
        World.did.append(f"{self.name} released")

    def _read_feedback(self) -> bool | None:
        return None


class FakePilot(ControlPilot):
    async def open(self) -> None:
        World.reach(self.name)

    async def read(self) -> PilotReading:
        return PilotReading(None)

    async def offer(self, offer: Offer) -> None:
        assert offer == NO_OFFER
        World.did.append(f"{self.name} offers nothing")


class SwitchingPilot(FakePilot):
    switches = True

    def cut(self) -> None:
        World.did.append(f"{self.name} cut")


class BoardSwitch(FakeSwitch):
    """As the driver "board": it needs the pilot of its EVSE."""

    OPTIONS = ()

    async def prepare(self) -> None:
        assert self.evse is not None
        self.parts.pilots[self.evse].cut()


class FakeBeat(Heartbeat):
    OPTIONS = (Option("pin", str, "GPIO4", role="pin"),)

    async def open(self) -> None:
        World.did.append("heartbeat requested at rest")

    def beat(self) -> None:
        World.did.append("heartbeat BEATS")

    def rest(self) -> None:
        World.did.append("heartbeat rests")


class FakeMotor(PlugLock):
    runs = True
    OPTIONS = ()

    async def open(self) -> None:
        World.reach(self.name)
        World.did.append(f"{self.name} stands")

    async def close(self) -> None:
        World.did.append(f"{self.name} let go")

    async def lock(self) -> bool | None:
        World.did.append(f"{self.name} RUNS")
        return None

    unlock = lock


class FakeSolenoid(FakeMotor):
    runs = False


FAKES: dict[tuple[str, str], type[Any]] = {
    ("lock", "motor"): FakeMotor, ("lock", "gpio"): FakeSolenoid,
    ("contactor", "fake"): FakeSwitch, ("contactor", "board"): BoardSwitch,
    ("pilot", "fake"): FakePilot, ("pilot", "switching"): SwitchingPilot,
    ("heartbeat", "fake"): FakeBeat}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    World.did.clear()
    World.broken.clear()
    World.late.clear()
    World.hangs.clear()
    World.let_go.clear()
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, driver: FAKES.get(
        (kind, driver)) or load(kind, driver))
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    yield tmp_path / "state"
    World.let_go.set()


@pytest.fixture
def safe(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Safe:
    def run(text: str | bytes, *words: str) -> tuple[int, str]:
        path = tmp_path / "cpctl.toml"
        path.write_bytes(text if isinstance(text, bytes) else (HEAD.format(home=home)
                                                               + text).encode())
        code = main(["hw", "safe", "--config", str(path), *words])
        out, err = capsys.readouterr()
        return code, out + err

    return run


def keep(home: Path, text: str, *, boot: str | None = None) -> None:
    """As the daemon does at its start with this configuration."""
    found = from_text(HEAD.format(home=home) + text)
    app_outputs.keep(home, app_outputs.outputs_of(
        found, app_outputs.boot_id() if boot is None else boot))


def test_every_contactor_is_released_and_every_offer_withdrawn(safe: Safe) -> None:
    code, told = safe(BEAT + evse(1, pilot="fake") + evse(2))

    assert code == 0
    assert World.did[:6] == [
        "contactor 1 prepared at 1", "contactor 1 released",
        "contactor 2 prepared at 2", "contactor 2 released",
        "heartbeat requested at rest", "heartbeat rests"]
    assert World.did[6:] == ["pilot 1 offers nothing"]
    assert sorted(told.splitlines()) == [
        "contactor 1: safe", "contactor 2: safe", "heartbeat: safe", "pilot 1: safe"]


def test_board_that_switches_a_contactor_is_told_to_open_before_it_is_asked_anything(
        safe: Safe) -> None:
    World.broken.add("pilot 1")

    code, told = safe("""[[evse]]
id = 1
pilot = { driver = "switching" }
contactor = { driver = "board" }
meter = { driver = "sim" }
""")

    assert World.did == ["pilot 1 cut", "contactor 1 released", "pilot 1 cut"]
    assert (code, "pilot 1: no such line" in told) == (69, True)


@pytest.mark.parametrize("by", ["configuration", "what the daemon kept"])
def test_motor_of_a_lock_is_stopped_last_and_a_solenoid_is_left_as_it_is(
        safe: Safe, home: Path, by: str) -> None:
    text = (evse(1) + 'lock = { driver = "motor" }\n'
            + evse(2) + 'lock = { driver = "gpio" }\n')
    if by != "configuration":
        keep(home, text)
        text = evse(1) + evse(2)

    code, said = safe(text)

    assert code == 0
    assert [one for one in World.did if "lock" in one] == ["lock 1 stands", "lock 1 let go"]
    assert World.did.index("lock 1 stands") > World.did.index("contactor 2 released")
    assert "lock 1: safe" in said and "lock 2" not in said


def test_output_that_cannot_be_driven_does_not_keep_the_next_from_it(safe: Safe) -> None:
    World.broken.add("contactor 1")

    code, told = safe(evse(1) + evse(2))

    assert code == 69
    assert World.did == ["contactor 2 prepared at 2", "contactor 2 released"]
    assert "contactor 1: no such line; check the wiring" in told.splitlines()


def test_driver_that_hangs_does_not_keep_the_next_from_being_driven(
        safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_S", 0.05)
    World.hangs |= {"contactor 1", "pilot 1"}

    code, told = safe(evse(1, pilot="fake") + evse(2, pilot="fake"))

    assert code == 69
    assert {"contactor 2 released", "pilot 2 offers nothing"} <= set(World.did)
    assert "contactor 1: no answer within 0.05 s" in told
    assert "pilot 1: no answer within 0.05 s" in told


def test_device_that_comes_up_late_is_waited_for_where_that_is_asked(safe: Safe) -> None:
    World.late["contactor 1"] = 3

    assert safe(evse(1), "--wait", "60")[0] == 0

    World.late["contactor 1"] = 3
    code, told = safe(evse(1))
    assert code == 69 and "not there yet" in told


def test_wholly_simulated_station_has_nothing_to_drive(safe: Safe) -> None:
    code, told = safe("[[evse]]\nid = 1\n")

    assert (code, told) == (0, "no output is configured but simulated ones\n")


# --- a configuration with mistakes ---------------------------------------------------------------


@pytest.mark.parametrize("mistake", [
    '[csms]\nurl = "http://wrong"\n', "[unknown]\nx = 1\n", '[api]\nsocket = 7\n',
    '[ocpp16]\nHeartbeatIntervall = 3\n', "[limits]\nphases = 17\n",
    '[[reader]]\nid = "front"\ndriver = "none"\n'])
def test_mistake_elsewhere_keeps_no_output_from_being_driven(
        safe: Safe, home: Path, mistake: str) -> None:
    text = HEAD.format(home=home).replace(
        '[csms]\nurl = "ws://127.0.0.1:9000/ocpp"\n', "" if "[csms]" in mistake else
        '[csms]\nurl = "ws://127.0.0.1:9000/ocpp"\n') + mistake + evse(1)

    code, told = safe(text.encode())

    assert World.did == ["contactor 1 prepared at 1", "contactor 1 released"]
    assert (code, told) == (0, "contactor 1: safe\n")


def test_output_with_a_mistake_of_its_own_is_left_and_told(safe: Safe) -> None:
    code, told = safe(evse(1, output='"seven"') + evse(2))

    assert World.did == ["contactor 2 prepared at 2", "contactor 2 released"]
    assert code == 78 and "evse.contactor.output: expected a whole number" in told


def test_output_with_a_mistake_is_driven_as_the_daemon_drove_it(safe: Safe, home: Path) -> None:
    keep(home, evse(1, output=17))

    code, told = safe(evse(1, output='"seven"'))

    assert World.did == ["contactor 1 prepared at 17", "contactor 1 released"]
    assert code == 78 and "contactor 1: safe" in told


@pytest.mark.parametrize("damaged", [b"", b"\0" * 300, b"schema_version = 1\n[[ev", b"\xff\xfe"],
                         ids=repr)
@pytest.mark.parametrize("boot", [None, "an older one"])
def test_damaged_file_keeps_no_output_from_being_driven_that_the_daemon_drove(
        safe: Safe, home: Path, monkeypatch: pytest.MonkeyPatch, damaged: bytes,
        boot: str | None) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(home))
    keep(home, evse(1, pilot="fake"), boot=boot)

    code, _ = safe(damaged)

    assert World.did == ["contactor 1 prepared at 1", "contactor 1 released",
                         "pilot 1 offers nothing"]
    assert code == 78


def test_damaged_addition_leaves_in_doubt_what_it_said(safe: Safe, home: Path,
                                                       tmp_path: Path) -> None:
    """It may say that a relay is active low: the file beside it alone would pull it."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10-wiring.toml").write_bytes(b"\0\0\0")

    code, told = safe(evse(1))

    assert World.did == []
    assert code == 78 and "10-wiring.toml" in told


def test_wrong_number_of_an_evse_is_78(safe: Safe) -> None:
    code, told = safe("[[evse]]\nid = 0\n")

    assert code == 78 and "cpctl.toml:11: evse.id" in told


# --- what the daemon kept ------------------------------------------------------------------------


def test_pin_that_was_changed_meanwhile_is_driven_where_the_daemon_drove_it(
        safe: Safe, home: Path) -> None:
    keep(home, evse(1, output=17))

    code, _ = safe(evse(1, output=18))

    assert code == 0
    assert World.did == ["contactor 1 prepared at 17", "contactor 1 released",
                         "contactor 1 prepared at 18", "contactor 1 released"]


def test_what_was_driven_before_this_boot_is_left_where_the_configuration_is_good(
        safe: Safe, home: Path) -> None:
    keep(home, evse(1, output=17), boot="an older one")

    safe(evse(1, output=18))

    assert World.did == ["contactor 1 prepared at 18", "contactor 1 released"]


def test_what_is_kept_and_configured_alike_is_driven_once(
        safe: Safe, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(home, BEAT + evse(1, pilot="fake"))
    monkeypatch.setenv("STATE_DIRECTORY", str(home))

    safe(BEAT + evse(1, pilot="fake"))

    assert World.did.count("contactor 1 released") == 1
    assert len(World.did) == 5


@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", '{"format": 2}', '{"format": 1}',
    '{"format": 1, "outputs": [["lock", "gpio", "x", 1, {}]], "gpio": ["", ""], "serial": {}, '
    '"boot": "x"}',
    '{"format": 1, "outputs": 7, "gpio": ["", ""], "serial": {}, "boot": "x"}'])
def test_damaged_memory_of_the_daemon_is_passed_over(safe: Safe, home: Path, text: str) -> None:
    home.mkdir()
    (home / app_outputs.FILE).write_text(text)

    assert safe(evse(1))[0] == 0
    assert World.did == ["contactor 1 prepared at 1", "contactor 1 released"]


def test_what_is_kept_comes_back_as_it_was_and_is_not_written_twice(home: Path) -> None:
    text = HEAD.format(home=home) + '[serial.one]\nport = "/dev/x"\n' + BEAT + evse(1, pilot="fake")
    found = app_outputs.outputs_of(from_text(text), "this boot")

    app_outputs.keep(home, found)
    written = (home / app_outputs.FILE).stat().st_mtime_ns
    app_outputs.keep(home, found)

    assert app_outputs.kept(home) == found
    assert (home / app_outputs.FILE).stat().st_mtime_ns == written
    assert [one.name for one in found.outputs] == ["heartbeat", "contactor 1", "pilot 1"]


def test_disk_that_cannot_be_written_is_told_and_no_more(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    some = Outputs((Output("contactor", "gpio", "contactor 1", 1, {"pin": "GPIO17"}),))

    app_outputs.keep(tmp_path / "file" / "folder", some)

    assert "not kept" in caplog.text


def test_driver_that_is_gone_is_told(safe: Safe, home: Path) -> None:
    keep(home, evse(1))
    kept = app_outputs.kept(home)
    assert kept is not None
    app_outputs.keep(home, kept._replace(outputs=(
        kept.outputs[0]._replace(driver="removed"), *kept.outputs)))

    code, told = safe(evse(1))

    assert code == 69 and "removed" in told and "contactor 1 released" in World.did


# --- what a coil waits for -----------------------------------------------------------------------


def test_outputs_on_lines_are_told_from_those_behind_a_bus() -> None:
    outputs = Outputs((Output("pilot", "fake", "pilot 1", 1, {}),
                       Output("contactor", "gpio", "contactor 1", 1, {"pin": "GPIO17"}),
                       Output("heartbeat", "gpio", "heartbeat", None, {"pin": "GPIO25"})),
                      ("gpiozero", "chip"), {"rs485-1": {"port": "/dev/ttyUSB0"}})

    wired, others = outputs.divided()

    assert [one.name for one in wired.outputs] == ["contactor 1", "heartbeat"]
    assert wired.serial == {} and wired.gpio == ("gpiozero", "chip")
    assert [one.name for one in others.outputs] == ["pilot 1"]
    assert others.serial == outputs.serial


def test_device_that_waits_for_something_is_left_to_the_event_loop() -> None:
    class Patient:
        async def prepare(self) -> None:
            await asyncio.sleep(0)

        async def finish(self) -> None:
            raise AssertionError("not reached")

    assert not module._went_off_at_once("contactor", Patient())


def test_device_on_a_line_is_off_without_an_event_loop() -> None:
    did: list[str] = []

    class Quick:
        async def prepare(self) -> None:
            did.append("prepared")

        async def finish(self) -> None:
            did.append("finished")

    assert module._went_off_at_once("contactor", Quick())
    assert did == ["prepared", "finished"]


def test_device_that_fails_is_tried_again_by_the_event_loop() -> None:
    class Gone:
        async def prepare(self) -> None:
            raise DeviceGone("no such line")

    assert not module._went_off_at_once("contactor", Gone())


# --- kept by another release ---------------------------------------------------------------------


def _strange(change: Callable[[dict[str, Any]], None], home: Path) -> None:
    """What another release keeps where ours would keep contactor 1 at output 7."""
    keep(home, evse(1, output=7, pilot="fake"))
    path = home / app_outputs.FILE
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("by_systemd", [True, False])
@pytest.mark.parametrize("change", [
    lambda kept: kept.update(serial={"rs485": {"port": "/dev/null", "of_tomorrow": 1}}),
    lambda kept: kept.update(serial={"rs485": 7}),
    lambda kept: kept.update(serial=7),
    lambda kept: kept.update(gpio=["of_tomorrow", ""]),
    lambda kept: kept.update(outputs=[["contactor", 7, "contactor 1", 1, {}]]),
    lambda kept: kept.update(outputs=[["contactor", "fake", "contactor 1", 1, {"of": "old"}]]),
    lambda kept: kept.update(outputs=[["contactor", "none", "contactor 1", [], {}]]),
    lambda kept: kept.update(outputs=[["heartbeat", "fake", None, None, {"pin": 7}]]),
    lambda kept: kept.clear(),
], ids=range(9))
def test_what_another_release_kept_keeps_no_output_from_being_driven(
        safe: Safe, home: Path, monkeypatch: pytest.MonkeyPatch, by_systemd: bool,
        change: Callable[[dict[str, Any]], None]) -> None:
    if by_systemd:
        monkeypatch.setenv("STATE_DIRECTORY", str(home))
    _strange(change, home)

    safe(evse(1, pilot="fake") + evse(2))

    assert {"contactor 1 prepared at 1", "contactor 1 released", "contactor 2 released",
            "pilot 1 offers nothing"} <= set(World.did)
