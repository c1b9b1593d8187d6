"""Security as the core decides it: what the events weigh, the station's password, its profile.

Which way to the central system is tried next is decided by `link/route.py`; here what was asked
for, what it needs, and what is kept until the new way has proved itself.
Source: OCPP 1.6 security whitepaper edition 3, A00, A01, A05 and §8; 16.SEC.1 to 5, 16.SEC.16.
"""

from collections.abc import Mapping
from dataclasses import replace

from cpctl.core.effects import Answer, Effect, Keep, Reconnect, Record, SaveSetting
from cpctl.core.events import (
    AccessProved,
    CredentialsChanged,
    InputChanged,
    SettingChangeRequested,
)
from cpctl.core.facts import SecurityEventRaised
from cpctl.core.now import Now
from cpctl.core.settings import TABLE, SettingError, Settings, parse, to_text
from cpctl.core.state import Station
from cpctl.core.underway import Access, Secret
from cpctl.core.values import BootCause, Origin, Outcome, Reply, StopReason

PASSWORD, PROFILE = "link.password", "link.security_profile"
SETTINGS = (PASSWORD, PROFILE)
KEPT_PASSWORD = "secret.other_password"
KEPT_NEWER = "security.other_password"  # that the other one is the newer
KEPT_PROFILE = "security.other_profile"

LEAST_BYTES, MOST_BYTES, MOST_CHARACTERS = 16, 20, 40  # of a password; A00.FR.205
TEXT_LIMIT = 255  # of techInfo
CLOCK_STEP_S = 20.0  # SettingSystemTime from here on

# The list of §8. Not in it: "JournalDamaged", ours alone.
CRITICAL = frozenset((
    "FirmwareUpdated", "SettingSystemTime", "StartupOfTheDevice", "ResetOrReboot",
    "SecurityLogWasCleared", "MemoryExhaustion", "TamperDetectionActivated"))
TESTED = frozenset((  # E-35: official test cases expect these to be told, too
    "InvalidFirmwareSignature", "InvalidFirmwareSigningCertificate",
    "InvalidCentralSystemCertificate", "InvalidChargePointCertificate",
    "InvalidTLSVersion", "InvalidTLSCipherSuite"))
OTHERS = frozenset((
    "FailedToAuthenticateAtCentralSystem", "CentralSystemFailedToAuthenticate",
    "ReconfigurationOfSecurityParameters", "InvalidMessages", "AttemptedReplayAttacks"))


def is_told(kind: str, notify: str) -> bool:
    """Whether an event goes to the central system; `notify` as the setting security.notify."""
    if kind in CRITICAL or (kind in TESTED and notify != "critical"):
        return True
    return kind in OTHERS and notify == "all"


def password_bytes(text: str, encoding: str) -> bytes | None:
    """What a password is sent as: 16 to 20 bytes of hex digits, or 16 to 40 characters of text.

    `encoding` as the setting compat.authkey_encoding; None: neither, or not allowed by it.
    Source: A00.FR.205, 16.SEC.1, E-32.
    """
    raw = _from_hex(text) if encoding != "text" else None
    if raw is not None and LEAST_BYTES <= len(raw) <= MOST_BYTES:
        return raw
    if encoding == "hex" or not LEAST_BYTES <= len(text) <= MOST_CHARACTERS:
        return None
    return text.encode()


def _from_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) if text.isascii() and text.isalnum() else None
    except ValueError:
        return None


# --- events --------------------------------------------------------------------------------------


def raised(kind: str, text: str, now: Now, *, critical: bool = False) -> Record:
    """The line of the security log."""
    return Record(SecurityEventRaised(now, None, kind, text[:TEXT_LIMIT],
                                      critical=critical or kind in CRITICAL))


def started(cause: BootCause, kept: "Mapping[str, str]", now: Now) -> tuple[Effect, ...]:
    """16.SEC.22: what every start is, and what one after a reset is besides."""
    planned = kept.get("planned", "")
    effects: tuple[Effect, ...] = (raised("StartupOfTheDevice", _STARTS[cause], now),)
    if planned in (StopReason.SOFT_RESET.value, StopReason.HARD_RESET.value,
                   StopReason.REBOOT.value):
        effects += (raised("ResetOrReboot", planned, now),)
    return effects


_STARTS = {BootCause.POWER_LOSS: "after a loss of power", BootCause.CRASH: "after a crash",
           BootCause.PLANNED: "planned", BootCause.FIRST: "first start"}


def clock_set(step_s: float, now: Now) -> tuple[Effect, ...]:
    if abs(step_s) <= CLOCK_STEP_S:
        return ()
    return (raised("SettingSystemTime", f"by {step_s:+.0f} s ({now.quality.value})", now),)


def tampered(before: bool | None, event: object, now: Now) -> tuple[Effect, ...]:
    """The door is the tamper switch. `before`: whether it was known to be open already."""
    if not isinstance(event, InputChanged) or event.name != "door" or event.good or before:
        return ()
    where = "the station" if event.evse is None else f"EVSE {event.evse}"
    return (raised("TamperDetectionActivated", f"the door of {where} is open", now),)


# --- password and profile ------------------------------------------------------------------------

Moved = tuple[Station, tuple[Effect, ...]]


def restored(kept: "Mapping[str, str]") -> Access:
    """What the previous life had not finished. A profile that cannot be read is none."""
    profile, password = kept.get(KEPT_PROFILE, ""), kept.get(KEPT_PASSWORD)
    return Access(other_profile=int(profile) if profile in ("0", "1", "2", "3") else None,
                  other_password=None if password is None else Secret(password),
                  other_is_newer=KEPT_NEWER in kept)


def changed(station: Station, event: SettingChangeRequested, now: Now, settings: Settings
            ) -> Moved:
    """Somebody wants another password or profile."""
    try:
        text = to_text(parse(TABLE[event.setting], event.text))
    except SettingError as error:
        return station, (_refused(event, "bad_value", str(error)),)
    if event.setting == PASSWORD:
        return _password(station, event, text, now, settings)
    return _profile(station, event, int(text), now, settings)


def _refused(event: SettingChangeRequested, code: str, hint: str) -> Answer:
    return Answer(event.request, Reply(Outcome.REJECTED, code, hint))


def _password(station: Station, event: SettingChangeRequested, text: str, now: Now,
              settings: Settings) -> Moved:
    """A01: taken, kept, used at once. What it replaces stays until the new one has been taken."""
    if password_bytes(text, settings.text("compat.authkey_encoding")) is None:
        return station, (_refused(event, "bad_value", "32 to 40 hex digits, or 16 to 40 characters"
                                                      " (compat.authkey_encoding)"),)
    present, other = settings.text(PASSWORD), station.access.other_password
    if text != present and (other is None or station.access.other_is_newer):
        other = Secret(present)  # the one that was taken last
    station, effects = _with_other(station, other, newer=False)
    effects += (
        SaveSetting(PASSWORD, text),
        raised("ReconfigurationOfSecurityParameters", "AuthorizationKey changed", now),
        Answer(event.request, Reply(Outcome.ACCEPTED)))
    if settings.integer(PROFILE) in (1, 2):
        effects += (Reconnect("the password was changed"),)
    return station, effects


def _profile(station: Station, event: SettingChangeRequested, wanted: int, now: Now,
             settings: Settings) -> Moved:
    """A05. Only a technician may lower it (A00.FR.005)."""
    present = settings.integer(PROFILE)
    if wanted <= present and event.request.origin is Origin.CSMS:
        return station, (_refused(event, "not_higher", "it is only raised over OCPP"),)
    if wanted == present:
        return station, (Answer(event.request, Reply(Outcome.ACCEPTED)),)
    missing = _missing(station.access, wanted, settings)
    if missing:
        return station, (_refused(event, "missing", missing),)
    other = station.access.other_profile
    other = present if other is None else other
    station = replace(station, access=replace(station.access, other_profile=other))
    return station, (
        Keep(KEPT_PROFILE, str(other)), SaveSetting(PROFILE, str(wanted)),
        raised("ReconfigurationOfSecurityParameters",
               f"SecurityProfile {present} changed to {wanted}", now),
        Answer(event.request, Reply(Outcome.ACCEPTED)),
        Reconnect(f"security profile {wanted} instead of {present}"))


def _missing(access: Access, profile: int, settings: Settings) -> str:
    """What a profile needs and is not there; "": nothing. A05.FR.02 to 04."""
    encoding = settings.text("compat.authkey_encoding")
    password = access.configured_password or password_bytes(
        settings.text(PASSWORD), encoding) is not None
    if profile in (1, 2) and not password:
        return "set the AuthorizationKey first"
    if profile in (2, 3) and not access.csms_root:
        return "install a root certificate of the central system first"
    if profile == 3 and not access.certificate:
        return "install a certificate of the station first"
    return ""


def on_access(station: Station, event: CredentialsChanged | AccessProved, now: Now,
              settings: Settings) -> Moved:
    if isinstance(event, CredentialsChanged):
        return replace(station, access=replace(
            station.access, configured_password=event.password, csms_root=event.csms_root,
            certificate=event.certificate)), ()
    station, effects = _profile_proved(station, event, now, settings)
    station, more = _password_proved(station, event, now, settings)
    return station, effects + more


def _profile_proved(station: Station, event: AccessProved, now: Now, settings: Settings
                    ) -> Moved:
    """The central system took us under `event.profile`: if it is the old one, that holds again."""
    other = station.access.other_profile
    if other is None or event.profile not in (other, settings.integer(PROFILE)):
        return station, ()
    station = replace(station, access=replace(station.access, other_profile=None))
    if event.profile == settings.integer(PROFILE):
        return station, (Keep(KEPT_PROFILE, None),)
    return station, (
        SaveSetting(PROFILE, str(other)), Keep(KEPT_PROFILE, None),
        raised("ReconfigurationOfSecurityParameters",
               f"SecurityProfile back to {other}: no connection under"
               f" {settings.integer(PROFILE)}", now))


def _password_proved(station: Station, event: AccessProved, now: Now, settings: Settings
                     ) -> Moved:
    """E-33: the newer password has proved itself, or the older one is the better of the two."""
    access, present = station.access, Secret(settings.text(PASSWORD))
    other = access.other_password
    if other is None or event.other_password is None:
        return station, ()
    if not event.other_password:
        return (station, ()) if access.other_is_newer else _with_other(station, None, newer=False)
    newer = access.other_is_newer
    station, effects = _with_other(station, None if newer else present, newer=not newer)
    which = "the new one is known now" if newer else "back to the one before, the new is refused"
    return station, (*effects, SaveSetting(PASSWORD, other.text), raised(
        "ReconfigurationOfSecurityParameters", f"AuthorizationKey: {which}", now))


def _with_other(station: Station, other: Secret | None, *, newer: bool) -> Moved:
    """What is there beside the password in use, kept over restarts."""
    newer = newer and other is not None
    station = replace(station, access=replace(
        station.access, other_password=other, other_is_newer=newer))
    return station, (Keep(KEPT_PASSWORD, None if other is None else other.text),
                     Keep(KEPT_NEWER, "yes" if newer else None))
