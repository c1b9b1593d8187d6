"""Test cases of the certificates, over a real WebSocket; where a certificate is used, over TLS."""

import functools
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from support import virtual_loop
from support.lapse_loop import LapseLoop
from support.octt import Octt, case
from support.pki import LONG_VALID, Authority, server_context
from support.pki_certs import named
from support.world import World, world

CSMS = "CentralSystemRootCertificate"
MAKER = "ManufacturerRootCertificate"
ROOT = Authority("CPO root")
SERIAL = 'serial_number = "PP2-0001"'
NAME = 'CpoName = "Example"'


def mutual_case(*ids: str) -> Callable[[Callable[[World], Awaitable[None]]], Any]:
    """As `case`, under security profile 3: both sides have certificates of ROOT."""

    def made(story: Callable[[World], Awaitable[None]]) -> Any:
        @pytest.mark.octt(*ids)
        def run() -> None:
            async def told(folder: Path) -> None:
                (folder / "ca.pem").write_text(ROOT.pem)
                ROOT.client("PP2-0001", valid=LONG_VALID).write(folder, "own")
                tls = server_context(ROOT.server("127.0.0.1", valid=LONG_VALID), client_ca=ROOT)
                csms = (f'security_profile = 3\nca_file = "{folder}/ca.pem"\n'
                        f'client_cert_file = "{folder}/own.pem"\n'
                        f'client_key_file = "{folder}/own.key"')
                async with world(real_sockets=True, tls=tls, csms=csms, station=SERIAL,
                                 ocpp16=NAME) as station:
                    await story(station)

            with tempfile.TemporaryDirectory() as folder:
                virtual_loop.run(told(Path(folder)), loop=LapseLoop())

        functools.update_wrapper(run, story)
        del run.__wrapped__
        return run

    return made


def for_request(csr: str, *, authority: Authority = ROOT, subject: str = "") -> str:
    """The certificate that a certificate authority makes for a request."""
    if not subject:
        return authority.for_request(csr, valid=LONG_VALID)
    key = x509.load_pem_x509_csr(csr.encode()).public_key()
    return authority.issue(named(subject), public_key=key, valid=LONG_VALID).pem


async def csr_of(station: Octt) -> str:
    """The station is asked to have a certificate signed, and sends its request."""
    before = len(station.calls("SignCertificate"))
    answer = await station.central.call("ExtendedTriggerMessage", {
        "requestedMessage": "SignChargePointCertificate"})
    assert answer == {"status": "Accepted"}
    await station.until(lambda: len(station.calls("SignCertificate")) > before, 60)
    return str(station.calls("SignCertificate")[-1]["csr"])


def accept_requests(station: Octt) -> None:
    from cpctl.demo.csms import Reply

    station.central.behave("SignCertificate", Reply({"status": "Accepted"}), for_ever=True)


def shown_to_the_server(station: Octt) -> str:
    """The serial number of the certificate that the station showed in its handshake."""
    (connection,) = station.network._connections
    shown = str(connection.transport.get_extra_info("peercert")["serialNumber"]).lower()
    return shown.lstrip("0")  # it is told in whole bytes


def serial_of(pem: str) -> str:
    return f"{x509.load_pem_x509_certificate(pem.encode()).serial_number:x}"


def security_events(station: Octt, kind: str) -> list[dict[str, Any]]:
    return [one for one in station.calls("SecurityEventNotification") if one["type"] == kind]


async def install(station: Octt, use: str, pem: str) -> str:
    answer = await station.central.call("InstallCertificate", {
        "certificateType": use, "certificate": pem})
    return str(answer["status"])


async def installed(station: Octt, use: str) -> dict[str, Any]:
    return await station.central.call("GetInstalledCertificateIds", {"certificateType": use})


@pytest.mark.requirement("CertificateSigned.conf:Accepted", "SignCertificate.req",
                         "SignCertificate.conf:Accepted", "16.SEC.8", "16.SEC.9",
                         "ExtendedTriggerMessage.conf:Accepted")
@mutual_case("TC_074_CS")
async def test_update_of_the_certificate_by_request_of_the_central_system(station: Octt) -> None:
    accept_requests(station)
    before = shown_to_the_server(station)
    connections = station.central.connections

    csr = await csr_of(station)

    request = x509.load_pem_x509_csr(csr.encode())
    assert request.subject.rfc4514_string() == "O=Example,CN=PP2-0001"
    assert request.is_signature_valid
    chain = for_request(csr)
    answer = await station.central.call("CertificateSigned", {"certificateChain": chain})
    assert answer == {"status": "Accepted"}

    await station.until(lambda: station.central.connections > connections
                        and station.central.online, 60)
    assert shown_to_the_server(station) == serial_of(chain) != before
    await station.central.call("GetConfiguration", {"key": ["CpoName"]})
    assert len(station.central.books.boots) == 1


@pytest.mark.requirement("InstallCertificate.conf:Accepted", "GetInstalledCertificateIds.req",
                         "GetInstalledCertificateIds.conf:Accepted",
                         "GetInstalledCertificateIds.conf:NotFound", "16.SEC.12", "16.SEC.15")
@case("TC_075_1_CS")
async def test_a_root_of_the_manufacturer_is_installed(station: Octt) -> None:
    assert await installed(station, MAKER) == {"status": "NotFound"}

    assert await install(station, MAKER, ROOT.pem) == "Accepted"

    answer = await installed(station, MAKER)
    assert answer["status"] == "Accepted"
    (told,) = answer["certificateHashData"]
    assert told["serialNumber"] == f"{ROOT.certificate.serial_number:x}"
    assert await installed(station, CSMS) == {"status": "NotFound"}


@pytest.mark.requirement("InstallCertificate.conf:Accepted", "16.SEC.12", "16.SEC.15")
@case("TC_075_2_CS")
async def test_a_root_of_the_central_system_is_installed(station: Octt) -> None:
    assert await install(station, CSMS, ROOT.pem) == "Accepted"

    answer = await installed(station, CSMS)
    assert answer["status"] == "Accepted"
    assert len(answer["certificateHashData"]) == 1
    assert {len(answer["certificateHashData"][0][name])
            for name in ("issuerNameHash", "issuerKeyHash")} == {64}
    assert await installed(station, MAKER) == {"status": "NotFound"}


@pytest.mark.requirement("DeleteCertificate.req", "DeleteCertificate.conf:Accepted",
                         "DeleteCertificate.conf:NotFound", "16.SEC.14")
@case("TC_076_CS")
async def test_a_certificate_is_deleted(station: Octt) -> None:
    await install(station, CSMS, ROOT.pem)
    other = Authority("Another root", kind="rsa")
    await install(station, CSMS, other.pem)
    told = (await installed(station, CSMS))["certificateHashData"]
    asked = next(one for one in told
                 if one["serialNumber"] == f"{other.certificate.serial_number:x}")

    answer = await station.central.call("DeleteCertificate", {"certificateHashData": asked})

    assert answer == {"status": "Accepted"}
    left = (await installed(station, CSMS))["certificateHashData"]
    assert left == [one for one in told if one != asked]
    answer = await station.central.call("DeleteCertificate", {"certificateHashData": asked})
    assert answer == {"status": "NotFound"}


@pytest.mark.requirement("CertificateSigned.conf:Rejected", "SecurityEventNotification.req",
                         "16.SEC.9", "A02.FR.07")
@case("TC_077_CS", ocpp16=NAME, station=SERIAL)
async def test_a_bad_certificate_of_the_station_is_a_security_event(station: Octt) -> None:
    accept_requests(station)
    await install(station, CSMS, ROOT.pem)
    csr = await csr_of(station)

    for bad in (for_request(csr, authority=Authority("Stranger")),
                for_request(csr, subject="PP2-0002"), "no certificate"):
        before = len(security_events(station, "InvalidChargePointCertificate"))
        answer = await station.central.call("CertificateSigned", {"certificateChain": bad})
        assert answer == {"status": "Rejected"}
        await station.until(lambda before=before: len(security_events(  # type: ignore[misc]
            station, "InvalidChargePointCertificate")) == before + 1, 60)

    told = security_events(station, "InvalidChargePointCertificate")[-1]
    moment = datetime.fromisoformat(told["timestamp"].replace("Z", "+00:00"))
    assert abs((moment - station.time.true_wall()).total_seconds()) < 120
    assert moment.tzinfo is UTC or moment.utcoffset() is not None


# --- beside the official cases -------------------------------------------------------------------


@pytest.mark.requirement("ExtendedTriggerMessage.conf:Rejected", "16.SEC.8", "key:CpoName")
@case()
async def test_without_the_operators_name_signing_is_refused(station: Octt) -> None:
    answer = await station.central.call("ExtendedTriggerMessage", {
        "requestedMessage": "SignChargePointCertificate"})
    assert answer == {"status": "Rejected"}

    answer = await station.central.call("ChangeConfiguration", {
        "key": "CpoName", "value": "Example"})
    assert answer == {"status": "Accepted"}
    accept_requests(station)
    csr = await csr_of(station)
    assert "O=Example" in x509.load_pem_x509_csr(csr.encode()).subject.rfc4514_string()


@pytest.mark.requirement("SignCertificate.conf:Rejected", "16.SEC.8")
@case(ocpp16=NAME)
async def test_a_request_that_is_refused_is_not_sent_again(station: Octt) -> None:
    from cpctl.demo.csms import Reply

    station.central.behave("SignCertificate", Reply({"status": "Rejected"}), for_ever=True)
    await csr_of(station)
    await station.advance(3600)
    assert len(station.calls("SignCertificate")) == 1


@pytest.mark.requirement("InstallCertificate.req", "InstallCertificate.conf:Rejected",
                         "16.SEC.12")
@case()
async def test_a_bad_root_is_rejected_and_told(station: Octt) -> None:
    assert await install(station, CSMS, "no certificate") == "Rejected"
    await station.until(lambda: security_events(station, "InvalidCentralSystemCertificate"), 60)


@pytest.mark.requirement("InstallCertificate.conf:Failed", "16.SEC.12", "M05.FR.04")
@case()
async def test_a_store_that_cannot_be_written_is_a_failure_of_ours(station: Octt) -> None:
    assert station.app is not None
    keys = station.app.certificates.path
    keys.rename(keys.with_name("elsewhere"))

    assert await install(station, CSMS, ROOT.pem) == "Failed"

    keys.with_name("elsewhere").rename(keys)
    assert await install(station, CSMS, ROOT.pem) == "Accepted"


@pytest.mark.requirement("CertificateSigned.req", "16.SEC.9")
@case()
async def test_a_chain_of_a_hundred_thousand_characters_is_no_message(station: Octt) -> None:
    from cpctl.demo.csms import CallFailed

    with pytest.raises(CallFailed):
        await station.central.call("CertificateSigned", {"certificateChain": "x" * 100_000})
    assert (await station.central.call("CertificateSigned", {"certificateChain": "x" * 10_000})
            ) == {"status": "Rejected"}


@pytest.mark.requirement("DeleteCertificate.conf:Failed", "16.SEC.14", "M04.FR.05", "M04.FR.06")
@mutual_case()
async def test_what_the_connection_stands_on_is_not_deleted(station: Octt) -> None:
    (told,) = (await installed(station, CSMS))["certificateHashData"]

    answer = await station.central.call("DeleteCertificate", {"certificateHashData": told})

    assert answer == {"status": "Failed"}
    assert (await installed(station, CSMS))["certificateHashData"] == [told]


@pytest.mark.requirement("16.SEC.8", "A00.FR.806")
@mutual_case()
async def test_while_pending_the_certificate_can_be_replaced(station: Octt) -> None:
    from cpctl.demo.csms import Reply

    accept_requests(station)
    station.central.behave("BootNotification", Reply({
        "status": "Pending", "currentTime": "2026-05-01T08:00:00Z", "interval": 300}),
        for_ever=True)
    await station.power_cut()
    await station.until(lambda: len(station.central.books.boots) >= 2, 600)

    csr = await csr_of(station)
    answer = await station.central.call("CertificateSigned", {
        "certificateChain": for_request(csr)})
    assert answer == {"status": "Accepted"}
