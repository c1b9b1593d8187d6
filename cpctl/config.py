"""The configuration: TOML files in, frozen values out, every mistake told with file, line, hint.

Installation facts, initial values of OCPP settings and our own options; what a central system may
change later lives in the store. The syntax is in `config_text.py`, types and unknown keys in
`config_check.py`, the hardware sections in `config_devices.py`.

The sections are NamedTuples: a frozen dataclass costs twice as much to import, there are many, and
two kinds of section are never compared.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from cpctl.config_check import Problems, Section
from cpctl.config_devices import Devices, DeviceSpec, EvseSpec, ReaderSpec, SerialSpec
from cpctl.config_initial import Initial
from cpctl.config_text import ConfigError, Located, Problem, Where, find, merged, parse, read
from cpctl.core.settings import TABLE, to_text
from cpctl.core.values import (
    AfterPowerLoss,
    ConnectorLayout,
    EvseLayout,
    StationLayout,
)
from cpctl.dialects.base import StationIdentity
from cpctl.version import VERSION
from hal import registry
from hal.errors import BadConfig
from hal.late import dataclass

__all__ = ["Config", "ConfigError", "DeviceSpec", "Difference", "EvseSpec", "Problem",
           "ReaderSpec", "SerialSpec", "difference", "find", "from_text", "load"]

SCHEMA_VERSION = 1
SPOKEN = ("1.6",)


class StationSpec(NamedTuple):
    identity: str
    vendor: str
    model: str
    serial_number: str = ""
    firmware_version: str = ""  # empty: the release's own
    meter_type: str = ""
    meter_serial_number: str = ""
    iccid: str = ""
    imsi: str = ""
    on_reset: str = "exit"  # exit | exec | reboot
    after_power_loss: str = "end"  # end | resume


class CsmsSpec(NamedTuple):
    """The central system. `password` is never shown."""

    url: str
    versions: tuple[str, ...] = SPOKEN
    security_profile: int = 0
    password: str | None = None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    check_hostname: bool = True
    url_tls: str = ""  # instead of a ws:// url, once the security profile is 2 or 3

    def __repr__(self) -> str:
        return f"CsmsSpec(url={self.url!r}, security_profile={self.security_profile})"


class CertificatesSpec(NamedTuple):
    """Roots (files in PEM) that are trusted from the first start on."""

    csms_root: tuple[Path, ...] = ()
    manufacturer_root: tuple[Path, ...] = ()


class LimitsSpec(NamedTuple):
    station_max_current_a: float | None = None  # None: the sum of the EVSEs
    phases: int = 3
    meter_silence_s: float = 30.0
    nominal_voltage_v: float = 230.0


class StoreSpec(NamedTuple):
    path: Path = Path("/var/lib/cpctl")
    max_mb: int = 256
    retention_days: int = 90


class FirmwareSpec(NamedTuple):
    """Where releases lie, and how a new one proves itself."""

    releases: Path = Path("/opt/cpctl")
    trial_s: float = 600.0
    max_mb: int = 512
    unsigned_bundles: bool = False


class GpioSpec(NamedTuple):
    backend: str = "gpiod"
    chip: str = ""


class SimSpec(NamedTuple):
    """The simulated world; the fields are keywords of `hal.sim.board.Board`."""

    car_start_delay_s: float = 0.5
    car_max_current_a: float = 32.0
    car_phases: int = 3
    meter_starts_at_wh: int = 0
    meter_resets_on_plug: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """The whole configuration. `initial` holds settings by id as canonical text."""

    station: StationSpec
    csms: CsmsSpec
    limits: LimitsSpec
    socket: Path
    store: StoreSpec
    gpio: GpioSpec
    serial: Mapping[str, SerialSpec]
    readers: tuple[ReaderSpec, ...]
    evses: tuple[EvseSpec, ...]
    heartbeat: DeviceSpec | None
    sim: SimSpec
    certificates: CertificatesSpec
    firmware: FirmwareSpec
    initial: Mapping[str, str]
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what was passed over, for the log

    def layout(self) -> StationLayout:
        """The installation facts the core decides with."""
        return _station_layout(self.station, self.limits, self.evses)

    def identity(self) -> StationIdentity:
        """What BootNotification tells."""
        one = self.station
        return StationIdentity(
            one.vendor, one.model, serial_number=one.serial_number,
            firmware_version=one.firmware_version or VERSION,
            meter_type=one.meter_type, meter_serial_number=one.meter_serial_number,
            iccid=one.iccid, imsi=one.imsi)

    def initial_settings(self) -> dict[str, str]:
        """Settings by id: what holds until the store knows better."""
        return dict(self.initial)


def _station_layout(station: StationSpec, limits: LimitsSpec, evses: tuple[EvseSpec, ...]
                    ) -> StationLayout:
    return StationLayout(
        evses=tuple(_layout(one, limits.phases) for one in evses),
        station_max_current_a=limits.station_max_current_a,
        after_power_loss=AfterPowerLoss(station.after_power_loss),
        meter_silence_s=limits.meter_silence_s,
        nominal_voltage_v=limits.nominal_voltage_v)


def _layout(one: EvseSpec, supply_phases: int) -> EvseLayout:
    return EvseLayout(
        one.id, max_current_a=one.max_current_a, phases=min(one.phases, supply_phases),
        connectors=tuple(ConnectorLayout(each.id, each.type) for each in one.connectors),
        has_lock=one.lock is not None, has_feedback=_has_feedback(one.contactor),
        has_meter=True, ventilated=one.ventilated, inputs=_inputs(one),
        has_lights=one.indicator is not None and _adjusts(one.indicator),
        lights_dim=one.indicator is not None and _dims(one.indicator))


def _inputs(one: EvseSpec) -> tuple[str, ...]:
    """Those with a wire of their own, then those that the pilot board watches."""
    pilot = _driver(one.pilot)
    watched = pilot.watched(one.pilot.options) if pilot else ()
    return (*one.inputs, *(name for name in watched if name not in one.inputs))


def _adjusts(indicator: DeviceSpec) -> bool:
    driver = _driver(indicator)
    return bool(driver and driver.adjusts)


def _dims(indicator: DeviceSpec) -> bool:
    driver = _driver(indicator)
    return bool(driver and driver.dims)


def _has_feedback(contactor: DeviceSpec) -> bool:
    driver = _driver(contactor)
    return bool(driver and driver.feeds_back(contactor.options))


def _driver(spec: DeviceSpec) -> type[Any] | None:
    """Its class; None: there is no such driver, which is among the problems by now."""
    try:
        return registry.load(spec.kind, spec.driver)
    except BadConfig:
        return None


# --- finding and loading ---------------------------------------------------------------------


def load(paths: Sequence[Path] | Path) -> Config:
    """The configuration of the files, later ones winning. Raises ConfigError with every mistake.

    A single path takes the `conf.d` beside it along.
    """
    files = find(paths) if isinstance(paths, Path) else tuple(paths)
    tree: Located | None = None
    problems: list[Problem] = []
    for file in files:
        try:
            one = read(file)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        tree = one if tree is None else merged(tree, one)
    if problems or tree is None:
        raise ConfigError(problems)
    return _build(tree, tuple(str(file) for file in files))


def from_text(text: str, file: str = "cpctl.toml") -> Config:
    """As `load`, from a text; relative files are beside `file`."""
    return _build(parse(text, file), (file,))


def known_keys(text: str) -> dict[str, tuple[str, ...]]:
    """The keys that each section of `text` knows: what the documentation must name."""
    problems = Problems()
    _read(Section(problems, parse(text, "cpctl.toml"), "", Where("cpctl.toml", 1)), problems, ("",))
    return {section: tuple(keys) for section, keys in problems.asked.items()}


def _build(tree: Located, files: tuple[str, ...]) -> Config:
    problems = Problems()
    config = _read(Section(problems, tree, "", Where(files[0], 1)), problems, files)
    if problems.found:
        raise ConfigError(problems.found)
    return config


def _read(top: Section, problems: Problems, files: tuple[str, ...]) -> Config:
    version = top.whole("schema_version", SCHEMA_VERSION, required="write schema_version = 1")
    if version != SCHEMA_VERSION:
        top.wrong("schema_version", f"this release reads version {SCHEMA_VERSION}, not {version}",
                  "see the release notes for what to change")
    devices = Devices(problems)
    initial = Initial(problems)
    station = _station(top.section("station"))
    csms = _csms(top.section("csms"), initial)
    initial.options(top.section("options"))
    _not_spoken(top)
    limits = _limits(top.section("limits"))
    serial = devices.serial(top.section("serial"))
    sections = top.sections("evse")
    if not top.has("evse"):
        top.missing("evse", "a station has at least one [[evse]] with its id; "
                            "with nothing but the id it is simulated")
    evses = devices.evses(sections)
    initial.groups(tuple(one.id for one in evses))
    initial.ocpp16(top.section("ocpp16"), _station_layout(station, limits, evses))
    config = Config(
        station=station, csms=csms, limits=limits, socket=_api(top.section("api")),
        store=_store(top.section("store")), gpio=_gpio(top.section("gpio")),
        serial=serial, evses=evses, readers=devices.readers(top.sections("reader"), evses),
        heartbeat=devices.heartbeat(top.section("heartbeat")),
        sim=_sim(top.section("sim")), initial=initial.values,
        certificates=_certificates(top.section("certificates")),
        firmware=_firmware(top.section("firmware")), files=files,
        notes=tuple(problems.notes))
    top.done()
    return config


def _station(one: Section) -> StationSpec:
    spec = StationSpec(
        identity=one.text("identity", limit=48, required="the name the central system knows us by"),
        vendor=one.text("vendor", limit=20, required="the maker of the station"),
        model=one.text("model", limit=20, required="the model of the station"),
        serial_number=one.text("serial_number", limit=25),
        firmware_version=one.text("firmware_version", limit=50),
        meter_type=one.text("meter_type", limit=25),
        meter_serial_number=one.text("meter_serial_number", limit=25),
        iccid=one.text("iccid", limit=20), imsi=one.text("imsi", limit=20),
        on_reset=one.text("on_reset", "exit", choices=("exit", "exec", "reboot")),
        after_power_loss=one.text("after_power_loss", "end", choices=("end", "resume")))
    if ":" in spec.identity and one.has("identity"):
        one.wrong("identity", "a colon cannot stand in a user name of basic authentication",
                  "choose another identity")
    one.done()
    return spec


def _csms(one: Section, initial: Initial) -> CsmsSpec:
    url = one.text("url", required='where the central system is: url = "wss://…"')
    if url and not url.startswith(("ws://", "wss://")):
        one.wrong("url", f'"{url}" is not the address of a WebSocket',
                  "it begins with ws:// or wss://")
    spec = CsmsSpec(
        url=url, versions=_versions(one),
        security_profile=one.whole("security_profile", 0, choices=(0, 1, 2, 3)),
        password=_password(one),
        ca_file=_file(one, "ca_file"),
        client_cert_file=_file(one, "client_cert_file", secret=True),
        client_key_file=_file(one, "client_key_file", secret=True),
        check_hostname=one.flag("check_hostname", True), url_tls=one.text("url_tls"))
    if spec.url_tls and not spec.url_tls.startswith("wss://"):
        one.wrong("url_tls", f'"{spec.url_tls}" is not the address of a WebSocket over TLS',
                  "it begins with wss://")
    initial.profile(one, spec.security_profile)
    initial.reconnect(one.section("reconnect"))
    _profile_fits(one, spec)
    one.done()
    return spec


def _versions(one: Section) -> tuple[str, ...]:
    named = one.texts("versions", SPOKEN)
    for version, where in named:
        if version not in SPOKEN:
            one.problems.add(where, f'csms.versions: OCPP "{version}" is not spoken here; '
                                    f"this release speaks {', '.join(SPOKEN)}",
                             'write versions = ["1.6"]')
    versions = tuple(version for version, _ in named)
    if not versions or len(set(versions)) != len(versions):
        one.wrong("versions", "expected each version once, at least one",
                  'write versions = ["1.6"]')
    return versions


def _profile_fits(one: Section, spec: CsmsSpec) -> None:
    profile = spec.security_profile
    if profile in (1, 2) and spec.password is None and not one.has("password_file"):
        one.missing("password", f"security profile {profile} needs it: "
                                'password_file = "csms-password"')
    if profile >= 2 and spec.url.startswith("ws://") and not spec.url_tls:
        one.wrong("url", f"security profile {profile} is TLS, and ws:// is not",
                  "write wss://, or security_profile = 0 or 1")
    if profile == 3:
        for key in ("client_cert_file", "client_key_file"):
            if not one.has(key):
                one.missing(key, "security profile 3 needs it")
    if profile == 0 and spec.password is not None:
        one.problems.notes.append("csms.password is not used: security_profile is 0")


def _beside(one: Section, key: str, name: str) -> Path:
    return Path(one.at(key).file).parent / name


def _secret(one: Section, key: str, name: str) -> Path:
    """Where a file with a secret lies: what systemd handed over of credentials/, credentials/
    beside the configuration, else beside the file that names it.

    The first two hold the same, so that `cpctl config check` and the service agree.
    """
    beside = _beside(one, key, name)
    handed_over = os.environ.get("CREDENTIALS_DIRECTORY")
    folder = beside.parent.parent if beside.parent.name == "conf.d" else beside.parent
    places = [Path(handed_over, f"cpctl_{name}")] if handed_over else []
    places.append(folder / "credentials" / name)
    if "/" in name:
        return beside
    return next((place for place in places if os.path.isfile(place)), beside)


def _password(one: Section) -> str | None:
    inline = one.text("password")
    name = one.text("password_file")
    if inline and name:
        one.wrong("password", "stands here and in password_file", "remove one of the two")
        return inline
    if inline:
        _closed_to_others(one, "password", Path(one.at("password").file))
        return inline
    if not name:
        return None
    path = _secret(one, "password_file", name)
    try:
        text = path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        one.wrong("password_file", f"{path} cannot be read: {_reason(error)}",
                  _lacking_password(path, name) + _started_before())
        return None
    _closed_to_others(one, "password_file", path)
    if not text:
        one.wrong("password_file", f"{path} is empty", "write the password into it")
    return text


def _lacking_password(path: Path, name: str) -> str:
    """The next step; in the folder of the credentials, where there is one, for only that is
    handed to the daemon whoever owns the file."""
    folder = path.parent.parent if path.parent.name == "conf.d" else path.parent
    if "/" in name or not os.path.isdir(folder / "credentials"):
        return "create it with the password as its only line, mode 0600"
    if not os.access(folder / "credentials", os.X_OK) and not _started_before():
        return f"run this as root: only root may look for it in {folder / 'credentials'}"
    return (f"create {folder / 'credentials' / name} with the password as its only line, "
            "root's, mode 0600")


def _closed_to_others(one: Section, key: str, path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # a text without a file (tests), or gone since: nothing to protect
    if mode & stat.S_IRWXO:
        one.wrong(key, f"{path} holds a password and is readable by others "
                       f"(mode {stat.S_IMODE(mode):04o})", f"chmod o-rwx {path}")


def _file(one: Section, key: str, *, secret: bool = False) -> Path | None:
    name = one.text(key)
    if not name:
        return None
    path = _secret(one, key, name) if secret else _beside(one, key, name)
    problem = _unreadable(path)
    if problem:
        one.wrong(key, problem, "check path, owner and mode"
                  + (_started_before() if secret else ""))
    return path


def _started_before() -> str:
    """systemd hands credentials over at the start and no later."""
    return ("; what was put into credentials/ since then counts from systemctl restart cpctl on"
            if os.environ.get("CREDENTIALS_DIRECTORY") else "")


def _unreadable(path: Path) -> str:
    """Why a file cannot be used; "": it can."""
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"{path} cannot be read: {_reason(error)}"


def _certificates(one: Section) -> CertificatesSpec:
    spec = CertificatesSpec(_files(one, "csms_root"), _files(one, "manufacturer_root"))
    one.done()
    return spec


def _files(one: Section, key: str) -> tuple[Path, ...]:
    """A list of files, beside the file that names them."""
    found = []
    for name, where in one.texts(key):
        path = Path(where.file).parent / name
        problem = _unreadable(path)
        if problem:
            one.problems.add(where, f"{one.label(key)}: {problem}", "check path, owner and mode")
        found.append(path)
    return tuple(found)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "not UTF-8 text"


def _limits(one: Section) -> LimitsSpec:
    spec = LimitsSpec(
        station_max_current_a=one.number_or_none("station_max_current_a", minimum=6,
                                                   maximum=10_000),
        phases=one.whole("phases", 3, choices=(1, 2, 3)),
        meter_silence_s=one.number("meter_silence_s", 30.0, minimum=1, maximum=3600),
        nominal_voltage_v=one.number("nominal_voltage_v", 230.0, minimum=100, maximum=300))
    one.done()
    return spec


def _api(one: Section) -> Path:
    path = one.path("socket", "/run/cpctl/cpctl.sock")
    if len(os.fsencode(path)) > 107:
        one.wrong("socket", "the path is longer than the 107 bytes a Unix socket allows",
                  "choose a shorter one")
    one.done()
    return path


def _store(one: Section) -> StoreSpec:
    spec = StoreSpec(one.path("path", "/var/lib/cpctl"),
                     max_mb=one.whole("max_mb", 256, minimum=1, maximum=1_000_000),
                     retention_days=one.whole("retention_days", 90, minimum=1, maximum=36_500))
    one.done()
    return spec


def _firmware(one: Section) -> FirmwareSpec:
    spec = FirmwareSpec(
        one.path("releases", "/opt/cpctl"),
        trial_s=one.number("trial_s", 600.0, minimum=5, maximum=86_400),
        max_mb=one.whole("max_mb", 512, minimum=1, maximum=100_000),
        unsigned_bundles=one.flag("unsigned_bundles", False))
    one.done()
    return spec


def _gpio(one: Section) -> GpioSpec:
    spec = GpioSpec(one.text("backend", "gpiod", choices=("gpiod", "gpiozero")),
                    one.text("chip"))
    one.done()
    return spec


def _sim(one: Section) -> SimSpec:
    spec = SimSpec(
        car_start_delay_s=one.number("car_start_delay_s", 0.5, minimum=0, maximum=600),
        car_max_current_a=one.number("car_max_current_a", 32.0, minimum=0, maximum=80),
        car_phases=one.whole("car_phases", 3, choices=(1, 2, 3)),
        meter_starts_at_wh=one.whole("meter_starts_at_wh", 0, minimum=0, maximum=10**12),
        meter_resets_on_plug=one.flag("meter_resets_on_plug", False),
        seed=one.whole("seed", 0))
    one.done()
    return spec


def _not_spoken(top: Section) -> None:
    """Sections of versions this release does not speak."""
    for key in ("ocpp201", "ocpp21"):
        node = top.get(key) if top.has(key) else None
        if node is not None:
            top.wrong(key, f"this release speaks {', '.join(SPOKEN)} and cannot use this section",
                      "remove it")


# --- what a changed file means to a running station ------------------------------------------


class Difference(NamedTuple):
    """What changed between two configurations.

    `now`: settings by id that may be applied at once. `waits`: sentences for what waits for a
    restart. `initial`: changed initial values, which matter only where the store has none.
    """

    now: Mapping[str, str]
    waits: tuple[str, ...] = ()
    initial: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        return not (self.now or self.waits or self.initial)


def difference(old: Config, new: Config) -> Difference:
    """What `new` changes against `old`, which is in force."""
    now: dict[str, str] = {}
    initial = []
    for name in sorted({*old.initial, *new.initial}):
        text = new.initial.get(name, to_text(TABLE[name].default))
        if text == old.initial.get(name, to_text(TABLE[name].default)):
            continue
        if TABLE[name].restart or not name.startswith(("policy.", "time.", "compat.", "queue.",
                                                       "store.", "net.")):
            initial.append(name)
        else:
            now[name] = text
    waits = [f"{one.name} waits for a restart" for one in fields(Config)
             if one.name not in ("initial", "files", "notes")
             and getattr(old, one.name) != getattr(new, one.name)]
    return Difference(now, tuple(waits), tuple(initial))
