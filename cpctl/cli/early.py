"""The very first act of `hw safe`: coils off, before the command itself is imported.

A killed daemon may leave a coil on (a Raspberry Pi's kernel keeps the line as it was) until this
runs, and on a small machine imports are most of that time. Only what is sure and quick: contactors
on lines of this machine, as the daemon kept them in this boot (`cpctl/app_outputs.py`). The command
then drives these and all others in its own way, and says what could not be driven.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BOOT = "/proc/sys/kernel/random/boot_id"


def drive_coils_off() -> None:
    """Nothing is said and nothing raised: it is all done again."""
    home = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    found = _kept(home) if home else None
    if found is None:
        return
    chip, coils = found
    from contextlib import suppress

    from hal.errors import HalError
    from hal.lines.direct import Bank

    bank = Bank(chip)
    for name, pin, active_high in coils:
        with suppress(HalError):
            bank.output(name, pin, active_high=active_high).close()


def _kept(home: str) -> tuple[str, list[tuple[str, str, bool]]] | None:
    """The chip's label, and (name, pin, active_high) of each coil on a line; None: not known."""
    try:
        with open(os.path.join(home, "outputs.json"), encoding="utf-8") as file:
            found: Any = json.load(file)
        with open(BOOT, encoding="ascii") as file:
            boot = file.read().strip()
        if found["format"] != 1 or found["boot"] != boot:
            return None
        coils = [(str(name), str(options["pin"]), options.get("active_high", True) is not False)
                 for kind, driver, name, _, options in found["outputs"]
                 if (kind, driver) == ("contactor", "gpio")]
        return str(found["gpio"][1]), coils
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None
