"""Transactions told by 1.6: ids that come late, never, or twice; what is kept for the end."""

from dataclasses import replace

import pytest
from support.dialect_world import CARD, TWINS, World, ended, moment, sampled, started, wh

from cpctl.core.effects import AnnounceBoot, AuthorizeToken, ClockSample, Heartbeat
from cpctl.core.events import AuthorizationAnswered
from cpctl.core.facts import (
    Fact,
    FaultLatched,
    FaultUnlatched,
    SecurityEventRaised,
    SessionClosed,
    SessionOpened,
    TransactionChanged,
)
from cpctl.core.faults import FaultCode
from cpctl.core.values import (
    EvseLayout,
    IdToken,
    Measured,
    Quantity,
    ReadingContext,
    StationLayout,
    StopReason,
    TokenInfo,
    TokenSource,
    TokenStatus,
)
from cpctl.dialects.base import (
    AliasGiven,
    Call,
    CallError,
    Disconnected,
    NoVerdict,
    Outcome,
    Result,
    StationIdentity,
    TimedOut,
    Unready,
    Wire,
)
from cpctl.dialects.v16 import outgoing
from cpctl.dialects.v16.dialect import Dialect16

DIALECT = Dialect16()
LONG = IdToken("E" * 21)
UNTOLD: tuple[Outcome, ...] = (CallError("InternalError"), CallError("NotSupported"), TimedOut(),
                               Disconnected())


def told(world: World, fact: Fact) -> Wire:
    (call,) = DIALECT.calls(fact, world.context)
    assert DIALECT.check(call.action, call.payload, response=False, ours=True) is None
    return call.payload


def changed(report: int, token: IdToken | None = None, session: int = 7) -> TransactionChanged:
    return TransactionChanged(moment(5), session, 1, 1, report, "Authorized", "EVConnected", token)


# --- transactionId ---------------------------------------------------------------------------


@pytest.mark.requirement("16.OFF.3")
@pytest.mark.parametrize("fact", [sampled(60, 1100), ended(90, 1200)], ids=["sample", "stop"])
def test_messages_of_a_transaction_wait_for_its_id(fact: Fact) -> None:
    world = World()
    world.record(started(), fact)

    with pytest.raises(Unready):
        DIALECT.calls(fact, world.context)


@pytest.mark.requirement("16.TX.7")
@pytest.mark.parametrize("alias", [0, 1, -5, 2**40])
def test_any_integer_is_a_transaction_id(alias: int) -> None:
    world = World(aliases={7: alias})
    world.record(started())

    assert told(world, sampled(60, 1100))["transactionId"] == alias
    assert told(world, ended(90, 1200))["transactionId"] == alias


@pytest.mark.requirement("16.TX.6")
def test_after_a_start_that_was_given_up_the_rest_goes_out_with_minus_one() -> None:
    world = World(aliases={7: -1})
    world.record(started())

    assert told(world, sampled(60, 1100))["transactionId"] == -1
    assert told(world, ended(90, 1200))["transactionId"] == -1


@pytest.mark.requirement("16.TX.4", "16.TX.7")
@pytest.mark.parametrize("word", ["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"])
def test_a_start_gets_its_id_whatever_the_verdict(word: str) -> None:
    answer = Result({"transactionId": 12, "idTagInfo": {"status": word}})
    world = World()

    (call,) = DIALECT.calls(started(), world.context)
    alias, verdict = DIALECT.events(started(), call, answer, world.context)

    assert alias == AliasGiven(7, 12)
    assert verdict.info.status is TokenStatus(word)


# --- transactions without a token at first ---------------------------------------------------


@pytest.mark.requirement("16.TX.1")
def test_the_start_is_told_by_the_fact_that_brings_the_token() -> None:
    world = World()
    plugged = started(token=None)
    first, second = changed(1, CARD), changed(2, CARD)
    world.record(plugged, changed(0), first, second)

    assert DIALECT.calls(plugged, world.context) == ()
    payload = told(world, first)
    assert DIALECT.calls(second, world.context) == ()

    assert payload == {"connectorId": 1, "idTag": CARD.value, "meterStart": 1000,
                       "timestamp": "2026-03-01T12:00:05.000Z"}


def test_a_change_after_an_authorized_start_is_not_told() -> None:
    world = World()
    world.record(started(), changed(1, CARD), changed(2))

    assert DIALECT.calls(changed(1, CARD), world.context) == ()
    assert DIALECT.calls(changed(2), world.context) == ()


def test_a_transaction_that_never_had_a_token_blocks_nothing() -> None:
    world = World()
    world.record(started(token=None), sampled(60, 1000), ended(90, 1000, token=None))

    for fact in world.facts[7]:
        assert DIALECT.calls(fact, world.context) == ()


# --- stop ------------------------------------------------------------------------------------


@pytest.mark.requirement("16.TX.10")
@pytest.mark.parametrize("reason", StopReason)
def test_a_reason_that_1_6_has_no_word_for_is_other(reason: StopReason) -> None:
    world = World(aliases={7: 1})

    word = told(world, ended(90, 1200, reason=reason))["reason"]

    assert word == (reason.value if reason.value in (
        "Local", "Remote", "EVDisconnected", "DeAuthorized", "SoftReset", "HardReset",
        "UnlockCommand", "EmergencyStop", "PowerLoss", "Reboot") else "Other")


@pytest.mark.requirement("16.MET.3")
def test_without_values_for_the_end_there_is_no_transaction_data() -> None:
    world = World(aliases={7: 1})
    world.record(started(), sampled(60, 1100))

    assert "transactionData" not in told(world, ended(90, 1200))


@pytest.mark.requirement("16.MET.4", "16.MET.5")
@pytest.mark.parametrize(("limit", "left"), [
    (12, list(range(1, 11))), (11, [2, 4, 6, 8, 10]), (7, [2, 4, 6, 8, 10]), (6, [4, 8]),
    (4, [4, 8]), (3, [8]), (2, []), (0, [])])
def test_intermediate_values_are_thinned_and_the_ends_stay(limit: int, left: list[int]) -> None:
    world = World(aliases={7: 1}).set({"sampling.end_max": str(limit)})
    world.record(started(begin=(wh(1000),)))
    world.record(*(sampled(60 * n, 1000 + n, kept=(wh(1000 + n),)) for n in range(1, 11)))

    data = told(world, ended(700, 1011, end=(wh(1011),)))["transactionData"]

    values = [int(one["sampledValue"][0]["value"]) for one in data]
    assert values == [1000, *(1000 + n for n in left), 1011]
    assert data[0]["sampledValue"][0]["context"] == "Transaction.Begin"
    assert data[-1]["sampledValue"][0]["context"] == "Transaction.End"


def test_a_stop_answer_without_idtaginfo_means_nothing() -> None:
    world = World(aliases={7: 1})
    for token, answer in ((CARD, {}), (None, {"idTagInfo": {"status": "Invalid"}})):
        fact = ended(90, 1200, token=token)
        (call,) = DIALECT.calls(fact, world.context)

        assert DIALECT.events(fact, call, Result(answer), world.context) == ()


# --- samples ---------------------------------------------------------------------------------


@pytest.mark.requirement("16.MET.1")
def test_a_sample_that_is_only_kept_is_not_told() -> None:
    world = World(aliases={7: 1})

    assert DIALECT.calls(sampled(60, 1100, told=(), kept=(wh(1100),)), world.context) == ()


def test_a_value_that_is_no_number_is_left_out_and_never_holds_up_a_stop() -> None:
    world = World(aliases={7: 1})
    broken = Measured(Quantity.POWER_IMPORT, float("nan"))
    world.record(started(begin=(broken,)), sampled(60, 1100, kept=(wh(1100), broken)))

    data = told(world, ended(90, 1200, end=(Measured(Quantity.VOLTAGE, float("inf")),)))

    assert [len(one["sampledValue"]) for one in data["transactionData"]] == [1]
    assert DIALECT.calls(sampled(60, 1100, told=(broken,)), world.context) == ()


@pytest.mark.requirement("16.MET.11")
def test_the_opening_value_goes_with_the_first_sample_when_wanted() -> None:
    world = World(aliases={7: 1}).set({"compat.meter_begin_message": "true"})
    first, second = sampled(60, 1100, report=1), sampled(120, 1200, report=2)
    world.record(started(), sampled(30, 1050, told=(), report=None), first, second)

    opening, own = told(world, first)["meterValue"]

    assert opening["timestamp"] == "2026-03-01T12:00:00.000Z"
    assert opening["sampledValue"][0]["context"] == "Transaction.Begin"
    assert opening["sampledValue"][0]["value"] == "1000"
    assert own["sampledValue"][0]["value"] == "1100"
    assert len(told(world, second)["meterValue"]) == 1


@pytest.mark.requirement("16.MET.2")
@pytest.mark.parametrize("alias", [None, 0, 9])
def test_a_clock_aligned_notice_bears_the_id_that_is_known(alias: int | None) -> None:
    world = World(aliases={} if alias is None else {7: alias})
    notice = ClockSample(moment(900), 1, None, ReadingContext.CLOCK, (wh(1),), session=7)

    (call,) = DIALECT.calls(notice, world.context)

    assert call.payload.get("transactionId") == alias
    assert DIALECT.calls(replace(notice, values=()), world.context) == ()


# --- tokens ----------------------------------------------------------------------------------


def test_a_token_too_long_for_1_6_is_not_asked_for_and_refused() -> None:
    world = World()
    ask = AuthorizeToken(4, LONG)

    assert DIALECT.calls(ask, world.context) == ()
    assert DIALECT.events(ask, Call("", {}), Disconnected(), world.context) == (
        AuthorizationAnswered(4, LONG, TokenInfo(TokenStatus.INVALID), TokenSource.OFFLINE_RULES),)


def test_what_was_charged_with_a_token_too_long_is_told_all_the_same() -> None:
    world = World(aliases={7: 1})

    assert told(world, started(token=LONG))["idTag"] == "E" * 20
    assert told(world, ended(90, 1200, token=LONG))["idTag"] == "E" * 20


@pytest.mark.parametrize("outcome", UNTOLD)
def test_a_question_without_answer_has_no_verdict(outcome: Outcome) -> None:
    world = World()
    ask = AuthorizeToken(4, CARD)
    (call,) = DIALECT.calls(ask, world.context)

    assert DIALECT.events(ask, call, outcome, world.context) == (NoVerdict(4),)


# --- what does not settle, and what is not told ----------------------------------------------


@pytest.mark.requirement("16.OFF.4")
@pytest.mark.parametrize("outcome", UNTOLD)
@pytest.mark.parametrize("fact", [started(), ended(90, 1200), changed(1, CARD)])
def test_no_error_settles_a_start_or_a_stop(fact: Fact, outcome: Outcome) -> None:
    world = World(aliases={7: 1})
    world.record(started())

    assert DIALECT.settles(fact, outcome) is False
    assert DIALECT.events(fact, Call("StartTransaction", {}), outcome, world.context) == ()


@pytest.mark.parametrize(("outcome", "settled"), [
    (CallError("NotImplemented"), True), (CallError("NotSupported"), True),
    (CallError("InternalError"), False), (TimedOut(), False), (Disconnected(), False)])
def test_a_sample_settles_when_nobody_will_ever_take_it(outcome: Outcome, settled: bool) -> None:
    assert DIALECT.settles(sampled(60, 1100), outcome) is settled


@pytest.mark.parametrize("fact", [
    SessionOpened(moment(), 7, 1, 1), SessionClosed(moment(), 7, 1),
    FaultLatched(moment(), None, 1, FaultCode.CONTACTOR_WELDED),
    FaultUnlatched(moment(), None, 1, FaultCode.CONTACTOR_WELDED),
    SecurityEventRaised(moment(), None, "JournalDamaged", critical=True)])
def test_facts_that_1_6_core_has_no_message_for_are_settled_at_once(fact: Fact) -> None:
    assert DIALECT.calls(fact, World().context) == ()
    assert DIALECT.settles(fact, TimedOut())


def test_every_kind_of_fact_notice_and_query_is_known() -> None:
    def leaves(kind: type) -> set[type]:
        below = {leaf for one in kind.__subclasses__() for leaf in leaves(one)}
        return below or {kind}

    from cpctl.core.effects import Notice, Query

    assert set(outgoing._CALLS) >= leaves(Fact) | leaves(Notice) | leaves(Query)


# --- boot, connectors ------------------------------------------------------------------------


@pytest.mark.requirement("16.BOOT.1")
def test_a_boot_tells_all_that_is_known_and_nothing_empty() -> None:
    full = StationIdentity("V", "M", "S", "F", "MT", "MS", "IC", "IM")
    world = World(identity=full)

    (call,) = DIALECT.calls(AnnounceBoot(), world.context)
    (bare,) = DIALECT.calls(AnnounceBoot(), World(identity=StationIdentity("V", "M")).context)

    assert DIALECT.check(call.action, call.payload, response=False, ours=True) is None
    assert len(call.payload) == 8 and all(call.payload.values())
    assert bare.payload == {"chargePointVendor": "V", "chargePointModel": "M"}


@pytest.mark.parametrize("outcome", UNTOLD)
def test_a_boot_or_heartbeat_without_answer_tells_nothing(outcome: Outcome) -> None:
    for query in (AnnounceBoot(), Heartbeat()):
        (call,) = DIALECT.calls(query, World().context)

        assert DIALECT.events(query, call, outcome, World().context) == ()
        assert DIALECT.settles(query, outcome) is False


@pytest.mark.parametrize(("evse", "connector", "number"), [(1, 1, 1), (1, 2, 2), (2, 1, 3)])
def test_connectors_are_numbered_over_all_evses(evse: int, connector: int, number: int) -> None:
    world = World(layout=TWINS)

    assert told(world, started(evse=evse, connector=connector))["connectorId"] == number


def test_what_happened_at_a_connector_that_is_gone_is_still_told() -> None:
    world = World(layout=StationLayout((EvseLayout(1),)))

    assert told(world, started(evse=3))["connectorId"] == 3
    assert told(world, started(evse=1, connector=2))["connectorId"] == 1


def test_the_old_spelling_of_celsius_is_sent_only_when_wanted() -> None:
    warm = sampled(60, 1100, told=(Measured(Quantity.TEMPERATURE, -0.01),))
    units = []
    for flag in ("false", "true"):
        world = World(aliases={7: 1}).set({"compat.old_celsius": flag})
        value = told(world, warm)["meterValue"][0]["sampledValue"][0]
        units.append((value["unit"], value["value"]))

    assert units == [("Celsius", "0.0"), ("Celcius", "0.0")]
