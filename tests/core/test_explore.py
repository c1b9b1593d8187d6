"""The exhaustive search finds every invariant kept, and would find it broken."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from core.explore import SCOPES, Broken, Scope, Search

from cpctl.core import effects as ef
from cpctl.core import metering, power, reservation, rules, transaction
from cpctl.core.state import Evse, LockState, PowerState

LEAST_STATES = 500


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.name)
def test_every_reachable_state_keeps_the_invariants(scope: Scope) -> None:
    found = Search(scope).run()

    print(found)
    assert found.states >= LEAST_STATES
    assert found.charging > 0, "the search never came to charge: it proves nothing"
    assert found.powers >= {"off", "closing", "on", "opening"}
    assert ("welded" in found.powers) == ("weld" in scope.alphabet)


# --- seeded faults: each must be found -----------------------------------------------------------

Seed = Callable[[pytest.MonkeyPatch], None]


def without_rule(name: str) -> Seed:
    def seed(patch: pytest.MonkeyPatch) -> None:
        kept = tuple(rule for rule in rules.RULES if rule.__name__ != name)
        assert len(kept) == len(rules.RULES) - 1
        patch.setattr(rules, "RULES", kept)
    return seed


def believes_the_lock(patch: pytest.MonkeyPatch) -> None:
    """A plug counts as locked while the lock is opening."""
    patch.setattr(Evse, "locked", property(lambda evse: evse.lock.locked))


def forgets_the_number(patch: pytest.MonkeyPatch) -> None:
    """An order on names release 0 for ever."""
    original = power.energise_when_wanted_and_permitted

    def energise(*arguments: Any) -> Any:
        evse, effects = original(*arguments)
        return evse, tuple(replace(one, after=0) if isinstance(one, ef.EnergisePower) else one
                           for one in effects)
    patch.setattr(rules, "RULES", tuple(
        energise if rule is original else rule for rule in rules.RULES))


def forgets_the_weld(patch: pytest.MonkeyPatch) -> None:
    """An unplug makes a welded contactor whole."""
    original = power.without_fault

    def without(evse: Evse, *codes: Any) -> Evse:
        evse = original(evse, *codes)
        unplugged = power.FaultCode.CONTACTOR_DID_NOT_CLOSE in codes
        if unplugged and evse.power.state is PowerState.WELDED:
            healed = replace(evse.power, state=PowerState.OFF)
            evse = replace(evse, faults=(), power=healed)
        return evse
    patch.setattr(power, "without_fault", without)


def skips_a_report(patch: pytest.MonkeyPatch) -> None:
    original = transaction.changed

    def changed(*arguments: Any) -> Any:
        evse, effects = original(*arguments)
        tx = evse.transaction
        return replace(evse, transaction=replace(tx, next_report=tx.next_report + 1)), effects
    patch.setattr(transaction, "changed", changed)


def ends_before_the_coil(patch: pytest.MonkeyPatch) -> None:
    """The end is recorded as soon as it is decided."""
    patch.setattr(transaction, "may_be_ended",
                  lambda evse, now: evse.transaction.state.value == "ending")


def believes_garbage(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(metering, "_continues", lambda *arguments: True)


def forgets_an_unlock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "RULES", tuple(
        rule for rule in rules.RULES if rule is not rules.answer_unlocks))


def overlooks_faults(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Evse, "stopping", property(lambda evse: ()))


def never_rests(patch: pytest.MonkeyPatch) -> None:
    """A rule that always has something to say."""
    def blink(evse: Evse, *_: Any) -> Any:
        shown = "a" if evse.shown != "a" else "b"
        return replace(evse, shown=shown), ()
    patch.setattr(rules, "RULES", (*rules.RULES, blink))


def unlocks_under_power(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(power, "wants_lock", lambda evse, around: not evse.unlocks
                  and evse.lock.state is not LockState.JAMMED)


def lets_anyone_in(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reservation, "admits", lambda *arguments: True)


SEEDS: tuple[tuple[str, Seed, str], ...] = (
    ("1", without_rule("release_when_not_permitted"), "danger"),
    ("1", believes_the_lock, "cards"),
    ("1", overlooks_faults, "danger"),
    ("1", unlocks_under_power, "requests"),
    ("2", forgets_the_number, "gate"),
    ("[13]", forgets_the_weld, "weld"),
    ("4", skips_a_report, "cards"),
    ("4", ends_before_the_coil, "cards"),
    ("4", believes_garbage, "books"),
    ("5", forgets_an_unlock, "requests"),
    ("6", never_rests, "cards"),
    ("7", lets_anyone_in, "reserved"),
)


@pytest.mark.parametrize(("invariant", "seed", "name"), SEEDS,
                         ids=[getattr(seed, "__name__", "") for _, seed, _ in SEEDS])
def test_the_search_finds_a_seeded_fault(invariant: str, seed: Seed, name: str,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    scope = next(one for one in SCOPES if one.name == name)
    seed(monkeypatch)

    with pytest.raises(Broken, match=f"invariant {invariant}") as broken:
        Search(scope).run()

    print(broken.value)
