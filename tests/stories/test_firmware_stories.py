"""Updates of the firmware in the whole station: transactions, dates, power cuts, everything bad."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.file_servers import Trouble, ftp_server, sftp_server
from support.releases import Maker, left_in
from support.story import next_life
from support.updates import Site, update_story
from support.world import MORNING

from cpctl import slots
from cpctl.core.effects import utc_text

GOOD = ["Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting",
        "Installed"]


def at(minutes: float) -> str:
    return utc_text(MORNING + timedelta(minutes=minutes))


async def assert_untouched(site: Site) -> None:
    """The old release goes on, nothing of what was refused is left, and a car can charge."""
    station = site.station
    assert left_in(site.root) == {"0.1.0"}
    assert slots.current(str(site.root)) == "0.1.0"
    assert list((station._state / "state" / "firmware").glob("*")) == []
    assert len(station.central.books.boots) == 1
    await station.until(lambda: station.status(1) == "Available")
    await station.charge(20)
    assert station.status(1) == "Charging"


# --- what runs -----------------------------------------------------------------------------------


@pytest.mark.requirement("16.FW.3", "16.SEC.20", "L01.FR.06", "L01.FR.07", "16.STAT.8",
                         "SignedUpdateFirmware.conf:Accepted")
@update_story(evses=2)
async def test_an_update_waits_for_the_end_of_a_charge(site: Site) -> None:
    station = site.station
    await station.charge(30)

    assert await site.signed(site.maker.small(site.out)) == "Accepted"
    await site.until_told("SignatureVerified")
    await station.until(lambda: station.status(2) == "Unavailable")
    assert station.status(1) == "Charging"
    answer = await station.central.call("RemoteStartTransaction", {"connectorId": 2,
                                                                   "idTag": "04FF"})
    assert answer == {"status": "Rejected"}
    await station.advance(120)
    assert "Installing" not in site.told()

    await station.tap()
    await site.until_told("Installed")

    assert site.told() == GOOD
    assert station.transactions[0].reason == "Local"
    await station.unplug()
    await station.until(lambda: station.status(1) == station.status(2) == "Available")


@pytest.mark.requirement("16.FW.1", "16.SEC.19", "L01.FR.13", "L01.FR.16", "L01.FR.17",
                         "SignedFirmwareStatusNotification.req:DownloadScheduled",
                         "SignedFirmwareStatusNotification.req:InstallScheduled")
@update_story()
async def test_both_dates_of_an_order_are_kept_over_a_power_cut(site: Site) -> None:
    bundle = site.maker.small(site.out)

    await site.signed(bundle, retrieve=at(2), install=at(4))
    await site.power_cut()
    await site.station.advance(60)
    assert site.told() == ["DownloadScheduled"]
    await site.until_told("InstallScheduled")
    await site.power_cut()
    await site.station.until(lambda: site.station.status(1) == "Available")
    await site.station.advance(60)
    assert site.told()[-1] == "InstallScheduled"
    await site.until_told("Installed")

    assert site.told() == ["DownloadScheduled", *GOOD[:3], "InstallScheduled", *GOOD[3:]]


@pytest.mark.requirement("16.FW.5", "16.SEC.18", "L01.FR.10", "L01.FR.26",
                         "SignedUpdateFirmware.conf:AcceptedCanceled")
@update_story()
async def test_a_second_order_replaces_the_first(site: Site) -> None:
    first, second = site.maker.small(site.out), site.maker.small(site.out, "0.3.0")

    await site.signed(first, 1, install=at(5))
    await site.until_told("InstallScheduled", 1)
    assert await site.signed(second, 2) == "AcceptedCanceled"
    await site.until_told("Installed", 2)

    assert site.told(1)[-1] == "InstallScheduled"
    assert site.told(2) == GOOD
    assert left_in(site.root) == {"0.1.0", "0.3.0"}


@pytest.mark.requirement("L01.FR.26")
@update_story()
async def test_a_download_is_cancelled_by_an_order_for_a_file_that_is_not_there(site: Site) -> None:
    site.server.trouble = Trouble(hang=True)
    await site.signed(site.maker.small(site.out), 1)
    await site.station.until(lambda: site.server.seen)

    nothing = site.server.url("is-not-there")
    assert await site.signed(site.out / "cpctl-0.2.0.tar.gz", 2, url=nothing) == "AcceptedCanceled"
    await site.until_told("DownloadFailed", 2)

    assert site.told(1) == ["Downloading"]
    site.server.over.set()
    await assert_untouched(site)


# --- restarts and power cuts ---------------------------------------------------------------------


@pytest.mark.requirement("16.FW.6", "16.OFF.9", "L01.FR.01", "L01.FR.10")
@pytest.mark.parametrize("told", GOOD)
@update_story()
async def test_a_power_cut_after_each_status_loses_and_repeats_none(site: Site, told: str) -> None:
    await site.signed(site.maker.small(site.out))
    await site.until_told(told)

    await site.power_cut()
    await site.until_told("Installed")
    await site.station.delivered()

    assert site.told() == GOOD
    assert site.events().count("FirmwareUpdated") == 1
    assert left_in(site.root) == {"0.1.0", "0.2.0"}


@pytest.mark.requirement("16.FW.2", "16.FW.3", "16.FW.6",
                         "FirmwareStatusNotification.req:InstallationFailed")
@pytest.mark.parametrize("job", [None, 7])
@update_story()
async def test_a_release_that_reaches_nobody_is_given_up_by_the_one_before(
        site: Site, job: int | None) -> None:
    """It is started again and again; each time it is gone before it has connected."""
    bundle = site.maker.small(site.out)
    if job is None:
        await site.station.central.call("UpdateFirmware", {
            "location": site.server.url(bundle.name), "retrieveDate": at(-1)})
    else:
        await site.signed(bundle, job)
    station = site.station
    await station.until(lambda: station._task is not None and station._task.done())
    station.network.down()
    for _ in range(slots.MOST_STARTS):
        await site.start()
        assert station.release == "0.2.0"
        await station.advance(30)
        await station.die(power=False)
    await site.start()
    assert station.release == "0.1.0"
    station.network.up = True
    await site.until_told("InstallationFailed", job)

    assert "Installed" not in site.told(job)
    assert left_in(site.root) == {"0.1.0"}
    await station.until(lambda: station.status(1) == "Available")


@pytest.mark.requirement("16.SEC.19", "L01.FR.14",
                         "SignedFirmwareStatusNotification.req:DownloadPaused")
@update_story()
async def test_a_reset_pauses_a_download(site: Site) -> None:
    site.server.trouble = Trouble(hang=True)
    await site.signed(site.maker.small(site.out))
    await site.station.until(lambda: site.server.seen)

    assert await site.station.central.call("Reset", {"type": "Soft"}) == {"status": "Accepted"}
    site.station.network.up = True
    await next_life(site.station)
    await site.until_told("Installed")
    site.server.over.set()

    assert site.told() == ["Downloading", "DownloadPaused", *GOOD]


@pytest.mark.requirement("16.OFF.7", "16.FW.2")
@update_story()
async def test_what_happens_offline_is_told_in_order_afterwards(site: Site) -> None:
    station = site.station
    await site.signed(site.maker.small(site.out), install=at(1))
    await site.until_told("Downloading")

    station.network.cut()
    await station.advance(3)
    await site.until_told("Installed")

    assert site.told() == [*GOOD[:3], "InstallScheduled", *GOOD[3:]]


# --- transfers -----------------------------------------------------------------------------------


@pytest.mark.requirement("16.FW.1")
@update_story()
async def test_a_download_cut_in_the_middle_goes_on_where_it_was(site: Site) -> None:
    bundle = site.maker.small(site.out, files={"big": bytes(range(256)) * 4000 + b"x" * 1_000_000})
    site.server.trouble = Trouble(cut_at=2000, times=2)

    await site.signed(bundle, retries=2, retryInterval=30)
    await site.until_told("Installed")

    assert site.told() == GOOD
    assert [one.get("range") for one in site.server.headers] == [None, "bytes=2000-", "bytes=4000-"]


@pytest.mark.requirement("16.FW.1", "L01.FR.08")
@pytest.mark.parametrize("server", [ftp_server, sftp_server], ids=["ftp", "sftp"])
@update_story()
async def test_firmware_comes_over_other_protocols(site: Site, server: Any) -> None:
    bundle = site.maker.small(site.out)
    with server(site.out) as other:
        await site.signed(bundle, url=other.url(bundle.name))
        await site.until_told("Installed")

    assert site.told() == GOOD


# --- everything bad ------------------------------------------------------------------------------


@pytest.mark.requirement(
    "16.SEC.18", "16.SEC.19", "L01.FR.02", "L01.FR.24",
    "SignedUpdateFirmware.conf:InvalidCertificate")
@update_story()
async def test_a_certificate_of_somebody_else_is_refused(site: Site) -> None:
    other = Maker()
    bundle = other.small(site.out)

    status = await site.signed(bundle, signer=other.signer.pem, signature=other.signature(bundle))

    assert status == "InvalidCertificate"
    await site.station.delivered()
    assert "InvalidFirmwareSigningCertificate" in site.events()
    assert (site.told(), site.server.seen) == ([], [])
    await assert_untouched(site)


@pytest.mark.requirement("16.SEC.18", "SignedUpdateFirmware.conf:Rejected")
@pytest.mark.parametrize("url", ["dummy://dummy", "file:///etc/passwd", "", "//"])
@update_story()
async def test_a_scheme_that_is_not_served_is_refused(site: Site, url: str) -> None:
    status = await site.signed(site.maker.small(site.out), url=url or " ")

    assert status == "Rejected"
    assert site.told() == []


@pytest.mark.requirement("16.FW.2", "SignedUpdateFirmware.conf:Rejected")
@update_story()
async def test_a_station_that_runs_from_no_slot_takes_no_update(site: Site) -> None:
    site.station.release = None
    await site.station.stop()
    await site.station.start()
    await site.station.until(lambda: site.station.central.online)
    bundle = site.maker.small(site.out)

    assert await site.signed(bundle) == "Rejected"
    await site.station.central.call("UpdateFirmware", {
        "location": site.server.url(bundle.name), "retrieveDate": at(-1)})
    await site.until_told("DownloadFailed", None)
    assert site.told(None) == ["Downloading", "DownloadFailed"]
    assert site.server.seen == []


@update_story()
async def test_a_daemon_started_past_its_launcher_takes_no_update(
        site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CPCTL_LAUNCHER", raising=False)
    monkeypatch.setattr(slots, "release_of", lambda root, file: "0.1.0")
    site.station.release = None
    await site.station.stop()
    await site.station.start()
    await site.station.until(lambda: site.station.central.online)

    assert await site.signed(site.maker.small(site.out)) == "Rejected"
    assert site.server.seen == []


def one_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.requirement("16.SEC.19", "L01.FR.03", "L01.FR.04",
                         "SignedFirmwareStatusNotification.req:InvalidSignature")
@update_story()
async def test_a_file_that_was_changed_on_its_way_is_not_installed(site: Site) -> None:
    bundle = site.maker.small(site.out)
    payload = site.order(bundle)
    one_bit(bundle)

    await site.station.central.call("SignedUpdateFirmware", payload)
    await site.until_told("InvalidSignature")

    assert site.told() == ["Downloading", "Downloaded", "InvalidSignature"]
    await site.station.delivered()
    assert "InvalidFirmwareSignature" in site.events()
    await assert_untouched(site)


@pytest.mark.requirement("16.SEC.19",
                         "SignedFirmwareStatusNotification.req:InstallVerificationFailed")
@update_story()
async def test_a_release_that_cannot_tell_its_version_is_not_installed(site: Site) -> None:
    await site.signed(site.maker.small(site.out, code=1))
    await site.until_told("InstallVerificationFailed")

    assert site.told() == [*GOOD[:4], "InstallVerificationFailed"]
    await assert_untouched(site)


@pytest.mark.requirement("16.SEC.19", "SignedFirmwareStatusNotification.req:DownloadFailed",
                         "FirmwareStatusNotification.req:DownloadFailed")
@update_story()
async def test_a_file_above_the_limit_is_not_fetched(site: Site) -> None:
    bundle = site.out / "huge.tar.gz"
    bundle.write_bytes(bytes(65 << 20))

    await site.signed(bundle, retries=3)
    await site.until_told("DownloadFailed")

    assert len(site.server.seen) == 1
    await assert_untouched(site)


# --- triggers ------------------------------------------------------------------------------------


@pytest.mark.requirement(
    "16.SEC.21", "16.TRIG.2", "L01.FR.28", "L01.FR.29", "FirmwareStatusNotification.req:Idle",
    "SignedFirmwareStatusNotification.req:Idle")
@update_story()
async def test_the_status_is_told_to_who_asks(site: Site) -> None:
    async def asked(action: str) -> dict[str, Any]:
        told = ("SignedFirmwareStatusNotification" if action == "ExtendedTriggerMessage"
                else "FirmwareStatusNotification")
        before = len(site.station.calls(told))
        answer = await site.station.central.call(
            action, {"requestedMessage": "FirmwareStatusNotification"})
        assert answer == {"status": "Accepted"}
        await site.station.until(lambda: len(site.station.calls(told)) > before)
        return site.station.calls(told)[-1]

    assert await asked("TriggerMessage") == {"status": "Idle"}
    assert await asked("ExtendedTriggerMessage") == {"status": "Idle"}
    await site.signed(site.maker.small(site.out), install=at(1))
    await site.until_told("InstallScheduled")
    assert await asked("ExtendedTriggerMessage") == {"status": "InstallScheduled", "requestId": 7}
    assert await asked("TriggerMessage") == {"status": "Downloaded"}
    await site.until_told("Installed")
    assert await asked("ExtendedTriggerMessage") == {"status": "Idle"}
    await site.signed(site.maker.small(site.out, "0.3.0"), 8, url=site.server.url("nothing"))
    await site.until_told("DownloadFailed", 8)
    assert await asked("ExtendedTriggerMessage") == {"status": "DownloadFailed", "requestId": 8}
    assert await asked("TriggerMessage") == {"status": "Idle"}
