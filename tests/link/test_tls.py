"""The station and a real TLS server: what is refused, by which name, and that it comes back."""

import ssl

import pytest
from support.pki import (
    EXPIRED,
    NOT_YET_VALID,
    Authority,
    self_signed,
    server_context,
)
from support.tls_world import PASSWORD, root, run, secured

V = ssl.TLSVersion
OLD = {"minimum": V.MINIMUM_SUPPORTED, "maximum": V.TLSv1_1, "ciphers": "ALL:@SECLEVEL=0"}

REFUSED = {
    "expired": (lambda: server_context(root().server(valid=EXPIRED)),
                "InvalidCentralSystemCertificate", "has expired"),
    "not yet valid": (lambda: server_context(root().server(valid=NOT_YET_VALID)),
                      "InvalidCentralSystemCertificate", "not valid yet"),
    "another host": (lambda: server_context(root().server("csms.example")),
                     "InvalidCentralSystemCertificate", "another host"),
    "another root": (lambda: server_context(Authority("Somebody").server()),
                     "InvalidCentralSystemCertificate", "not trusted here"),
    "self-signed": (lambda: server_context(self_signed()),
                    "InvalidCentralSystemCertificate", "self-signed"),
    "a key that is too short": (
        lambda: server_context(root().server(kind="rsa1024"), ciphers="ALL:@SECLEVEL=0"),
        "InvalidCentralSystemCertificate", "key too weak"),
    "TLS 1.1 only": (lambda: server_context(root().server(kind="rsa"), **OLD),
                     "InvalidTLSVersion", "TLSv1.1"),
    "a weak suite only": (
        lambda: server_context(root().server(kind="rsa"), maximum=V.TLSv1_2,
                               ciphers="AES128-SHA:@SECLEVEL=0"),
        "InvalidTLSCipherSuite", "AES128-SHA"),
    "a suite of another kind only": (
        lambda: server_context(root().server(kind="rsa"), maximum=V.TLSv1_2, ciphers="CHACHA20"),
        "InvalidTLSCipherSuite", "CHACHA20"),
    "a client certificate demanded": (
        lambda: server_context(root().server(), client_ca=root()),
        "FailedToAuthenticateAtCentralSystem", "client certificate"),
    "a client certificate demanded over TLS 1.2": (
        lambda: server_context(root().server(), client_ca=root(), maximum=V.TLSv1_2),
        "FailedToAuthenticateAtCentralSystem", "client certificate"),
}
TOLD = ("InvalidCentralSystemCertificate", "InvalidTLSVersion", "InvalidTLSCipherSuite")


@pytest.mark.requirement("16.SEC.6", "16.SEC.7")
@pytest.mark.parametrize("flaw", REFUSED)
def test_a_bad_server_is_refused_by_name_and_the_station_comes_back(flaw):
    context, kind, finding = REFUSED[flaw]

    async def story():
        async with secured(context=context()) as station:
            await station.refused()
            await station.world.advance(100)

            assert finding in station.detail
            assert station.world.central.connections == 0
            assert await station.events() == [kind]

            await station.mend()
            await station.back()

            assert await station.told() == ([kind] if kind in TOLD else [])
            assert await station.events() == [kind]

    run(story)


@pytest.mark.requirement("16.SEC.6")
@pytest.mark.parametrize(("kind", "version", "ciphers"), [
    ("ec", V.TLSv1_3, None),
    ("ec", V.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("ec", V.TLSv1_2, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("rsa", V.TLSv1_2, "AES128-GCM-SHA256"), ("rsa", V.TLSv1_2, "AES256-GCM-SHA384"),
    ("rsa", V.TLSv1_2, "ECDHE-RSA-AES128-GCM-SHA256"),
    ("rsa", V.TLSv1_2, "ECDHE-RSA-AES256-GCM-SHA384")])
def test_each_suite_of_the_whitepaper_is_spoken(kind, version, ciphers):
    server = server_context(root().server(kind=kind), maximum=version, ciphers=ciphers)

    async def story():
        async with secured(context=server) as station:
            await station.back()

            (connection,) = station.world.network._connections
            spoken = connection.transport.get_extra_info("ssl_object")
            assert spoken.version() == version.name.replace("_", ".")
            assert ciphers is None or spoken.cipher()[0] == ciphers
            assert spoken.compression() is None
            assert await station.events() == []

    run(story)


@pytest.mark.requirement("16.SEC.6")
def test_a_chain_over_an_intermediate_is_verified():
    async def story():
        async with secured(root().intermediate().server()) as station:
            await station.back()

            assert await station.events() == []

    run(story)


@pytest.mark.requirement("16.SEC.7")
def test_an_event_is_raised_again_once_the_central_system_has_worked_with_us():
    async def story():
        async with secured(root().server(valid=EXPIRED)) as station:
            await station.refused()
            await station.mend()
            await station.back()
            await station.mend(root().server(valid=EXPIRED))
            await station.world.advance(300)
            assert not station.online
            await station.mend()
            await station.back()

            assert await station.told() == ["InvalidCentralSystemCertificate"] * 2

    run(story)


def test_something_without_tls_is_no_security_event():
    async def story():
        async with secured() as station:
            await station.back()
            await station.without_tls()
            await station.world.advance(60)

            assert "speaks TLS" in station.detail
            assert await station.events() == []

    run(story)


@pytest.mark.requirement("16.RPC.2")
@pytest.mark.parametrize(("status", "kinds"), [
    (401, ["FailedToAuthenticateAtCentralSystem"]), (403, ["FailedToAuthenticateAtCentralSystem"]),
    (404, []), (500, [])])
def test_a_refused_identity_is_tried_for_ever(status, kinds):
    async def story():
        def refuse(made):
            made.network.check = lambda headers: status

        async with secured(prepare=refuse) as station:
            await station.world.advance(1800)

            assert f"HTTP {status}" in station.detail
            assert len(station.world.network.openings) > 9
            assert await station.events() == kinds

            station.world.network.check = lambda headers: None
            await station.back()

    run(story)


@pytest.mark.requirement("16.SEC.1")
@pytest.mark.parametrize(("text", "sent"), [
    (PASSWORD, bytes.fromhex(PASSWORD)), ("a plain password", b"a plain password")])
def test_the_password_of_the_file_is_told_in_the_header(text, sent):
    from base64 import b64decode

    async def story():
        async with secured(password=text) as station:
            await station.back()

            header = station.world.network.openings[-1]["authorization"]
            assert b64decode(header.removeprefix("Basic ")) == b"CP001:" + sent

    run(story)


@pytest.mark.requirement("16.SEC.1")
def test_profile_3_shows_the_certificate_and_no_password():
    server = server_context(root().server(), client_ca=root())

    async def story():
        async with secured(context=server, profile=3, client=root().client("CP001")) as station:
            await station.back()

            (connection,) = station.world.network._connections
            subject = dict(part[0] for part in connection.transport.get_extra_info("peercert")[
                "subject"])
            assert subject["commonName"] == "CP001"
            assert "authorization" not in station.world.network.openings[-1]

    run(story)


@pytest.mark.requirement("16.SEC.7")
@pytest.mark.parametrize("maximum", [V.TLSv1_2, V.TLSv1_3])
def test_a_certificate_of_ours_that_is_refused_is_named(maximum):
    server = server_context(root().server(), client_ca=root(), maximum=maximum)

    async def story():
        stranger = Authority("Nobody").client()
        async with secured(context=server, profile=3, client=stranger) as station:
            await station.refused()

            assert "our certificate was refused" in station.detail
            assert await station.events() == ["FailedToAuthenticateAtCentralSystem"]

    run(story)
