"""The method that sends a vendor's message: through the link and back, or why not."""

import asyncio
from typing import Any

import pytest
from support.story import story
from support.world import world

from cpctl.api import wire
from cpctl.api.methods import Methods
from cpctl.api.server import Caller, Peer
from cpctl.demo.csms import Reply, Silence


async def transfer(app: Any, **params: Any) -> Any:
    caller = Caller(Peer(1, 0, 0), None)  # type: ignore[arg-type]
    return await Methods(app).call("ocpp.data_transfer", params, caller)


@pytest.mark.requirement("16.DT.1", "DataTransfer.req:Accepted")
@story
async def test_a_technician_sends_a_message_and_sees_the_answer() -> None:
    async with world() as w:
        w.central.behave("DataTransfer", Reply({"status": "Accepted", "data": "hello"}))

        answer = await transfer(w.app, vendor="org.example", message="Hi")

        assert answer == {"outcome": "accepted", "data": "hello"}
        assert w.calls("DataTransfer") == [{"vendorId": "org.example", "messageId": "Hi"}]


@pytest.mark.requirement("16.DT.1")
@story
async def test_without_an_answer_the_method_fails_and_says_where_to_look() -> None:
    async with world() as w:
        w.central.behave("DataTransfer", Silence())
        with pytest.raises(wire.ApiError) as silent:
            await transfer(w.app, vendor="org.example")
        w.network.down()
        await asyncio.sleep(1)
        with pytest.raises(wire.ApiError) as offline:
            await transfer(w.app, vendor="org.example")
        with pytest.raises(wire.ApiError) as long:
            await transfer(w.app, vendor="x" * 256)

        assert silent.value.code == offline.value.code == wire.FAILED
        assert "cpctl status" in offline.value.hint
        assert long.value.code == wire.INVALID_PARAMS
        assert len(w.calls("DataTransfer")) == 1
