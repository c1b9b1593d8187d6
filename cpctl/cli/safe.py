"""`cpctl hw safe`: every output to its safe level, without the daemon.

systemd calls it after the daemon has ended, however it ended, and once at boot. Driven are the
outputs that the daemon kept (`cpctl/app_outputs.py`), before the configuration is even read where
it is known where they lie; then those of the configuration. Lines of the machine come first, what
hangs on a bus then all at once; each has its limit, and none keeps another one waiting.
"""

from __future__ import annotations

import sys

from cpctl.cli.daemon import EXIT_CONFIG, EXIT_HARDWARE
from cpctl.cli.main import DONE
from cpctl.cli.show import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from pathlib import Path
    from typing import Any

    from cpctl.app_outputs import Output, Outputs
    from cpctl.config_text import Problem
    from hal.contracts import Parts

LIMIT_S = 5.0  # for one output, or for those of one EVSE that hang on a bus
AGAIN_S = 0.5  # between two looks for a device that may still come up
HOME = "/var/lib/cpctl"
_ORDER = ("heartbeat", "contactor", "pilot", "lock")


def drive(file: str, screen: Screen, *, wait_s: float = 0.0) -> int:
    """Exit code: 0 when every output is safe, 69 when one could not be driven, 78 when a mistake
    in the configuration leaves in doubt what is to be driven.

    `wait_s`: a device that is not there is looked for again for so long.
    """
    import os
    import time
    from pathlib import Path

    until = time.monotonic() + wait_s
    hands = _Hands(lambda: time.monotonic() < until)
    home = os.environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd's, for the service
    try:
        if home:
            hands.drive_kept(Path(home))
    finally:  # whatever was wrong with that
        problems = _by_configuration(hands, Path(file), Path(home) if home else None)
    return _tell(screen, hands.outcomes, problems)


def _by_configuration(hands: _Hands, file: Path, home: Path | None) -> tuple[Problem, ...]:
    """What the file says beyond what was kept; the mistakes that leave an output in doubt."""
    from pathlib import Path

    from cpctl.app_standing import standing

    found = standing(file)
    if home is None:
        home = found.store or Path(HOME)
        hands.drive_kept(home)
    if found.problems:  # in doubt, what was driven before this boot counts as well
        hands.drive_kept(home, of_any_boot=True)
    hands.drive(found.outputs, in_doubt=bool(found.problems))
    return found.problems


def _tell(screen: Screen, outcomes: list[tuple[str, str]], problems: tuple[Problem, ...]) -> int:
    if screen.json:
        screen.object({
            "outputs": [{"output": name, "problem": problem} for name, problem in outcomes],
            "problems": [{"file": one.where.file, "line": one.where.line,
                          "sentence": one.sentence, "hint": one.hint} for one in problems]})
    else:
        for name, problem in outcomes:
            screen.line(f"{name}: {problem.removeprefix(f'{name}: ') or 'safe'}")
        for one in problems:
            print(one, file=sys.stderr)
        if not outcomes and not problems:
            screen.line("no output is configured but simulated ones")
    if any(problem for _, problem in outcomes):
        return EXIT_HARDWARE
    return EXIT_CONFIG if problems else DONE


class _Hands:
    """Drives outputs off and remembers what came of it. `more_time()`: a device that is not there
    may still come up."""

    def __init__(self, more_time: Callable[[], bool]):
        self.outcomes: list[tuple[str, str]] = []
        self._more_time = more_time
        self._driven: list[Outputs] = []

    def drive_kept(self, home: Path, *, of_any_boot: bool = False) -> None:
        """What the daemon drove; of another boot only where nothing better is known."""
        from cpctl import app_outputs

        found = app_outputs.kept(home)
        if found is not None and (of_any_boot or found.boot == app_outputs.boot_id()):
            self.drive(found)

    def drive(self, outputs: Outputs, *, in_doubt: bool = False) -> None:
        """What was not driven yet in the very same way; in doubt, what was not driven at all."""
        for one in self._driven:
            outputs = outputs.without(one)
        if in_doubt:
            names = {output.name for one in self._driven for output in one.outputs}
            outputs = outputs._replace(outputs=tuple(
                one for one in outputs.outputs if one.name not in names))
        self._driven.append(outputs)
        for part in outputs.divided():
            self._drive_part(part)

    def _drive_part(self, outputs: Outputs) -> None:
        """Outputs on lines go without asyncio and serial lines: a coil waits for them."""
        from hal.errors import HalError

        if not outputs.outputs:
            return
        try:
            parts = outputs.parts()
        except (HalError, ImportError, TypeError) as error:  # kept by another release
            self.outcomes += [(one.name, str(error)) for one in outputs.outputs]
            return
        self._drive_all(_built(outputs, parts, self.outcomes))
        for bus in parts.buses.values():
            bus.close()

    def _drive_all(self, devices: list[tuple[Output, Any]]) -> None:
        wired = [one for one in devices if _is_wired(one[1])]
        for one in sorted(wired, key=lambda one: one[0].kind != "contactor"):
            self._drive_in_a_thread([[one]])
        others = [one for one in devices if one not in wired]
        self._drive_in_a_thread([
            [one for one in others if one[0].evse == evse]
            for evse in dict.fromkeys(output.evse for output, _ in others)])

    def _drive_in_a_thread(self, groups: Iterable[list[tuple[Output, Any]]]) -> None:
        """A group one after the other, the groups beside one another: a driver that hangs costs
        its own group alone."""
        import threading
        import time

        running = []
        for group in groups:
            done: list[tuple[str, str]] = []
            thread = threading.Thread(target=self._drive_group, args=(group, done), daemon=True)
            thread.start()
            running.append((thread, group, done))
        end = time.monotonic() + LIMIT_S
        while self._more_time() and any(thread.is_alive() for thread, _, _ in running):
            running[0][0].join(AGAIN_S)
        for thread, group, done in running:
            thread.join(max(0.0, end - time.monotonic()))
            told = list(done)
            self.outcomes += told
            self.outcomes += [(one.name, f"no answer within {LIMIT_S:g} s")
                              for one, _ in group[len(told):]]

    def _drive_group(self, group: list[tuple[Output, Any]], done: list[tuple[str, str]]) -> None:
        (first, device), *rest = group
        if not rest and _is_wired(device) and _went_off_at_once(first.kind, device):
            done.append((first.name, ""))
            return
        import asyncio

        async def all_of_them() -> None:
            for output, device in group:
                done.append((output.name, await self._off(output.kind, device)))

        asyncio.run(all_of_them())

    async def _off(self, kind: str, device: Any) -> str:
        """What went wrong, or ""."""
        import asyncio

        from hal.errors import DeviceGone, HalError

        act = _act(kind)
        while True:
            try:
                async with asyncio.timeout(LIMIT_S):
                    await act(device)
                return ""
            except (HalError, OSError, ImportError, TimeoutError) as error:
                if not isinstance(error, DeviceGone) or not self._more_time():
                    return str(error) or f"no answer within {LIMIT_S:g} s"
            await asyncio.sleep(AGAIN_S)


def _built(outputs: Outputs, parts: Parts, outcomes: list[tuple[str, str]]
           ) -> list[tuple[Output, Any]]:
    """The drivers, contactors first; pilots are built before, for some switch a contactor."""
    from hal import registry
    from hal.errors import HalError

    made: list[tuple[Output, Any]] = []
    for one in sorted(outputs.outputs, key=lambda one: one.kind != "pilot"):
        try:
            device = registry.build(one.kind, one.driver, one.name, one.evse, one.options, parts)
        except (HalError, ImportError) as error:
            outcomes.append((one.name, str(error)))
            continue
        made.append((one, device))
        if one.kind == "pilot" and one.evse is not None:
            parts.pilots[one.evse] = device
    return sorted(made, key=lambda one: _ORDER.index(one[0].kind))


def _act(kind: str) -> Callable[[Any], Coroutine[Any, Any, None]]:
    return {"contactor": _open, "pilot": _withdraw, "heartbeat": _rest, "lock": _stand}[kind]


def _went_off_at_once(kind: str, device: Any) -> bool:
    """Whether it is off without having waited for anything: what hangs on a line needs no event
    loop, and importing one takes longer than all the rest."""
    from hal.errors import HalError

    work = _act(kind)(device)
    try:
        work.send(None)
    except StopIteration:
        return True
    except (HalError, OSError, ImportError):
        return False  # the loop tries again, and says why
    work.close()
    return False


def _is_wired(device: Any) -> bool:
    """Whether it hangs on a line of this machine, which answers at once."""
    return any(option.role == "pin" and device.options.get(option.name)
               for option in device.OPTIONS)


async def _open(contactor: Any) -> None:
    await contactor.prepare()
    await contactor.finish()


async def _withdraw(pilot: Any) -> None:
    """A board that switches a contactor is told so first: that needs nothing to be known of it."""
    from hal.values import NO_OFFER

    if pilot.switches:
        pilot.cut()
    await pilot.open()
    try:
        await pilot.offer(NO_OFFER)
    finally:
        await pilot.close()


async def _rest(heartbeat: Any) -> None:
    await heartbeat.open()
    heartbeat.rest()
    await heartbeat.close()


async def _stand(lock: Any) -> None:
    """Its motor stands still; the bolt stays where it is."""
    await lock.open()
    await lock.close()
