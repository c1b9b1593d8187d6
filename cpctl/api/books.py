"""Methods that read the books: sessions, journal, settings, tokens."""

from __future__ import annotations

from typing import Any

from cpctl.api import wire
from cpctl.api.app import App, Table, ask
from cpctl.api.args import Args
from cpctl.api.pictures import time_of
from cpctl.api.plain import plain
from cpctl.api.server import Caller, Right
from cpctl.api.wire import ApiError
from cpctl.core.authorize import AskCsms, decide
from cpctl.core.events import SettingChangeRequested
from cpctl.core.settings import TABLE, Access, SettingError, parse, to_text
from cpctl.core.values import IdToken, Registration, TokenInfo

MOST_ROWS = 1000
EXPORT_LINES = 500


class Books:
    """What is written down, and what is waiting to be told."""

    def __init__(self, app: App):
        self._app = app

    def table(self) -> Table:
        return {
            "sessions.list": (Right.READ, self.sessions),
            "sessions.show": (Right.READ, self.session),
            "journal.list": (Right.READ, self.entries),
            "journal.show": (Right.READ, self.entry),
            "journal.retry": (Right.ACT, self.retry),
            "journal.export": (Right.READ, self.export),
            "settings.list": (Right.READ, self.settings),
            "settings.get": (Right.READ, self.setting),
            "settings.set": (Right.ACT, self.change),
            "auth.list": (Right.READ, self.tokens),
            "auth.check": (Right.READ, self.check),
        }

    # --- sessions and journal ----------------------------------------------------------------

    async def sessions(self, args: Args, caller: Caller) -> Any:
        limit = min(args.whole_or_none("limit") or 50, MOST_ROWS)
        before = args.whole_or_none("before")
        args.done()
        rows = await self._app.journal.sessions(limit, before)
        return {"sessions": [plain(row) for row in rows]}

    async def session(self, args: Args, caller: Caller) -> Any:
        number = args.whole("no")
        args.done()
        row = await self._app.journal.session(number)
        if row is None:
            raise ApiError(wire.NOT_FOUND, f"there is no session {number}", "cpctl sessions")
        facts = await self._app.journal.session_facts(number)
        return {"session": plain(row), "facts": [plain(fact) for fact in facts]}

    async def entries(self, args: Args, caller: Caller) -> Any:
        state = args.text_or_none("state")
        limit = min(args.whole_or_none("limit") or 50, MOST_ROWS)
        args.done()
        waiting = self._app.journal.waiting()
        rows = await self._app.journal.entries(state=state, limit=limit)
        return {"waiting": waiting.count, "oldest": time_of(waiting.oldest),
                "entries": [plain(row) for row in rows]}

    async def entry(self, args: Args, caller: Caller) -> Any:
        number = args.whole("no")
        args.done()
        row = await self._app.journal.entry(number)
        if row is None:
            raise ApiError(wire.NOT_FOUND, f"there is no entry {number}", "cpctl journal list")
        return {"entry": plain(row)}

    async def retry(self, args: Args, caller: Caller) -> Any:
        """An entry that was given up waits again."""
        number = args.whole("no")
        args.done()
        row = await self._app.journal.entry(number)
        if row is None:
            raise ApiError(wire.NOT_FOUND, f"there is no entry {number}", "cpctl journal list")
        if not await self._app.journal.retry(number):
            raise ApiError(wire.REFUSED, f"entry {number} was not given up, it "
                           + (f"is {row.state}" if row.state else "stays with us"),
                           "only an abandoned entry can be retried")
        self._app.link.facts_waiting()
        return {"no": number, "state": "waiting"}

    async def export(self, args: Args, caller: Caller) -> Any:
        """Part of the books as JSON lines, from behind entry `after`; `more` tells of a rest."""
        after = args.whole_or_none("after") or 0
        args.done()
        lines = await self._app.journal.export(after, EXPORT_LINES)
        return {"lines": list(lines), "more": len(lines) == EXPORT_LINES}

    # --- settings ----------------------------------------------------------------------------

    def _id_of(self, name: str) -> str:
        """The id of a setting given by id or by configuration key, in any case."""
        if name in TABLE:
            return name
        key = self._app.keys.KEYS.get(name.lower())
        if key is not None and key.setting is not None:
            found: str = key.setting
            return found
        if key is not None:
            raise ApiError(wire.REFUSED, f"{key.name} is decided by the installation",
                           "change the configuration file")
        import difflib  # only a mistake pays for this

        known = [*TABLE, *(each.name for each in self._app.keys.KEYS.values())]
        near = difflib.get_close_matches(name, known, n=1)
        raise ApiError(wire.NOT_FOUND, f"there is no setting {name[:64]}",
                       f"did you mean {near[0]}?" if near else "cpctl settings list")

    def _row(self, name: str) -> dict[str, Any]:
        row = TABLE[name]
        secret = row.access is Access.WRITE_ONLY
        value = to_text(self._app.loop.settings.value(name))
        return {"id": name, "keys": self._keys().get(name, []), "kind": row.kind.value,
                "value": None if secret else value, "default": to_text(row.default),
                "unit": row.unit, "access": row.access.value, "restart": row.restart,
                "choices": list(row.choices), "help": row.help}

    def _keys(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for key in self._app.keys.KEYS.values():
            if key.setting is not None:
                found.setdefault(key.setting, []).append(key.name)
        return found

    async def settings(self, args: Args, caller: Caller) -> Any:
        args.done()
        return {"settings": [self._row(name) for name in sorted(TABLE)]}

    async def setting(self, args: Args, caller: Caller) -> Any:
        """By id, or by configuration key: then with the value as the key tells it."""
        name = args.text("name")
        args.done()
        key = self._app.keys.KEYS.get(name.lower())
        if name in TABLE or key is None:
            return self._row(self._id_of(name))
        told = {"key": key.name, "key_value": self._app.keys.reading(
            key, self._app.loop.settings, self._app.config.layout())}
        if key.setting is None:
            return {"id": None, "value": told["key_value"], "access": "read_only", **told}
        return {**self._row(key.setting), **told}

    async def change(self, args: Args, caller: Caller) -> Any:
        """`value` is our canonical text, or the key's own when `name` is a configuration key."""
        name, value = args.text("name"), args.text_or_none("value") or ""
        args.done()
        setting = self._id_of(name)
        try:
            key = self._app.keys.KEYS.get(name.lower())
            text = value if name in TABLE or key is None else key.from_wire(value)
            canonical = to_text(parse(TABLE[setting], text))
        except SettingError as problem:
            raise ApiError(wire.INVALID_PARAMS, str(problem),
                           TABLE[setting].help or "see cpctl settings get") from problem
        answer = await ask(self._app, lambda request: SettingChangeRequested(
            request, setting, canonical), f"change of {setting}")
        secret = TABLE[setting].access is Access.WRITE_ONLY
        return {**answer, **self._row(setting), "value": None if secret else canonical}

    # --- tokens ------------------------------------------------------------------------------

    async def tokens(self, args: Args, caller: Caller) -> Any:
        args.done()
        book = self._app.authbook
        return {"cache": [{"token": token, **_info(info)} for token, info in book.entries()],
                "list": [{"token": token, **_info(info)}
                         for token, info in book.list_entries.items()],
                "list_version": book.list_version,
                "list_enabled": self._app.loop.settings.flag("auth.list_enabled")}

    async def check(self, args: Args, caller: Caller) -> Any:
        """How a token would be decided now, without asking the central system."""
        token = IdToken(args.text("token"))
        args.done()
        app = self._app
        listed, cached = app.authbook.listed(token), app.authbook.cached(token)
        picture = app.loop.picture
        online = picture.online and picture.registration is Registration.ACCEPTED
        decision = decide(token, list_entry=listed, cache_entry=cached, online=online,
                          settings=app.loop.settings, now=app.now())
        entries = {"list": _info(listed), "cache": _info(cached), "online": online}
        if isinstance(decision, AskCsms):
            return {"token": token.value, "decision": "ask_csms", "source": "csms", **entries,
                    "why": "only the central system can tell, and it can be asked"}
        return {"token": token.value, "decision": decision.info.status.value,
                "source": decision.source.value, **entries,
                "why": f"decided by the {decision.source.value.replace('_', ' ')}"}


def _info(info: TokenInfo | None) -> dict[str, Any]:
    if info is None:
        return {"status": None}
    return {"status": info.status.value, "group": info.group.value if info.group else None,
            "expires": time_of(info.expires)}
