"""The example configurations: each is read without a mistake, and wired as docs/wiring.md says."""

from pathlib import Path

import pytest

from cpctl import config
from cpctl.config_devices import DeviceSpec

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
EXAMPLES = sorted((DEPLOY / "examples").glob("*.toml"))
# Pulled down by the chip at power-on, and not lines of the console (14, 15).
QUIET = {f"GPIO{number}" for number in range(9, 28)} - {"GPIO14", "GPIO15"}


def read(file: Path, folder: Path) -> config.Config:
    """As it would be at the station: with the password beside it."""
    place = folder / file.name
    place.write_text(file.read_text())
    password = folder / "csms-password"
    password.write_text("0123456789abcdef\n")
    password.chmod(0o640)
    return config.load(place)


@pytest.mark.parametrize("file", [*EXAMPLES, DEPLOY / "cpctl.example.toml"],
                         ids=lambda file: file.stem)
def test_an_example_is_a_good_configuration(file: Path, tmp_path: Path) -> None:
    assert read(file, tmp_path).evses


def test_what_is_installed_first_charges_nobody(tmp_path: Path) -> None:
    found = read(DEPLOY / "cpctl.example.toml", tmp_path)

    assert all(device.simulated for evse in found.evses for device in evse.devices)
    assert not found.serial
    assert found.heartbeat is None


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_outputs_rest_at_low_from_power_on(file: Path, tmp_path: Path) -> None:
    found = read(file, tmp_path)
    drivers: list[DeviceSpec | None] = [found.heartbeat]
    drivers += [device for evse in found.evses for device in (evse.contactor, evse.indicator)]

    outputs = [str(one.options[pin]) for one in drivers if one is not None and one.driver == "gpio"
               for pin in ("pin", "red", "green", "blue", "buzzer") if pin in one.options]

    assert set(outputs) <= QUIET
    assert all(one.options.get("active_high", True) for one in drivers if one is not None)


def test_there_is_an_example_for_each_of_the_real_builds() -> None:
    assert {file.stem for file in EXAMPLES} == {"pi-evse-wb", "pi-openevse", "bench"}
