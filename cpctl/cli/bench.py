"""`cpctl sim ...` and `cpctl hw ...`: the simulated board's hands, and looking at devices."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from cpctl.cli import scan
from cpctl.cli.main import DONE, FAILED, common
from cpctl.cli.show import Screen, pairs, word
from cpctl.cli.talk import call, connect, done


def add(name: str, parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(word: str, help: str, run: Any) -> ArgumentParser:
        one: ArgumentParser = verbs.add_parser(word, help=help, description=help)
        common(one, top=False)
        one.set_defaults(run=run)
        return one

    (_sim if name == "sim" else _hw)(verb)


def _sim(verb: Any) -> None:
    def evse(one: ArgumentParser) -> None:
        one.add_argument("evse", type=int, help="number of the EVSE")

    one = verb("plug", "cable and car connected", plug)
    evse(one)
    one.add_argument("--by-hand", action="store_true",
                     help="the car asks for power only when told (sim pilot)")
    one.add_argument("--connector", type=int, metavar="N", help="which connector of the EVSE")
    one.add_argument("--power", type=float, metavar="W", help="what the car draws")
    evse(verb("unplug", "the car is gone", unplug))
    one = verb("pilot", "set the car's state by hand", pilot)
    evse(one)
    one.add_argument("state", choices=tuple("ABCDEF"), type=str.upper)
    one = verb("tap", "a card held to the reader", tap)
    one.add_argument("token", help="the card's identifier")
    one.add_argument("--reader", metavar="ID", help="which reader (default the first)")
    one.add_argument("--evse", type=int, metavar="N", help="the reader of this EVSE")
    one = verb("meter", "what the meter shows", meter)
    evse(one)
    one.add_argument("--power", type=float, metavar="W", help="the power, in W")
    one.add_argument("--energy", type=int, metavar="WH", help="the register, in Wh")
    one.add_argument("--voltage", type=float, metavar="V", help="of each phase, in V")
    for one in (verb("fault", "something breaks", fault), verb("clear", "it is mended", clear)):
        one.add_argument("kind", help="rcd, weld, feedback_stuck, pilot_lost, meter_lost ...")
        one.add_argument("--evse", type=int, metavar="N", help="where (default everywhere)")
        one.add_argument("--vendor-code", metavar="TEXT", help="with kind other")
    one = verb("cable", "the cable in a socket outlet", cable)
    evse(one)
    one.add_argument("--rating", type=float, metavar="A", help="what it bears, in A")
    one.add_argument("--type", metavar="TYPE")


def _hw(verb: Any) -> None:
    verb("list", "all devices and their health", hw_list)
    one = verb("meter", "a reading of the meter, now", hw_meter)
    one.add_argument("evse", type=int, help="number of the EVSE")
    one.add_argument("--raw", action="store_true", help="each register as the meter gives it")
    one.add_argument("--record", metavar="FILE",
                     help="write the frames on the line to FILE, for the tests of the driver")
    verb("bus", "each serial line: requests, errors and latencies by address", hw_bus)
    scan.options(verb("scan", "who is on a serial line (needs no daemon)", scan.scan))
    one = verb("pilot", "a reading of the control pilot, now", hw_pilot)
    one.add_argument("evse", type=int, help="number of the EVSE")
    verb("reader", "the readers, then each card as it is held to one", hw_reader)
    one = verb("contactor-test", "close and open the contactor once, with nothing plugged in",
               contactor_test)
    one.add_argument("evse", type=int, help="number of the EVSE; it must be inoperative")
    one = verb("safe", "drive every configured output to its safe level (needs no daemon)", safe)
    one.add_argument("--config", metavar="FILE", default="/etc/cpctl/cpctl.toml",
                     help="configuration file (default %(default)s)")
    one.add_argument("--wait", type=float, metavar="S", default=0.0,
                     help="try again for so long where a device is not there yet")


# --- simulator -----------------------------------------------------------------------------------


def plug(args: Namespace, screen: Screen) -> int:
    answer = call(args, "sim.plug", evse=args.evse, auto=not args.by_hand, power_w=args.power,
                  connector=args.connector)
    return done(args, screen, answer, f"EVSE {args.evse}: car plugged in")


def unplug(args: Namespace, screen: Screen) -> int:
    return done(args, screen, call(args, "sim.unplug", evse=args.evse),
                f"EVSE {args.evse}: car gone")


def pilot(args: Namespace, screen: Screen) -> int:
    return done(args, screen, call(args, "sim.pilot", evse=args.evse, state=args.state),
                f"EVSE {args.evse}: pilot {args.state}")


def tap(args: Namespace, screen: Screen) -> int:
    answer = call(args, "sim.tap", token=args.token, reader=args.reader, evse=args.evse)
    return done(args, screen, answer, f"card {args.token} held to the reader")


def meter(args: Namespace, screen: Screen) -> int:
    answer = call(args, "sim.meter", evse=args.evse, power_w=args.power, energy_wh=args.energy,
                  voltage_v=args.voltage)
    return done(args, screen, answer, f"EVSE {args.evse}: meter set")


def fault(args: Namespace, screen: Screen) -> int:
    answer = call(args, "sim.fault", kind=args.kind, evse=args.evse, vendor_code=args.vendor_code)
    return done(args, screen, answer, f"fault {args.kind}")


def clear(args: Namespace, screen: Screen) -> int:
    return done(args, screen, call(args, "sim.clear", kind=args.kind, evse=args.evse),
                f"fault {args.kind} cleared")


def cable(args: Namespace, screen: Screen) -> int:
    answer = call(args, "sim.cable", evse=args.evse, rating_a=args.rating, type=args.type)
    return done(args, screen, answer, f"EVSE {args.evse}: cable set")


# --- hardware ------------------------------------------------------------------------------------


def _devices(screen: Screen, devices: list[dict[str, Any]]) -> None:
    screen.table(("DEVICE", "KIND", "EVSE", "HEALTH", "DETAIL"), [
        (one["name"], one["kind"], word(one["evse"]), one["health"], word(one["detail"]))
        for one in devices])


def hw_list(args: Namespace, screen: Screen) -> int:
    answer = call(args, "hw.list")
    if screen.json:
        screen.object(answer)
    else:
        _devices(screen, answer["devices"])
    return DONE


def hw_meter(args: Namespace, screen: Screen) -> int:
    answer = call(args, "hw.meter", evse=args.evse, raw=args.raw or None,
                  record=bool(args.record) or None)
    if args.record:
        try:
            _write_frames(args.record, answer)
        except OSError as error:
            screen.error(f"{args.record} cannot be written: {error.strerror}",
                         "name another file", FAILED)
            return FAILED
    if screen.json:
        screen.object(answer)
    elif args.raw or args.record:
        _registers(screen, answer["raw"])
    else:
        pairs(screen, answer["reading"])
    return DONE


def _registers(screen: Screen, rows: list[dict[str, Any]]) -> None:
    """Register and words as the maker's document writes them."""
    screen.table(("QUANTITY", "PHASE", "FUNCTION", "REGISTER", "WORDS", "VALUE", "UNIT"), [
        (one["quantity"], word(one["phase"]), str(one["function"]), f"0x{one['address']:04X}",
         " ".join(f"{each:04X}" for each in one["words"]), word(one["value"]), word(one["unit"]))
        for one in rows])


def _write_frames(file: str, answer: dict[str, Any]) -> None:
    """As hal.sim.rs485.recorded_exchanges reads it. Raises OSError."""
    import time

    head = (f"# {answer['driver']}, recorded by cpctl hw meter {answer['evse']} --record on "
            f"{time.strftime('%Y-%m-%d')} at address {answer['address']}")
    with open(file, "w", encoding="ascii") as frames:
        frames.write("\n".join((head, *answer["frames"])) + "\n")


def hw_bus(args: Namespace, screen: Screen) -> int:
    answer = call(args, "hw.bus")
    if screen.json:
        screen.object(answer)
        return DONE
    for line in answer["buses"]:
        screen.line(f"{line['bus']}: {line['port']}, {line['baudrate']} 8{line['parity']}"
                    f"{line['stopbits']}, {line['stray_bytes']} stray bytes")
        screen.table(
            ("ADDRESS", "DEVICE", "REQUESTS", "ANSWERS", "RETRIES", "SILENT", "CRC", "CUT",
             "REFUSED", "GONE", "FAILING", "MEAN", "MAX"),
            [(str(one["address"]), word(one["device"]), *(str(one[name]) for name in (
                "requests", "answers", "retries", "timeouts", "crc_errors", "bad_frames",
                "exceptions", "port_losses")), f"{one['failing']:.0%}",
              f"{one['latency_mean_ms']:.0f} ms", f"{one['latency_max_ms']:.0f} ms")
             for one in line["addresses"]])
    if not answer["buses"]:
        screen.line("no serial line is configured")
    return DONE


def hw_pilot(args: Namespace, screen: Screen) -> int:
    answer = call(args, "hw.pilot", evse=args.evse)
    if screen.json:
        screen.object(answer)
    else:
        pairs(screen, answer["reading"])
    return DONE


def hw_reader(args: Namespace, screen: Screen) -> int:
    with connect(args) as client:
        answer = client.call("hw.reader")
        if screen.json:
            screen.object(answer)
        else:
            _devices(screen, answer["devices"])
        for card in client.notifications():
            if screen.json:
                screen.object(card)
            else:
                screen.line(f"{card['reader']}: {word(card['token'])}")
    return DONE


def contactor_test(args: Namespace, screen: Screen) -> int:
    answer = call(args, "hw.contactor_test", evse=args.evse)
    if screen.json:
        screen.object(answer)
    elif answer["feedback"] and answer["closed_ms"] is not None:
        screen.line(f"EVSE {args.evse}: passed; closed after {answer['closed_ms']:g} ms, "
                    f"open after {answer['opened_ms']:g} ms")
    else:
        screen.line(f"EVSE {args.evse}: passed as far as can be seen: "
                    + ("the board closes by itself, and tells of no weld" if answer["feedback"]
                       else "no auxiliary contact is fitted"))
    return DONE


def safe(args: Namespace, screen: Screen) -> int:
    from cpctl.cli.safe import drive

    return drive(args.config, screen, wait_s=args.wait)
