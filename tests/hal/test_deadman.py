"""The dead-man: leases that lapse by themselves, in virtual time and with real threads."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.aio import run

from hal.contracts import Contactor, Parts
from hal.deadman import DeadMan, Leased
from hal.errors import DeviceGone, HalError

SOON_S = 20.0  # a wait for a thread; reached only when the test fails


class Coil(Contactor):
    """A contactor whose coil can be looked at, and made to fail or to hang."""

    def __init__(self, deadman: DeadMan, name: str = "contactor 1") -> None:
        super().__init__(name, 1, {}, Parts(deadman=deadman))
        self.on = False
        self.releases = 0
        self.broken: type[Exception] | None = None
        self.entered = threading.Event()
        self.go_on: threading.Event | None = None

    def _energise(self) -> None:
        self.on = True
        if self.go_on is not None:
            self.entered.set()
            self.go_on.wait(SOON_S)

    def _release(self) -> None:
        self.releases += 1
        if self.broken is not None:
            raise self.broken(f"{self.name}: does not move; check its wiring")
        self.on = False

    def _read_feedback(self) -> bool | None:
        return self.on


class HandClock:
    def __init__(self) -> None:
        self.now_ns = 1_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


Told = list[tuple[Leased, Exception | None]]


class Hands:
    """A dead-man without a thread, its clock, and what it told."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.told: Told = []
        self.deadman = DeadMan(self.clock, thread=False,
                               listener=lambda *one: self.told.append(one))
        self.deadman.start()

    def coil(self, name: str = "contactor 1") -> Coil:
        return Coil(self.deadman, name)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.deadman.check()


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_a_lease_that_is_not_renewed_opens_the_contactor(hands: Hands) -> None:
    coil = hands.coil()
    coil.close(lease_s=2.0)

    hands.pass_time(1.9)
    still_on = coil.on
    hands.pass_time(0.1)

    assert still_on
    assert not coil.on
    assert hands.told == [(coil, None)]


def test_a_renewed_lease_holds(hands: Hands) -> None:
    coil = hands.coil()
    coil.close(lease_s=2.0)

    for _ in range(10):
        hands.pass_time(0.5)
        assert coil.renew(lease_s=2.0)

    assert coil.on
    assert hands.told == []


def test_a_lapsed_lease_is_never_renewed_even_before_the_dead_man_came(hands: Hands) -> None:
    coil = hands.coil()
    coil.close(lease_s=2.0)

    hands.clock.advance(2.0)  # nobody has checked yet
    renewed = coil.renew(lease_s=2.0)
    hands.deadman.check()

    assert not renewed
    assert not coil.on


def test_renewing_never_energises(hands: Hands) -> None:
    coil = hands.coil()

    assert not coil.renew(lease_s=2.0)
    assert not coil.on


def test_opening_gives_the_lease_up(hands: Hands) -> None:
    coil = hands.coil()
    coil.close(lease_s=2.0)

    coil.open()
    hands.pass_time(5.0)

    assert not coil.renew(lease_s=2.0)
    assert coil.releases == 1
    assert hands.told == []


def test_a_close_that_fails_leaves_the_path_open_and_no_lease(hands: Hands) -> None:
    coil = hands.coil()

    def fail() -> None:
        coil.on = True
        raise DeviceGone("contactor 1: output lost")

    coil._energise = fail  # type: ignore[method-assign]
    with pytest.raises(DeviceGone):
        coil.close(lease_s=2.0)

    assert not coil.on
    assert hands.deadman.due_ns() is None


@pytest.mark.parametrize("error", [DeviceGone, OSError, ZeroDivisionError])
def test_a_release_that_fails_is_told_once_tried_again_and_keeps_nobody_waiting(
        hands: Hands, error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    bad, good = hands.coil("contactor 1"), hands.coil("contactor 2")
    bad.broken = error
    bad.close(lease_s=1.0)
    good.close(lease_s=1.0)

    for _ in range(4):
        hands.pass_time(1.0)
    while_broken = (bad.on, good.on, bad.releases, [(one, bool(why)) for one, why in hands.told])
    bad.broken = None
    hands.pass_time(1.0)

    assert while_broken == (True, False, 4, [(bad, True), (good, False)])
    assert not bad.on
    assert hands.told[-1] == (bad, None)
    assert hands.deadman.due_ns() is None
    (told,) = [one for one in caplog.records if "trying again" in one.getMessage()]
    assert bool(told.exc_info) is (error is not DeviceGone), "a device that is gone is no bug"


def test_a_release_that_failed_for_the_gate_stays_owed(hands: Hands) -> None:
    coil = hands.coil()
    coil.close(lease_s=2.0)
    coil.broken = DeviceGone

    with pytest.raises(DeviceGone):
        coil.open()
    coil.broken = None
    hands.pass_time(0.5)

    assert not coil.on


def test_an_owed_release_does_not_open_what_was_closed_anew(hands: Hands) -> None:
    coil = hands.coil()
    coil.close(lease_s=2.0)
    coil.broken = DeviceGone
    with pytest.raises(DeviceGone):
        coil.open()
    coil.broken = None

    coil.close(lease_s=2.0)
    hands.pass_time(1.0)

    assert coil.on


def test_nothing_is_closed_when_the_dead_man_does_not_run(hands: Hands) -> None:
    coil = hands.coil()
    hands.deadman.stop()

    with pytest.raises(HalError, match="dead-man"):
        coil.close(lease_s=2.0)

    assert not coil.on


def test_stopping_opens_whatever_is_closed(hands: Hands) -> None:
    coil = hands.coil()
    coil.close(lease_s=60.0)

    hands.deadman.stop()

    assert not coil.on


# --- with the thread ---------------------------------------------------------------------------


class Threaded:
    """A dead-man with its thread and the real clock; what it tells can be waited for."""

    def __init__(self) -> None:
        self.told: Told = []
        self._news = threading.Condition()
        self.deadman = DeadMan(listener=self._hear)
        self.deadman.start()

    def _hear(self, coil: Leased, error: Exception | None) -> None:
        with self._news:
            self.told.append((coil, error))
            self._news.notify_all()

    def wait_until(self, what: Callable[[], bool]) -> bool:
        with self._news:
            return self._news.wait_for(what, SOON_S)


@pytest.fixture
def threaded() -> Iterator[Threaded]:
    one = Threaded()
    yield one
    one.deadman.stop()


def test_the_thread_opens_a_coil_whose_owner_hangs(threaded: Threaded) -> None:
    coil = Coil(threaded.deadman)

    coil.close(lease_s=0.05)

    assert threaded.wait_until(lambda: (coil, None) in threaded.told)
    assert not coil.on
    assert not coil.renew(lease_s=2.0)


def test_the_thread_sleeps_without_leases_and_wakes_for_the_first_to_lapse(
        threaded: Threaded) -> None:
    late, soon = Coil(threaded.deadman, "late"), Coil(threaded.deadman, "soon")

    late.close(lease_s=600.0)
    soon.close(lease_s=0.05)

    assert threaded.wait_until(lambda: (soon, None) in threaded.told)
    assert late.on


def test_a_driver_that_hangs_keeps_no_other_contactor_closed(threaded: Threaded) -> None:
    hanging, other = Coil(threaded.deadman, "hanging"), Coil(threaded.deadman, "other")
    hanging.go_on = threading.Event()
    closing = threading.Thread(target=hanging.close, kwargs={"lease_s": 0.01})
    closing.start()
    assert hanging.entered.wait(SOON_S)

    other.close(lease_s=0.05)
    served = threaded.wait_until(lambda: (other, None) in threaded.told)
    hanging.go_on.set()
    closing.join(SOON_S)

    assert served
    assert threaded.wait_until(lambda: (hanging, None) in threaded.told)
    assert not hanging.on


def test_a_stalled_event_loop_ends_in_power_off_and_its_late_renewal_changes_nothing(
        threaded: Threaded) -> None:
    coil = Coil(threaded.deadman)

    async def story() -> tuple[bool, bool, bool]:
        coil.close(lease_s=1.5)
        for _ in range(5):  # a loop that is well renews in time
            await asyncio.sleep(0.02)
            renewed = coil.renew(lease_s=1.5)
        threaded.wait_until(lambda: bool(threaded.told))  # the loop hangs here
        await asyncio.sleep(0)
        return renewed, coil.renew(lease_s=1.5), coil.on

    in_time, late, still_on = run(story())

    assert (in_time, late, still_on) == (True, False, False)


def test_a_listener_whose_loop_has_gone_does_not_stop_the_thread() -> None:
    heard: list[Leased] = []
    second = threading.Event()

    def hear(coil: Leased, error: Exception | None) -> None:
        heard.append(coil)
        if len(heard) == 2:
            second.set()
        raise RuntimeError("Event loop is closed")

    deadman = DeadMan(listener=hear)
    deadman.start()
    for name in ("contactor 1", "contactor 2"):
        Coil(deadman, name).close(lease_s=0.01)

    assert second.wait(SOON_S)
    deadman.stop()


def test_closing_renewing_and_opening_from_many_threads_never_locks_up(seed: int) -> None:
    """Loop, dead-man and API hammer the same contactors with leases that lapse all the time."""
    deadman = DeadMan()
    deadman.start()
    coils = [Coil(deadman, f"contactor {number}") for number in range(3)]

    def hammer(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        for _ in range(400):
            coil = chance.choice(coils)
            chance.choice((
                lambda c: c.close(lease_s=chance.choice((0.0, 0.0002, 0.001))),
                lambda c: c.renew(lease_s=0.0005),
                lambda c: c.open(),
                lambda c: c.feedback(),
            ))(coil)

    threads = [threading.Thread(target=hammer, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    stuck = [thread for thread in threads if thread.is_alive()]
    deadline_s = time.monotonic() + SOON_S
    while any(coil.on for coil in coils) and time.monotonic() < deadline_s:
        threading.Event().wait(0.01)

    assert stuck == []
    assert not any(coil.on for coil in coils)
    deadman.stop()
