"""Certificates over days and restarts: renewed, switched, replaced, while cars charge."""

import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from support import virtual_loop
from support.lapse_loop import LapseLoop
from support.pki import LONG_VALID, Authority, Credential, server_context
from support.pki_certs import span
from support.world import MORNING, World, world

from cpctl.demo.csms import Reply

ROOT = Authority("CPO root")
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NO_CHECK_TIME = 0x200000  # the server's clock is not that of the story
IDENTITY = 'serial_number = "PP2-0001"'
QUIET = 'CpoName = "Example"\nWebSocketPingInterval = 0'
Story = Callable[[World], Awaitable[None]]


def run(story: Story, *, own_days: float = 3.0, tls: bool = False, trust: Authority = ROOT,
        options: str = "", section: bool = False) -> None:
    """A station whose certificate began on the MORNING and ends `own_days` later. `tls`: under
    security profile 3, over real sockets. `section`: the root stands in [certificates]."""
    async def told() -> None:
        async with station_with(own_days=own_days, tls=tls, trust=trust, options=options,
                                section=section) as one:
            await story(one)

    virtual_loop.run(told(), loop=LapseLoop() if tls else None)


@asynccontextmanager
async def station_with(*, own_days: float, tls: bool, trust: Authority, options: str,
                       section: bool) -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ca.pem").write_text(trust.pem)
        ROOT.client("PP2-0001", valid=span(MORNING - HOUR, own_days)).write(folder, "own")
        csms = (f'client_cert_file = "{folder}/own.pem"\n'
                f'client_key_file = "{folder}/own.key"\n')
        if section:
            options += f'[certificates]\ncsms_root = ["{folder}/ca.pem"]\n'
        else:
            csms += f'ca_file = "{folder}/ca.pem"\n'
        over: dict[str, Any] = {}
        if tls:
            csms += "security_profile = 3\n"
            over = {"real_sockets": True, "tls": serving(ROOT)}
        async with world(start=False, csms=csms, station=IDENTITY, ocpp16=QUIET, more=options,
                         **over) as one:
            one.central.heartbeat_s = 86_400
            one.central.behave("SignCertificate", Reply({"status": "Accepted"}), for_ever=True)
            await one.start()
            await one.until(lambda: one.status(1) == "Available", 60)
            yield one


def serving(authority: Authority) -> ssl.SSLContext:
    """The central system's side, its certificate by `authority`, stations' by ROOT."""
    shown: Credential = authority.server("127.0.0.1", valid=LONG_VALID)
    context = server_context(shown, client_ca=ROOT)
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    return context


async def signed(station: World, *, after: timedelta = -HOUR, days: float = 300) -> str:
    """The central system has the newest request signed; the serial number of what came of it."""
    csr = station.calls("SignCertificate")[-1]["csr"]
    chain = ROOT.for_request(csr, valid=span(station.time.true_wall() + after, days))
    answer = await station.central.call("CertificateSigned", {"certificateChain": chain})
    assert answer == {"status": "Accepted"}
    return f"{x509.load_pem_x509_certificate(chain.encode()).serial_number:x}"


def shown_to_the_server(station: World) -> str:
    (connection,) = station.network._connections
    return str(connection.transport.get_extra_info("peercert")["serialNumber"]).lower().lstrip("0")


def roots(station: World) -> list[str]:
    assert station.app is not None
    return sorted(one.subject for one in station.app.certificates.state.roots)


@pytest.mark.requirement("16.SEC.11", "A03.FR.02", "A03.FR.03")
def test_a_certificate_is_renewed_before_it_ends() -> None:
    async def story(station: World) -> None:
        await station.advance(1.5 * 86_400)
        assert station.calls("SignCertificate") == []

        await station.advance(86_400)
        assert len(station.calls("SignCertificate")) == 1
        serial = await signed(station)
        assert station.app is not None
        state = station.app.certificates.state
        assert state.of(None)[0].serial == serial

        await station.power_cut()
        await station.advance(86_400)
        assert len(station.calls("SignCertificate")) == 1
        assert station.app.certificates.state.of(None)[0].serial == serial

    run(story)


@pytest.mark.requirement("16.SEC.11")
def test_after_months_without_power_it_is_renewed_at_once() -> None:
    async def story(station: World) -> None:
        await station.die(power=True)
        station.time._wall_at_zero += timedelta(days=100)

        await station.start()
        await station.until(lambda: station.calls("SignCertificate"), 600)

        await signed(station)

    run(story, own_days=60)


@pytest.mark.requirement("16.SEC.11")
def test_a_station_that_does_not_know_the_time_renews_when_it_is_told() -> None:
    async def story(station: World) -> None:
        await station.die(power=True)
        station.time._wall_at_zero += timedelta(days=100)
        station.time.disciplined = False
        station.network.down()
        await station.start()
        await station.advance(1800)
        assert station.calls("SignCertificate") == []

        station.network.up = True
        await station.until(lambda: station.calls("SignCertificate"), 3600)

    run(story, own_days=60)


@pytest.mark.requirement("16.SEC.9", "16.SEC.10", "A02.FR.08", "A02.FR.09")
def test_the_new_certificate_is_shown_from_its_first_moment_while_a_car_charges() -> None:
    async def story(station: World) -> None:
        old = shown_to_the_server(station)
        await station.charge(60)
        await station.central.call("ExtendedTriggerMessage", {
            "requestedMessage": "SignChargePointCertificate"})
        await station.until(lambda: station.calls("SignCertificate"), 60)
        new = await signed(station, after=timedelta(minutes=2))
        connections = station.central.connections

        await station.advance(110)
        assert (station.central.connections, shown_to_the_server(station)) == (connections, old)

        await station.until(lambda: station.central.connections > connections, 30)
        await station.until(lambda: station.central.online, 60)
        assert shown_to_the_server(station) == new
        assert station.coil()
        await station.until(lambda: station.status() == "Charging", 60)

        await station.unplug()
        await station.delivered()
        await station.assert_books_agree()

    run(story, tls=True, own_days=300)


@pytest.mark.requirement("16.SEC.9", "A02.FR.08")
def test_a_switch_that_fell_into_a_power_cut_is_made_at_the_next_start() -> None:
    async def story(station: World) -> None:
        await station.central.call("ExtendedTriggerMessage", {
            "requestedMessage": "SignChargePointCertificate"})
        await station.until(lambda: station.calls("SignCertificate"), 60)
        new = await signed(station, after=HOUR)
        await station.die(power=True)
        station.time._wall_at_zero += 2 * HOUR

        await station.start()
        await station.until(lambda: station.central.online, 600)

        assert shown_to_the_server(station) == new

    run(story, tls=True, own_days=300)


@pytest.mark.requirement("16.SEC.10", "A02.FR.10")
def test_when_the_new_certificate_is_refused_the_old_one_leads_in() -> None:
    async def story(station: World) -> None:
        old = shown_to_the_server(station)
        await station.central.call("ExtendedTriggerMessage", {
            "requestedMessage": "SignChargePointCertificate"})
        await station.until(lambda: station.calls("SignCertificate"), 60)
        new = await signed(station)
        await station.until(lambda: shown_or_none(station) == new, 120)

        await station.network.close()
        station.network.tls = serving(ROOT)
        revoke(new, station.network.tls)
        await station.network.open()

        await station.until(lambda: shown_or_none(station) == old and station.central.online, 300)

    run(story, tls=True, own_days=300)


def shown_or_none(station: World) -> str | None:
    return shown_to_the_server(station) if len(station.network._connections) == 1 else None


def revoke(serial: str, context: ssl.SSLContext) -> None:
    """The server has a list of revoked certificates with that one on it."""
    entry = x509.RevokedCertificateBuilder(int(serial, 16), MORNING.replace(tzinfo=None)).build()
    made = x509.CertificateRevocationListBuilder(
        ROOT.certificate.subject, MORNING.replace(tzinfo=None),
        (MORNING + 3650 * DAY).replace(tzinfo=None), [], [entry]).sign(ROOT.key, hashes.SHA256())
    with tempfile.NamedTemporaryFile() as file:
        file.write(made.public_bytes(Encoding.PEM))
        file.flush()
        context.load_verify_locations(cafile=file.name)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


@pytest.mark.requirement("16.SEC.13", "M05.FR.11", "M05.FR.12", "M05.FR.13",
                         "key:AdditionalRootCertificateCheck")
def test_a_root_is_replaced_without_ever_locking_the_station_out() -> None:
    new = Authority("New root", issuer=ROOT)
    alone = Authority("New root", key=new.key)  # the same key, as the server's chain has it

    async def story(station: World) -> None:
        answer = await station.central.call("InstallCertificate", {
            "certificateType": "CentralSystemRootCertificate", "certificate": new.pem})
        assert answer == {"status": "Accepted"}
        assert len(roots(station)) == 2

        connections = station.central.connections
        station.network.cut()  # the server still shows what the old root verifies
        await station.until(lambda: station.central.connections > connections
                            and station.central.online, 3600)
        assert len(roots(station)) == 2

        await station.network.close()
        station.network.tls = serving(alone)
        await station.network.open()
        await station.until(lambda: len(roots(station)) == 1, 3600)
        assert roots(station) == [new.certificate.subject.rfc4514_string()]
        await station.until(lambda: station.central.online, 60)

        await station.power_cut()
        await station.until(lambda: station.central.online, 3600)
        assert len(roots(station)) == 1

    run(story, tls=True, own_days=300, options="[options]\nsecurity.additional_root_check = true")


def test_roots_of_the_certificates_section_are_trusted_and_no_others() -> None:
    async def story(station: World) -> None:
        assert station.app is not None
        await station.until(lambda: len(roots(station)) == 1, 60)  # a child looks at it first
        await station.power_cut()
        await station.until(lambda: station.central.online, 600)
        assert () not in station.app.access.choices().trust  # that would be the machine's own

    run(story, tls=True, own_days=300, section=True)
