"""The process that knows cryptography: what it says, what it is kept from, what its end costs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import virtual_loop
from support.lapse_loop import LapseLoop, LapsingChildren
from support.pki import Authority
from support.pki_certs import NOON, SERIAL, Station, span

from cpctl.core.events import CertificateInstallRequested, CertificateSignedRequested
from cpctl.core.jobs import CertificateUse
from cpctl.core.values import Outcome
from cpctl.services.certificates import CHILD
from cpctl.services.child import ChildFailed
from cpctl.store.certificates import CertificateStore

ROOT = Authority("Root")


def run(story: Any) -> None:
    virtual_loop.run(story(), loop=LapseLoop())


@pytest.mark.requirement("16.SEC.8", "16.SEC.9", "16.SEC.12")
def test_root_request_and_certificate_through_real_children(tmp_path: Path) -> None:
    async def story() -> None:
        station = Station(tmp_path / "keys", children=LapsingChildren())  # type: ignore[arg-type]
        await station.open()
        reply = await station.request(CertificateInstallRequested, CertificateUse.CSMS_ROOT,
                                      ROOT.pem)
        assert reply.outcome is Outcome.ACCEPTED, reply
        csr = await station.sign()
        assert csr is not None
        chain = ROOT.for_request(csr, valid=span(NOON, 300))

        reply = await station.request(CertificateSignedRequested, chain)

        assert reply.outcome is Outcome.ACCEPTED, reply
        (one,) = station.store.client_credentials()
        assert one.cert.read_text() == chain
        assert one.key.stat().st_mode & 0o777 == 0o600

    run(story)


@pytest.mark.parametrize(("order", "kind"), [
    ({"do": "check_root", "pem": "-----BEGIN CERTIFICATE-----\n" + "A" * 150_000
      + "\n-----END CERTIFICATE-----\n", "now": None, "known": [], "signers": None}, "invalid"),
    ({"do": "describe", "pem": "x" * 250_000}, "invalid"),
    ({"do": "nothing we know"}, "died"),
    ({"do": "make_key", "folder": "/proc/nowhere", "kind": "ec_p256", "common_name": SERIAL,
      "organization": "Example"}, "store"),
    ({"do": "take_over", "certificate": "/nowhere", "key": "/nowhere", "folder": "/nowhere"},
     "store"),
])
def test_what_cannot_be_done_is_one_failure(order: dict[str, Any], kind: str) -> None:
    async def story() -> None:
        with pytest.raises(ChildFailed) as failed:
            await LapsingChildren().run(CHILD, order, limit_s=60.0)
        assert failed.value.kind == kind

    run(story)


def test_it_limits_its_memory_and_its_time() -> None:
    """A child that would take the machine along ends."""
    hungry = ("from cpctl.services.certificate_child import limited\n"
              "limited()\n"
              "try:\n    bytearray(2 << 30)\nexcept MemoryError:\n    print('no more')\n"
              "import resource\nprint(resource.getrlimit(resource.RLIMIT_CPU)[0])\n")

    ended = subprocess.run([sys.executable, "-c", hungry], capture_output=True, text=True,
                           check=True)

    assert ended.stdout.split("\n")[:2] == ["no more", "20"]


def test_the_daemon_never_loads_the_library() -> None:
    """What answers certificate requests is small; the cryptography is elsewhere."""
    loaded = ("import sys, cpctl.app, cpctl.services.certificates\n"
              "print('cryptography' in sys.modules, 'cpctl.services.certificate_child' in"
              " sys.modules)\n")

    ended = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True,
                           check=True)

    assert ended.stdout.strip() == "False False"


def test_reading_what_is_trusted_starts_no_child(tmp_path: Path) -> None:
    async def story() -> None:
        station = await Station(tmp_path / "keys").open()
        await station.request(CertificateInstallRequested, CertificateUse.CSMS_ROOT, ROOT.pem)
        station.children.orders.clear()
        again = await Station(station.folder).open()
        assert isinstance(again.store, CertificateStore)
        assert len(again.store.trust_files(CertificateUse.CSMS_ROOT)) == 1
        assert station.children.orders == again.children.orders == []

    run(story)
