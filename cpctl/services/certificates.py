"""Certificates: answers what the central system asks about them, and keeps the station's own alive.

What needs cryptography is done by `certificate_child.py` in a process of its own; here is decided
what follows. One thing at a time, in the order in which it was asked for. What time asks for
(renewal, switch, throwing away) is computed by `certificate_plan.py`.
Source: security whitepaper edition 3, A02, A03, M03, M04, M05; 16.SEC.8 to 15.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cpctl.core.effects import Query, SignCertificate
from cpctl.core.events import (
    CertificateDeleteRequested,
    CertificateInstallRequested,
    CertificateSignedRequested,
    CertificateSigningAnswered,
    CertificatesRequested,
    Event,
    Request,
    SecurityEventNoticed,
)
from cpctl.core.jobs import Certificates as Found
from cpctl.core.jobs import CertificateUse
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.values import Outcome, Reply, RequestId
from cpctl.services.certificate_about import about_of
from cpctl.services.certificate_plan import after_try, leading, plan
from cpctl.services.certificate_takeover import Takeover
from cpctl.services.child import ChildFailed, Children, Told
from cpctl.store.certificates import Certificate, CertificateStore, PendingKey, State
from cpctl.store.errors import StoreError
from hal.late import dataclass

log = logging.getLogger(__name__)

CHILD = "cpctl.services.certificate_child"
CHECK_LIMIT_S = 15.0  # within the patience of who asked
TURN_LIMIT_S = 10.0  # of it, for what was asked before
KEY_LIMIT_S = 120.0  # a new RSA key takes its time on a small board
MOST_PENDING = 2  # keys that wait for a certificate: the central system may answer the older one
LONGEST_LOOK_S = 3600.0  # between two looks at the clock
ANSWER_TIME_S = 1.0  # for an answer to leave before the connection is renewed
SEND_AGAIN_S = 60.0  # between two tries to send what the central system asked for
SEND_TRIES = 5
INVALID_ROOT = "InvalidCentralSystemCertificate"
INVALID_OWN = "InvalidChargePointCertificate"
RECONFIGURED = "ReconfigurationOfSecurityParameters"


@dataclass(frozen=True)
class Around:
    """What the service needs of the daemon. `name` is the station's serial number, `online`
    whether a question would be asked, `shows_certificate` whether connections show ours."""

    ask: Callable[[Query, bool], Awaitable[tuple[Event, ...]]]  # the question, and: asked for?
    answer: Callable[[RequestId, Reply], None]
    post: Callable[[Event], None]
    settings: Callable[[], Settings]
    now: Callable[[], Now]
    online: Callable[[], bool]
    reconnect: Callable[[str], None]
    shows_certificate: Callable[[], bool]
    spawn: Callable[[Coroutine[Any, Any, None], str], object]
    name: str


class Certificates:
    """See the module. `run` is its task; `take` and `sign_wanted` return at once."""

    def __init__(self, store: CertificateStore, children: Children, around: Around) -> None:
        self.store = store
        self._children = children
        self._around = around
        self._turn = asyncio.Lock()
        self._patience_s = CHECK_LIMIT_S  # what is left of it to the request whose turn it is
        self._wake = asyncio.Event()
        self._looked_at = False  # what the configuration names has been taken over
        self._leading = leading(store.state, around.now().utc)
        self._shown = ""  # the file that the present connection, or the last one, showed
        self._asked = 0
        self._sign_waits = False
        self._told_missing_name = False
        store.on_connected = self._connected

    # --- the door ----------------------------------------------------------------------------

    def take(self, request: Request) -> None:
        """Answer a request; exactly one answer follows."""
        self._around.spawn(self._answered(request), "certificate request")

    def sign_wanted(self) -> None:
        """The central system asks for a request for a new certificate (16.SEC.8); asked again
        before its turn has come, one request answers both."""
        if not self._sign_waits:
            self._sign_waits = True
            self._around.spawn(self._sign_as_asked(), "certificate signing")

    def look(self) -> None:
        """The clock was set, or the link came up: see what is due."""
        self._wake.set()

    async def run(self) -> None:
        """See to what time asks for, for ever."""
        await self._taken_over()
        while True:
            self._wake.clear()
            wait_s = await self._due()
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    # --- requests ----------------------------------------------------------------------------

    async def _answered(self, request: Request) -> None:
        """In time: what is decided after the answer was given up would hold all the same."""
        time_s = asyncio.get_running_loop().time
        begun_s = time_s()
        await self._taken_over()
        try:
            async with asyncio.timeout(TURN_LIMIT_S):
                await self._turn.acquire()
        except TimeoutError:
            log.error("certificates: %s came to no turn", type(request).__name__)
            self._around.answer(request.request, Reply(Outcome.FAILED, "busy", "try again"))
            return
        try:
            self._patience_s = max(1.0, CHECK_LIMIT_S - (time_s() - begun_s))
            reply = await self._attempted(request)
        finally:
            self._turn.release()
        self._around.answer(request.request, reply)
        self.look()

    async def _attempted(self, request: Request) -> Reply:
        try:
            return await self._decided(request)
        except ChildFailed as failed:
            log.error("certificates: %s", failed)
            return Reply(Outcome.FAILED, failed.kind, failed.detail)
        except StoreError as error:
            log.error("certificates: %s", error)
            return Reply(Outcome.FAILED, "store", str(error))

    async def _decided(self, request: Request) -> Reply:
        match request:
            case CertificateInstallRequested():
                return await self._install(request)
            case CertificateDeleteRequested():
                return await self._delete(request)
            case CertificatesRequested():
                return self._listed(request)
            case CertificateSignedRequested():
                return await self._signed(request)
            case _:
                return Reply(Outcome.NOT_SUPPORTED, "not_supported")

    def _listed(self, request: CertificatesRequested) -> Reply:
        """16.SEC.15, M03: roots only; the station's own is not asked for."""
        found = tuple((one.use, one.hashes[0]) for one in self.store.state.roots
                      if one.use is not None and one.described
                      and (not request.uses or one.use in request.uses))
        if not found:
            return Reply(Outcome.NOT_FOUND, content=Found(()))
        return Reply(Outcome.ACCEPTED, content=Found(found))

    # --- roots -------------------------------------------------------------------------------

    async def _install(self, request: CertificateInstallRequested) -> Reply:
        """16.SEC.12, 16.SEC.13, M05."""
        state, use = self.store.state, request.use
        checked = use is CertificateUse.CSMS_ROOT and self._around.settings().flag(
            "security.additional_root_check")
        if checked and any(one.use is use for one in self.store.waiting):
            return Reply(Outcome.FAILED, "not_in_store", "see the log: [csms] ca_file")
        # M05.FR.09: one of these must have signed it
        replaces = [one for one in state.of(use) if checked and not one.fallback]
        try:
            told = await self._child({
                "do": "check_root", "pem": request.pem, "now": self._moment(),
                "known": [await self.store.text(one.file) for one in state.of(use)],
                "signers": [await self.store.text(one.file) for one in replaces] or None},
                self._patience_s)
        except ChildFailed as failed:
            if failed.kind != "invalid":
                raise
            return self._refused_root(use, failed.detail)
        new = about_of(told["about"]).certificate(use, self._around.now().utc)
        known = next((one for one in state.certificates if one.file == new.file), None)
        if known is not None and not known.fallback:
            log.info("certificate installed already: %s", new.subject)
            return Reply(Outcome.ACCEPTED)
        after = self._with_root(state, new, replaces)
        if len(after.roots) > self._around.settings().integer("security.store_max"):
            return Reply(Outcome.REJECTED, "store_full", "delete one first")
        await self.store.put(after, {new.file: told["pem"]})
        log.info("certificate installed: %s for %s, until %s", new.subject, use.value,
                 new.not_after.date())
        self._reconfigured(f"installed {use.value} {new.subject}")
        return Reply(Outcome.ACCEPTED)

    def _with_root(self, state: State, new: Certificate, replaces: list[Certificate]
                   ) -> State:
        """M05.FR.08, FR.11: one root and one fallback; the fallback is one that has proved itself,
        if there is one."""
        if not replaces:
            return state.with_certificate(new)
        old = [one for one in state.of(CertificateUse.CSMS_ROOT) if one.file != new.file]
        old.sort(key=lambda one: (self.store.in_use(one), one.proved, one.added), reverse=True)
        return state.without(*old[1:]).with_certificate(
            replace(old[0], fallback=True)).with_certificate(new)

    def _refused_root(self, use: CertificateUse, finding: str) -> Reply:
        log.warning("certificate for %s refused: %s", use.value, finding)
        if use is CertificateUse.CSMS_ROOT:
            self._security(INVALID_ROOT, f"to be installed: {finding}")
        return Reply(Outcome.REJECTED, "invalid_certificate", finding)

    async def _delete(self, request: CertificateDeleteRequested) -> Reply:
        """16.SEC.14, M04: neither the station's own nor the root that the connection stands on."""
        state = self.store.state
        named = [one for one in state.certificates if one.named_by(request.hash)]
        if not named:
            return Reply(Outcome.NOT_FOUND)
        kept = [one for one in named if one.use is None or self.store.in_use(one)]
        if kept:
            why = "the station's own" if kept[0].use is None else "in use by this connection"
            log.warning("certificate not deleted: %s is %s", kept[0].subject, why)
            return Reply(Outcome.FAILED, "in_use", why)
        await self.store.put(state.without(*named))
        for one in named:
            log.info("certificate deleted: %s", one.subject)
            self._reconfigured(f"deleted {one.subject}")
        return Reply(Outcome.ACCEPTED)

    # --- the station's own -------------------------------------------------------------------

    async def _signed(self, request: CertificateSignedRequested) -> Reply:
        """16.SEC.9, A02.FR.06, FR.07: good ones are taken, the rest is dropped and told."""
        most = self._around.settings().integer("security.chain_max")
        if len(request.pem) > most:
            return self._refused_own(f"{len(request.pem)} characters, {most} at most are taken")
        state = self.store.state
        awaited = [one.key for one in state.pending]
        try:
            told = await self._child({
                "do": "check_signed", "pem": request.pem, "now": self._moment(),
                "keys": [*awaited, *(one.key for one in state.of(None))],
                "common_name": self._around.name,
                "roots": [await self.store.text(one.file)
                          for one in state.of(CertificateUse.CSMS_ROOT)]},
                self._patience_s)
        except ChildFailed as failed:
            if failed.kind != "invalid":
                raise
            return self._refused_own(failed.detail)
        new = about_of(told["about"]).certificate(
            None, self._around.now().utc, key=told["key"])
        if any(one.file == new.file for one in state.certificates):
            return Reply(Outcome.ACCEPTED)  # the same again: its answer was lost
        if new.key not in awaited:
            return self._refused_own("no request of ours waits for it")
        left = tuple(one for one in state.pending if one.key != new.key)
        await self.store.put(replace(state.with_certificate(new), pending=left, renewal=None),
                             {new.file: told["pem"]})
        log.info("certificate of the station taken: %s, from %s until %s", new.subject,
                 new.not_before.date(), new.not_after.date())
        self._reconfigured(f"new certificate of the station, serial number {new.serial}")
        return Reply(Outcome.ACCEPTED)

    def _refused_own(self, finding: str) -> Reply:
        log.warning("certificate of the station refused: %s", finding)
        self._security(INVALID_OWN, finding)
        return Reply(Outcome.REJECTED, "invalid_certificate", finding)

    # --- asking for one ----------------------------------------------------------------------

    async def _sign_as_asked(self) -> None:
        """A new key each time (A02.FR.02). It is sent again only while nobody has heard it."""
        await self._taken_over()
        async with self._turn:
            self._sign_waits = False
            pending = await self._made_key()
        if pending is None:
            return
        for left in range(SEND_TRIES - 1, -1, -1):
            if await self._sent(pending, asked_for=True) is not None or not left:
                return
            await asyncio.sleep(SEND_AGAIN_S)

    async def _made_key(self) -> PendingKey | None:
        """A key whose signing request is ready; None: it cannot be made, which is told."""
        settings = self._around.settings()
        organization = settings.text("security.cpo_name")
        if not organization:
            if not self._told_missing_name:
                log.warning("no certificate is asked for: CpoName is not set")
            self._told_missing_name = True
            return None
        self._told_missing_name = False
        try:
            made = await self._child({
                "do": "make_key", "folder": str(self.store.path), "organization": organization,
                "kind": settings.text("security.key_type"), "common_name": self._around.name},
                KEY_LIMIT_S)
            pending = PendingKey(made["key"], made["csr"], self._around.now().utc)
            state = self.store.state
            await self.store.put(replace(
                state, pending=(pending, *state.pending)[:MOST_PENDING]))
        except (ChildFailed, StoreError) as error:
            log.error("no key for a new certificate could be made: %s", error)
            return None
        return pending

    async def _sent(self, pending: PendingKey, *, asked_for: bool) -> bool | None:
        """Whether the central system has the certificate made; None: it was not heard."""
        self._asked += 1
        query = SignCertificate(self._asked, pending.csr)
        for event in await self._around.ask(query, asked_for):
            if isinstance(event, CertificateSigningAnswered):
                log.info("certificate signing: %s",
                         "accepted" if event.accepted else "not accepted")
                return event.accepted
        return None

    async def _renew(self) -> None:
        """16.SEC.11, A03: the same key is offered again until its certificate comes."""
        if not self._around.online():
            return
        async with self._turn:
            state = self.store.state
            waiting = [one for one in state.pending if one.csr and state.renewal is not None]
            pending = waiting[0] if waiting else await self._made_key()
        accepted = False
        if pending is not None:
            accepted = await self._sent(pending, asked_for=False) or False
        async with self._turn:
            state = self.store.state
            if pending is not None and pending not in state.pending:
                return  # its certificate has come already
            again = after_try(state.renewal, self._around.now().utc, accepted=accepted)
            log.info("renewal of the certificate: next look on %s", again.next_at.date())
            await self.store.put(replace(state, renewal=again))

    # --- what time asks for ------------------------------------------------------------------

    async def _due(self) -> float:
        """Do what is due; seconds until the next look."""
        try:
            async with self._turn:
                due = plan(self.store.state, self._around.now())
                if due.gone:
                    log.info("old certificates of the station go: %s",
                             ", ".join(one.serial for one in due.gone))
                    await self.store.put(self.store.state.without(*due.gone))
            if due.renew:
                await self._renew()
                due = plan(self.store.state, self._around.now())
        except StoreError as error:
            log.error("certificates: %s", error)
            return LONGEST_LOOK_S
        await self._switched(due.leading)
        return self._wait_s(due.next_at)

    def _wait_s(self, next_at: datetime | None) -> float:
        if next_at is None:
            return LONGEST_LOOK_S
        left = (next_at - self._around.now().utc) / timedelta(seconds=1)
        return min(max(left, 0.0) + 0.001, LONGEST_LOOK_S)

    async def _switched(self, first: Certificate | None) -> None:
        """A02.FR.08: from its first moment on the newest is shown."""
        if first is None or (self._leading is not None and first.file == self._leading.file):
            return
        self._leading = first
        if not self._around.shows_certificate() or self._shown == first.file:
            return
        await asyncio.sleep(ANSWER_TIME_S)
        log.info("the new certificate of the station is in force: connecting anew")
        self._around.reconnect("new certificate of the station")

    def _connected(self, shown: Certificate | None) -> None:
        """A TLS connection stands: what it stands on has proved itself."""
        state = self.store.state
        proved = {one.file for one in state.roots if self.store.in_use(one)}
        self._shown = "" if shown is None else shown.file
        if shown is not None:
            proved.add(shown.file)
        news = [one for one in state.certificates if one.file in proved and not one.proved]
        fallbacks = [one for one in state.roots if one.fallback]
        successor = any(one.file in proved and not one.fallback for one in state.roots)
        if news or (fallbacks and successor):
            self._around.spawn(self._proved(frozenset(proved)), "certificates proved")

    async def _proved(self, files: frozenset[str]) -> None:
        """M05.FR.12: with the new root it works, so the one it replaced goes."""
        async with self._turn:
            state = self.store.state
            for one in state.certificates:
                if one.file in files and not one.proved:
                    state = state.with_certificate(replace(one, proved=True))
            successor = any(one.use is CertificateUse.CSMS_ROOT and not one.fallback
                            and one.file in files for one in state.certificates)
            fallbacks = [one for one in state.roots if one.fallback]
            if successor and fallbacks:
                log.info("the new root of the central system works: %s goes",
                         ", ".join(one.subject for one in fallbacks))
                state = state.without(*fallbacks)
            try:
                await self.store.put(state)
            except StoreError as error:
                log.error("certificates: %s", error)
        self.look()

    # --- what was there before us ------------------------------------------------------------

    async def _taken_over(self) -> None:
        """What the configuration names is in the store, and all that is in it is described."""
        if self._looked_at:
            return
        async with self._turn:
            if self._looked_at:
                return
            around = self._around
            await Takeover(self.store, self._child, around.settings, around.now).run()
            self._looked_at = True
            self._leading = leading(self.store.state, self._around.now().utc)

    # --- the rest ----------------------------------------------------------------------------

    async def _child(self, order: dict[str, Any], limit_s: float = CHECK_LIMIT_S) -> Told:
        return await self._children.run(CHILD, order, limit_s=limit_s)

    def _moment(self) -> str | None:
        """The time for verdicts; None while it is not trusted: then dates are no reason."""
        now = self._around.now()
        return now.utc.isoformat() if now.quality.trusted else None

    def _reconfigured(self, text: str) -> None:
        self._security(RECONFIGURED, text)

    def _security(self, kind: str, text: str) -> None:
        self._around.post(SecurityEventNoticed(kind, text[:255]))
