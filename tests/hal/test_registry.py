"""Drivers are found by name, imported when asked for, and refused with the nearest name."""

import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import pytest

from hal import registry
from hal.contracts import CardReader, Option, Parts
from hal.errors import BadConfig
from hal.sim.board import Board


class Reader(CardReader):
    """An outsider's driver."""

    OPTIONS = (Option("port", str, required=True, help="the serial port"),
               Option("tries", int, 3, minimum=1, maximum=9),
               Option("wait_s", float, 0.5, minimum=0.0),
               Option("mode", str, "fast", choices=("fast", "slow")),
               Option("buzzer", bool, True))

    async def cards(self) -> Any:
        yield None


@pytest.fixture
def outsider(monkeypatch: pytest.MonkeyPatch) -> None:
    points = (metadata.EntryPoint("reader.acme", f"{__name__}:Reader", registry.ENTRY_POINTS),
              metadata.EntryPoint("reader.broken", "no_such_module:Reader", registry.ENTRY_POINTS))
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: points)
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())


def _this_module() -> Any:
    import types

    module = types.ModuleType(__name__)
    module.__dict__["Reader"] = Reader
    return module


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_every_kind_has_a_simulated_driver(kind: str) -> None:
    assert "sim" in registry.names(kind)
    assert registry.load(kind, "sim").__module__ == "hal.sim.devices"


@pytest.mark.parametrize(("kind", "driver"), [
    (kind, driver) for kind in sorted(registry.KINDS) for driver in registry.names(kind)])
def test_every_driver_of_ours_can_be_loaded_and_declares_its_options(
        kind: str, driver: str) -> None:
    options = registry.options_of(kind, driver)

    assert all(isinstance(option, Option) for option in options)
    assert len({option.name for option in options}) == len(options)


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_every_driver_of_ours_brings_no_vendor_library_before_it_is_opened(kind: str) -> None:
    """The configuration is checked on machines without them."""
    code = (
        "import sys\n"
        "for vendor in ('smartcard', 'minimalmodbus', 'serial', 'gpiozero', 'lgpio', 'gpiod'):\n"
        "    sys.modules[vendor] = None\n"
        "from hal import registry\n"
        f"[registry.options_of({kind!r}, driver) for driver in registry.names({kind!r})]\n")

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_looking_for_one_driver_imports_no_other() -> None:
    code = (
        "import sys\n"
        "from hal import registry\n"
        "registry.load('reader', 'pcsc')\n"
        "heavy = ('hal.sim', 'hal.meters', 'hal.serialbus', 'importlib.metadata', 'difflib')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])\n")

    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True,
                          check=False, cwd=str(registry.__file__).removesuffix("hal/registry.py"))

    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_an_unknown_driver_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadConfig, match=r"no meter driver 'eastron_sdm360'; "
                                        r"did you mean 'eastron_sdm630'\?"):
        registry.load("meter", "eastron_sdm360")


def test_an_unknown_kind_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadConfig, match="did you mean 'reader'"):
        registry.load("readers", "sim")


@pytest.mark.parametrize("driver", ["../evil", "Pcsc", "pcsc.Reader", "", "__init__"])
def test_a_name_that_is_none_is_refused(driver: str) -> None:
    with pytest.raises(BadConfig):
        registry.load("reader", driver)


def test_a_driver_of_another_distribution_is_found_by_its_entry_point(outsider: None) -> None:
    assert registry.load("reader", "acme").__name__ == "Reader"


def test_a_driver_that_cannot_be_loaded_says_why(outsider: None) -> None:
    with pytest.raises(BadConfig, match="no_such_module"):
        registry.load("reader", "broken")


def test_an_unknown_name_is_compared_with_outsiders_too(outsider: None) -> None:
    with pytest.raises(BadConfig, match="did you mean 'acme'"):
        registry.load("reader", "acne")


def test_building_fills_in_defaults_and_touches_nothing() -> None:
    built = registry.build("contactor", "sim", "contactor 1", 1, {},
                           Parts(board=Board([1]), deadman=_deadman()))

    assert built.options == {"feedback": True}


def _deadman() -> Any:
    from hal.deadman import DeadMan

    return DeadMan(thread=False)


@pytest.mark.parametrize(("given", "said"), [
    ({}, "option 'port' is missing; the serial port"),
    ({"port": "x", "prot": 1}, r"unknown option 'prot'; did you mean 'port'\?"),
    ({"port": 7}, "option 'port' is 7; it must be of type str"),
    ({"port": "x", "tries": True}, "it must be of type int"),
    ({"port": "x", "tries": 2.5}, "it must be of type int"),
    ({"port": "x", "tries": 0}, "it may be 1 to 9"),
    ({"port": "x", "wait_s": -1}, "it may be at least 0"),
    ({"port": "x", "mode": "slwo"}, "it may be fast, slow"),
    ({"port": "x", "buzzer": "yes"}, "it must be of type bool"),
])
def test_an_option_the_driver_cannot_mean_is_refused(given: Mapping[str, Any], said: str) -> None:
    with pytest.raises(BadConfig, match=f"reader front: .*{said}"):
        registry.checked("reader front", Reader.OPTIONS, given)


def test_a_whole_number_is_fine_where_a_number_is_wanted() -> None:
    options = registry.checked("reader front", Reader.OPTIONS, {"port": "x", "wait_s": 2})

    assert options == {"port": "x", "tries": 3, "wait_s": 2.0, "mode": "fast", "buzzer": True}
