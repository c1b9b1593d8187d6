"""What counts as a frame of OCPP-J, and what is said of the rest."""

import json
import random

import pytest

from cpctl.dialects import frames, redact
from cpctl.dialects.frames import CallFrame, ErrorFrame, FrameError, ResultFrame

LONG_ID = "x" * 37

UNREADABLE = {
    "nothing": "",
    "blank": "   ",
    "no JSON": "hello",
    "cut off": '[2,"a","Reset",{"type":"So',
    "something behind": '[2,"a","Reset",{}]x',
    "a number": "42",
    "an object": '{"a":1}',
    "an empty array": "[]",
    "no id": "[2]",
    "an id that is an object": '[2,{"z":1},"Reset",{}]',
    "an id that is a number": '[2,17,"Reset",{}]',
    "an empty id": '[2,"","Reset",{}]',
    "an id beyond all measure": json.dumps([2, "x" * 300, "Reset", {}]),
    "half of a surrogate pair as id": '[2,"\\ud800","Reset",{}]',
    "100 000 brackets": "[" * 100_000,
    "100 000 braces": '{"a":' * 100_000,
    "a result without payload": '[3,"a"]',
    "a result with a list": '[3,"a",[1]]',
    "a result with too much": '[3,"a",{},{}]',
    "an error without a code": '[4,"a"]',
    "an error whose code is a number": '[4,"a",7,"",{}]',
    "a byte order mark": '\ufeff[3,"a",{}]',
    "a binary frame": b'[3,"a",{}]',
    "a result with a huge integer": '[3,"a",{"x":' + "9" * 5000 + "}]",
}

ANSWERABLE = {
    "a short call": '[2,"a","Reset"]',
    "a call of five": '[2,"a","Reset",{},{}]',
    "an action that is a list": '[2,"a",["Reset"],{}]',
    "an action that is an object": '[2,"a",{"q":1},{}]',
    "an action without a letter": '[2,"a","",{}]',
    "an endless action": json.dumps([2, "a", "R" * 100, {}]),
    "a payload that is a list": '[2,"a","Reset",[1]]',
    "a payload that is text": '[2,"a","Reset","x"]',
    "not a number": '[2,"a","Reset",{"x":NaN}]',
    "infinity": '[2,"a","Reset",{"x":-Infinity}]',
    "a number out of range": '[2,"a","Reset",{"x":1e999}]',
    "an integer of 5000 digits": '[2,"a","Reset",{"x":' + "1" * 5000 + "}]",
    "an integer of 19 digits": '[2,"a","Reset",{"x":1234567890123456789}]',
    "a fraction of 100 digits": '[2,"a","Reset",{"x":0.' + "1" * 100 + "}]",
    "a key twice": '[2,"a","Reset",{"type":"Hard","type":"Soft"}]',
    "half of a surrogate pair": '[2,"a","Reset",{"x":"\\udc00"}]',
    "half of a surrogate pair as key": '[2,"a","Reset",{"\\udc00":1}]',
    "40 levels": '[2,"a","Reset",{"x":' + "[" * 40 + "]" * 40 + "}]",
    "900 levels": '[2,"a","Reset",{"x":' + "[" * 900 + "]" * 900 + "}]",
    "300 kB": json.dumps([2, "a", "Reset", {"x": "y" * 300_000}]),
}


@pytest.mark.requirement("16.RPC.8")
@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_has_no_readable_call_is_refused_without_an_id(text):
    with pytest.raises(FrameError) as found:
        frames.parse(text)

    assert found.value.id is None
    assert str(found.value)


@pytest.mark.requirement("16.RPC.7")
@pytest.mark.parametrize("text", ANSWERABLE.values(), ids=ANSWERABLE.keys())
def test_a_call_that_is_refused_tells_the_id_its_sender_waits_for(text):
    with pytest.raises(FrameError) as found:
        frames.parse(text)

    assert found.value.id == "a"
    assert found.value.kind == "format"


@pytest.mark.requirement("16.RPC.5")
def test_an_id_that_is_too_long_is_refused_and_told_back():
    with pytest.raises(FrameError) as found:
        frames.parse(json.dumps([2, LONG_ID, "Reset", {}]))

    assert found.value.id == LONG_ID


@pytest.mark.requirement("16.RPC.8")
@pytest.mark.parametrize("kind", ["5", "6", "9", '"2"', "2.0", "null", "true", "-1", "[2]"])
def test_an_unknown_message_type_waits_for_no_answer(kind):
    with pytest.raises(FrameError) as found:
        frames.parse(f'[{kind},"a","Reset",{{}}]')

    assert (found.value.kind, found.value.id) == ("message_type", None)


def test_sound_frames_are_read():
    assert frames.parse('[2,"a","Reset",{"type":"Soft"}]') == CallFrame(
        "a", "Reset", {"type": "Soft"})
    assert frames.parse(' [3, "a", {"x": [1, 2.5, "\\ud83d\\ude00"]}] ') == ResultFrame(
        "a", {"x": [1, 2.5, "😀"]})
    assert frames.parse('[4,"a","InternalError","oops",{"x":1}]') == ErrorFrame(
        "a", "InternalError", "oops", {"x": 1})


@pytest.mark.requirement("16.RPC.3")
def test_a_payload_of_null_is_an_empty_one():
    assert frames.parse('[2,"a","Heartbeat",null]') == CallFrame("a", "Heartbeat", {})
    assert frames.parse('[3,"a",null]') == ResultFrame("a", {})


def test_an_error_may_leave_out_description_and_details():
    assert frames.parse('[4,"a","InternalError"]') == ErrorFrame("a", "InternalError")
    assert frames.parse('[4,"a","InternalError",null,null]') == ErrorFrame("a", "InternalError")


def test_brackets_inside_text_do_not_count_as_depth():
    text = json.dumps([2, "a", "DataTransfer", {"data": '[{"\\"' * 500}])

    assert isinstance(frames.parse(text), CallFrame)


def test_a_text_that_never_ends_is_refused_in_linear_time():
    text = "[" * 40 + '"' + '\\"' * 120_000

    with pytest.raises(FrameError):
        frames.parse(text)


def test_32_levels_are_still_read():
    text = '[2,"a","Reset",{"x":' + "[" * 30 + "]" * 30 + "}]"

    assert isinstance(frames.parse(text), CallFrame)


@pytest.mark.requirement("16.RPC.3")
def test_frames_of_ours_are_compact_and_read_back():
    text = frames.call_text("a", "Heartbeat", {})

    assert text == '[2,"a","Heartbeat",{}]'
    assert frames.result_text("a", {"x": 1}) == '[3,"a",{"x":1}]'
    assert frames.error_text("a", "GenericError", "z" * 400) == (
        '[4,"a","GenericError","' + "z" * 255 + '",{}]')


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"x"])
def test_what_json_cannot_say_never_leaves(value):
    with pytest.raises(FrameError):
        frames.call_text("a", "MeterValues", {"x": value})


def test_random_damage_never_raises_anything_but_a_frame_error():
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    sound = ['[2,"19223201","BootNotification",{"a":[1,-2.5e3,null,true,"\\u00e4"]}]',
             '[3,"a",{"b":{"c":"\\ud83d\\ude00"}}]', '[4,"a","GenericError","",{}]']
    marks = '[]{}",:\\u0123dDeE+-.tfn \x00é\ud800'

    for _ in range(4000):
        text = list(rng.choice(sound))
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(text))
            text[at:at + rng.randrange(3)] = rng.choice(marks) * rng.randrange(3)
            text = text or ["["]
        try:
            frames.parse("".join(text))
        except FrameError:
            pass


def test_people_see_frames_without_tokens_and_passwords():
    shown = redact.frame('[2,"a","StartTransaction",{"idTag":"04A1B2C3D4E59F","meterStart":1}]')
    changed = redact.frame('[2,"a","ChangeConfiguration",{"key":"AuthorizationKey","value":"s"}]')
    listed = redact.frame('[3,"a",{"configurationKey":[{"key":"authorizationkey","value":"s3"}]}]')
    variable = redact.frame('[2,"a","SetVariables",{"setVariableData":[{"attributeValue":"s3",'
                            '"component":{"name":"X"},"variable":{"name":"BasicAuthPassword"}}]}]')

    assert "04A1…9F" in shown and "B2C3" not in shown
    assert '"value":"***"' in changed and '"value":"***"' in listed
    assert "s3" not in variable


def test_shown_frames_hold_no_credentials_of_file_servers() -> None:
    for key, action in (("location", "GetDiagnostics"), ("remoteLocation", "GetLog")):
        for password in ("se@same", "se@/same", "se?same", "se#same/"):
            url = f"ftp://CP1:{password}@files.example/logs?sig=sesame"
            shown = redact.frame(json.dumps([2, "a", action, {"log": {key: url}}]))

            assert "same" not in shown
            assert "ftp://***@files.example/logs" in shown


def test_what_is_no_frame_is_only_described_to_people():
    assert redact.frame("idTag 04A1B2C3D4E59F") == "(not JSON, 20 characters)"
    assert redact.frame('["' + "x" * 9000 + '"]') == "(9004 characters)"
