"""What belongs into the security log is in the books, whoever noticed it."""

import pytest
from support import virtual_loop
from support.world import World, world


async def security_events(w: World) -> list[str]:
    """Without those of every start."""
    assert w.app is not None
    return [entry.fact.kind for entry in reversed(await w.app.journal.entries())
            if entry.kind == "SecurityEventRaised"
            and entry.fact.kind not in ("StartupOfTheDevice", "ResetOrReboot")]


@pytest.mark.requirement("16.SEC.16")
def test_what_the_link_notices_is_recorded_and_survives_a_kill() -> None:
    async def story() -> None:
        async with world() as w:
            await w.central.send_raw('[2,"1","Reset",{"type":"Gently"}]')
            await w.central.send_raw("this is no frame")
            await w.advance(5)
            assert await security_events(w) == ["InvalidMessages"]
            await w.kill()
            assert await security_events(w) == ["InvalidMessages"]

    virtual_loop.run(story())


@pytest.mark.requirement("16.SEC.16")
def test_samples_given_up_for_the_disk_budget_are_told_once_a_day() -> None:
    async def story() -> None:
        async with world() as w:
            assert w.app is not None
            for _ in range(3):
                w.app.journal.shedding(2)
                await w.advance(10)
            assert await security_events(w) == ["MemoryExhaustion"]
            await w.advance(86_400)
            w.app.journal.shedding(1)
            await w.advance(10)
            assert await security_events(w) == ["MemoryExhaustion"] * 2

    virtual_loop.run(story())


@pytest.mark.requirement("16.SEC.16", "SecurityEventNotification.req:InvalidMessages")
@pytest.mark.parametrize("text", [
    '[2,"1","Reset",{"type":"Gently"}]', '[2,"1","Reset",{}]', '[2,"1","Reset",{"kind":1}]',
    '[2,"1","ChangeAvailability",{"connectorId":"one","type":"Operative"}]'])
def test_a_call_that_does_not_fit_its_schema_is_no_valid_message(text: str) -> None:
    async def story() -> None:
        async with world() as w:
            for number in range(5):
                await w.central.send_raw(text.replace('"1"', f'"{number}"'))
                await w.advance(1)
            assert await security_events(w) == ["InvalidMessages"]

    virtual_loop.run(story())


@pytest.mark.requirement("16.SEC.16")
@pytest.mark.parametrize("text", [
    '[2,"1","NoSuchAction",{}]', '[2,"1","GetConfiguration",{"key":["NoSuchKey"]}]'])
def test_what_is_only_not_known_here_is_a_valid_message(text: str) -> None:
    async def story() -> None:
        async with world() as w:
            await w.central.send_raw(text)
            await w.advance(1)
            assert await security_events(w) == []

    virtual_loop.run(story())


@pytest.mark.requirement("16.SEC.16", "SecurityEventNotification.req:AttemptedReplayAttacks")
@pytest.mark.parametrize(("times", "kinds"), [(3, []), (4, ["AttemptedReplayAttacks"]),
                                              (40, ["AttemptedReplayAttacks"])])
def test_a_call_that_comes_again_and_again_is_carried_out_once_and_noted(
        times: int, kinds: list[str]) -> None:
    async def story() -> None:
        async with world() as w:
            for _ in range(times):
                await w.central.send_raw(
                    '[2,"same","ChangeConfiguration",{"key":"HeartbeatInterval","value":"77"}]')
                await w.advance(1)
            assert await security_events(w) == kinds
            answers = [frame.text for frame in w.central.frames
                       if not frame.sent and frame.text.startswith('[3,"same"')]
            assert answers == ['[3,"same",{"status":"Accepted"}]'] * times

    virtual_loop.run(story())
