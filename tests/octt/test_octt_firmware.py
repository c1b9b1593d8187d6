"""Test cases of firmware management and secure firmware update, over a real WebSocket and HTTPS."""

from support.octt import Octt, case
from support.releases import left_in
from support.updates import LONG_AGO, UPDATING, Site, updating

from cpctl import slots


async def update(site: Site, name: str) -> object:
    return await site.station.central.call("UpdateFirmware", {
        "location": site.server.url(name), "retrieveDate": LONG_AGO, "retries": 1,
        "retryInterval": 5})


@case("TC_044_1_CS", **UPDATING)
async def test_firmware_is_downloaded_and_installed(station: Octt) -> None:
    async with updating(station) as site:
        before = len(station.central.books.statuses)
        bundle = site.maker.small(site.out)

        assert await update(site, bundle.name) == {}
        await site.until_told("Installed", None)

        assert site.told(None) == ["Downloading", "Downloaded", "Installing", "Installed"]
        assert [one["firmwareVersion"] for one in station.central.books.boots]
        assert len(station.central.books.boots) == 2
        await station.until(lambda: station.status(1) == "Available")
        statuses = [one["status"] for one in station.central.books.statuses[before:]
                    if one["connectorId"] == 1]
        assert statuses == ["Unavailable", "Unavailable", "Available"]  # before and after the boot
        assert slots.current(str(site.root)) == "0.2.0"


@case("TC_044_2_CS", **UPDATING)
async def test_a_download_that_fails_is_told_after_the_last_try(station: Octt) -> None:
    async with updating(station) as site:
        assert await update(site, "is-not-there.tar.gz") == {}
        await site.until_told("DownloadFailed", None)

        assert site.told(None) == ["Downloading", "DownloadFailed"]
        assert len(site.server.seen) == 2
        assert station.status(1) == "Available"
        assert len(station.central.books.boots) == 1


@case("TC_044_3_CS", **UPDATING)
async def test_an_installation_that_fails_leaves_the_old_release(station: Octt) -> None:
    async with updating(station) as site:
        bundle = site.maker.small(site.out, code=1)

        assert await update(site, bundle.name) == {}
        await site.until_told("InstallationFailed", None)

        assert site.told(None) == ["Downloading", "Downloaded", "Installing", "InstallationFailed"]
        assert left_in(site.root) == {"0.1.0"}
        await station.until(lambda: station.status(1) == "Available")


@case("TC_080_CS", **UPDATING)
async def test_secure_update(station: Octt) -> None:
    async with updating(station) as site:
        bundle = site.maker.small(site.out)

        assert await site.signed(bundle, 80) == "Accepted"
        await site.until_told("Installed", 80)

        assert site.told(80) == ["Downloading", "Downloaded", "SignatureVerified", "Installing",
                                 "InstallRebooting", "Installed"]
        assert len(station.central.books.boots) == 2
        await station.delivered()
        assert "FirmwareUpdated" in site.events()
        await station.until(lambda: station.status(1) == "Available")


@case("TC_081_CS", **UPDATING)
async def test_secure_update_with_an_invalid_signature(station: Octt) -> None:
    async with updating(station) as site:
        bundle = site.maker.small(site.out)
        other = site.maker.small(site.out, "0.3.0")

        assert await site.signed(bundle, 81, signature=site.maker.signature(other)) == "Accepted"
        await site.until_told("InvalidSignature", 81)

        assert site.told(81) == ["Downloading", "Downloaded", "InvalidSignature"]
        await station.delivered()
        assert "InvalidFirmwareSignature" in site.events()
        assert len(station.central.books.boots) == 1
        assert left_in(site.root) == {"0.1.0"}
