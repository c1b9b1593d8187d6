"""Relay of a Modbus RTU relay board, with or without an auxiliary contact on one of its inputs.

Source: "Modbus RTU Relay" and "Modbus RTU Relay (D)" of Waveshare: relay n is coil n - 1, read by
function 1 and switched by 5 (0xFF00, 0x0000); input n is discrete input n - 1, read by function 2.
Boards of other makers with the same functions answer alike.
Field:  not yet.

A relay on a bus is no safe output: the board keeps its relays as they are when nobody speaks to
it, and what is sent over a line may not arrive. So it needs a second, local contactor in series,
or a hold-in relay fed by the heartbeat (docs/pilot-boards.md). A release goes to the head of the
bus queue, does not wait out quiet times, and stays there until it is sent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from hal.busjobs import Answer
from hal.contracts import Contactor, Option, Parts
from hal.errors import DeviceGone, DeviceTimeout, HalError
from hal.rtu import READ_COILS, READ_DISCRETE, WRITE_COIL, Request

NS_PER_S = 1_000_000_000
LOOK_NS = NS_PER_S // 10  # how old a look may be before the next is asked for, while it moves
STEADY_LOOK_NS = 4 * NS_PER_S // 10  # and while it is where it was ordered
OFF_TRIES = 3  # a release is harmless when it is sent twice; closing is not tried again
STALE_NS = 3 * NS_PER_S  # a board that was not seen for so long does not answer
WAIT_MOST_S = 1.0  # everything else stands still as long


class Switch(Contactor):
    """One relay. Its state is looked at in the background whenever somebody asks for feedback."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("bus", str, required=True, role="bus",
               help="the serial line: name of a [serial.…]"),
        Option("address", int, required=True, minimum=1, maximum=247, role="address",
               help="Modbus address of the relay board"),
        Option("channel", int, required=True, minimum=1, maximum=64, role="channel",
               help="which relay of the board, counted from 1"),
        Option("feedback_input", int, 0, minimum=0, maximum=64,
               help="which input of the board the auxiliary contact is on; 0: none"),
        Option("feedback_closed_on", bool, True,
               help="false: the input is off while the contactor is closed"),
        Option("backed_up", bool, False,
               help="true: a second, local contactor or hold-in relay is in series"),
    )

    @classmethod
    def feeds_back(cls, options: Mapping[str, Any]) -> bool:
        return bool(options.get("feedback_input"))

    @classmethod
    def weakness(cls, options: Mapping[str, Any]) -> str:
        if options.get("backed_up"):
            return ""
        return "the relay board keeps its relays as they are when nobody speaks to it"

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        self._bus = parts.serial(name, str(options["bus"]))
        self._mono_ns = parts.monotonic_ns or time.monotonic_ns
        self._coil = int(options["channel"]) - 1
        self._on = False  # as ordered
        # The last look: replaced as a whole by the bus's thread, so that none is half of another.
        self._look: _Look | None = None
        self._asked_ns: int | None = None  # when the look that is under way was asked for
        self._unheard = False  # it left us waiting: waited for again once it was heard

    def _energise(self) -> None:
        self._look, self._on = None, True
        self._order(on=True)

    def _release(self) -> None:
        self._look, self._on = None, False
        self._order(on=False)

    def _read_feedback(self) -> bool | None:
        """The auxiliary contact, else None. Raises DeviceGone when the relay is not as ordered,
        DeviceTimeout when the board has not been heard."""
        look = self._look
        if look is None and self._unheard:
            self._look_soon()
            raise DeviceTimeout(f"{self.name}: the relay board does not answer; check A/B wiring "
                                "and its supply")
        look = look or self._look_now()
        age_ns = self._mono_ns() - look.at_ns
        if age_ns > STALE_NS:
            raise DeviceTimeout(
                f"{self.name}: the relay board was not heard for {age_ns / NS_PER_S:.0f} s; "
                "check A/B wiring and its supply")
        if age_ns > (STEADY_LOOK_NS if look.on == self._on else LOOK_NS):
            self._look_soon()
        if look.on != self._on and self._is_of_the_relay():
            raise DeviceGone(f"{self.name}: relay {self._coil + 1} is {_word(look.on)} and was "
                             f"ordered {_word(self._on)}; was the board restarted?")
        return None if self._is_of_the_relay() else look.on

    # --- the bus -----------------------------------------------------------------------------

    def _order(self, *, on: bool) -> None:
        """Off stays in the queue until it is sent, whether or not that is waited for."""
        request = Request(int(self.options["address"]), WRITE_COIL, self._coil, values=(int(on),))
        if self._unheard and not on:
            self._bus.tell_now(request, self._hear, tries=OFF_TRIES)
            raise DeviceTimeout(f"{self.name}: ordered off, and the relay board does not answer")
        self._ask(request, must_happen=not on)

    def _hear(self, answer: Answer | HalError) -> None:
        if not isinstance(answer, HalError):
            self._unheard = False

    def _look_now(self) -> _Look:
        """The first look since the relay was ordered: worth waiting for."""
        at_ns = self._mono_ns()
        answer = self._ask(self._question(), must_happen=False)
        self._look = _Look(self._meaning(answer), at_ns)
        return self._look

    def _look_soon(self) -> None:
        now_ns = self._mono_ns()
        if self._asked_ns is not None and now_ns - self._asked_ns < STALE_NS:
            return
        self._asked_ns, before = now_ns, self._look

        def done(answer: Answer | HalError) -> None:
            self._asked_ns = None
            self._hear(answer)
            if self._look is before and not isinstance(answer, HalError):
                self._look = _Look(self._meaning(answer), now_ns)  # not switched meanwhile

        self._bus.tell_now(self._question(), done, wait_s=STALE_NS / NS_PER_S)

    def _question(self) -> Request:
        address = int(self.options["address"])
        if self._is_of_the_relay():
            return Request(address, READ_COILS, self._coil)
        return Request(address, READ_DISCRETE, int(self.options["feedback_input"]) - 1)

    def _is_of_the_relay(self) -> bool:
        """Whether looks are at the relay itself, for want of an auxiliary contact."""
        return not self.options["feedback_input"]

    def _meaning(self, answer: Answer) -> bool:
        return bool(answer[0]) is (
            self._is_of_the_relay() or bool(self.options["feedback_closed_on"]))

    def _ask(self, request: Request, *, must_happen: bool) -> Answer:
        # with an exchange that is under way
        wait_s = min(2 * self._bus.settings.timeout_s + 0.1, WAIT_MOST_S)
        try:
            answer = self._bus.ask_now(request, wait_s=wait_s, must_happen=must_happen,
                                       tries=OFF_TRIES if must_happen else 1)
        except HalError as error:
            self._unheard = isinstance(error, DeviceTimeout)
            raise type(error)(f"{self.name}: {error}") from error
        self._unheard = False
        return answer


class _Look:
    """What was seen, and when that was asked for (monotonic ns)."""

    def __init__(self, on: bool, at_ns: int) -> None:
        self.on = on
        self.at_ns = at_ns


def _word(on: bool) -> str:
    return "on" if on else "off"
