"""However the process ends, the line that fed a contactor is off then, and the books are kept.

Real processes and the unit's own command lines; `support.service_double` does what systemd does.
The line keeps its level when its process is gone, as a GPIO of a Raspberry Pi does.
"""

import signal
from pathlib import Path
from typing import Any

import pytest
from support.service_double import LIMIT_S, Service, memory_room, service

pytestmark = pytest.mark.real

SHORT_S = 1.5  # instead of the unit's 5 s, where nothing but the watchdog is tried


def end_of_the_session(one: Service) -> tuple[bool, str]:
    """After a new start: whether the session is over, and why."""
    def last() -> dict[str, Any]:
        (session,) = one.call("sessions.list")["sessions"]
        return dict(session)

    one.start()
    one.tend(lambda: last()["ended"] is not None)
    session = last()
    return session["ended"] is not None, session["stop_reason"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS],
                         ids=lambda one: one.name)
def test_killed_process_leaves_the_line_on_and_the_service_drives_it_off(
        number: signal.Signals, tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        one.charge()

        one.die(number)
        after_death = one.level()
        code = one.stop_post()

        assert after_death == "on", "that is what the rest is for"
        assert (one.level(), code) == ("off", 0)
        assert "contactor 1: safe" in one.stop_post_said
        assert end_of_the_session(one) == (True, "Reboot")
        assert one.level() == "off"


def test_process_that_is_out_of_memory_leaves_the_line_on_and_the_service_drives_it_off(
        tmp_path: Path) -> None:
    """The kernel itself ends it, at a limit as the unit's MemoryMax."""
    with service(tmp_path, watchdog_s=LIMIT_S) as one:
        one.start()
        one.charge()
        assert one.process is not None
        try:
            with memory_room(one.process.pid, 150):
                one.die(signal.SIGRTMIN)
        except OSError as error:
            pytest.skip(f"no limit to the memory can be set here: {error}")
        after_death = one.level()
        one.stop_post()

        assert one.process.returncode == -signal.SIGKILL
        assert (after_death, one.level()) == ("on", "off")
        assert end_of_the_session(one) == (True, "Reboot")


def test_stopped_process_is_ended_by_the_watchdog(tmp_path: Path) -> None:
    with service(tmp_path, watchdog_s=SHORT_S) as one:
        one.start()
        one.charge()

        one.die(signal.SIGSTOP)
        one.stop_post()

        assert one.level() == "off"
        assert one.process is not None and one.process.returncode == -signal.SIGABRT
        assert end_of_the_session(one) == (True, "Reboot")


def test_event_loop_that_stands_still_loses_its_coil_to_the_dead_man_before_the_watchdog_comes(
        tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        one.charge()
        assert one.process is not None

        one.process.send_signal(signal.SIGUSR1)
        one.tend(lambda: one.level() == "off")

        assert not one.is_dead, "the dead-man needs no help"
        one.tend(lambda: False)
        assert one.process.returncode == -signal.SIGABRT
        assert "opened by the dead-man" in one.log()
        assert "in <lambda>" in one.log(), "where it hung stands in the log"


def test_interpreter_that_stands_still_is_ended_by_the_watchdog(tmp_path: Path) -> None:
    """Then the dead-man's thread stands still as well."""
    with service(tmp_path, watchdog_s=SHORT_S) as one:
        one.start()
        one.charge()
        assert one.process is not None

        one.die(signal.SIGUSR2)
        after_death = one.level()
        one.stop_post()

        assert after_death == "on"
        assert one.level() == "off"
        assert one.process.returncode == -signal.SIGABRT


def test_stop_in_good_order_has_the_line_off_before_the_process_ends(tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        one.charge()

        one.die(signal.SIGTERM)

        assert one.process is not None and one.process.returncode == 0
        assert one.level() == "off"
        assert one.stop_post() == 0


@pytest.mark.parametrize("damage", ["gone", "empty", "zeros", "another pin"])
def test_configuration_that_is_damaged_meanwhile_does_not_keep_the_line_on(
        damage: str, tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        one.charge()
        text = one.config.read_text()
        if damage == "gone":
            one.config.unlink()
        else:
            one.config.write_text({"empty": "", "zeros": "\0" * 512,
                                   "another pin": text.replace("/line", "/other")}[damage])

        one.die(signal.SIGKILL)
        one.stop_post()

        assert one.level() == "off"


@pytest.mark.parametrize("program", ["import nothing_of_that_name", "raise SystemExit(69)",
                                     "import os; os.abort()"], ids=repr)
def test_release_that_cannot_drive_the_line_leaves_it_to_the_one_before(
        program: str, tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        one.charge()
        one.die(signal.SIGKILL)
        one.lay_out("2.0", program)
        (one.releases / "current").unlink()
        (one.releases / "current").symlink_to("releases/2.0")

        code = one.stop_post()

        assert (one.level(), code) == ("off", 0)


def test_line_of_the_service_says_how_the_station_does(tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        one.charge()
        one.tend(lambda: any("EVSE 1 Charging" in text for text in one.statuses))

        assert not one.is_dead
