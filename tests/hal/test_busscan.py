"""The sweep of a serial line: who is found, and what is told of a line that is not well."""

import random

import pytest
from support import meter_table
from support.bus_post import Line, model, mute_where_wrong, pilot_board, slow

from hal.busnames import deep_probes
from hal.busscan import line_words, settings_to_try, sweep, sweeps, verdicts
from hal.buswire import Kind, judged
from hal.errors import DeviceGone
from hal.rtu import LineSettings
from hal.sim.rs485 import (
    Cut,
    Flip,
    Garbage,
    Late,
    RegisterDevice,
    Silence,
    Unplug,
    with_crc,
)

SETTINGS = LineSettings("/dev/ttyFAKE", baudrate=9600)


def swept(line, addresses=range(1, 13), settings=SETTINGS, **more):
    return sweep(settings, addresses, open_port=line.open, wait_s=0.15, **more)


@pytest.mark.parametrize("name", meter_table.TABLE)
def test_every_meter_is_found_at_its_address(name):
    told = swept(Line(model(name, 7)))

    assert told.addresses == (7,)
    assert verdicts([told]) == ()


@pytest.mark.parametrize("name", meter_table.TABLE)
def test_a_meter_that_says_nothing_rather_than_refuse_is_found_by_a_deep_sweep(name):
    told = swept(Line(mute_where_wrong(model(name, 7))), probes=deep_probes())

    assert told.addresses == (7,)


def test_all_on_a_line_are_found_and_nobody_else():
    told = swept(Line(model("eastron_sdm630", 2), pilot_board(1), RegisterDevice(11)))

    assert told.addresses == (1, 2, 11)
    assert verdicts([told]) == ()


def test_only_read_functions_are_sent_and_each_address_is_asked():
    line = Line()

    swept(line)

    assert {request[1] for request in line.requests} <= {1, 2, 3, 4}
    assert {request[0] for request in line.requests} == set(range(1, 13))


def test_a_silent_line_is_told_as_one():
    told = [swept(Line())]

    assert told[0].addresses == ()
    assert verdicts(told) == (
        "nobody answers, the line is silent: check the supply of the devices, swap A and B, and "
        "try more addresses, baud rates and parities",)  # fmt: skip


def test_two_devices_with_one_address_are_told_with_their_bytes():
    second = model("eastron_sdm630", 3)
    second.put(4, 0, 0x4123, 0x4567)
    told = swept(Line(model("eastron_sdm630", 3), second, model("abb_b23", 4)))

    (text,) = verdicts([told])
    assert 4 in told.addresses
    assert text.startswith("9600 8N1: address 3 answers what cannot be read (03 04 04")
    assert "two devices have this address" in text


def test_one_spoiled_answer_is_no_verdict():
    line = Line(model("eastron_sdm630", 1))
    line.spoil(Flip(-1), Cut(4))

    told = swept(line)

    assert (told.addresses, verdicts([told])) == ((1,), ())


def test_an_address_that_never_answers_whole_is_told():
    line = Line(model("eastron_sdm630", 1))
    line.spoil(*[Cut(4)] * 3)

    assert "address 1 answers what cannot be read (01 04 04 43)" in verdicts([swept(line)])[0]


def test_garbage_from_everybody_means_another_baud_rate():
    line = Line(lambda request: bytes((0xF8, request[0] ^ 0x55, 0x00)))

    (text,) = verdicts([swept(line)])

    assert text.startswith("9600 8N1: what comes cannot be read (f8 ")
    assert "baud rate or parity is another one" in text


def test_somebody_who_talks_unasked_is_told():
    line = Line(model("eastron_sdm630", 1))
    line.open(SETTINGS)
    told = None

    def open_port(settings):
        port = line.open(settings)
        line.say(bytes(20))
        return port

    told = sweep(SETTINGS, [1], open_port=open_port, wait_s=0.15)

    assert told.addresses == (1,)
    (text,) = verdicts([told])
    assert text.startswith("9600 8N1: somebody talks unasked (00 00 00")
    assert text.endswith("only one may ask") and "…" in text


def test_an_adapter_that_hears_itself_is_told_and_the_devices_are_found():
    line = Line(model("eastron_sdm630", 2), pilot_board(5))
    line.echoes = True

    told = swept(line)

    assert told.addresses == (2, 5)
    assert verdicts([told]) == ("9600 8N1: the adapter hears itself; switch its echo off",)


@pytest.mark.parametrize("by_s", [0.2, 0.25, 0.4, 0.5])
@pytest.mark.parametrize("address", [1, 6, 12])
def test_a_slow_device_is_found_at_its_own_address(by_s, address):
    line = Line()
    line.devices.append(slow(line, model("eastron_sdm630", address), by_s))

    told = swept(line)

    assert told.addresses == (address,)
    (text,) = verdicts([told])
    assert f"address {address} is slow; give it time: timeout_s" in text


def test_the_sweep_ends_with_the_setting_at_which_somebody_answers():
    theirs = LineSettings("/dev/ttyFAKE", baudrate=19200, parity="E")
    line = Line(model("schneider_iem3155", 4), settings=theirs)
    wanted = settings_to_try(SETTINGS, (9600, 19200, 2400), ("N", "E"))

    told = sweeps(wanted, range(1, 6), open_port=line.open, wait_s=0.15)

    assert [line_words(one.settings) for one in told] == [
        "9600 8N1", "19200 8N1", "2400 8N1", "9600 8E1", "19200 8E1"]
    assert [one.addresses for one in told] == [(), (), (), (), (4,)]
    assert verdicts(told) == ()


def test_everything_is_swept_where_that_is_wanted():
    line = Line(model("schneider_iem3155", 4))
    wanted = settings_to_try(SETTINGS, (9600, 19200), ("N",))

    told = sweeps(wanted, [4], open_port=line.open, wait_s=0.15, everything=True)

    assert [one.addresses for one in told] == [(4,), (4,)]


def test_the_settings_of_the_configuration_come_first():
    known = LineSettings("/dev/ttyFAKE", baudrate=19200, parity="E", stopbits=1)

    tried = settings_to_try(known, (9600, 19200), ("N", "E"))

    assert [line_words(one) for one in tried] == [
        "19200 8E1", "9600 8N1", "19200 8N1", "9600 8E1"]


def test_progress_tells_the_address_and_how_many_were_found():
    seen = []
    line = Line(RegisterDevice(1), RegisterDevice(2))

    swept(line, [1, 2, 3], progress=lambda settings, address, found: seen.append((address, found)))

    assert seen == [(1, 0), (2, 1), (3, 2)]


def test_a_port_pulled_out_in_the_middle_is_gone_by_name():
    line = Line(RegisterDevice(1))
    line.spoil(None, Unplug())

    with pytest.raises(DeviceGone, match=r"/dev/ttyFAKE is lost .*is the adapter plugged in"):
        swept(line)


def test_no_noise_makes_a_sweep_fail_or_find_somebody(seed):
    rng = random.Random(seed)
    line = Line(model("eastron_sdm630", 3))

    def noise():
        faults = [Silence(), Cut(rng.randrange(1, 9)), Flip(rng.randrange(5), rng.randrange(8)),
                  Late(rng.random()), Garbage(rng.randbytes(rng.randrange(300)))]
        return rng.choice(faults)

    for _ in range(20):
        line.spoil(*[noise() for _ in range(40)])
        told = swept(line, [1, 2, 3, 4])
        assert set(told.addresses) <= {3}
        verdicts([told])


ASKED = with_crc(bytes((5, 4, 0, 0, 0, 2)))
GOOD = with_crc(bytes((5, 4, 4, 1, 2, 3, 4)))


@pytest.mark.parametrize(("heard", "kind"), [
    (b"", Kind.SILENT),
    (GOOD, Kind.ANSWER),
    (with_crc(bytes((5, 0x84, 2))), Kind.REFUSED),
    (with_crc(bytes((6, 4, 4, 1, 2, 3, 4))), Kind.LATE),
    (with_crc(bytes((5, 3, 4, 1, 2, 3, 4))), Kind.LATE),
    (with_crc(bytes((5, 4, 2, 1, 2))), Kind.LATE),
    (GOOD[:-1], Kind.GARBLED),
    (GOOD + b"\0", Kind.ANSWER),
    (GOOD + b"\xa5\x5a", Kind.ANSWER),
    (with_crc(bytes((5, 0x84, 2))) + b"\0", Kind.REFUSED),
    (GOOD[:-1] + b"\0\0", Kind.GARBLED),
    (b"\0", Kind.GARBLED),
    (ASKED, Kind.SILENT),
    (ASKED + GOOD, Kind.ANSWER),
    (ASKED + GOOD[:4], Kind.GARBLED),
])
def test_what_is_heard_is_judged(heard, kind):
    told = judged(ASKED, heard)

    assert told.kind is kind
    assert told.echo == heard.startswith(ASKED)
    if kind is Kind.ANSWER:
        assert told.words == (0x0102, 0x0304)
    if kind is Kind.REFUSED:
        assert told.code == 2
