"""Frames of MeterValues in a hurry: what queued up for days is told sample by sample.

Samples differ in numbers and times only. So the first sample of each shape (context, which values
in which order) goes the usual way, and the text of its frame is kept as a form; the next ones only
fill it in. What is not plain goes the usual way as well: each text is the one that is made the
usual way, and fits the schema as that does (16.RPC.13).
"""

from collections.abc import Callable
from typing import Any

from cpctl.core.facts import TransactionSampled
from cpctl.core.values import StationLayout
from cpctl.dialects import frames
from cpctl.dialects.base import Call, RenderContext
from cpctl.dialects.v16 import connectors
from cpctl.dialects.v16.measurands import OF

Usual = Callable[[TransactionSampled, RenderContext], Call | None]

MOST_FORMS = 64  # a station needs a handful
INFINITE = float("inf")

_Form = tuple[list[Any], str, int]  # shape; text for `%`; how often "-" stands in what it makes
_NONE: list[_Form] = []


class MeterTexts:
    """The forms found so far. `usual(fact, ctx)` is the one call that tells a sample, checked
    against its schema; None where there is no such call."""

    def __init__(self, usual: Usual) -> None:
        self._usual = usual
        self._forms: dict[int, list[_Form]] = {}  # by the length of their shape
        self._ctx: RenderContext | None = None
        self._layout: StationLayout | None = None
        self._numbers: dict[tuple[int, int], int] = {}
        self._in_use = False

    def text(self, fact: TransactionSampled, identity: str, ctx: RenderContext) -> str | None:
        """The frame that tells `fact`; None: the usual way is to be gone."""
        if ctx is not self._ctx:
            self._see(ctx)
        session = fact.session
        alias = ctx.alias(session) if self._in_use and session is not None else None
        if type(alias) is not int:
            return None
        shape: list[Any] = [fact.context]
        values = []
        for one in fact.told:
            values.append(one.value)
            shape += (one.quantity, one.phase)
        if not sum(values) < INFINITE:  # nor is it if one of them is no number
            return None
        head = (f'[2,"{identity}","MeterValues",{{"connectorId":{self._number(fact, ctx)},'
                f'"transactionId":{alias},"meterValue":[')
        for form in self._forms.get(len(shape), _NONE):
            if form[0] == shape:
                return _filled(head, form, (ctx.told_at(fact.at), *values))
        return self._learn(shape, fact, head, identity, (ctx.told_at(fact.at), *values), ctx)

    def _see(self, ctx: RenderContext) -> None:
        self._ctx = ctx
        if ctx.layout is not self._layout:
            self._layout = ctx.layout
            self._numbers.clear()
        self._in_use = not (ctx.settings.flag("compat.meter_begin_message")
                            or ctx.settings.flag("compat.old_celsius"))

    def _number(self, fact: TransactionSampled, ctx: RenderContext) -> int:
        place = fact.evse, fact.connector
        number = self._numbers.get(place)
        if number is None:
            number = self._numbers[place] = connectors.to_wire(ctx.layout, *place)
        return number

    def _learn(self, shape: list[Any], fact: TransactionSampled, head: str, identity: str,
               filling: tuple[Any, ...], ctx: RenderContext) -> str | None:
        """Go the usual way, and keep the form if it makes the very same text."""
        call = self._usual(fact, ctx)
        if call is None:
            return None
        form = _form_of(shape, fact, call)
        text = frames.call_text(identity, call.action, call.payload)
        if form is None or _filled(head, form, filling) != text:
            return None
        if sum(map(len, self._forms.values())) >= MOST_FORMS:
            self._forms.clear()
        self._forms.setdefault(len(shape), []).append(form)
        return text


def _filled(head: str, form: _Form, filling: tuple[Any, ...]) -> str | None:
    """None for a value below zero, and for one that was rounded to minus zero."""
    text = form[1] % filling
    return f"{head}{text}]}}]" if text.count("-") == form[2] else None


def _form_of(shape: list[Any], fact: TransactionSampled, call: Call) -> _Form | None:
    values: list[Any] = call.payload["meterValue"]
    told: list[Any] = values[0]["sampledValue"]
    if len(values) != 1 or len(told) != len(fact.told):
        return None
    wire = {"timestamp": "%s", "sampledValue": [
        {**one, "value": f"%.{OF[measured.quantity].decimals}f"}
        for one, measured in zip(told, fact.told, strict=True)]}
    text = frames.json_text(wire)
    return shape, text, text.count("-") + 2  # those of the date
