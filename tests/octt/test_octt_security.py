"""Test cases of the security whitepaper that concern the link, over real WebSockets and TLS."""

from base64 import b64decode

import pytest
from support.pki import Authority, self_signed, server_context
from support.tls_world import OTHER_PASSWORD, PASSWORD, Secured, root, run, secured


def told_password(station: Secured) -> bytes:
    """The password of the last opening request, which names the station."""
    header = station.world.network.openings[-1]["authorization"]
    name, _, password = b64decode(header.removeprefix("Basic ")).partition(b":")
    assert name == b"CP001"
    return password


async def change(station: Secured, key: str, value: str) -> str:
    answer = await station.world.central.call("ChangeConfiguration", {"key": key, "value": value})
    return str(answer["status"])


@pytest.mark.octt("TC_073_CS")
@pytest.mark.requirement("16.SEC.3", "key:AuthorizationKey", "ChangeConfiguration.conf:Accepted")
@pytest.mark.parametrize("profile", [1, 2])
def test_update_of_the_password(profile: int) -> None:
    async def story() -> None:
        async with secured(profile=profile, plain=profile == 1) as station:
            await station.back()
            connections = station.world.central.connections

            assert await change(station, "AuthorizationKey", OTHER_PASSWORD) == "Accepted"
            await station.world.until(
                lambda: station.world.central.connections > connections, 5)  # at once

            assert told_password(station) == bytes.fromhex(OTHER_PASSWORD)
            await station.world.power_cut()
            await station.back()
            assert told_password(station) == bytes.fromhex(OTHER_PASSWORD)

    run(story)


@pytest.mark.octt("TC_078_CS")
@pytest.mark.requirement("16.SEC.12",
                         "SecurityEventNotification.req:InvalidCentralSystemCertificate")
def test_an_invalid_root_of_the_central_system() -> None:
    async def story() -> None:
        async with secured() as station:
            await station.back()
            good = Authority("Another Root").pem.splitlines()
            spoiled = "\n".join([*good[:3], *good[4:]])

            answer = await station.world.central.call("InstallCertificate", {
                "certificateType": "CentralSystemRootCertificate", "certificate": spoiled})
            await station.world.advance(5)

            assert answer == {"status": "Rejected"}
            assert await station.told() == ["InvalidCentralSystemCertificate"]

    run(story)


@pytest.mark.octt("TC_083_CS")
@pytest.mark.requirement("16.SEC.5", "key:SecurityProfile", "ChangeConfiguration.conf:Accepted")
def test_upgrade_of_the_security_profile() -> None:
    async def story() -> None:
        async with secured(profile=1, plain=True) as station:
            await station.back()
            assert await change(station, "SecurityProfile", "2") == "Accepted"
            await station.world.until(lambda: not station.online, 5)
            await station.mend()
            await station.back()

            (connection,) = station.world.network._connections
            assert connection.transport.get_extra_info("ssl_object").version() == "TLSv1.3"
            assert told_password(station) == bytes.fromhex(PASSWORD)
            answer = await station.world.central.call(
                "GetConfiguration", {"key": ["SecurityProfile"]})
            assert answer["configurationKey"] == [
                {"key": "SecurityProfile", "readonly": False, "value": "2"}]

    run(story)


@pytest.mark.octt("TC_084_CS")
@pytest.mark.requirement("16.SEC.5", "key:SecurityProfile", "ChangeConfiguration.conf:Rejected")
@pytest.mark.parametrize("value", ["1", "0", "2"])
def test_downgrade_of_the_security_profile(value: str) -> None:
    async def story() -> None:
        async with secured(profile=2) as station:
            await station.back()
            connections = station.world.central.connections

            assert await change(station, "SecurityProfile", value) == "Rejected"
            await station.world.advance(60)

            assert station.world.central.connections == connections
            answer = await station.world.central.call(
                "GetConfiguration", {"key": ["SecurityProfile"]})
            assert answer["configurationKey"][0]["value"] == "2"

    run(story)


@pytest.mark.octt("TC_085_CS")
@pytest.mark.requirement("16.SEC.1")
def test_basic_authentication_with_a_valid_pair() -> None:
    async def story() -> None:
        async with secured(profile=1, plain=True) as station:
            await station.back()

            assert told_password(station) == bytes.fromhex(PASSWORD)
            assert station.world.status(1) == "Available"

    run(story)


@pytest.mark.octt("TC_086_CS")
@pytest.mark.requirement("16.SEC.6")
def test_tls_with_a_valid_certificate_of_the_server() -> None:
    async def story() -> None:
        async with secured(root().server(kind="rsa"), profile=2) as station:
            await station.back()

            assert station.world.status(1) == "Available"
            await station.mend(self_signed())
            await station.world.advance(60)
            assert not station.online

    run(story)


@pytest.mark.octt("TC_087_CS")
@pytest.mark.requirement("16.SEC.6")
def test_tls_with_a_valid_certificate_of_the_station() -> None:
    async def story() -> None:
        server = server_context(root().server(), client_ca=root())
        async with secured(context=server, profile=3, client=root().client()) as station:
            await station.back()

            assert station.world.status(1) == "Available"
            connection = next(iter(station.world.network._connections))
            assert connection.transport.get_extra_info("peercert")["subject"]

    run(story)
