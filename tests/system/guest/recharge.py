"""Starts one simulated charge after the other, as fast as the station allows, for `hands trips`.

    recharge.py COUNT

Each is ended by a trip of the RCD from outside; then the plug is pulled and put in again.
"""

import glob
import json
import socket
import sys
import time

COIL = glob.glob("/sys/devices/platform/gpio-sim.*/gpiochip*/sim_gpio17/value")[0]


class Daemon:
    def __init__(self):
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect("/run/cpctl/cpctl.sock")
        self.stream = self.line.makefile("rb")

    def call(self, method, **params):
        self.line.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                                      "params": params}).encode() + b"\n")
        return json.loads(self.stream.readline())


def coil():
    with open(COIL) as file:
        return file.read(1) == "1"


def until(on, limit_s):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if coil() == on:
            return True
        time.sleep(0.003)
    return False


def main():
    daemon = Daemon()
    done = tries = 0
    while done < int(sys.argv[1]):
        tries += 1
        daemon.call("sim.unplug", evse=1)
        daemon.call("sim.plug", evse=1)
        started = daemon.call("evse.start", evse=1, token="04A1B2C3D4E580")
        if "error" in started:
            time.sleep(0.02)
            if tries % 200 == 0:
                print(done, tries, started["error"], flush=True)
            continue
        if not until(True, 2.0):
            print(done, "the coil stays off", daemon.call("why")["result"], flush=True)
            continue
        done += until(False, 5.0)
    print("tries", tries, flush=True)


main()
