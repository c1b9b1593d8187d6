"""Roots: installed, refused, listed, deleted; and what the configuration brought along."""

from base64 import encodebytes
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from support import virtual_loop
from support.pki import Authority, new_key
from support.pki_certs import NOON, Station, named, span, write_client

from cpctl.core.events import (
    CertificateDeleteRequested,
    CertificateInstallRequested,
    CertificatesRequested,
)
from cpctl.core.jobs import CertificateHash, Certificates, CertificateUse
from cpctl.core.now import TimeQuality
from cpctl.core.values import Outcome, Reply
from cpctl.services.child import ChildFailed
from cpctl.store.certificates import Configured

CSMS, MAKER = CertificateUse.CSMS_ROOT, CertificateUse.MANUFACTURER_ROOT
ROOT = Authority("Root")
OTHER = Authority("Other root", kind="rsa")
DAYS = timedelta(days=1)


def run(folder: Path, story: Any, **how: Any) -> None:
    async def told() -> None:
        await story(await Station(folder / "keys", **how).open())

    virtual_loop.run(told())


async def install(station: Station, pem: str, use: CertificateUse = CSMS) -> Reply:
    return await station.request(CertificateInstallRequested, use, pem)


async def listed(station: Station, use: CertificateUse = CSMS) -> tuple[CertificateHash, ...]:
    reply = await station.request(CertificatesRequested, (use,))
    assert isinstance(reply.content, Certificates)
    assert (reply.outcome is Outcome.ACCEPTED) == bool(reply.content.found)
    return tuple(one for _, one in reply.content.found)


async def delete(station: Station, named: CertificateHash) -> Outcome:
    return (await station.request(CertificateDeleteRequested, named)).outcome


def hash_of(one: x509.Certificate, issuer: x509.Certificate, how: Any = None) -> CertificateHash:
    """By RFC 6960, from a second implementation's request."""
    asked = ocsp.OCSPRequestBuilder().add_certificate(one, issuer, how or hashes.SHA256()).build()
    word = "SHA256" if how is None else how.name.upper()
    return CertificateHash(word, asked.issuer_name_hash.hex(), asked.issuer_key_hash.hex(),
                           f"{asked.serial_number:x}")


def as_root(subject: str = "Bad root", *, key: Any = None, signer: Any = None,
            issuer: str | None = None, serial: int | None = None,
            ca: bool | None = True, usage: bool = True, critical: str = "",
            begins: datetime = NOON - 10 * DAYS, ends: datetime = NOON + 10 * DAYS) -> str:
    """A root with one thing different, in PEM."""
    key = key or new_key()
    builder = x509.CertificateBuilder(
        named(issuer or subject), named(subject), key.public_key(),
        serial or x509.random_serial_number(), begins.replace(tzinfo=None),
        ends.replace(tzinfo=None))
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(
        True, False, False, False, False, usage, usage, False, False), critical=True)
    if critical:
        builder = builder.add_extension(x509.UnrecognizedExtension(
            x509.ObjectIdentifier(critical), b"\x05\x00"), critical=True)
    by: Any = signer or key
    how = None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(by, how).public_bytes(Encoding.PEM).decode()


def armoured(der: bytes) -> str:
    return ("-----BEGIN CERTIFICATE-----\n" + encodebytes(der).decode()
            + "-----END CERTIFICATE-----\n")


def with_sha1() -> str:
    """A root that says of itself to be signed with SHA-1."""
    der = x509.load_pem_x509_certificate(as_root(key=new_key("rsa")).encode()).public_bytes(
        Encoding.DER)
    rsa = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01"
    return armoured(der.replace(rsa + b"\x0b", rsa + b"\x05"))


def with_serial(serial: int) -> str:
    """A root with that serial number put into it, and every length mended."""
    der = x509.load_pem_x509_certificate(as_root(serial=0x7F112233).encode()).public_bytes(
        Encoding.DER)
    old, new = bytes.fromhex("02047f112233"), serial.to_bytes(21, "big")
    at = der.index(old)
    grown = len(new) - 4

    def length(where: int) -> bytes:
        return (int.from_bytes(der[where:where + 2], "big") + grown).to_bytes(2, "big")

    return armoured(der[:2] + length(2) + der[4:6] + length(6) + der[8:at]
                    + bytes([2, len(new)]) + new + der[at + 6:])


def swapped_dates() -> str:
    """A root whose two dates have changed places."""
    der = x509.load_pem_x509_certificate(as_root().encode()).public_bytes(Encoding.DER)
    first, second = (f"{one:%y%m%d%H%M%S}Z".encode()
                     for one in (NOON - 10 * DAYS, NOON + 10 * DAYS))
    at, behind = der.index(first), der.index(second)
    between = der[at + len(first):behind]
    return armoured(der[:at] + second + between + first + der[behind + len(second):])


# --- install -------------------------------------------------------------------------------------


@pytest.mark.requirement("16.SEC.12", "M05.FR.01", "M05.FR.02")
@pytest.mark.parametrize("use", [CSMS, MAKER])
@pytest.mark.parametrize("root", [ROOT, OTHER], ids=["ec", "rsa"])
def test_a_root_is_installed_listed_and_trusted(
        tmp_path: Path, use: CertificateUse, root: Authority) -> None:
    async def story(station: Station) -> None:
        reply = await install(station, root.pem, use)

        assert reply.outcome is Outcome.ACCEPTED
        assert await listed(station, use) == (hash_of(root.certificate, root.certificate),)
        (file,) = station.store.trust_files(use)
        assert file.read_text() == root.pem
        assert len(station.told("ReconfigurationOfSecurityParameters")) == 1

        again = await Station(station.folder).open()
        assert again.store.trust_files(use) == (file,)

    run(tmp_path, story)


def test_the_same_root_twice_is_one_root(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await install(station, ROOT.pem)

        assert (await install(station, ROOT.pem)).outcome is Outcome.ACCEPTED
        assert len(await listed(station)) == 1
        assert len(station.told("ReconfigurationOfSecurityParameters")) == 1

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.12", "M05.FR.03", "key:CertificateStoreMaxLength")
def test_a_full_store_takes_no_more(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.settings = station.settings.with_text("security.store_max", "2")
        await install(station, ROOT.pem)
        await install(station, OTHER.pem, MAKER)

        reply = await install(station, Authority("Third").pem)

        assert (reply.outcome, reply.code) == (Outcome.REJECTED, "store_full")
        assert station.told("InvalidCentralSystemCertificate") == []
        assert len(station.store.state.roots) == 2

    run(tmp_path, story)


BAD_ROOTS = {
    "nothing": "", "garbage": "not a certificate", "not ascii": "ż" * 300 + "\0\u2028",
    "a request": "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n",
    "base64 of nothing": "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n",
    "cut in the middle": ROOT.pem[:300] + "\n-----END CERTIFICATE-----\n",
    "never ends": ROOT.pem[:300],
    "two certificates": ROOT.pem + OTHER.pem,
    "a thousand beginnings": "-----BEGIN CERTIFICATE-----\n" * 1000,
    "a private key beside it": ROOT.pem + ROOT.key_pem,
    "no authority": ROOT.server("csms.example").pem,
    "says it is none": as_root(ca=False), "does not say": as_root(ca=None),
    "may not sign": as_root(usage=False),
    "an expired one": Authority("Old", valid=span(NOON - 900 * DAYS, 800)).pem,
    "a short RSA key": Authority("Short", kind="rsa1024").pem,
    "a short curve": as_root(key=ec.generate_private_key(ec.SECP192R1())),
    "a DSA key": as_root(key=dsa.generate_private_key(2048)),
    "SHA-1": with_sha1(),
    "a wrong signature": as_root(signer=new_key()),
    "ends before it begins": swapped_dates(),
    "a serial number of 21 bytes": with_serial(0x7F << 160 | 1),
    "something else beside it": ROOT.pem + ROOT.pem.replace("CERTIFICATE", "X509 CRL"),
    "a critical extension nobody knows": as_root(critical="1.3.6.1.4.1.55555.1"),
}


@pytest.mark.requirement("16.SEC.12", "M05.FR.06", "A00.FR.501", "A00.FR.502", "A00.FR.503",
                         "A00.FR.504")
@pytest.mark.parametrize("pem", BAD_ROOTS.values(), ids=BAD_ROOTS)
def test_a_bad_root_is_rejected_and_told(tmp_path: Path, pem: str) -> None:
    async def story(station: Station) -> None:
        reply = await install(station, pem)

        assert (reply.outcome, reply.code) == (Outcome.REJECTED, "invalid_certificate")
        assert reply.hint
        (text,) = station.told("InvalidCentralSystemCertificate")
        assert reply.hint in text
        assert await listed(station) == ()
        assert station.store.trust_files(CSMS) == ()

    run(tmp_path, story)


def test_der_in_the_place_of_pem_is_rejected(tmp_path: Path) -> None:
    der = ROOT.certificate.public_bytes(Encoding.DER).decode("latin-1")

    async def story(station: Station) -> None:
        assert (await install(station, der)).outcome is Outcome.REJECTED

    run(tmp_path, story)


def test_a_negative_serial_number_is_rejected(tmp_path: Path) -> None:
    """The positive number of a sound certificate, with the sign bit set where it stands."""
    serial = 0x7F11223344556677889900AABBCCDDEE
    pem = as_root(serial=serial)
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    at = der.index(serial.to_bytes(16, "big"))
    spoiled = der[:at] + b"\xff" + der[at + 1:]
    text = armoured(spoiled)

    async def story(station: Station) -> None:
        reply = await install(station, text)
        assert reply.outcome is Outcome.REJECTED
        assert "serial number" in reply.hint

    run(tmp_path, story)


def test_a_rejected_root_of_the_maker_is_no_event_of_the_central_system(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        assert (await install(station, "garbage", MAKER)).outcome is Outcome.REJECTED
        assert station.events == []

    run(tmp_path, story)


def test_while_the_clock_is_not_trusted_dates_are_no_reason(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.clock.quality = TimeQuality.FLOOR
        reply = await install(station, BAD_ROOTS["an expired one"])
        assert reply.outcome is Outcome.ACCEPTED

    run(tmp_path, story)


@pytest.mark.requirement("A00.FR.502", "A00.FR.503")
@pytest.mark.parametrize("key", [
    ec.generate_private_key(ec.SECP224R1()), ed25519.Ed25519PrivateKey.generate()],
    ids=["224 bits", "ed25519"])
def test_the_smallest_and_the_newest_curves_are_taken(tmp_path: Path, key: Any) -> None:
    async def story(station: Station) -> None:
        assert (await install(station, as_root(key=key))).outcome is Outcome.ACCEPTED

    run(tmp_path, story)


@pytest.mark.requirement("A00.FR.504")
def test_a_signature_that_is_not_secure_is_named(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        assert "sha1" in (await install(station, with_sha1())).hint

    run(tmp_path, story)


@pytest.mark.parametrize("serial", [1, 0x7F << 152])
def test_serial_numbers_from_one_to_twenty_bytes_are_taken(tmp_path: Path, serial: int) -> None:
    async def story(station: Station) -> None:
        assert (await install(station, as_root(serial=serial))).outcome is Outcome.ACCEPTED
        (told,) = await listed(station)
        assert told.serial == f"{serial:x}"

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.12", "M05.FR.04")
@pytest.mark.parametrize("trouble", [ChildFailed("timeout", "no end"), ChildFailed("died", "")])
def test_what_fails_for_another_reason_says_failed(tmp_path: Path, trouble: Exception) -> None:
    async def story(station: Station) -> None:
        station.children.fails = trouble
        assert (await install(station, ROOT.pem)).outcome is Outcome.FAILED
        station.children.fails = None
        assert (await install(station, ROOT.pem)).outcome is Outcome.ACCEPTED

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.12", "M05.FR.04")
def test_a_store_that_cannot_be_written_says_failed(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.folder.rename(station.folder.with_name("elsewhere"))

        assert (await install(station, ROOT.pem)).outcome is Outcome.FAILED
        assert station.store.trust_files(CSMS) == ()

    run(tmp_path, story)


# --- the additional check ------------------------------------------------------------------------


def checked(station: Station) -> Station:
    station.settings = station.settings.with_text("security.additional_root_check", "true")
    return station


def successor(old: Authority, name: str = "New root") -> Authority:
    return Authority(name, issuer=old)


def connect(station: Station, root: Authority) -> None:
    """A connection stands, verified up to `root`."""
    station.store.connected((b"the server's", root.certificate.public_bytes(Encoding.DER)))


def trusted(station: Station) -> list[list[str]]:
    return [[one.read_text() for one in each] for each in station.store.trust_sets()]


@pytest.mark.requirement("16.SEC.13", "M05.FR.08", "M05.FR.09", "M05.FR.11", "M05.FR.12",
                         "key:AdditionalRootCertificateCheck")
def test_a_new_root_signed_by_the_old_one_replaces_it_once_it_has_worked(tmp_path: Path) -> None:
    new = successor(ROOT)

    async def story(station: Station) -> None:
        await install(checked(station), ROOT.pem)
        connect(station, ROOT)
        await station.settled()

        assert (await install(station, new.pem)).outcome is Outcome.ACCEPTED
        assert trusted(station) == [[new.pem], [ROOT.pem]]

        connect(station, ROOT)  # the server still shows what the old one verifies
        await station.settled()
        assert trusted(station) == [[new.pem], [ROOT.pem]]

        connect(station, new)
        await station.settled()
        assert trusted(station) == [[new.pem]]
        assert len(await listed(station)) == 1

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.13", "M05.FR.10")
def test_a_new_root_that_the_old_one_has_not_signed_is_rejected(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await install(checked(station), ROOT.pem)

        for stranger in (OTHER, successor(OTHER), Authority("Root")):
            reply = await install(station, stranger.pem)
            assert reply.outcome is Outcome.REJECTED
        assert trusted(station) == [[ROOT.pem]]
        assert len(station.told("InvalidCentralSystemCertificate")) == 3

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.13", "M05.FR.08")
def test_there_is_one_fallback_at_most_and_it_is_the_one_that_works(tmp_path: Path) -> None:
    second = successor(ROOT, "Second")
    third = successor(second, "Third")

    async def story(station: Station) -> None:
        await install(checked(station), ROOT.pem)
        connect(station, ROOT)
        await station.settled()
        await install(station, second.pem)

        assert (await install(station, third.pem)).outcome is Outcome.ACCEPTED
        assert trusted(station) == [[third.pem], [ROOT.pem]]

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.13")
def test_the_check_is_for_roots_of_the_central_system_only(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await install(checked(station), ROOT.pem, MAKER)
        assert (await install(station, OTHER.pem, MAKER)).outcome is Outcome.ACCEPTED
        assert (await install(station, OTHER.pem)).outcome is Outcome.ACCEPTED  # the first

    run(tmp_path, story)


def test_without_the_check_several_roots_are_trusted_side_by_side(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await install(station, ROOT.pem)
        await install(station, OTHER.pem)
        (one,) = trusted(station)
        assert sorted(one) == sorted([ROOT.pem, OTHER.pem])

    run(tmp_path, story)


# --- list and delete -----------------------------------------------------------------------------


@pytest.mark.requirement("16.SEC.15", "M03.FR.01", "M03.FR.02", "M03.FR.03", "M03.FR.04")
def test_the_list_tells_hashes_by_the_rules_of_ocsp(tmp_path: Path) -> None:
    low = as_root("Low serial", serial=0xFFF)
    new = successor(ROOT)

    async def story(station: Station) -> None:
        assert await listed(station) == ()
        await install(station, ROOT.pem)
        await install(station, low)
        await install(station, new.pem)

        told = await listed(station)

        assert told[0] == hash_of(ROOT.certificate, ROOT.certificate)
        assert told[1].serial == "fff"
        assert told[2] == hash_of(new.certificate, ROOT.certificate)  # signed by another
        assert await listed(station, MAKER) == ()

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.14", "M04.FR.01", "M04.FR.02", "M04.FR.04", "M04.FR.07")
@pytest.mark.parametrize("how", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()],
                         ids=lambda how: how.name)
def test_a_root_is_deleted_by_any_of_the_hashes(tmp_path: Path, how: Any) -> None:
    asked = hash_of(ROOT.certificate, ROOT.certificate, how)

    async def story(station: Station) -> None:
        await install(station, ROOT.pem)
        await install(station, OTHER.pem)

        assert await delete(station, asked) is Outcome.ACCEPTED
        assert await delete(station, asked) is Outcome.NOT_FOUND
        assert trusted(station) == [[OTHER.pem]]
        assert len(list(station.folder.glob("csms-root-*"))) == 1
        assert len(station.told("ReconfigurationOfSecurityParameters")) == 3

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.14")
def test_a_hash_by_the_certificates_own_key_names_a_cross_signed_root_too(tmp_path: Path) -> None:
    """Some central systems know no other certificate when they ask."""
    new = successor(ROOT)

    async def story(station: Station) -> None:
        await install(station, ROOT.pem)
        await install(station, new.pem)
        (_, proper) = await listed(station)
        own_key = hash_of(new.certificate, new.certificate).issuer_key

        assert await delete(station, replace(proper, issuer_key=own_key)) is Outcome.ACCEPTED

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.14", "M04.FR.03", "M04.FR.06")
def test_the_root_that_the_connection_stands_on_is_not_deleted(tmp_path: Path) -> None:
    asked = hash_of(ROOT.certificate, ROOT.certificate)

    async def story(station: Station) -> None:
        await install(station, ROOT.pem)
        connect(station, ROOT)

        assert await delete(station, asked) is Outcome.FAILED
        assert trusted(station) == [[ROOT.pem]]

        station.store.disconnected()
        assert await delete(station, asked) is Outcome.ACCEPTED

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.14", "M04.FR.05")
def test_the_stations_own_certificate_is_not_deleted(tmp_path: Path) -> None:
    files = write_client(ROOT, tmp_path, valid=span(NOON - 10 * DAYS, 365))
    certificate = x509.load_pem_x509_certificate(files[0].read_bytes())

    async def story(station: Station) -> None:
        asked = hash_of(certificate, ROOT.certificate)
        # the root is not there: what the station knows is the hash by the certificate's own key
        own = replace(asked, issuer_key=hash_of(certificate, certificate).issuer_key)
        assert await delete(station, own) is Outcome.FAILED
        await install(station, ROOT.pem)
        assert await delete(station, own) is Outcome.FAILED
        assert len(station.store.client_credentials()) == 1

    run(tmp_path, story, configured=Configured(client=files))


# --- what the configuration brings along ---------------------------------------------------------


def test_roots_of_the_configuration_are_taken_over_once(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("# our roots\n" + ROOT.pem + OTHER.pem)
    named_there = Configured((bundle,), ())

    async def story(station: Station) -> None:
        assert len(await listed(station)) == 2
        asked = hash_of(ROOT.certificate, ROOT.certificate)
        assert await delete(station, asked) is Outcome.ACCEPTED

        again = await Station(station.folder, configured=named_there).open()
        assert len(await listed(again)) == 1
        assert again.children.orders == []

    run(tmp_path, story, configured=named_there)


def test_a_large_bundle_is_used_from_its_place(tmp_path: Path) -> None:
    bundle = tmp_path / "all.pem"
    bundle.write_text(ROOT.pem * 21)

    async def story(station: Station) -> None:
        assert await listed(station) == ()
        assert station.store.trust_files(CSMS) == (bundle,)
        assert station.children.orders == []

        reply = await install(checked(station), OTHER.pem)
        assert (reply.outcome, reply.code) == (Outcome.FAILED, "not_in_store")

    run(tmp_path, story, configured=Configured((bundle,)))


@pytest.mark.parametrize("content", ["", "garbage", ROOT.pem[:200]])
def test_a_file_that_cannot_be_taken_over_is_told_and_left(
        tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text(content)

    async def story(station: Station) -> None:
        assert await listed(station) == ()
        assert station.store.trust_files(CSMS) == (bundle,)
        assert "not taken into the certificate store" in caplog.text

    run(tmp_path, story, configured=Configured((bundle,)))


def test_certificate_and_key_of_the_configuration_are_taken_over(tmp_path: Path) -> None:
    files = write_client(ROOT, tmp_path, valid=span(NOON - 10 * DAYS, 365))

    async def story(station: Station) -> None:
        await listed(station)

        (one,) = station.store.client_credentials()
        assert one.cert.parent == one.key.parent == station.folder
        assert abs(one.not_before - (NOON - 10 * DAYS)) < timedelta(minutes=5)
        assert one.key.stat().st_mode & 0o777 == 0o600

    run(tmp_path, story, configured=Configured(client=files))


def test_a_key_that_is_another_ones_is_not_taken_over(tmp_path: Path) -> None:
    certificate, _ = write_client(ROOT, tmp_path, valid=span(NOON - 10 * DAYS, 365))
    _, key = write_client(ROOT, tmp_path, valid=span(NOON, 365), name="other")

    async def story(station: Station) -> None:
        await listed(station)
        assert [one.cert for one in station.store.client_credentials()] == [certificate]

    run(tmp_path, story, configured=Configured(client=(certificate, key)))


def test_after_the_index_was_lost_everything_is_found_again(tmp_path: Path) -> None:
    files = write_client(ROOT, tmp_path, valid=span(NOON - 10 * DAYS, 365))

    async def story(station: Station) -> None:
        await install(station, ROOT.pem)
        await install(station, OTHER.pem, MAKER)
        before = station.store.state
        (station.folder / "index.json").write_text("damaged")
        (station.folder / "csms-root-0000000000000000.pem").write_text("nonsense")

        again = await Station(station.folder).open()
        assert again.store.rebuilt
        assert len(await listed(again)) == 1

        after = again.store.state
        assert {one.file for one in after.certificates} == {
            one.file for one in before.certificates}
        assert {(one.subject, one.not_after, one.key) for one in after.certificates} == {
            (one.subject, one.not_after, one.key) for one in before.certificates}
        assert after.pending == ()

    run(tmp_path, story, configured=Configured(client=files))


def test_moments_before_1970_are_no_trouble(tmp_path: Path) -> None:
    old = as_root(begins=datetime(1960, 1, 1, tzinfo=UTC))

    async def story(station: Station) -> None:
        assert (await install(station, old)).outcome is Outcome.ACCEPTED

    run(tmp_path, story)
