"""What PC/SC says, in words with a next step; which readers a pattern means; how pyscard is had.

Source: pcsc-lite, pcsclite.h (return codes); the Linux driver pn533_usb, which takes ACR122U-class
readers where it is not kept off.
"""

import os
import re
from collections.abc import Callable
from typing import Any

from hal.errors import DeviceGone

KERNEL_NFC = "/sys/bus/usb/drivers/pn533_usb"

# Return codes of pcsc-lite, unsigned. Source: pcsclite.h
INVALID_HANDLE = 0x80100003
CANCELLED = 0x80100002
UNKNOWN_READER = 0x80100009
TIMEOUT = 0x8010000A
SHARING_VIOLATION = 0x8010000B
NO_SERVICE = 0x8010001D
SERVICE_STOPPED = 0x8010001E
COMMUNICATION = 0x80100013
NO_READERS = 0x8010002E
NO_ACCESS = frozenset({0x8010006A, 0x80100027})  # SCARD_W_SECURITY_VIOLATION, SCARD_E_NO_ACCESS
#: the reader does not take commands, whatever the card: NOT_TRANSACTED, READER_UNAVAILABLE
READER_ERRORS = frozenset({0x80100016, 0x80100017})
#: the way to the daemon is broken, not the card
LINK_ERRORS = frozenset({INVALID_HANDLE, NO_SERVICE, SERVICE_STOPPED, COMMUNICATION})


def chosen_by(pattern: str) -> Callable[[str], bool]:
    """Whether a reader's name is meant: part of the name, * for anything; SAM slots never are."""
    wanted = re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.IGNORECASE)
    sam = re.compile(r"\bSAM\b")
    return lambda name: wanted.search(name) is not None and sam.search(name) is None


def import_scard() -> Any:
    """pyscard's low-level module. Raises DeviceGone when it is not installed."""
    try:
        from smartcard import scard
    except ImportError as error:
        raise DeviceGone(f"pyscard cannot be imported ({error}); "
                         "pip install 'cpctl[pi]'") from error
    return scard


def no_reader(pattern: str, names: list[str]) -> str:
    found = ", ".join(repr(name) for name in names) or "none"
    text = f"no PC/SC reader matches {pattern!r} (found: {found}); "
    held = _held_by_kernel()
    if held:
        return (f"{text}the kernel's pn533_usb holds the one at USB {held}: blacklist it "
                "(deploy/cpctl-pcsc-blacklist.conf), then modprobe -r pn533_usb and restart pcscd")
    return f"{text}check its USB plug and the option 'reader'"


def _held_by_kernel() -> str:
    """The USB port of a reader that the kernel's own NFC driver has taken; empty: none."""
    try:
        entries = os.listdir(KERNEL_NFC)
    except OSError:  # the driver is not loaded
        return ""
    return next((entry.split(":")[0] for entry in sorted(entries) if ":" in entry), "")


def reason(code: int) -> str:
    if code in NO_ACCESS:
        return ("pcscd denies access; install the polkit rule for this user "
                "(deploy/50-cpctl-pcscd.rules)")
    if code == NO_SERVICE:
        return (f"pcscd is not running ({code:#010x}); apt install pcscd, "
                "systemctl enable --now pcscd.socket")
    if code in LINK_ERRORS:
        return f"pcscd does not answer ({code:#010x}); see systemctl status pcscd"
    return f"PC/SC error {code:#010x}; see journalctl -u pcscd"
