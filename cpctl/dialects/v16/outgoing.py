"""What we tell the central system in 1.6: facts, notices and queries as calls, answers as events.

A transaction is told by session: its transactionId is looked up when a message is rendered, so
that messages wait for it (16.OFF.3) and carry -1 once it is known never to come (16.TX.6).
"""

from collections.abc import Callable, Sequence
from typing import Any

from cpctl.core.effects import (
    AnnounceBoot,
    AuthorizeToken,
    ClockSample,
    FirmwareStatusTold,
    Heartbeat,
    LogStatusTold,
    SignCertificate,
)
from cpctl.core.events import AuthorizationAnswered, Event, TransactionAnswered
from cpctl.core.facts import (
    Fact,
    FaultLatched,
    FaultUnlatched,
    FirmwareStatusChanged,
    SecurityEventRaised,
    SessionClosed,
    SessionOpened,
    TransactionChanged,
    TransactionEnded,
    TransactionSampled,
    TransactionStarted,
)
from cpctl.core.now import Now
from cpctl.core.values import (
    IdToken,
    Measured,
    Quantity,
    ReadingContext,
    Registration,
    StopReason,
    TokenInfo,
    TokenSource,
    TokenStatus,
)
from cpctl.dialects.base import (
    AliasGiven,
    Call,
    CallError,
    ClockOffered,
    Item,
    NoVerdict,
    Outcome,
    RegistrationAnswered,
    RenderContext,
    Result,
    Unready,
    Wire,
)
from cpctl.dialects.v16 import (
    certificates,
    connectors,
    firmware,
    lists,
    logs,
    security_events,
    vendors,
)
from cpctl.dialects.v16.answers import Reading, token_info
from cpctl.dialects.v16.measurands import sampled_values

ID_TAG_LIMIT = 20

# Where what is told outside Core is translated.
BLOCKS = (lists, logs, firmware, certificates, security_events, vendors)

# 1.6 has a word of its own for these reasons only; the rest is Other (§7.36)
REASONS: dict[StopReason, str] = {
    reason: reason.value if reason in (
        StopReason.LOCAL, StopReason.REMOTE, StopReason.EV_DISCONNECTED, StopReason.DEAUTHORIZED,
        StopReason.SOFT_RESET, StopReason.HARD_RESET, StopReason.UNLOCK_COMMAND,
        StopReason.EMERGENCY_STOP, StopReason.POWER_LOSS, StopReason.REBOOT,
    ) else "Other" for reason in StopReason}

REGISTRATIONS: dict[str, Registration] = {
    "Accepted": Registration.ACCEPTED,
    "Pending": Registration.PENDING,
    "Rejected": Registration.REJECTED,
}


# --- calls -----------------------------------------------------------------------------------


def calls(item: Item, ctx: RenderContext) -> tuple[Call, ...]:
    """The calls that tell `item`; none for what 1.6 does not know. May raise Unready."""
    return _CALLS[type(item)](item, ctx)


def _none(item: Item, ctx: RenderContext) -> tuple[Call, ...]:
    return ()


def _announce_boot(item: AnnounceBoot, ctx: RenderContext) -> tuple[Call, ...]:
    identity = ctx.identity
    payload: Wire = {
        "chargePointVendor": identity.vendor,
        "chargePointModel": identity.model,
        "chargePointSerialNumber": identity.serial_number,
        "firmwareVersion": identity.firmware_version,
        "iccid": identity.iccid,
        "imsi": identity.imsi,
        "meterType": identity.meter_type,
        "meterSerialNumber": identity.meter_serial_number,
    }
    return (Call("BootNotification", {name: text for name, text in payload.items() if text}),)


def _heartbeat(item: Heartbeat, ctx: RenderContext) -> tuple[Call, ...]:
    return (Call("Heartbeat", {}),)


def _authorize(item: AuthorizeToken, ctx: RenderContext) -> tuple[Call, ...]:
    """A token that 1.6 cannot carry is not asked for: a shorter one could be somebody else's."""
    if len(item.token.value) > ID_TAG_LIMIT:
        return ()
    return (Call("Authorize", {"idTag": item.token.value}),)


def _clock_sample(item: ClockSample, ctx: RenderContext) -> tuple[Call, ...]:
    """16.MET.2: the transactionId of the moment, if it is known by now; it is not waited for."""
    value = _meter_value(item.at, item.values, item.context, ctx)
    if value is None:
        return ()
    payload: Wire = {"connectorId": connectors.to_wire(ctx.layout, item.evse, item.connector)}
    if item.evse is not None and item.session is not None:
        alias = ctx.alias(item.session)
        if alias is not None:
            payload["transactionId"] = alias
    payload["meterValue"] = [value]
    return (Call("MeterValues", payload),)


def _started(item: TransactionStarted, ctx: RenderContext) -> tuple[Call, ...]:
    if item.token is None:
        return ()  # told with the fact that brings the token
    return (_start_transaction(item, item.token, item.at, ctx),)


def _changed(item: TransactionChanged, ctx: RenderContext) -> tuple[Call, ...]:
    """Only the fact that brings the first token of a transaction that began without one."""
    if item.token is None or item.session is None:
        return ()
    started: TransactionStarted | None = None
    for fact in ctx.session_facts(item.session):
        if isinstance(fact, TransactionStarted):
            if fact.token is not None:
                return ()
            started = fact
        elif isinstance(fact, TransactionChanged) and fact.token is not None:
            if fact.report != item.report:
                return ()
            break
    if started is None:
        return ()
    return (_start_transaction(started, item.token, item.at, ctx),)


def _start_transaction(item: TransactionStarted, token: IdToken, at: Now, ctx: RenderContext
                       ) -> Call:
    payload: Wire = {
        "connectorId": connectors.to_wire(ctx.layout, item.evse, item.connector),
        "idTag": _id_tag(token),
        "meterStart": item.register_wh,
        "timestamp": ctx.told_at(at),
    }
    if item.reservation is not None:
        payload["reservationId"] = item.reservation
    return Call("StartTransaction", payload)


def _id_tag(token: IdToken) -> str:
    """Cut where 1.6 has no room: what was charged must be told, the verdict on it is theirs."""
    return token.value[:ID_TAG_LIMIT]


def _sampled(item: TransactionSampled, ctx: RenderContext) -> tuple[Call, ...]:
    value = _meter_value(item.at, item.told, item.context, ctx)
    if value is None or item.session is None:
        return ()
    alias = _transaction_id(item.session, ctx)
    if alias is None:
        return ()
    values = [value]
    if ctx.settings.flag("compat.meter_begin_message"):
        values = [*_begin_with_first(item, ctx), value]
    return (Call("MeterValues", {
        "connectorId": connectors.to_wire(ctx.layout, item.evse, item.connector),
        "transactionId": alias,
        "meterValue": values,
    }),)


def _begin_with_first(item: TransactionSampled, ctx: RenderContext) -> Sequence[Wire]:
    """The value of Transaction.Begin goes out with the first sample of a transaction (E-13)."""
    assert item.session is not None
    value: Wire | None = None
    for fact in ctx.session_facts(item.session):
        if isinstance(fact, TransactionStarted):
            begin = fact.begin or (Measured(Quantity.ENERGY_IMPORT_REGISTER, fact.register_wh),)
            value = _meter_value(fact.at, begin, ReadingContext.BEGIN, ctx)
        elif isinstance(fact, TransactionSampled) and fact.told:
            return [value] if fact.report == item.report and value is not None else ()
    return ()


def _ended(item: TransactionEnded, ctx: RenderContext) -> tuple[Call, ...]:
    assert item.session is not None
    alias = _transaction_id(item.session, ctx)
    if alias is None:
        return ()
    payload: Wire = {
        "transactionId": alias,
        "meterStop": item.register_wh,
        "timestamp": ctx.told_at(item.at),
        "reason": REASONS[item.reason],
    }
    if item.token is not None:
        payload["idTag"] = _id_tag(item.token)
    data = _transaction_data(item, ctx)
    if data:
        payload["transactionData"] = data
    return (Call("StopTransaction", payload),)


def _transaction_id(session: int, ctx: RenderContext) -> int | str | None:
    """None: the central system was never told of the transaction, for want of a token.

    Raises Unready while the answer to StartTransaction is still awaited.
    """
    alias = ctx.alias(session)
    if alias is not None:
        return alias
    for fact in ctx.session_facts(session):
        if isinstance(fact, TransactionStarted | TransactionChanged) and fact.token is not None:
            raise Unready(f"session {session} has no transactionId yet")
    return None


def _transaction_data(ended: TransactionEnded, ctx: RenderContext) -> list[Wire]:
    """The values kept for the end, in order, not more than fit (16.MET.3 to 16.MET.5).

    Of the values between Begin and End the 1st, 3rd, 5th … are dropped until they fit.
    """
    assert ended.session is not None
    head: tuple[Measured, ...] = ()
    started_at = ended.at
    between: list[TransactionSampled] = []
    for fact in ctx.session_facts(ended.session):
        if isinstance(fact, TransactionSampled):
            if fact.kept:
                between.append(fact)
        elif isinstance(fact, TransactionStarted):
            head, started_at = fact.begin, fact.at
    room = ctx.settings.integer("sampling.end_max") - bool(head) - bool(ended.end)
    while len(between) > max(room, 0):
        between = between[1::2]
    parts = [(started_at, head, ReadingContext.BEGIN),
             *((fact.at, fact.kept, fact.context) for fact in between),
             (ended.at, ended.end, ReadingContext.END)]
    told = (_meter_value(at, values, context, ctx) for at, values, context in parts)
    return [value for value in told if value is not None]


def _meter_value(at: Now, values: Sequence[Measured], context: ReadingContext, ctx: RenderContext
                 ) -> Wire | None:
    if not values:
        return None
    sampled = sampled_values(values, context, old_celsius=ctx.settings.flag("compat.old_celsius"))
    return {"timestamp": ctx.told_at(at), "sampledValue": sampled} if sampled else None


_CALLS: dict[type, Callable[[Any, RenderContext], tuple[Call, ...]]] = {
    AnnounceBoot: _announce_boot,
    Heartbeat: _heartbeat,
    AuthorizeToken: _authorize,
    ClockSample: _clock_sample,
    TransactionStarted: _started,
    TransactionChanged: _changed,
    TransactionSampled: _sampled,
    TransactionEnded: _ended,
    SessionOpened: _none,
    SessionClosed: _none,
    FaultLatched: _none,
    FaultUnlatched: _none,
    SecurityEventRaised: _none,
    FirmwareStatusChanged: _none,
    FirmwareStatusTold: _none,
    LogStatusTold: _none,
    SignCertificate: _none,
    **{kind: tell for block in BLOCKS for kind, tell in block.CALLS.items()},
}


_READINGS: dict[type, Reading] = {
    kind: read for block in BLOCKS for kind, read in block.READINGS.items()}


# --- answers ---------------------------------------------------------------------------------


def events(item: Item, call: Call, outcome: Outcome, ctx: RenderContext) -> tuple[Event, ...]:
    """What the outcome of a call means to us; nothing for what only a later attempt can settle."""
    if isinstance(item, AuthorizeToken):
        return (_verdict(item, outcome),)
    reading = _READINGS.get(type(item))
    if reading is not None:
        return reading(item, outcome, ctx)
    if not isinstance(outcome, Result):
        return ()
    payload = outcome.payload
    match call.action:
        case "BootNotification":
            return (RegistrationAnswered(REGISTRATIONS[payload["status"]], payload["interval"],
                                         payload["currentTime"]),)
        case "Heartbeat":
            return (ClockOffered(payload["currentTime"]),)
        case "StartTransaction":
            return _start_answered(item, call, payload)
        case "StopTransaction":
            return _stop_answered(item, call, payload)
    return ()


def _verdict(item: AuthorizeToken, outcome: Outcome) -> Event:
    if isinstance(outcome, Result):
        return AuthorizationAnswered(item.ask, item.token, token_info(outcome.payload["idTagInfo"]),
                                     TokenSource.CSMS)
    if len(item.token.value) > ID_TAG_LIMIT:
        return AuthorizationAnswered(item.ask, item.token, TokenInfo(TokenStatus.INVALID),
                                     TokenSource.OFFLINE_RULES)
    return NoVerdict(item.ask)


def _start_answered(item: Item, call: Call, payload: Wire) -> tuple[Event, ...]:
    """A refused start gets its transactionId, too: its stop must bear it (16.TX.7)."""
    assert isinstance(item, TransactionStarted | TransactionChanged) and item.session is not None
    return (AliasGiven(item.session, payload["transactionId"]),
            TransactionAnswered(item.session, token_info(payload["idTagInfo"]), item.token))


def _stop_answered(item: Item, call: Call, payload: Wire) -> tuple[Event, ...]:
    """idTagInfo may be missing, and means nothing when no idTag was sent."""
    assert isinstance(item, TransactionEnded) and item.session is not None
    if "idTagInfo" not in payload or item.token is None:
        return ()
    return (TransactionAnswered(item.session, token_info(payload["idTagInfo"]), item.token),)


def settles(item: Item, outcome: Outcome) -> bool:
    """Whether `item` is done although there was no result.

    A sample is, when the central system does not know or support MeterValues; a start or a stop
    never is. Any error settles the rest: of what it does not know a central system says so in
    several ways (InternalError, too), and the security log keeps the event all the same.
    """
    if not isinstance(item, Fact):
        return False
    if isinstance(item, TransactionSampled):
        return isinstance(outcome, CallError) and outcome.code in ("NotImplemented", "NotSupported")
    return not isinstance(item, TransactionStarted | TransactionChanged | TransactionEnded)
