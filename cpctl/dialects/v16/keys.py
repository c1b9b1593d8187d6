"""Configuration keys of 1.6: which setting each one is, and how its value reads on the wire.

In the order of the profiles: Core, FirmwareManagement, LocalAuthListManagement, Reservation,
SmartCharging, then the security whitepaper. Source: OCPP 1.6 §9; errata 3.81
(SupportedFeatureProfilesMaxLength need not exist), §9.1 of the errata
(StopTransactionMaxMeterValues), MessageTimeout of OCPP-J; whitepaper §7.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cpctl.core.settings import TABLE, Access, SettingError, Settings, parse, to_text
from cpctl.core.values import StationLayout
from cpctl.dialects.v16 import connectors
from cpctl.dialects.v16.measurands import VALUE_LIMIT, list_from_wire, list_to_wire
from hal.late import dataclass

GET_CONFIGURATION_MAX_KEYS = 100
FILE_PROTOCOLS = "FTP,FTPS,HTTP,HTTPS"  # SFTP works, too, but is no value of this key
SUPPORTED_FEATURE_PROFILES = ("Core,FirmwareManagement,LocalAuthListManagement,Reservation,"
                              "SmartCharging,RemoteTrigger")
PHASE_ROTATIONS = ("NotApplicable", "Unknown", "RST", "RTS", "SRT", "STR", "TRS", "TSR")

View = Callable[[Settings, StationLayout], str]
Question = Callable[[StationLayout], bool]


def _same(text: str) -> str:
    return text


def _never(_: StationLayout) -> bool:
    return False


def _always(_: StationLayout) -> bool:
    return True


def _has_lights(layout: StationLayout) -> bool:
    return any(evse.has_lights for evse in layout.evses)


def _lights_dim(layout: StationLayout) -> bool:
    return any(evse.has_lights and evse.lights_dim for evse in layout.evses)


@dataclass(frozen=True)
class Key:
    """One configuration key.

    `to_wire` and `from_wire` (SettingError) change between the canonical text of `setting` and the
    key's value. `setting` None: the value is derived from the installation by `view`, read-only.
    `fixed` tells whether the installation decides the value although the setting could be changed,
    `exists` whether it has what the key is about (16.CONF.4).
    """

    name: str
    setting: str | None
    access: Access
    to_wire: Callable[[str], str] = _same
    from_wire: Callable[[str], str] = _same
    view: View | None = None
    fixed: Question = _never
    exists: Question = _always


def reading(key: Key, settings: Settings, layout: StationLayout) -> str:
    """The value as GetConfiguration tells it; nothing of one that is only written."""
    if key.access is Access.WRITE_ONLY:
        return ""
    if key.view is not None:
        return key.view(settings, layout)
    assert key.setting is not None, key.name
    return key.to_wire(to_text(settings.value(key.setting)))


def is_read_only(key: Key, layout: StationLayout) -> bool:
    return key.access is Access.READ_ONLY or key.fixed(layout)


def find(name: str, layout: StationLayout) -> Key | None:
    """The key of that name, in any case (16.CONF.1), if the installation has it.

    No hardware here switches between one phase and three: ConnectorSwitch3to1PhaseSupported, which
    is optional, does not exist.
    """
    key = KEYS.get(name.lower())
    return key if key is not None and key.exists(layout) else None


def listed(layout: StationLayout) -> tuple[Key, ...]:
    """All keys that the installation has, in their order."""
    return tuple(key for key in KEYS.values() if key.exists(layout))


def new_value(key: Key, text: str, layout: StationLayout) -> str:
    """The canonical text of the setting for a new value of the key. Raises SettingError."""
    if key.setting is None or is_read_only(key, layout):
        raise SettingError(f"{key.name} is read-only")
    canonical = to_text(parse(TABLE[key.setting], key.from_wire(text)))
    if key.setting == "meter.phase_rotation":
        _must_be_installed(canonical, layout)
    return canonical


def rotation_from_wire(text: str) -> str:
    """ "1.RST, 2.RTS" without blanks. Raises SettingError for another form, or a number twice."""
    entries = [entry.strip() for entry in text.split(",")] if text.strip() else []
    seen: set[str] = set()
    for entry in entries:
        number, _, rotation = entry.partition(".")
        if not (number.isascii() and number.isdigit()) or rotation not in PHASE_ROTATIONS:
            raise SettingError(f"{entry[:40]!r} is not a phase rotation such as 1.RST")
        if number in seen:
            raise SettingError(f"connector {number} stands twice")
        seen.add(number)
    if len(text) > VALUE_LIMIT:
        raise SettingError(f"at most {VALUE_LIMIT} characters")
    return ",".join(entries)


def _must_be_installed(canonical: str, layout: StationLayout) -> None:
    most = connectors.count(layout)
    for entry in canonical.split(",") if canonical else ():
        if str(int(entry.partition(".")[0])) != entry.partition(".")[0] or (
                int(entry.partition(".")[0]) > most):
            raise SettingError(f"{entry}: there is no such connector")


def _phase_rotation(settings: Settings, layout: StationLayout) -> str:
    known = dict(entry.split(".", 1) for entry in settings.names("meter.phase_rotation"))
    numbers = range(0 if "0" in known else 1, connectors.count(layout) + 1)
    return ",".join(f"{number}.{known.get(str(number), 'Unknown')}" for number in numbers)


def _unlock_on_unplug(settings: Settings, layout: StationLayout) -> str:
    return to_text(settings.flag("session.unlock_on_unplug") and not _fixed_cables(layout))


def _rate_units(text: str) -> str:
    """§9.4.2, errata 3.88: Current means A, Power W."""
    return ",".join(name.capitalize() for name in text.split(","))


def _fixed_cables(layout: StationLayout) -> bool:
    """16.TX.14: nothing can be unlocked at a fixed cable."""
    return not any(evse.has_lock for evse in layout.evses)


def _most_entries(setting: str) -> View:
    return lambda settings, layout: str(TABLE[setting].limit)


def _setting(name: str, setting: str) -> Key:
    return Key(name, setting, TABLE[setting].access)


def _of_lights(name: str, setting: str, exists: Callable[[StationLayout], bool]) -> Key:
    return Key(name, setting, TABLE[setting].access, exists=exists)


def _measurands(name: str, setting: str) -> tuple[Key, Key]:
    return (Key(name, setting, TABLE[setting].access, list_to_wire, list_from_wire),
            _derived(f"{name}MaxLength", _most_entries(setting)))


def _derived(name: str, view: View) -> Key:
    return Key(name, None, Access.READ_ONLY, view=view)


def _rows() -> tuple[Key, ...]:
    return (
        _setting("AllowOfflineTxForUnknownId", "auth.offline_unknown"),
        _setting("AuthorizationCacheEnabled", "auth.cache_enabled"),
        _setting("AuthorizeRemoteTxRequests", "auth.remote_needs_authorization"),
        _of_lights("BlinkRepeat", "lights.blink_times", _has_lights),
        _setting("ClockAlignedDataInterval", "sampling.clock_interval_s"),
        _setting("ConnectionTimeOut", "session.plug_timeout_s"),
        Key("ConnectorPhaseRotation", "meter.phase_rotation", Access.READ_WRITE,
            from_wire=rotation_from_wire, view=_phase_rotation),
        _derived("ConnectorPhaseRotationMaxLength",
                 lambda settings, layout: str(connectors.count(layout) + 1)),
        _derived("GetConfigurationMaxKeys",
                 lambda settings, layout: str(GET_CONFIGURATION_MAX_KEYS)),
        _setting("HeartbeatInterval", "link.heartbeat_s"),
        _of_lights("LightIntensity", "lights.intensity_percent", _lights_dim),
        _setting("LocalAuthorizeOffline", "auth.local_offline"),
        _setting("LocalPreAuthorize", "auth.local_pre"),
        _setting("MaxEnergyOnInvalidId", "auth.max_energy_on_invalid_wh"),
        _setting("MessageTimeout", "link.call_timeout_s"),
        *_measurands("MeterValuesAlignedData", "sampling.clock_measurands"),
        *_measurands("MeterValuesSampledData", "sampling.measurands"),
        _setting("MeterValueSampleInterval", "sampling.interval_s"),
        _setting("MinimumStatusDuration", "status.minimum_s"),
        _derived("NumberOfConnectors", lambda settings, layout: str(connectors.count(layout))),
        _setting("ResetRetries", "station.reset_retries"),
        _setting("StopTransactionMaxMeterValues", "sampling.end_max"),
        _setting("StopTransactionOnEVSideDisconnect", "session.stop_on_unplug"),
        _setting("StopTransactionOnInvalidId", "auth.stop_on_invalid"),
        *_measurands("StopTxnAlignedData", "sampling.end_clock_measurands"),
        *_measurands("StopTxnSampledData", "sampling.end_measurands"),
        _derived("SupportedFeatureProfiles", lambda settings, layout: SUPPORTED_FEATURE_PROFILES),
        _setting("TransactionMessageAttempts", "link.attempts"),
        _setting("TransactionMessageRetryInterval", "link.retry_s"),
        Key("UnlockConnectorOnEVSideDisconnect", "session.unlock_on_unplug", Access.READ_WRITE,
            view=_unlock_on_unplug, fixed=_fixed_cables),
        _setting("WebSocketPingInterval", "link.ping_s"),
        # FirmwareManagement (§9.5, errata 3.90)
        _derived("SupportedFileTransferProtocols", lambda settings, layout: FILE_PROTOCOLS),
        # LocalAuthListManagement (§9.2)
        _setting("LocalAuthListEnabled", "auth.list_enabled"),
        _setting("LocalAuthListMaxLength", "auth.list_max"),
        _setting("SendLocalListMaxLength", "auth.list_send_max"),
        # Reservation (§9.3)
        _setting("ReserveConnectorZeroSupported", "reservation.any_evse"),
        # SmartCharging (§9.4); no hardware here switches between 3 phases and 1: that key is absent
        _setting("ChargeProfileMaxStackLevel", "smart.max_stack_level"),
        Key("ChargingScheduleAllowedChargingRateUnit", "smart.rate_units", Access.READ_ONLY,
            to_wire=_rate_units),
        _setting("ChargingScheduleMaxPeriods", "smart.max_periods"),
        _setting("MaxChargingProfilesInstalled", "smart.max_installed"),
        # Security (whitepaper §7)
        _setting("AdditionalRootCertificateCheck", "security.additional_root_check"),
        _setting("AuthorizationKey", "link.password"),
        _setting("CertificateSignedMaxChainSize", "security.chain_max"),
        _setting("CertificateStoreMaxLength", "security.store_max"),
        _setting("CpoName", "security.cpo_name"),
        _setting("SecurityProfile", "link.security_profile"),
    )


KEYS: Mapping[str, Key] = MappingProxyType({key.name.lower(): key for key in _rows()})
