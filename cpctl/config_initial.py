"""Initial values of settings: [ocpp16] by the protocol's key, [options] by our id, reconnect.

Each setting may be given in one place only. A value that the hardware decides is passed over with
a note; the rest is checked by the table of settings.
"""

from __future__ import annotations

from cpctl.config_check import Problems, Section, kind_of, suggestion
from cpctl.config_text import Located, Where
from cpctl.core import exclusive
from cpctl.core.settings import TABLE, Access, Setting, SettingError, to_text
from cpctl.core.settings import parse as parse_setting
from cpctl.core.values import StationLayout
from cpctl.dialects.v16 import keys


class Initial:
    """Collects initial settings from the places they may stand in; each setting once."""

    def __init__(self, problems: Problems):
        self._problems = problems
        self._places: dict[str, str] = {}
        self._wheres: dict[str, Where] = {}
        self.values: dict[str, str] = {}

    def reconnect(self, one: Section) -> None:
        for key, setting, top in (("wait_min_s", "link.wait_min_s", 86_400),
                                  ("random_s", "link.wait_random_s", 86_400),
                                  ("repeat_times", "link.wait_repeat", 20)):
            if one.has(key):
                number = one.whole(key, 0, minimum=TABLE[setting].minimum, maximum=top)
                self._put(setting, str(number), one, key)
            else:
                one.get(key)
        one.done()

    def profile(self, csms: Section, number: int) -> None:
        """[csms] security_profile is where the SecurityProfile begins."""
        if csms.has("security_profile") and 0 <= number <= 3:
            self._put("link.security_profile", str(number), csms, "security_profile")

    def options(self, one: Section) -> None:
        for key, node in _flat(one, "", tuple(TABLE)):
            row = TABLE.get(key)
            if row is None:
                self._problems.add(node.where, f"options.{key}: unknown key",
                                   suggestion(key, tuple(TABLE)))
                continue
            if self._is_secret(row, f"options.{key}", node.where):
                continue
            text = _as_text(node)
            try:
                value = parse_setting(row, text if text is not None else "\0")
            except SettingError as error:
                self._problems.add(node.where, f"options.{error}" if text is not None else
                                   f"options.{key}: {kind_of(node.value)} is no value of an option",
                                   _hint(row, text))
                continue
            self._put_at(key, to_text(value), f"options.{key}", node.where)

    def groups(self, evses: tuple[int, ...]) -> None:
        """EVSEs that share a power path must be installed."""
        setting = "hardware.exclusive_groups"
        text = self.values.get(setting)
        if not text:
            return
        try:
            strange = [number for group in exclusive.groups(text.split(","))
                       for number in group if number not in evses]
        except SettingError as error:
            self._problems.add(self._wheres[setting], f"options.{error}", 'write "1+2"')
            return
        if strange:
            self._problems.add(self._wheres[setting], f"options.{setting}: there is no EVSE "
                               f"{strange[0]}", f"the EVSEs are: {', '.join(map(str, evses))}")

    def ocpp16(self, one: Section, layout: StationLayout) -> None:
        """Configuration keys, in any case; TOML values or the text of the protocol."""
        for name in one.keys:
            node = one.get(name)
            assert node is not None
            key = keys.KEYS.get(name.lower())
            if key is None:
                self._problems.add(node.where, f"ocpp16.{name}: unknown key",
                                   suggestion(name, [each.name for each in keys.KEYS.values()]))
            elif key.setting is None or keys.is_read_only(key, layout):
                self._problems.notes.append(
                    f"{node.where}: {key.name} is decided by the installation; passed over")
            else:
                self._key(key, key.setting, node, layout)

    def _key(self, key: keys.Key, setting: str, node: Located, layout: StationLayout) -> None:
        if self._is_secret(TABLE[setting], f"ocpp16.{key.name}", node.where):
            return
        text = _as_text(node)
        if text is None:
            self._problems.add(node.where, f"ocpp16.{key.name}: {kind_of(node.value)} is no value "
                                           "of a configuration key", 'write it as text: "…"')
            return
        try:
            value = keys.new_value(key, text, layout)
        except SettingError as error:
            sentence = str(error).removeprefix(f"{setting}: ")
            self._problems.add(node.where, f"ocpp16.{key.name}: {sentence}",
                               TABLE[setting].help or "see cpctl.toml(5)")
            return
        self._put_at(setting, value, f"ocpp16.{key.name}", node.where)

    def _is_secret(self, row: Setting, label: str, where: Where) -> bool:
        """A secret stands in a file of its own, which is closed to others."""
        secret = row.access is Access.WRITE_ONLY
        if secret:
            self._problems.add(where, f"{label}: a secret does not stand here",
                               'write it into a file: [csms] password_file = "csms-password"')
        return secret

    def _put(self, setting: str, text: str, one: Section, key: str) -> None:
        self._put_at(setting, text, one.label(key), one.at(key))

    def _put_at(self, setting: str, text: str, label: str, where: Where) -> None:
        if setting in self.values:
            self._problems.add(where, f"{label} sets {setting}, which {self._places[setting]} "
                                      "sets already", "keep one of the two")
            return
        self.values[setting] = text
        self._wheres[setting] = where
        self._places[setting] = f"{label} at {where}"


def _flat(one: Section, prefix: str, ids: tuple[str, ...]) -> list[tuple[str, Located]]:
    """`policy.plug_timeout` may be a dotted key, a quoted one, or stand in [options.policy]."""
    found: list[tuple[str, Located]] = []
    for key in one.keys:
        node = one.get(key)
        assert node is not None
        name = f"{prefix}{key}"
        if node.table is not None and any(known.startswith(f"{name}.") for known in ids):
            inner = Section(one.problems, node, f"options.{name}", node.where)
            found.extend(_flat(inner, f"{name}.", ids))
        else:
            found.append((name, node))
    return found


def _hint(row: Setting, text: str | None) -> str:
    if row.choices and text:
        return suggestion(text, row.choices)
    return row.help or "see cpctl.toml(5)"


def _as_text(node: Located) -> str | None:
    """A TOML value as OCPP text; None for what is no such value."""
    value = node.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if node.items is not None and all(isinstance(one.value, str) for one in node.items):
        return ",".join(str(one.value) for one in node.items)
    return None
