"""Certificates at the local socket: listed with their expiry, a new one asked for, looked after."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.lapse_loop import LapsingChildren
from support.pki import Authority
from support.pki_certs import span
from support.station_bench import StationBench, with_app

from cpctl.api import wire
from cpctl.api.methods import Methods
from cpctl.cli import certificates as commands
from cpctl.cli.show import Screen

START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)  # of the bench's clock
DAY = timedelta(days=1)
OWN = "ChargePointCertificate"


class Api:
    def __init__(self, bench: StationBench) -> None:
        self.bench = bench
        self._methods = Methods(bench.app)

    async def __call__(self, method: str, **params: Any) -> Any:
        answer = await self._methods.call(method, params, None)  # type: ignore[arg-type]
        return json.loads(json.dumps(answer, allow_nan=False))

    async def checks(self) -> dict[str, dict[str, Any]]:
        return {one["check"]: one for one in (await self("doctor"))["checks"]}


def with_api(story: Callable[[Api], Awaitable[None]], path: Path, **options: Any) -> None:
    async def whole(bench: StationBench) -> None:
        await story(Api(bench))

    with_app(whole, path, children=LapsingChildren(), **options)


def csms_with(path: Path, *, root_days: float = 3000, own_days: float = 300) -> str:
    """[csms] with a root and a certificate of the station that end so many days after the start."""
    root = Authority("CPO root", valid=span(START - 300 * DAY, root_days + 300))
    (path / "ca.pem").write_text(root.pem)
    root.client("PP2-0001", valid=span(START - 300 * DAY, own_days + 300)).write(path, "own")
    return (f'ca_file = "{path}/ca.pem"\nclient_cert_file = "{path}/own.pem"\n'
            f'client_key_file = "{path}/own.key"')


async def taken_over(api: Api) -> None:
    """The files of the configuration are in the store."""
    async with asyncio.timeout(120):
        while api.bench.app.certificates.waiting:
            await asyncio.sleep(0.1)


def test_the_list_tells_use_expiry_and_fingerprint_and_no_key(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await taken_over(api)
        answer = await api("certificates.list")

        by_use = {one["use"]: one for one in answer["certificates"]}
        assert set(by_use) == {"CentralSystemRootCertificate", OWN}
        own = by_use[OWN]
        assert "CN=PP2-0001" in own["subject"]
        assert (own["state"], own["in_use"], own["fallback"]) == ("valid", True, False)
        assert own["not_after"].startswith("2027-03-2")
        assert len(own["fingerprint"]) == 64
        assert answer["files"] == answer["requests"] == []
        assert "PRIVATE" not in json.dumps(answer)

    with_api(story, tmp_path, csms=csms_with(tmp_path))


@pytest.mark.parametrize(("days", "found"), [
    ({"own_days": 20}, "expires soon"), ({"own_days": -2}, "expired"),
    ({"root_days": 20}, "expires soon")])
def test_the_doctor_tells_of_a_certificate_that_ends(
        tmp_path: Path, days: dict[str, float], found: str) -> None:
    async def story(api: Api) -> None:
        await taken_over(api)
        bad = [one for name, one in (await api.checks()).items() if name.startswith("certificate ")]

        (one,) = bad
        assert one["finding"].startswith(found)
        assert not one["good"] and one["next"]

    with_api(story, tmp_path, csms=csms_with(tmp_path, **days))


def test_the_doctor_is_content_with_certificates_that_hold(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        await taken_over(api)
        checks = await api.checks()
        assert checks["certificates"]["good"]
        assert not checks["renewal"]["good"] and "CpoName" in checks["renewal"]["next"]
        assert "certificate dates" not in checks  # no TLS here

    with_api(story, tmp_path, csms=csms_with(tmp_path))


@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls_the_doctor_looks_at_the_clock(tmp_path: Path, trusted: bool) -> None:
    async def story(api: Api) -> None:
        check = (await api.checks())["certificate dates"]
        assert check["good"] is trusted
        assert bool(check["next"]) is not trusted

    from support.station_bench import VirtualTime
    from support.virtual_loop import VirtualLoop

    loop = VirtualLoop()
    time = VirtualTime(loop)
    time.trusted = trusted
    with_api(story, tmp_path, loop=loop, time=time, csms=(
        'security_profile = 2\npassword = "0123456789abcdef0123"\nurl_tls = "wss://x.invalid/"'))


def test_a_station_without_certificates_lists_none_and_is_well(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        assert (await api("certificates.list"))["certificates"] == []
        assert not [one for one in await api.checks() if "certificate" in one]

    with_api(story, tmp_path)


def test_a_new_certificate_is_not_asked_for_in_vain(tmp_path: Path) -> None:
    async def story(api: Api) -> None:
        with pytest.raises(wire.ApiError) as nameless:
            await api("certificates.renew")
        assert nameless.value.code == wire.REFUSED
        assert "CpoName" in nameless.value.hint
        await api("settings.set", name="CpoName", value="Example")
        with pytest.raises(wire.ApiError) as offline:
            await api("certificates.renew")
        assert "not connected" in str(offline.value)

    with_api(story, tmp_path)


def test_the_command_shows_a_table(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"certificates": [{
        "use": OWN, "subject": "CN=PP2-0001,O=Example", "issuer": "CN=root", "serial": "1f",
        "fingerprint": "ab" * 32, "not_before": "2026-01-01T00:00:00.000Z",
        "not_after": "2027-01-01T00:00:00.000Z", "state": "valid", "in_use": True,
        "fallback": False, "file": "station-x.pem"}],
        "files": [{"use": "ManufacturerRootCertificate", "path": "/etc/cpctl/maker.pem"}],
        "requests": [{"made": "2026-12-01T10:00:00.000Z"}],
        "renewal": {"tries": 2, "next": "2026-12-03T10:00:00.000Z"}}
    monkeypatch.setattr(commands, "call", lambda args, method, **params: told)

    assert commands.listed(None, Screen()) == 0  # type: ignore[arg-type]

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["USE", "SUBJECT", "UNTIL", "STATE", "IN", "USE", "SHA-256"]
    assert "station's own" in lines[1] and "2027-01-01" in lines[1] and "abababab" in lines[1]
    assert lines[2] == "manufacturer root: used from /etc/cpctl/maker.pem"
    assert lines[3:] == ["a certificate is awaited since 2026-12-01 10:00:00Z",
                         "renewal: tried 2 times, again 2026-12-03 10:00:00Z"]
