"""The thermometer as a safety input, on a /sys in memory: where it trips, what it disbelieves."""

import threading
from pathlib import Path
from typing import Any

import pytest
from support.aio import run
from support.battery import InputRules
from support.fake_sysfs import FakeSysfs

from hal import registry
from hal.contracts import Parts
from hal.errors import BadConfig, BadReading, DeviceGone, HalError
from hal.inputs.thermometer import HWMON, W1, ZONES
from hal.sysfs import Sysfs

ROM = "28-0316a2796fff"
FILE = f"{W1}/{ROM}/temperature"


class Oven:
    """A sensor at a terminal, a clock, and who waits for the thread to have looked."""

    def __init__(self, celsius: float = 20.0, **options: Any) -> None:
        self.sysfs = FakeSysfs()
        self.text: str | OSError = str(round(celsius * 1000))
        self.now_s = 1_000.0
        self.looks = 0
        self._looked = threading.Condition()
        self.sysfs.files[FILE] = self._read
        given = {"sensor": ROM, "limit_c": 70.0, **options}
        self.input = registry.build("input", "thermometer", "input temperature 1", 1, given,
                                    Parts())
        self.input.sysfs = self.sysfs
        self.input.monotonic_s = lambda: self.now_s

    def _read(self) -> str:
        with self._looked:
            self.looks += 1
            self._looked.notify()
            if isinstance(self.text, OSError):
                raise self.text
            return self.text

    def heat(self, celsius: float) -> None:
        """To this temperature, and the thread has judged it."""
        self.text = str(round(celsius * 1000))
        self.let_it_look()

    def let_it_look(self) -> None:
        looks = self.looks
        self.input._lookout.hurry()
        self.wait_for_looks(looks + 1)

    def wait_for_looks(self, number: int) -> None:
        """Until so many looks have ended: then one more can begin."""
        for looks in (number, number + 1):
            with self._looked:
                assert self._looked.wait_for(lambda least=looks: self.looks >= least, 20.0)
            self.input._lookout.hurry()

    def trip(self) -> None:
        self.heat(90.0)

    def mend(self) -> None:
        self.heat(20.0)

    def lose(self) -> None:
        self.text = OSError(5, "Input/output error")

    def good(self) -> bool:
        good: bool = run(self.input.good())
        return good


@pytest.fixture
def oven() -> Any:
    made = Oven()
    run(made.input.open())
    yield made
    run(made.input.close())


class TestThermometer(InputRules):
    @pytest.fixture
    def bench(self) -> Any:
        made = Oven()
        run(made.input.open())
        yield made
        run(made.input.close())

    def test_a_lost_input_raises_and_never_reads_good(self, bench: Oven) -> None:
        bench.now_s += 10.0  # what was judged before the loss holds for 5 s
        super().test_a_lost_input_raises_and_never_reads_good(bench)


def test_it_trips_at_the_limit_and_is_good_again_below_the_hysteresis(oven: Oven) -> None:
    seen = []
    for celsius in (69.9, 70.0, 69.9, 65.1, 65.0, 69.9, 70.1):
        oven.heat(celsius)
        seen.append(oven.good())

    assert seen == [True, False, False, False, True, True, False]


def test_a_trip_outlives_being_opened_again(oven: Oven) -> None:
    oven.heat(75.0)
    oven.text = "68000"
    run(oven.input.close())
    run(oven.input.open())

    assert oven.good() is False


def test_what_was_judged_holds_for_five_seconds_and_then_it_is_read_anew(oven: Oven) -> None:
    oven.text = "90000"

    oven.now_s += 4.9
    assert oven.good() is True
    oven.now_s += 0.2
    assert oven.good() is False


def test_a_sensor_that_fails_once_is_made_up_for(oven: Oven) -> None:
    oven.lose()
    oven.let_it_look()

    assert oven.good() is True
    oven.mend()
    oven.now_s += 6.0
    assert oven.good() is True


def test_a_sensor_that_stays_away_is_bad_and_asking_tells_why(oven: Oven) -> None:
    oven.lose()
    oven.now_s += 6.0

    for _ in range(2):
        with pytest.raises(DeviceGone, match=r"input temperature 1: .*28-0316a2796fff.*wiring"):
            oven.good()
    oven.mend()
    assert oven.good() is True


def test_a_reading_that_grows_old_is_made_anew_behind_the_answer(oven: Oven) -> None:
    looks = oven.looks
    oven.now_s += 3.9
    oven.good()
    assert oven.looks == looks  # nothing is read that need not be
    oven.text = "90000"
    oven.now_s += 0.2

    assert oven.good() is True
    oven.wait_for_looks(looks + 1)
    assert oven.good() is False


@pytest.mark.parametrize("text", ["-127000", "-55062", "150001", "", "garbage", "20.5", "nan"])
def test_what_cannot_be_is_never_taken_for_a_temperature(oven: Oven, text: str) -> None:
    oven.text = text
    oven.now_s += 6.0

    with pytest.raises(BadReading):
        oven.good()


def test_the_85_degrees_of_a_sensor_that_lost_its_supply_are_not_believed() -> None:
    oven = Oven(limit_c=100.0)
    run(oven.input.open())
    for before, believed in ((20.0, False), (79.9, False), (81.0, True), (89.0, True)):
        oven.heat(before)
        oven.text = "85000"
        oven.now_s += 6.0
        if believed:
            assert oven.good() is True
        else:
            with pytest.raises(BadReading, match="losing its supply"):
                oven.good()
    run(oven.input.close())


def test_a_sensor_that_begins_with_85_degrees_cannot_be_opened() -> None:
    oven = Oven(celsius=85.0, limit_c=100.0)

    with pytest.raises(BadReading):
        run(oven.input.open())
    run(oven.input.close())


# --- which sensor ---------------------------------------------------------------------------------

def add_others(sysfs: FakeSysfs) -> None:
    sysfs.files |= {
        f"{HWMON}/hwmon3/name": "lm75", f"{HWMON}/hwmon3/temp1_input": "31000",
        f"{HWMON}/hwmon3/temp2_input": "88000", f"{HWMON}/hwmon0/name": "cpu",
        f"{ZONES}/thermal_zone0/type": "cpu-thermal", f"{ZONES}/thermal_zone0/temp": "41000"}


@pytest.mark.parametrize(("options", "celsius"), [
    ({"sensor": "lm75"}, 31.0), ({"sensor": "lm75", "channel": 2}, 88.0),
    ({"sensor": "cpu-thermal"}, 41.0), ({"sensor": ROM.upper()}, 20.0),
    ({"sensor": "", "path": f"{ZONES}/thermal_zone0/temp"}, 41.0)])
def test_a_sensor_is_found_by_what_it_is(options: dict[str, Any], celsius: float) -> None:
    oven = Oven(**options)
    add_others(oven.sysfs)

    run(oven.input.open())

    assert oven.input.celsius == celsius
    run(oven.input.close())


def test_a_sensor_that_is_not_there_is_named_with_those_that_are() -> None:
    oven = Oven(sensor="tmp102")
    add_others(oven.sysfs)

    with pytest.raises(DeviceGone, match=r"no sensor 'tmp102' \(there: cpu, lm75, cpu-thermal, "):
        run(oven.input.open())
    run(oven.input.close())


@pytest.mark.parametrize("options", [{"sensor": ""}, {"path": "/sys/x"}])
def test_it_wants_a_sensor_or_a_path_and_not_both(options: dict[str, Any]) -> None:
    with pytest.raises(BadConfig, match="one of them"):
        Oven(**options)


def test_it_reads_a_file_of_the_real_tree(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("42500\n")
    oven = Oven(sensor="", path=str(tmp_path / "temp"))
    oven.input.sysfs = Sysfs()

    run(oven.input.open())
    assert oven.good() is True and oven.input.celsius == 42.5
    (tmp_path / "temp").unlink()
    oven.now_s += 6.0
    with pytest.raises(HalError):
        oven.good()
    run(oven.input.close())


def test_a_closed_one_leaves_no_thread_and_is_never_good(oven: Oven) -> None:
    run(oven.input.close())

    assert "look input temperature 1" not in {one.name for one in threading.enumerate()}
    with pytest.raises(DeviceGone, match="not open"):
        oven.good()
