"""The station's own certificate: asked for, checked, shown from its first moment on, renewed."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support import virtual_loop
from support.pki import Authority, Credential, new_key
from support.pki_certs import NOON, SERIAL, Station, named, span, write_client

from cpctl.core.events import CertificateInstallRequested, CertificateSignedRequested
from cpctl.core.jobs import CertificateUse
from cpctl.core.now import TimeQuality
from cpctl.core.values import Origin, Outcome, Reply, RequestId
from cpctl.services.certificate_plan import MONTH, renew_from
from cpctl.services.child import ChildFailed
from cpctl.store.certificates import Configured

ROOT = Authority("Root")
STRANGER = Authority("Stranger")
DAY = timedelta(days=1)
YEAR = span(NOON - DAY, 365)


def run(folder: Path, story: Any, **how: Any) -> None:
    """A story of a station that trusts ROOT."""
    async def told() -> None:
        station = await Station(folder / "keys", **how).open()
        await station.request(CertificateInstallRequested, CertificateUse.CSMS_ROOT, ROOT.pem)
        station.events.clear()
        await story(station)

    virtual_loop.run(told())


async def signed(station: Station, pem: str) -> Reply:
    return await station.request(CertificateSignedRequested, pem)


async def requested(station: Station) -> x509.CertificateSigningRequest:
    csr = await station.sign()
    assert csr is not None
    return x509.load_pem_x509_csr(csr.encode())


def shown(station: Station) -> list[str]:
    """The certificates that the station would show, by their serial numbers."""
    found = [x509.load_pem_x509_certificate(one.cert.read_bytes())
             for one in station.store.client_credentials()]
    return [f"{one.serial_number:x}" for one in found]


def serial_of(pem: str) -> str:
    return f"{x509.load_pem_x509_certificate(pem.encode()).serial_number:x}"


# --- asking --------------------------------------------------------------------------------------


@pytest.mark.requirement("16.SEC.8", "A02.FR.02", "A02.FR.03", "A02.FR.13", "key:CpoName")
def test_the_request_names_serial_number_and_operator(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.settings = station.settings.with_text("security.cpo_name", "Öko & Söhne, Strom")

        csr = await requested(station)

        def value(oid: Any) -> list[Any]:
            return [one.value for one in csr.subject.get_attributes_for_oid(oid)]

        assert value(NameOID.COMMON_NAME) == [SERIAL]
        assert value(NameOID.ORGANIZATION_NAME) == ["Öko & Söhne, Strom"]
        assert csr.is_signature_valid
        assert isinstance(csr.public_key(), ec.EllipticCurvePublicKey)
        assert csr.public_key().curve.name == "secp256r1"

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.8", "A00.FR.502")
@pytest.mark.parametrize(("kind", "bits"), [("ec_p384", 384), ("rsa_2048", 2048),
                                            ("rsa_3072", 3072)])
def test_the_kind_of_key_is_a_setting(tmp_path: Path, kind: str, bits: int) -> None:
    async def story(station: Station) -> None:
        station.settings = station.settings.with_text("security.key_type", kind)

        csr = await requested(station)

        assert isinstance(csr.public_key(), rsa.RSAPublicKey) == kind.startswith("rsa")
        assert csr.public_key().key_size == bits  # type: ignore[union-attr]
        assert csr.signature_hash_algorithm is not None
        assert csr.signature_hash_algorithm.name in ("sha256", "sha384")

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.8", "A02.FR.05")
def test_the_private_key_is_in_its_file_and_nowhere_else(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(station: Station) -> None:
        await requested(station)

        (key,) = station.folder.glob("key-*.pem")
        secret = key.read_text()
        assert "PRIVATE KEY" in secret
        assert key.stat().st_mode & 0o777 == 0o600
        others = [one.read_text() for one in station.folder.iterdir() if one != key]
        seen = [*others, caplog.text, *map(str, station.events), *map(str, station.asked)]
        inner = secret.splitlines()[1]
        assert not any(inner in one or "PRIVATE" in one for one in seen)

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.8", "key:CpoName")
def test_without_the_operators_name_nothing_is_asked(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.settings = station.settings.with_text("security.cpo_name", "")

        assert await station.sign() is None
        assert list(station.folder.glob("key-*")) == []

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.8", "A02.FR.02")
def test_each_time_it_is_asked_for_a_new_key_is_made_and_two_are_kept(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        numbers = {(await requested(station)).public_bytes(Encoding.PEM) for _ in range(4)}

        assert len(numbers) == 4
        assert len(list(station.folder.glob("key-*"))) == 2

    run(tmp_path, story)


def test_a_request_that_was_not_heard_is_sent_again_one_that_was_refused_is_not(
        tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.answers = [None, None, True]
        await station.sign()
        assert len(station.asked) == 3
        assert len({one.csr for one in station.asked}) == 1

        station.answers = [False]
        await station.sign()
        assert len(station.asked) == 4

    run(tmp_path, story)


def test_a_child_that_dies_costs_the_request_and_no_more(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.children.fails = ChildFailed("died", "ended without a word")
        assert await station.sign() is None
        station.children.fails = None
        assert await station.sign() is not None

    run(tmp_path, story)


# --- checking ------------------------------------------------------------------------------------


@pytest.mark.requirement("16.SEC.9", "A02.FR.06")
@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_certificate_for_our_key_is_taken_with_its_chain(
        tmp_path: Path, kind: str, depth: int) -> None:
    authority = ROOT
    for level in range(depth):
        authority = authority.intermediate(f"Level {level}", kind=kind)

    async def story(station: Station) -> None:
        chain = authority.for_request((await requested(station)).public_bytes(
            Encoding.PEM).decode(), valid=YEAR)

        reply = await signed(station, chain)

        assert reply.outcome is Outcome.ACCEPTED, reply
        (one,) = station.store.client_credentials()
        assert one.cert.read_text() == chain
        assert one.key in station.folder.glob("key-*.pem")
        assert station.store.state.pending == ()
        assert len(station.told("ReconfigurationOfSecurityParameters")) == 1

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.9")
def test_a_chain_in_the_wrong_order_with_the_root_in_it_is_put_right(tmp_path: Path) -> None:
    first = ROOT.intermediate("First")
    second = first.intermediate("Second")

    async def story(station: Station) -> None:
        csr = (await requested(station)).public_bytes(Encoding.PEM).decode()
        chain = second.for_request(csr, valid=YEAR)
        leaf = chain[:chain.index("-----BEGIN", 10)]

        reply = await signed(station, ROOT.pem + first.pem + leaf + second.pem)

        assert reply.outcome is Outcome.ACCEPTED
        (one,) = station.store.client_credentials()
        assert one.cert.read_text() == chain

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.9")
def test_ten_certificates_are_not_too_many(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        pem = issued(await requested(station))
        station.settings = station.settings.with_text("security.chain_max", "10000")
        assert (await signed(station, pem * 10)).outcome is Outcome.ACCEPTED

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.9")
def test_the_same_again_is_accepted_again(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        csr = (await requested(station)).public_bytes(Encoding.PEM).decode()
        chain = ROOT.for_request(csr, valid=YEAR)
        await signed(station, chain)

        assert (await signed(station, chain)).outcome is Outcome.ACCEPTED
        assert len(station.store.client_credentials()) == 1
        other = ROOT.for_request(csr, valid=YEAR)  # of a key whose certificate has come already
        assert (await signed(station, other)).outcome is Outcome.REJECTED

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.9")
def test_an_answer_to_the_request_before_the_last_is_taken(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        csr = (await requested(station)).public_bytes(Encoding.PEM).decode()
        await requested(station)

        assert (await signed(station, ROOT.for_request(csr, valid=YEAR))
                ).outcome is Outcome.ACCEPTED

    run(tmp_path, story)


def issued(csr: x509.CertificateSigningRequest, *, subject: x509.Name | None = None,
           authority: Credential = ROOT, days: tuple[datetime, datetime] | None = None,
           key: Any = None, ca: bool = False, purposes: Any = (ExtendedKeyUsageOID.CLIENT_AUTH,),
           signature: bool = True, critical: str = "") -> str:
    """A certificate for `csr` with something different, in PEM."""
    begins, ends = days or (NOON - DAY, NOON + 300 * DAY)
    builder = x509.CertificateBuilder(
        authority.certificate.subject, subject or csr.subject, key or csr.public_key(),
        x509.random_serial_number(), begins.replace(tzinfo=None), ends.replace(tzinfo=None))
    builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(
        signature, False, True, False, False, ca, False, False, False), critical=True)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
    if critical:
        builder = builder.add_extension(x509.UnrecognizedExtension(
            x509.ObjectIdentifier(critical), b"\x05\x00"), critical=True)
    made = builder.sign(authority.key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def no_organization() -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERIAL)])


def level(name: str, issuer: Credential, *, most_below: int | None = None, key: Any = None,
          critical: bool = False) -> Credential:
    """An authority that allows so many others between itself and a certificate."""
    key = key or new_key()
    builder = x509.CertificateBuilder(
        issuer.certificate.subject, named(name), key.public_key(), x509.random_serial_number(),
        (NOON - DAY).replace(tzinfo=None), (NOON + 900 * DAY).replace(tzinfo=None))
    builder = builder.add_extension(x509.BasicConstraints(True, most_below), critical=True)
    if critical:
        builder = builder.add_extension(x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.3.6.1.4.1.55555.3"), b"\x05\x00"), critical=True)
    return Credential(builder.sign(issuer.key, hashes.SHA256()), key)


@pytest.mark.requirement("16.SEC.9")
def test_a_way_that_leads_nowhere_is_left_for_one_that_leads_to_the_root(tmp_path: Path) -> None:
    """The same authority, certified by a stranger and by the root."""
    ours = level("Department", ROOT)
    theirs = level("Department", STRANGER, key=ours.key)

    async def story(station: Station) -> None:
        leaf = issued(await requested(station), authority=ours)
        reply = await signed(station, leaf + theirs.pem + STRANGER.pem + ours.pem)
        assert reply.outcome is Outcome.ACCEPTED, reply
        (one,) = station.store.client_credentials()
        assert one.cert.read_text() == leaf + ours.pem

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.9", "A02.FR.06")
@pytest.mark.parametrize(("most_below", "outcome"), [
    (0, Outcome.REJECTED), (1, Outcome.ACCEPTED), (None, Outcome.ACCEPTED)])
def test_an_authority_is_held_to_the_length_it_allows(
        tmp_path: Path, most_below: int | None, outcome: Outcome) -> None:
    first = level("First", ROOT, most_below=most_below)
    second = level("Second", first, most_below=0)

    async def story(station: Station) -> None:
        chain = issued(await requested(station), authority=second) + second.pem + first.pem
        assert (await signed(station, chain)).outcome is outcome

    run(tmp_path, story)


OLD_LEVEL = ROOT.intermediate("Old level", valid=span(NOON - 900 * DAY, 800))
FUTURE_LEVEL = ROOT.intermediate("Future level", valid=span(NOON + 500 * DAY, 800))
WEAK_LEVEL = ROOT.intermediate("Weak level", kind="rsa1024")
CRITICAL_LEVEL = level("Critical level", ROOT, critical=True)
NOT_AN_AUTHORITY = ROOT.server("csms.example", valid=YEAR)
BAD_CHAINS: dict[str, Callable[[x509.CertificateSigningRequest], str]] = {
    "nothing": lambda csr: "",
    "garbage": lambda csr: "garbage",
    "not ascii": lambda csr: "Zertifikat ż " * 30,
    "the request itself": lambda csr: csr.public_bytes(Encoding.PEM).decode(),
    "der": lambda csr: x509.load_pem_x509_certificate(issued(csr).encode()).public_bytes(
        Encoding.DER).decode("latin-1"),
    "for another key": lambda csr: issued(csr, key=new_key().public_key()),
    "the roots alone": lambda csr: ROOT.pem,
    "expired": lambda csr: issued(csr, days=(NOON - 300 * DAY, NOON - DAY)),
    "ends now": lambda csr: issued(csr, days=(NOON - 300 * DAY, NOON)),
    "of another serial number": lambda csr: issued(csr, subject=named("PP2-0002")),
    "without an organization": lambda csr: issued(csr, subject=no_organization()),
    "of an authority": lambda csr: issued(csr, ca=True),
    "for servers only": lambda csr: issued(csr, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
    "not for signatures": lambda csr: issued(csr, signature=False),
    "with an unknown critical extension": lambda csr: issued(csr, critical="1.3.6.1.4.1.55555.2"),
    "by a stranger": lambda csr: STRANGER.for_request(
        csr.public_bytes(Encoding.PEM).decode(), valid=YEAR),
    "by a stranger who is brought along": lambda csr: issued(
        csr, authority=STRANGER) + STRANGER.pem,
    "by an authority whose certificate is missing": lambda csr: issued(
        csr, authority=ROOT.intermediate("Missing")),
    "by one that has expired": lambda csr: issued(csr, authority=OLD_LEVEL) + OLD_LEVEL.pem,
    "by one that is not valid yet": lambda csr: issued(
        csr, authority=FUTURE_LEVEL) + FUTURE_LEVEL.pem,
    "by one with a weak key": lambda csr: issued(csr, authority=WEAK_LEVEL) + WEAK_LEVEL.pem,
    "by one with an unknown critical extension": lambda csr: issued(
        csr, authority=CRITICAL_LEVEL) + CRITICAL_LEVEL.pem,
    "by one that is no authority": lambda csr: issued(
        csr, authority=NOT_AN_AUTHORITY) + NOT_AN_AUTHORITY.pem,
    "eleven certificates": lambda csr: issued(csr) * 11,
    "a private key in it": lambda csr: issued(csr) + ROOT.key_pem,
    "too long a chain": lambda csr: issued(csr) + "\n" * 10_000,
}


@pytest.mark.requirement("16.SEC.9", "A02.FR.06", "A02.FR.07", "A00.FR.509", "A00.FR.511",
                         "A00.FR.512")
@pytest.mark.parametrize("made", BAD_CHAINS.values(), ids=BAD_CHAINS)
def test_a_bad_certificate_is_rejected_dropped_and_told(
        tmp_path: Path, made: Callable[[x509.CertificateSigningRequest], str]) -> None:
    async def story(station: Station) -> None:
        csr = await requested(station)

        reply = await signed(station, made(csr))

        assert reply.outcome is Outcome.REJECTED
        (text,) = station.told("InvalidChargePointCertificate")
        assert reply.hint in text
        assert station.store.client_credentials() == ()
        assert list(station.folder.glob("station-*")) == []
        good = await signed(station, issued(csr))  # the request still waits
        assert good.outcome is Outcome.ACCEPTED, good

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.9", "key:CertificateSignedMaxChainSize")
def test_a_chain_longer_than_the_setting_allows_is_rejected_unread(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.settings = station.settings.with_text("security.chain_max", "1000")
        csr = await requested(station)
        station.children.orders.clear()

        assert (await signed(station, issued(csr) + "\n" * 1000)).outcome is Outcome.REJECTED
        assert station.children.orders == []
        assert len(issued(csr)) < 1000
        assert (await signed(station, issued(csr))).outcome is Outcome.ACCEPTED

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.9")
def test_a_certificate_that_nobody_asked_for_is_rejected(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        assert (await signed(station, ROOT.client(SERIAL, valid=YEAR).pem)
                ).outcome is Outcome.REJECTED
        assert len(station.told("InvalidChargePointCertificate")) == 1

    run(tmp_path, story)


def test_without_a_root_no_certificate_can_be_checked(tmp_path: Path) -> None:
    async def told() -> None:
        station = await Station(tmp_path / "keys").open()
        reply = await signed(station, issued(await requested(station)))
        assert reply.outcome is Outcome.REJECTED
        assert "no root" in reply.hint

    virtual_loop.run(told())


def test_while_the_clock_is_not_trusted_an_old_certificate_is_no_reason_to_refuse(
        tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.clock.quality = TimeQuality.FLOOR
        csr = await requested(station)
        assert (await signed(station, issued(csr, days=(NOON - 300 * DAY, NOON - DAY)))
                ).outcome is Outcome.ACCEPTED

    run(tmp_path, story)


def test_a_request_waits_over_a_restart(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        csr = await requested(station)

        again = await Station(station.folder).open()
        assert (await signed(again, issued(csr))).outcome is Outcome.ACCEPTED

    run(tmp_path, story)


def test_a_request_waits_even_when_the_index_is_lost(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        csr = await requested(station)
        (station.folder / "index.json").unlink()

        again = await Station(station.folder).open()
        assert (await signed(again, issued(csr))).outcome is Outcome.ACCEPTED

    run(tmp_path, story)


# --- what time asks for --------------------------------------------------------------------------


async def at(station: Station, moment: datetime) -> None:
    """The service looks at the clock at a moment."""
    station.clock.utc = moment
    task = asyncio.get_running_loop().create_task(station.service.run())
    await asyncio.sleep(10)
    await station.settled()
    task.cancel()
    await asyncio.wait([task])


async def with_certificate(station: Station, begins: datetime, days: int) -> str:
    """A certificate of those dates is taken; its serial number."""
    csr = await requested(station)
    chain = issued(csr, days=(begins, begins + days * DAY))
    assert (await signed(station, chain)).outcome is Outcome.ACCEPTED
    station.asked.clear()
    return serial_of(chain)


@pytest.mark.requirement("16.SEC.9", "A02.FR.08")
def test_the_station_connects_anew_when_the_new_certificate_begins(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        old = await with_certificate(station, NOON - 10 * DAY, 300)
        await at(station, NOON)
        station.reconnects.clear()
        new = await with_certificate(station, NOON + 5 * DAY, 300)

        await at(station, NOON + 4 * DAY)
        assert station.reconnects == []
        assert shown(station) == [old]

        await at(station, NOON + 5 * DAY)
        assert len(station.reconnects) == 1
        assert shown(station) == [new, old]

        await at(station, NOON + 6 * DAY)
        assert len(station.reconnects) == 1

    run(tmp_path, story)


def test_without_a_profile_that_shows_certificates_nothing_connects_anew(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.shows = False
        await at(station, NOON)
        await with_certificate(station, NOON - DAY, 300)
        await at(station, NOON + DAY)
        assert station.reconnects == []

    run(tmp_path, story)


def test_a_connection_that_shows_the_new_one_already_stands(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await at(station, NOON)
        await with_certificate(station, NOON - DAY, 300)
        (one,) = station.store.client_credentials()
        station.store.connected((), one.cert)
        await at(station, NOON)
        assert station.reconnects == []

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.11", "A03.FR.02", "A03.FR.03", "A03.FR.13", "SignCertificate.req")
def test_a_month_before_the_end_a_new_one_is_asked_for(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - DAY, 365)
        end = NOON + 364 * DAY

        await at(station, end - MONTH - DAY)
        assert station.asked == []

        await at(station, end - MONTH)
        (asked,) = station.asked
        csr = x509.load_pem_x509_csr(asked.csr.encode())
        assert csr.subject.rfc4514_string() in (f"O=Example,CN={SERIAL}",
                                                f"CN={SERIAL},O=Example")
        reply = await signed(station, issued(csr, days=(end - MONTH, end + 300 * DAY)))
        assert reply.outcome is Outcome.ACCEPTED

        await at(station, end - DAY)
        assert len(station.asked) == 1

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.11")
def test_after_a_long_time_without_power_it_is_renewed_though_it_has_ended(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - DAY, 100)

        await at(station, NOON + 300 * DAY)

        assert len(station.asked) == 1

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.11")
def test_a_certificate_of_a_short_life_is_renewed_in_its_last_third(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await with_certificate(station, NOON, 9)
        await at(station, NOON + 5 * DAY)
        assert station.asked == []
        await at(station, NOON + 6 * DAY)
        assert len(station.asked) == 1

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.11")
def test_while_the_clock_is_not_trusted_nothing_is_renewed(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - DAY, 100)
        station.clock.quality = TimeQuality.FLOOR
        await at(station, NOON + 300 * DAY)
        assert station.asked == []
        station.clock.quality = TimeQuality.CSMS
        await at(station, NOON + 300 * DAY)
        assert len(station.asked) == 1

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.11")
def test_a_renewal_that_is_refused_is_tried_again_later_and_later(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - DAY, 365)
        moment = NOON + 364 * DAY - MONTH
        station.answers = [False, None, False, False, False, False, False, False]
        tries: list[float] = []
        for hour in range(24 * 5):
            before = len(station.asked)
            await at(station, moment + timedelta(hours=hour))
            if len(station.asked) > before:
                tries.append(hour)

        assert tries == [0, 1, 3, 7, 15, 31, 55, 79, 103]
        assert len({one.csr for one in station.asked}) == 1

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.11")
def test_a_renewal_that_was_accepted_waits_for_days_before_it_is_repeated(tmp_path: Path) -> None:
    """A02, remarks: not within minutes or hours."""
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - DAY, 365)
        moment = NOON + 364 * DAY - MONTH
        tries: list[int] = []
        for day in range(25):
            before = len(station.asked)
            await at(station, moment + day * DAY)
            if len(station.asked) > before:
                tries.append(day)

        assert tries == [0, 1, 3, 7, 14, 21]

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.11")
def test_a_renewal_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - DAY, 365)
        moment = NOON + 364 * DAY - MONTH
        await at(station, moment)

        again = await Station(station.folder).open()
        await at(again, moment + DAY / 2)
        assert again.asked == []
        await at(again, moment + DAY)
        assert [one.csr for one in again.asked] == [one.csr for one in station.asked]

    run(tmp_path, story)


def test_offline_a_renewal_waits_for_the_link(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - DAY, 365)
        station.online = False
        station.clock.utc = NOON + 350 * DAY
        task = asyncio.get_running_loop().create_task(station.service.run())
        await asyncio.sleep(100)
        assert station.asked == []

        station.online = True
        station.service.look()
        await asyncio.sleep(1)

        assert len(station.asked) == 1
        task.cancel()

    run(tmp_path, story)


def test_a_renewal_without_the_operators_name_is_told_and_comes_when_it_is_set(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - DAY, 365)
        name = station.settings
        station.settings = name.with_text("security.cpo_name", "")
        await at(station, NOON + 350 * DAY)
        assert station.asked == []
        assert "CpoName is not set" in caplog.text

        station.settings = name
        await at(station, NOON + 351 * DAY)
        assert len(station.asked) == 1

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.10", "A02.FR.10")
def test_the_old_certificate_is_kept_a_month_as_fallback(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        old = await with_certificate(station, NOON - 10 * DAY, 365)
        await at(station, NOON)
        new = await with_certificate(station, NOON - DAY, 365)

        await at(station, NOON + 40 * DAY)
        assert shown(station) == [new, old]  # the new one has not worked yet

        station.clock.utc = NOON + 29 * DAY
        station.store.connected((), station.store.client_credentials()[0].cert)
        await station.settled()
        await at(station, NOON + 29 * DAY)
        assert shown(station) == [new, old]
        await at(station, NOON + 31 * DAY)
        assert shown(station) == [new]
        assert len(list(station.folder.glob("key-*"))) == 1

    run(tmp_path, story)


def test_no_more_than_a_few_old_certificates_are_kept(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        numbers = []
        for day in range(7):
            numbers.append(await with_certificate(station, NOON + (day - 20) * DAY, 365))
        await at(station, NOON)
        assert shown(station) == numbers[:2:-1]

    run(tmp_path, story)


def test_the_moment_of_renewal_is_a_month_before_the_end(tmp_path: Path) -> None:
    files = write_client(ROOT, tmp_path, valid=span(NOON, 365))

    async def story(station: Station) -> None:
        (one,) = station.store.state.of(None)
        assert one.not_after - renew_from(one) == MONTH

    run(tmp_path, story, configured=Configured(client=files))


@pytest.mark.requirement("16.SEC.11")
def test_a_new_certificate_that_leaves_a_gap_is_no_renewal(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - DAY, 100)
        await with_certificate(station, NOON + 300 * DAY, 365)

        await at(station, NOON + 80 * DAY)

        assert len(station.asked) == 1

    run(tmp_path, story)


@pytest.mark.requirement("16.SEC.11", "A03.FR.02")
def test_the_newest_decides_when_to_renew_though_an_old_one_lasts_longer(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - 10 * DAY, 900)
        await with_certificate(station, NOON - DAY, 100)

        await at(station, NOON + 80 * DAY)

        assert len(station.asked) == 1

    run(tmp_path, story)


def test_a_certificate_that_comes_before_the_answer_to_its_request_is_taken(
        tmp_path: Path) -> None:
    """Some central systems have it signed before they answer."""
    async def story(station: Station) -> None:
        await with_certificate(station, NOON - DAY, 100)
        replies: list[Reply] = []
        asks = station._ask

        async def signs_first(query: Any, asked_for: bool) -> Any:
            csr = x509.load_pem_x509_csr(query.csr.encode())
            number, station.next_request = station.next_request, station.next_request + 1
            station.service.take(CertificateSignedRequested(
                RequestId(Origin.CSMS, number), issued(csr, days=(NOON, NOON + 400 * DAY))))
            while number not in station.replies:
                await asyncio.sleep(0.1)
            replies.extend(station.replies[number])
            return await asks(query, asked_for)

        station.service._around = replace(station.service._around, ask=signs_first)
        await at(station, NOON + 80 * DAY)

        assert [one.outcome for one in replies] == [Outcome.ACCEPTED]
        assert station.store.state.renewal is None
        assert len(station.asked) == 1

    run(tmp_path, story)


def test_a_storm_of_triggers_makes_few_keys(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        station.children.orders.clear()
        for _ in range(50):
            station.service.sign_wanted()
        await station.settled()
        assert station.children.orders == ["make_key"]
        assert len(station.asked) == 1

    run(tmp_path, story)


def test_a_station_with_roots_alone_has_nothing_to_renew(tmp_path: Path) -> None:
    async def story(station: Station) -> None:
        await at(station, NOON + 300 * DAY)
        assert station.asked == []
        assert station.reconnects == []

    run(tmp_path, story)
