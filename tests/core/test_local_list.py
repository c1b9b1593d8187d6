"""Which updates of the local list are taken, and what they change."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from cpctl.core.events import ListEntry, ListUpdateRequested
from cpctl.core.local_list import (
    ListChange,
    ListRefusal,
    contradicts,
    digest_of,
    update,
    version_told,
)
from cpctl.core.settings import Settings, Value
from cpctl.core.values import IdToken, Origin, Outcome, RequestId, TokenInfo, TokenStatus

requirement = pytest.mark.requirement
NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
GOOD, BLOCKED = TokenInfo(TokenStatus.ACCEPTED), TokenInfo(TokenStatus.BLOCKED)
SMALL: dict[str, Value] = {"auth.list_max": 3, "auth.list_send_max": 4}


def entry(tag: str, info: TokenInfo | None = GOOD) -> ListEntry:
    return ListEntry(IdToken(tag), info)


def decided(full: bool, version: int, *entries: ListEntry, listed: frozenset[str] = frozenset(),
            has: int = 0, **settings: Value) -> ListChange | ListRefusal:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    request = ListUpdateRequested(RequestId(Origin.CSMS, 1), full, version, entries)
    return update(request, listed=listed, version=has, length=len(listed),
                  settings=Settings({**SMALL, **named}))


def outcome(decision: ListChange | ListRefusal) -> Outcome:
    return Outcome.ACCEPTED if isinstance(decision, ListChange) else decision.outcome


@requirement("16.LIST.3")
def test_a_whole_list_replaces_whatever_its_version() -> None:
    found = decided(True, 2, entry("A"), listed=frozenset("xyz"), has=9)

    assert found == ListChange(True, 2, (entry("A"),))


@requirement("16.LIST.3", "16.LIST.2")
def test_an_empty_whole_list_clears_it_and_has_no_version() -> None:
    assert decided(True, 7, listed=frozenset("xyz"), has=6) == ListChange(True, 0)


@requirement("16.LIST.3")
def test_a_part_adds_replaces_and_removes() -> None:
    part = (entry("a", BLOCKED), entry("B", None), entry("c"), entry("never there", None))

    found = decided(False, 7, *part, listed=frozenset("ab"), has=6)

    assert found == ListChange(False, 7, (part[0], part[2]), ("b",))


@requirement("16.LIST.2", "16.LIST.3")
def test_a_part_that_takes_the_last_one_out_leaves_no_version() -> None:
    assert decided(False, 7, entry("a", None), listed=frozenset("a"), has=6) == ListChange(
        False, 0, (), ("a",))


@requirement("16.LIST.3")
def test_an_empty_part_moves_the_version_alone() -> None:
    assert decided(False, 7, listed=frozenset("a"), has=6) == ListChange(False, 7)


@requirement("16.LIST.4")
@pytest.mark.parametrize(("version", "has", "expected"), [
    (6, 6, Outcome.VERSION_MISMATCH), (5, 6, Outcome.VERSION_MISMATCH), (7, 6, Outcome.ACCEPTED),
    (1, 0, Outcome.ACCEPTED), (0, 0, Outcome.FAILED), (-1, 0, Outcome.FAILED)])
def test_a_part_must_be_newer(version: int, has: int, expected: Outcome) -> None:
    assert outcome(decided(False, version, entry("A"), has=has)) is expected


@requirement("16.LIST.4")
@pytest.mark.parametrize(("full", "version", "entries", "code"), [
    (True, 0, "a", "bad_version"), (True, -1, "", "bad_version"),
    (True, 1, "aA", "duplicate_token"), (False, 1, "bb", "duplicate_token"),
    (True, 1, "abcd", "list_too_long"), (False, 1, "abcd", "list_too_long"),
    (True, 1, "abcde", "too_many_entries"), (False, 1, "abcde", "too_many_entries")])
def test_what_cannot_be_taken_fails(full: bool, version: int, entries: str, code: str) -> None:
    found = decided(full, version, *map(entry, entries))

    assert isinstance(found, ListRefusal)
    assert (found.outcome, found.code) == (Outcome.FAILED, code)


@requirement("16.LIST.4")
def test_a_whole_list_with_an_entry_that_says_nothing_fails() -> None:
    found = decided(True, 1, entry("A"), entry("B", None))

    assert isinstance(found, ListRefusal)
    assert (found.outcome, found.code) == (Outcome.FAILED, "entry_without_info")


@requirement("16.LIST.4", "key:LocalAuthListMaxLength")
def test_a_part_counts_what_it_replaces_and_removes() -> None:
    full = frozenset("abc")

    assert outcome(decided(False, 1, entry("a", BLOCKED), listed=full)) is Outcome.ACCEPTED
    assert outcome(decided(False, 1, entry("a", None), entry("d"), listed=full)) is (
        Outcome.ACCEPTED)
    assert outcome(decided(False, 1, entry("d"), listed=full)) is Outcome.FAILED


@requirement("E-05", "16.LIST.2", "16.LIST.4")
@pytest.mark.parametrize(("option", "expected", "version"), [
    ("failed", Outcome.FAILED, 0), ("not_supported", Outcome.NOT_SUPPORTED, -1)])
def test_a_list_that_is_off_is_neither_changed_nor_told(option: str, expected: Outcome,
                                                        version: int) -> None:
    off: dict[str, Value] = {"auth.list_enabled": False, "compat.local_list_disabled": option}

    assert outcome(decided(True, 1, entry("A"), auth__list_enabled=False,
                           compat__local_list_disabled=option)) is expected
    assert version_told(5, Settings(off)) == version
    assert version_told(5, Settings()) == 5


@requirement("16.LIST.3", "16.LIST.4")
def test_random_updates_agree_with_a_list_kept_by_hand(seed: int) -> None:
    """The model does entry by entry what the rules say, and is slow and plain about it."""
    rng = random.Random(seed)
    model: dict[str, TokenInfo] = {}
    version = taken = 0
    for _ in range(3_000):
        entries = [entry(rng.choice("aAbBcCdDe"), rng.choice((GOOD, BLOCKED, None)))
                   for _ in range(rng.randrange(6))]
        full, number = rng.random() < 0.3, rng.randrange(-1, 12)
        found = decided(full, number, *entries, listed=frozenset(model), has=version)

        after = {} if full else dict(model)
        for one in entries:
            if one.info is None:
                after.pop(one.token.key, None)
            else:
                after[one.token.key] = one.info
        keys = [one.token.key for one in entries]
        bad = (number < 1 or len(entries) > 4 or len(after) > 3 or len(set(keys)) < len(keys)
               or (full and any(one.info is None for one in entries)))
        old = not full and number <= version
        assert isinstance(found, ListRefusal) is (bad or old), (found, entries, model)
        if isinstance(found, ListChange):
            taken += 1
            model = {} if found.full else {
                key: info for key, info in model.items() if key not in found.drop}
            model |= {one.token.key: one.info for one in found.put if one.info is not None}
            version = found.version
            assert model == after and version == (number if after else 0)
    assert taken > 300


@requirement("16.LIST.5")
@pytest.mark.parametrize(("listed", "said", "differ"), [
    ("Accepted", "Accepted", False), ("Accepted", "Blocked", True), ("Accepted", "Invalid", True),
    ("Accepted", "ConcurrentTx", False), ("Blocked", "Accepted", True),
    ("Blocked", "Invalid", False), ("ConcurrentTx", "Accepted", False)])
def test_list_and_verdict_contradict_each_other_on_whether_a_token_is_good(
        listed: str, said: str, differ: bool) -> None:
    entry_, verdict = TokenInfo(TokenStatus(listed)), TokenInfo(TokenStatus(said))

    assert contradicts(entry_, verdict, NOW) is differ
    assert not contradicts(None, verdict, NOW)


@requirement("16.LIST.5", "16.LIST.6")
def test_an_entry_past_its_date_contradicts_an_acceptance() -> None:
    past = TokenInfo(TokenStatus.ACCEPTED, expires=NOW)
    future = TokenInfo(TokenStatus.ACCEPTED, expires=NOW + timedelta(seconds=1))

    assert contradicts(past, GOOD, NOW) and not contradicts(past, BLOCKED, NOW)
    assert not contradicts(future, GOOD, NOW)


def test_the_digest_tells_a_row_more_or_less_in_any_order() -> None:
    assert digest_of([1, 2, 3]) == digest_of([3, 1, 2]) != digest_of([1, 2])
    assert digest_of([]) == 0
