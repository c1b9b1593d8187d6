"""The one table of settings: id, type, unit, range, default, who may change it, restart needed.

Ids are ours and version-free; the dialects' name tables map them to configuration keys and
variables. Values travel as canonical text: "true"/"false", decimal integers, comma-separated lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from types import MappingProxyType

from cpctl.core.values import Quantity
from hal.late import dataclass

Value = bool | int | str | tuple[str, ...]


class Kind(Enum):
    FLAG = "flag"
    INTEGER = "integer"
    CHOICE = "choice"
    TEXT = "text"
    NAMES = "names"  # comma-separated list
    MEASURANDS = "measurands"  # NAMES of Quantity values, each with an optional "@L1"


class Access(Enum):
    READ_ONLY = "read_only"  # decided by the installation or the hardware
    READ_WRITE = "read_write"
    WRITE_ONLY = "write_only"


@dataclass(frozen=True)
class Setting:
    """One row. `limit`: the maximum of an INTEGER, the most entries of a list, the most characters
    of a TEXT."""

    id: str
    kind: Kind
    default: Value
    unit: str = ""
    minimum: int = 0
    limit: int | None = None
    choices: tuple[str, ...] = ()
    access: Access = Access.READ_WRITE
    restart: bool = False
    help: str = ""


class SettingError(ValueError):
    """The text does not fit the setting; the message is a sentence for people."""


_MEASURANDS_DEFAULT = ("energy_import_register", "power_import")
_MEASURANDS_LIMIT = 3 * len(Quantity)


def _rows() -> tuple[Setting, ...]:
    flag, integer = Kind.FLAG, Kind.INTEGER
    choice, names, measurands = Kind.CHOICE, Kind.NAMES, Kind.MEASURANDS
    day_s = 86_400
    return (
        Setting("auth.offline_unknown", flag, False,
                help="accept tokens unknown to list and cache while offline"),
        Setting("auth.cache_enabled", flag, True, help="keep and use the authorization cache"),
        Setting("auth.remote_needs_authorization", flag, False,
                help="authorize the token of a remote start as that of a card"),
        Setting("auth.local_offline", flag, True,
                help="accept tokens of list and cache while offline"),
        Setting("auth.local_pre", flag, False,
                help="start at once for a token valid in list or cache, also online"),
        Setting("auth.list_enabled", flag, True, help="use the local list"),
        Setting("auth.list_max", integer, 5000, "tokens", minimum=1, limit=50_000,
                access=Access.READ_ONLY, help="the most tokens of the local list"),
        Setting("auth.list_send_max", integer, 500, "tokens", minimum=1, limit=5_000,
                access=Access.READ_ONLY, help="the most tokens of one update of the local list"),
        Setting("auth.max_energy_on_invalid_wh", integer, 0, "Wh", limit=1_000_000,
                help="energy still delivered after a token turned out invalid"),
        Setting("auth.stop_on_invalid", flag, True,
                help="end the transaction when its token turns out invalid"),
        Setting("sampling.clock_interval_s", integer, 0, "s", limit=day_s,
                help="clock-aligned readings every so often; 0: none"),
        Setting("sampling.clock_measurands", measurands, ("energy_import_register",),
                limit=_MEASURANDS_LIMIT),
        Setting("sampling.interval_s", integer, 60, "s", limit=day_s,
                help="samples during a transaction every so often; 0: none"),
        Setting("sampling.measurands", measurands, _MEASURANDS_DEFAULT, limit=_MEASURANDS_LIMIT),
        Setting("sampling.end_measurands", measurands, (), limit=_MEASURANDS_LIMIT,
                help="sampled for the end of the transaction"),
        Setting("sampling.end_clock_measurands", measurands, (), limit=_MEASURANDS_LIMIT,
                help="clock-aligned for the end of the transaction"),
        Setting("sampling.end_max", integer, 500, limit=100_000, access=Access.READ_ONLY,
                help="the most values told with the end of a transaction"),
        Setting("session.plug_timeout_s", integer, 60, "s", limit=day_s,
                help="time to plug in after a token, or for a token after the plug; 0: for ever"),
        Setting("session.stop_on_unplug", flag, True),
        Setting("session.unlock_on_unplug", flag, True),
        Setting("meter.phase_rotation", names, (), help="per connector, as 1.RST"),
        Setting("link.heartbeat_s", integer, 300, "s", minimum=1, limit=day_s),
        Setting("link.ping_s", integer, 60, "s", limit=day_s, help="0: none"),
        Setting("link.pong_timeout_s", integer, 20, "s", minimum=1, limit=600),
        Setting("link.call_timeout_s", integer, 30, "s", minimum=1, limit=600),
        Setting("link.attempts", integer, 3, "times", limit=1000, help="0: for ever"),
        Setting("link.retry_s", integer, 60, "s", limit=day_s),
        Setting("link.password", Kind.TEXT, "", limit=40, access=Access.WRITE_ONLY,
                help="32 to 40 hex digits, or 16 to 40 characters; empty: that of the file"),
        Setting("link.security_profile", integer, 0, limit=3,
                help="0: none, 1: password, 2: TLS and password, 3: TLS and certificate"),
        Setting("link.wait_min_s", integer, 10, "s", minimum=1, limit=day_s),
        Setting("link.wait_random_s", integer, 10, "s", limit=day_s),
        Setting("link.wait_repeat", integer, 4, "times", limit=20),
        Setting("status.minimum_s", integer, 0, "s", limit=3600,
                help="a status is told once it has lasted so long"),
        Setting("station.reset_retries", integer, 1, "times", limit=10),
        Setting("lights.intensity_percent", integer, 100, "%", limit=100),
        Setting("lights.blink_times", integer, 3, "times", limit=100,
                help="how often the lights blink when they signal"),
        Setting("security.additional_root_check", flag, False, access=Access.READ_ONLY,
                help="one root of the central system only; a new one is signed by the old"),
        Setting("security.chain_max", integer, 10_000, "characters", minimum=1000, limit=10_000,
                access=Access.READ_ONLY,
                help="the longest certificate chain that is taken"),
        Setting("security.cpo_name", Kind.TEXT, "", limit=64,
                help="the operator's name in requests for a certificate of the station"),
        Setting("security.firmware_algorithms", names, ("rsa_pss", "ecdsa"),
                choices=("rsa_pss", "rsa_pkcs1", "ecdsa"), access=Access.READ_ONLY,
                help="how firmware may be signed, with SHA-256"),
        Setting("security.key_type", choice, "ec_p256",
                choices=("ec_p256", "ec_p384", "rsa_2048", "rsa_3072"), access=Access.READ_ONLY,
                help="kind of a new key of the station"),
        Setting("security.store_max", integer, 20, "certificates", minimum=2, limit=100,
                access=Access.READ_ONLY,
                help="the most root certificates that are kept"),
        Setting("policy.tx_before_accepted", choice, "after_first_accept",
                choices=("never", "after_first_accept", "always"), access=Access.READ_ONLY,
                help="sessions while the central system has not accepted us"),
        Setting("policy.authorize_timeout", choice, "offline_rules",
                choices=("offline_rules", "reject"), access=Access.READ_ONLY,
                help="a token when the central system gives no verdict though online"),
        Setting("policy.tag_first_connector", choice, "next_plugged",
                choices=("next_plugged", "last_touched", "fixed"), access=Access.READ_ONLY,
                help="which EVSE a card before the plug is for, when several are free"),
        Setting("policy.plug_timeout", choice, "finishing",
                choices=("finishing", "stay_preparing"), access=Access.READ_ONLY,
                help="what becomes of a plug that nobody claims in time"),
        Setting("policy.inoperative_preparing", choice, "now",
                choices=("now", "after_preparing"), access=Access.READ_ONLY,
                help="when out of service holds while a plug waits for a card"),
        Setting("policy.unsigned_firmware", choice, "by_profile",
                choices=("by_profile", "never", "always"), access=Access.READ_ONLY,
                help="a firmware update without a signature; by_profile: with profile 0 only"),
        Setting("policy.max_energy_with_stop", flag, False, access=Access.READ_ONLY,
                help="give an invalid token its energy first, although its transaction is to stop"),
        Setting("policy.min_status", choice, "drop", choices=("drop", "delay"),
                access=Access.READ_ONLY,
                help="a status shorter than the minimum duration"),
        Setting("hardware.exclusive_groups", names, (), access=Access.READ_ONLY,
                help="EVSEs that share one power path, as 1+2,3+4"),
        Setting("hardware.over_current_s", integer, 5, "s", limit=600, access=Access.READ_ONLY,
                help="a car above its offer for longer is stopped; 0: never"),
        Setting("hardware.over_current_percent", integer, 10, limit=100, access=Access.READ_ONLY,
                help="so much above its offer a car may be"),
        Setting("hardware.over_current_a", integer, 1, "A", limit=32, access=Access.READ_ONLY,
                help="and so much more, for what a meter shows beside it"),
        Setting("policy.remote_start_any", choice, "choose", choices=("choose", "reject"),
                access=Access.READ_ONLY,
                help="a remote start without a connector when several are free"),
        Setting("policy.txdefault_zero", choice, "stack", choices=("stack", "override"),
                access=Access.READ_ONLY,
                help="default charging profiles of all connectors beside those of one: at other "
                     "levels too, or not at all"),
        Setting("policy.reserve_zero_status", choice, "last_free",
                choices=("last_free", "available"), access=Access.READ_ONLY,
                help="whether EVSEs kept free for a reservation of any show it"),
        Setting("policy.reserved_plug", choice, "stay", choices=("stay", "preparing"),
                access=Access.READ_ONLY,
                help="the status of a reserved EVSE with a plug but no token"),
        Setting("policy.unlock_stops_without_lock", flag, False, access=Access.READ_ONLY,
                help="an unlock at a fixed cable ends the transaction"),
        Setting("smart.default_limit_a", integer, 0, "A", limit=1000, access=Access.READ_ONLY,
                help="per phase, where no charging profile says anything; 0: what the hardware "
                     "can"),
        Setting("smart.max_installed", integer, 64, minimum=1, limit=1000,
                access=Access.READ_ONLY, help="charging profiles at a time"),
        Setting("smart.max_periods", integer, 96, minimum=1, limit=1000, access=Access.READ_ONLY,
                help="periods of a charging schedule"),
        Setting("smart.max_stack_level", integer, 10, limit=1000, access=Access.READ_ONLY,
                help="the highest level of a charging profile"),
        Setting("smart.rotation_s", integer, 900, "s", minimum=60, limit=day_s,
                access=Access.READ_ONLY,
                help="a turn, when there is less than 6 A for each"),
        Setting("smart.share", choice, "equal", choices=("equal", "fifo", "weighted"),
                access=Access.READ_ONLY,
                help="how the station's current is shared: equally, the earliest session first,"
                     " in proportion to what each EVSE can"),
        Setting("smart.rate_units", names, ("current", "power"), limit=2,
                choices=("current", "power"), access=Access.READ_ONLY,
                help="what a charging schedule may limit"),
        Setting("transfer.http_method", choice, "put", choices=("put", "post"),
                access=Access.READ_ONLY, help="how logs go up over HTTP"),
        Setting("time.align", choice, "utc", choices=("utc", "local"), access=Access.READ_ONLY,
                help="what clock-aligned readings and recurring charging profiles go by"),
        Setting("compat.too_many_keys", choice, "error", choices=("error", "answer_all"),
                access=Access.READ_ONLY,
                help="a GetConfiguration with more keys than the maximum"),
        Setting("compat.local_list_disabled", choice, "failed",
                choices=("failed", "not_supported"), access=Access.READ_ONLY,
                help="what an update of a local list that is off is answered"),
        Setting("compat.meter_begin_message", flag, False, access=Access.READ_ONLY,
                help="tell the reading of the begin as meter values of their own, too"),
        Setting("compat.profile_without_start", choice, "accept", choices=("accept", "reject"),
                access=Access.READ_ONLY,
                help="an absolute charging schedule without a start, a relative one with one"),
        Setting("compat.old_celsius", flag, False, access=Access.READ_ONLY,
                help="spell the unit of temperatures Celcius, as the oldest schemas do"),
        Setting("compat.authkey_encoding", choice, "auto", choices=("auto", "hex", "text"),
                access=Access.READ_ONLY,
                help="what an AuthorizationKey is: bytes in hex, text, or whichever it looks like"),
        Setting("net.password_fallback", integer, 3, "times", limit=1000,
                access=Access.READ_ONLY,
                help="refusals until the other password is tried; 0: never"),
        Setting("security.notify", choice, "tested", choices=("critical", "tested", "all"),
                access=Access.READ_ONLY,
                help="which security events are told to the central system"),
        Setting("security.tls_without_clock", flag, True, access=Access.READ_ONLY,
                help="while the time is not known, check the dates of the central system's"
                     " certificate against the time it tells"),
        Setting("queue.count_disconnect", flag, False, access=Access.READ_ONLY,
                help="a lost connection counts as an attempt"),
        Setting("queue.zero_attempts", choice, "forever", choices=("forever", "once"),
                access=Access.READ_ONLY,
                help="what 0 attempts mean"),
        Setting("store.sample_sync_s", integer, 300, "s", minimum=10, limit=3600,
                access=Access.READ_ONLY,
                help="an open session is put safely on the disk at least so often"),
        Setting("reservation.any_evse", flag, True, access=Access.READ_ONLY,
                help="take reservations that name no EVSE"),
        Setting("reservation.enabled", flag, True, access=Access.READ_ONLY,
                help="take reservations at all"),
        Setting("station.tx_start_point", names, ("ev_connected", "authorized"),
                choices=("ev_connected", "authorized", "power_path_closed", "energy_transfer"),
                access=Access.READ_ONLY,
                help="what must hold for a transaction to start (all of them)"),
    )


TABLE: Mapping[str, Setting] = MappingProxyType({row.id: row for row in _rows()})


def parse(setting: Setting, text: str) -> Value:
    """The value that `text` means. Raises SettingError with a sentence for people."""
    stripped = text.strip()
    match setting.kind:
        case Kind.FLAG:
            lowered = stripped.lower()
            if lowered not in ("true", "false"):
                raise SettingError(f"{setting.id}: expected true or false, not {text!r}")
            return lowered == "true"
        case Kind.INTEGER:
            return _integer(setting, stripped)
        case Kind.CHOICE:
            if stripped not in setting.choices:
                raise SettingError(f"{setting.id}: expected one of {', '.join(setting.choices)}")
            return stripped
        case Kind.TEXT:
            return _text(setting, stripped)
        case Kind.NAMES | Kind.MEASURANDS:
            return _names(setting, stripped)


def _integer(setting: Setting, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise SettingError(f"{setting.id}: expected a whole number, {_range(setting)}, "
                           f"not {text[:20]!r}")
    number = int(text)
    if number < setting.minimum or (setting.limit is not None and number > setting.limit):
        raise SettingError(f"{setting.id}: expected {_range(setting)}, not {number}")
    return number


def _text(setting: Setting, text: str) -> str:
    if setting.limit is not None and len(text) > setting.limit:
        raise SettingError(f"{setting.id}: at most {setting.limit} characters")
    if not text.isprintable():
        raise SettingError(f"{setting.id}: expected characters that can be printed")
    return text


def _range(setting: Setting) -> str:
    """What numbers are allowed, with the unit."""
    least = str(setting.minimum)
    words = f"{least} or more" if setting.limit is None else f"{least} to {setting.limit}"
    return f"{words} {setting.unit}".rstrip()


def _names(setting: Setting, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    if setting.limit is not None and len(names) > setting.limit:
        raise SettingError(f"{setting.id}: at most {setting.limit} entries")
    if setting.kind is Kind.MEASURANDS:
        for name in names:
            quantity, _, phase = name.partition("@")
            if quantity not in {one.value for one in Quantity} or (
                    phase not in ("", "L1", "L2", "L3") or name.endswith("@")):
                raise SettingError(f"{setting.id}: {name!r} is not a measurand of ours")
    elif "" in names:
        raise SettingError(f"{setting.id}: an entry is empty")
    for name in names:
        if setting.choices and name not in setting.choices:
            raise SettingError(f"{setting.id}: expected some of {', '.join(setting.choices)}")
    return names


def shown(name: str, text: str) -> str:
    """The text of a setting as people may see it: a secret is not."""
    row = TABLE.get(name)
    return "***" if row is not None and row.access is Access.WRITE_ONLY else repr(text)


def to_text(value: Value) -> str:
    """Canonical text of a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


class Settings:
    """An immutable picture of all values. Unknown ids are programming errors (KeyError)."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value] | None = None):
        merged: dict[str, Value] = {row.id: row.default for row in TABLE.values()}
        for name, value in (values or {}).items():
            if name not in merged:
                raise KeyError(name)
            merged[name] = value
        self._values = merged

    def flag(self, name: str) -> bool:
        value = self._values[name]
        assert isinstance(value, bool), name
        return value

    def integer(self, name: str) -> int:
        value = self._values[name]
        assert isinstance(value, int) and not isinstance(value, bool), name
        return value

    def text(self, name: str) -> str:
        value = self._values[name]
        assert isinstance(value, str), name
        return value

    def names(self, name: str) -> tuple[str, ...]:
        value = self._values[name]
        assert isinstance(value, tuple), name
        return value

    def value(self, name: str) -> Value:
        return self._values[name]

    def with_text(self, name: str, text: str) -> Settings:
        """A picture in which `name` has the value that `text` means. Raises SettingError."""
        return Settings({**self._values, name: parse(TABLE[name], text)})

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)
