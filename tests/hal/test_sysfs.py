"""Finding a device of the kernel by what it is, in a tree with links as the kernel makes them."""

from pathlib import Path

import pytest

from hal.errors import DeviceGone
from hal.sysfs import Sysfs, find, why


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two PWM chips as on a Raspberry Pi 5, and two converters of one kind."""
    for number, device in ((0, "1f0009c000.pwm"), (3, "1f00098000.pwm")):
        chip = tmp_path / "devices/platform/axi" / device / "pwm" / f"pwmchip{number}"
        chip.mkdir(parents=True)
        link(tmp_path / "class/pwm" / chip.name, chip)
    for number, folder in ((0, "1-0048"), (1, "1-0049")):
        device = tmp_path / "devices/platform/soc/i2c-1" / folder / f"iio:device{number}"
        device.mkdir(parents=True)
        (device / "name").write_text("ads1015\n")
        link(tmp_path / "bus/iio/devices" / device.name, device)
    return tmp_path


def link(at: Path, to: Path) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(to)


def found(tree: Path, folder: str, prefix: str, wanted: str) -> str:
    return find(Sysfs(), "pilot 1", str(tree / folder), prefix, wanted).rpartition("/")[2]


@pytest.mark.parametrize(("folder", "prefix", "wanted", "name"), [
    ("class/pwm", "pwmchip", "1f00098000.pwm", "pwmchip3"),
    ("class/pwm", "pwmchip", "1f0009c000.pwm", "pwmchip0"),
    ("bus/iio/devices", "iio:device", "1-0049", "iio:device1")])
def test_a_device_is_found_whatever_its_number(
        tree: Path, folder: str, prefix: str, wanted: str, name: str) -> None:
    assert found(tree, folder, prefix, wanted) == name


@pytest.mark.parametrize(("folder", "prefix", "wanted", "words"), [
    ("class/pwm", "pwmchip", "", r"not just one \(there: pwmchip0 is '1f0009c000\.pwm'; pwmchip3"),
    ("class/pwm", "pwmchip", "pwmchip3", r"none is 'pwmchip3'"),
    ("bus/iio/devices", "iio:device", "ads1015", r"2 fit 'ads1015' \(there: iio:device0 is"),
    ("bus/iio/devices", "trigger", "", r"\(there: none\)"),
    ("bus/w1/devices", "28-", "", r"\(there: none\)")])
def test_what_is_not_clear_is_refused_with_what_there_is(
        tree: Path, folder: str, prefix: str, wanted: str, words: str) -> None:
    with pytest.raises(DeviceGone, match=rf"pilot 1: .*{words}"):
        found(tree, folder, prefix, wanted)


def test_the_only_one_there_is_needs_no_name(tree: Path) -> None:
    (tree / "class/pwm/pwmchip0").unlink()

    assert found(tree, "class/pwm", "pwmchip", "") == "pwmchip3"


def test_a_file_is_read_without_its_newline_and_written_as_it_is(tmp_path: Path) -> None:
    sysfs, path = Sysfs(), str(tmp_path / "duty_cycle")

    sysfs.write(path, "533333")

    assert Path(path).read_text() == "533333"
    Path(path).write_text("1000000\n")
    assert sysfs.read(path) == "1000000"


def test_a_forbidden_file_is_told_with_what_helps() -> None:
    assert "group" in why(PermissionError(13, "Permission denied"))
    assert why(OSError(22, "Invalid argument")) == "Invalid argument"
