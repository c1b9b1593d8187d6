"""The bench pilot on a /sys in memory: what is on the pilot, what is read, what is refused."""

import threading
from typing import Any

import pytest
from support.aio import run
from support.battery import PilotRules
from support.fake_sysfs import FakeSysfs

from hal import registry
from hal.contracts import Parts
from hal.errors import BadConfig, DeviceGone, HalError
from hal.pilot_signal import read_by_car_a
from hal.values import NO_OFFER, UNAVAILABLE, Offer, OfferKind, PilotReading, PilotState

HIGH = {PilotState.A: 12.0, PilotState.B: 9.0, PilotState.C: 6.0, PilotState.D: 3.0,
        PilotState.E: 0.0, PilotState.F: -12.0}
OPTIONS = {"pwm_chip": "1f00098000.pwm", "adc": "ads1015", "high_channel": 0, "low_channel": 1,
           "high_gain": 10.0, "high_offset_v": -13.0, "low_gain": 10.0, "low_offset_v": -13.0}


class BenchWorld:
    """A car at the pilot behind dividers: 0.1 V at the converter per volt, -13 V are 0 V there."""

    def __init__(self, **options: Any) -> None:
        self.sysfs = FakeSysfs()
        self.chip = self.sysfs.add_pwm(0, "1f00098000.pwm")
        self.sysfs.add_pwm(1, "1f0009c000.pwm")  # the fan
        self.adc = self.sysfs.add_adc(0, "ads1015", "1-0048")
        self.high_v, self.low_v, self.cable_ohm = 12.0, -12.0, 1e9
        self.reads = 0
        files = self.sysfs.files
        files[f"{self.adc}/in_voltage0_raw"] = self._high
        files[f"{self.adc}/in_voltage1_raw"] = lambda: self._raw(self.low_v)
        files[f"{self.adc}/in_voltage2_raw"] = self._cable
        self.pilot = registry.build("pilot", "bench", "pilot 1", 1, {**OPTIONS, **options}, Parts())
        self.pilot.sysfs = self.sysfs
        self.pilot.nap = lambda seconds: None

    def opened(self) -> "BenchWorld":
        run(self.pilot.open())
        return self

    @property
    def wire(self) -> Any:
        return self.chip.exported["pwm0"]

    def put(self, state: PilotState) -> None:
        self.high_v = HIGH[state]
        run(self.pilot.read())

    def offered(self) -> Offer:
        share = self.wire.high()
        if share in (0.0, 1.0):
            return NO_OFFER if share else UNAVAILABLE
        read_a = read_by_car_a(round(share * 100, 4))
        assert read_a
        return Offer(OfferKind.CURRENT, round(read_a, 3))

    def lose(self) -> None:
        self.sysfs.gone = True

    def restore(self) -> None:
        self.sysfs.gone = False

    def end(self) -> None:
        self.restore()
        run(self.pilot.close())

    def _high(self) -> str:
        self.reads += 1
        return self._raw(self.high_v)

    def _raw(self, volts: float) -> str:
        return str(round((volts + 13.0) * 100.0))

    def _cable(self) -> str:
        return str(round(3300.0 * self.cable_ohm / (1000.0 + self.cable_ohm)))


class TestBenchPilot(PilotRules):
    @pytest.fixture
    def bench(self) -> Any:
        world = BenchWorld().opened()
        yield world
        world.end()


@pytest.fixture
def world() -> Any:
    made = BenchWorld()
    yield made
    made.end()


def offer(world: BenchWorld, one: Offer) -> None:
    run(world.pilot.offer(one))


def test_whoever_drove_the_pilot_before_nothing_is_on_offer_after_opening(
        world: BenchWorld) -> None:
    world.chip.export(0, "")
    world.wire.write("period", "20000000", "")
    world.wire.write("duty_cycle", "15000000", "")
    world.wire.write("enable", "1", "")

    world.opened()

    assert world.offered() == NO_OFFER
    assert world.wire.period == 1_000_000


def test_a_running_output_of_the_wrong_polarity_is_turned_over() -> None:
    world = BenchWorld(pwm_inverted=True)
    world.chip.export(0, "")
    world.wire.write("period", "1000000", "")
    world.wire.write("enable", "1", "")

    world.opened()

    assert world.wire.inversed and world.wire.enabled
    assert world.wire.duty == 1_000_000  # as the driver stage makes it: steady +12 V
    world.end()


def test_a_fresh_channel_is_waited_for_until_udev_has_seen_it(world: BenchWorld) -> None:
    world.sysfs.late = 5

    world.opened()

    assert world.offered() == NO_OFFER


def test_a_channel_that_stays_forbidden_is_told_with_the_group(world: BenchWorld) -> None:
    world.sysfs.late = 10_000

    with pytest.raises(DeviceGone, match=r"pwm0/enable.*group"):
        world.opened()
    world.sysfs.late = 0


def test_the_period_is_set_before_the_duty_cycle_and_only_then_is_it_enabled(
        world: BenchWorld) -> None:
    world.opened()

    names = [name for name, _ in world.sysfs.writes]
    assert names[-3:] == ["period", "duty_cycle", "enable"]


@pytest.mark.parametrize("state", [PilotState.B, PilotState.C])
def test_closing_leaves_the_pilot_at_state_f(world: BenchWorld, state: PilotState) -> None:
    world.opened()
    offer(world, Offer(OfferKind.CURRENT, 16.0))
    world.put(state)

    run(world.pilot.close())

    assert world.offered() == UNAVAILABLE


@pytest.mark.parametrize("current_a", [6.0, 10.0, 16.0, 51.0, 52.0, 63.0, 80.0])
def test_a_car_reads_what_is_offered(world: BenchWorld, current_a: float) -> None:
    world.opened()

    offer(world, Offer(OfferKind.CURRENT, current_a))

    on_wire = world.offered().current_a
    assert on_wire == (51.0 if current_a == 52.0 else current_a)
    assert run(world.pilot.read()).offered_a == on_wire


@pytest.mark.parametrize("current_a", [0.0, 5.0, 81.0])
def test_a_current_that_cannot_be_signalled_is_refused_and_changes_nothing(
        world: BenchWorld, current_a: float) -> None:
    world.opened()

    with pytest.raises(BadConfig, match=r"pilot 1: .*6 to 80 A"):
        offer(world, Offer(OfferKind.CURRENT, current_a))

    assert world.offered() == NO_OFFER


def test_state_f_can_be_put_on_the_pilot(world: BenchWorld) -> None:
    world.opened()

    offer(world, UNAVAILABLE)

    assert world.offered() == UNAVAILABLE


def test_an_output_that_somebody_else_drives_too_is_told(world: BenchWorld) -> None:
    world.opened()
    wire, write = world.wire, world.wire.write

    def meddled(name: str, text: str, path: str) -> None:
        write(name, text, path)
        wire.duty = 500_000
    wire.write = meddled

    with pytest.raises(DeviceGone, match="another program drives it too"):
        offer(world, Offer(OfferKind.CURRENT, 16.0))
    del wire.write


@pytest.mark.parametrize(("options", "words"), [
    ({"pwm_chip": "fe20c000.pwm"}, r"none is 'fe20c000\.pwm'.*pwmchip0 is '1f00098000\.pwm'"),
    ({"pwm_chip": ""}, r"not just one \(there: pwmchip0 is '1f00098000\.pwm'; pwmchip1"),
    ({"pwm_channel": 7}, r"gives no channel 7"),
    ({"adc": "mcp3008"}, r"none is 'mcp3008' \(there: iio:device0 is 'ads1015'\)"),
])
def test_what_is_not_there_is_named_with_what_is(options: dict[str, Any], words: str) -> None:
    world = BenchWorld(**options)

    with pytest.raises(DeviceGone, match=words):
        world.opened()
    world.end()


def test_a_device_is_found_by_its_folder_too_whatever_its_number() -> None:
    world = BenchWorld(adc="1-0048").opened()

    assert run(world.pilot.read()).state is PilotState.A
    world.end()


def test_a_gain_of_nothing_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(BadConfig, match="high_gain is 0"):
        BenchWorld(high_gain=0.0)


def test_what_is_no_number_is_a_bad_reading_and_unknown(world: BenchWorld) -> None:
    world.opened()
    world.sysfs.files[f"{world.adc}/in_voltage1_raw"] = "busy"

    with pytest.raises(HalError, match="reads 'busy'"):
        run(world.pilot.read())


def test_a_car_without_a_diode_is_told(world: BenchWorld) -> None:
    world.opened()
    clock = [1_000.0]
    world.pilot.monotonic_s = lambda: clock[0]
    world.put(PilotState.C)
    offer(world, Offer(OfferKind.CURRENT, 16.0))
    world.low_v = -2.0
    run(world.pilot.read())
    clock[0] += 1.0

    reading = run(world.pilot.read())

    assert reading.state is PilotState.C
    assert not reading.diode_ok


@pytest.mark.parametrize(("ohm", "rating_a"), [
    (1500.0, 13.0), (680.0, 20.0), (220.0, 32.0), (100.0, 63.0), (1e9, 0.0), (0.0, 0.0)])
def test_the_cable_is_measured_when_it_is_plugged(ohm: float, rating_a: float) -> None:
    world = BenchWorld(cable_channel=2).opened()
    assert run(world.pilot.read()).cable_a is None  # nothing is plugged

    world.cable_ohm = ohm
    world.put(PilotState.B)

    assert run(world.pilot.read()).cable_a == rating_a
    world.end()


def test_without_its_contact_nothing_is_said_about_the_cable(world: BenchWorld) -> None:
    world.opened()
    world.put(PilotState.B)

    assert run(world.pilot.read()).cable_a is None


# --- its own thread -------------------------------------------------------------------------------

class Ear:
    """What the driver tells by itself, from its thread."""

    def __init__(self, world: BenchWorld) -> None:
        self.states: list[PilotState | None] = []
        self._news = threading.Condition()
        world.pilot.listen(self._hear)

    def _hear(self, reading: PilotReading) -> None:
        with self._news:
            self.states.append(reading.state)
            self._news.notify()

    def wait_for(self, state: PilotState | None) -> None:
        with self._news:
            assert self._news.wait_for(lambda: self.states[-1] is state, 20.0), self.states


def test_a_car_that_stops_asking_is_told_without_being_asked_for(world: BenchWorld) -> None:
    ear = Ear(world)
    world.opened()
    world.put(PilotState.C)
    offer(world, Offer(OfferKind.CURRENT, 16.0))

    world.high_v = 9.0

    ear.wait_for(PilotState.B)
    assert ear.states == [PilotState.A, PilotState.C, PilotState.B]


def test_a_loss_is_told_once_as_unknown_and_the_return_too(world: BenchWorld) -> None:
    ear = Ear(world)
    world.opened()
    world.put(PilotState.B)
    offer(world, Offer(OfferKind.CURRENT, 16.0))

    world.lose()
    ear.wait_for(None)
    for _ in range(3):
        with pytest.raises(HalError):
            run(world.pilot.read())
    world.restore()
    run(world.pilot.read())

    assert ear.states == [PilotState.A, PilotState.B, None, PilotState.B]


def test_it_looks_often_only_while_current_is_on_offer(world: BenchWorld) -> None:
    world.opened()
    pauses = [world.pilot._pause_s()]
    world.put(PilotState.B)
    pauses.append(world.pilot._pause_s())
    offer(world, Offer(OfferKind.CURRENT, 16.0))
    pauses.append(world.pilot._pause_s())
    offer(world, NO_OFFER)
    pauses.append(world.pilot._pause_s())
    world.put(PilotState.A)
    pauses.append(world.pilot._pause_s())

    assert pauses == [1.0, 0.25, 0.02, 0.25, 1.0]


def test_a_closed_pilot_leaves_no_thread_and_answers_nothing(world: BenchWorld) -> None:
    world.opened()
    assert "look pilot 1" in {thread.name for thread in threading.enumerate()}
    run(world.pilot.close())

    assert "look pilot 1" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(DeviceGone, match="not open"):
        run(world.pilot.read())
    with pytest.raises(DeviceGone, match="not open"):
        offer(world, NO_OFFER)


def test_it_can_be_opened_again_after_its_output_went_for_good(world: BenchWorld) -> None:
    world.opened()
    world.lose()
    with pytest.raises(DeviceGone):
        run(world.pilot.close())
    with pytest.raises(DeviceGone):
        world.opened()
    world.restore()
    world.chip.exported.clear()

    world.opened()

    assert world.offered() == NO_OFFER
    assert run(world.pilot.read()).state is PilotState.A


def test_being_late_while_current_is_on_offer_is_told_once(
        world: BenchWorld, caplog: pytest.LogCaptureFixture) -> None:
    clock = [1_000.0]
    world.pilot.monotonic_s = lambda: clock[0]
    world.opened()
    offer(world, Offer(OfferKind.CURRENT, 16.0))
    run(world.pilot.read())
    for _ in range(3):
        clock[0] += 0.3
        run(world.pilot.read())

    assert caplog.text.count("use a pilot board") == 1
