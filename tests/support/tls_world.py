"""A whole daemon that speaks TLS with a real server, whose certificate the test chooses.

    async with secured(server=root.server(valid=EXPIRED)) as station: ...
    await station.mend(root.server())
"""

import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from support import virtual_loop
from support.lapse_loop import LapseLoop
from support.pki import Authority, Credential, server_context
from support.world import World, world

PASSWORD = "0123456789ABCDEF0123456789abcdef"
OTHER_PASSWORD = "FFEEDDCCBBAA99887766554433221100"


@cache
def root() -> Authority:
    """The central system's root, the same for all tests of a process."""
    return Authority("Central System Root")


class Secured:
    """`world`, its central system behind TLS; what its daemon has in its security log."""

    def __init__(self, made: World) -> None:
        self.world = made

    async def mend(self, server: Credential | None = None, *,
                   context: ssl.SSLContext | None = None) -> None:
        """Another certificate, or another manner, from now on at the same address."""
        await self.stop_server()
        self.world.network.tls = context or server_context(server or root().server())
        await self.world.network.open()

    async def without_tls(self) -> None:
        """The server does not speak TLS any more, at the same address."""
        await self.stop_server()
        self.world.network.tls = None
        await self.world.network.open()

    async def stop_server(self) -> None:
        await self.world.network.close()

    async def events(self) -> list[str]:
        """The kinds in the security log, without those of every start."""
        return [kind for kind, _ in await self.log()]

    async def log(self) -> list[tuple[str, str]]:
        """Kind and text, oldest first, without those of every start."""
        assert self.world.app is not None
        return [(entry.fact.kind, entry.fact.text)
                for entry in reversed(await self.world.app.journal.entries())
                if entry.kind == "SecurityEventRaised"
                and entry.fact.kind not in ("StartupOfTheDevice", "ResetOrReboot")]

    async def told(self) -> list[str]:
        """The kinds that the central system was told, without those of every start."""
        return [one["type"] for one in self.world.calls("SecurityEventNotification")
                if one["type"] not in ("StartupOfTheDevice", "ResetOrReboot")]

    @property
    def detail(self) -> str:
        assert self.world.app is not None
        return str(self.world.app.link.state.detail)

    @property
    def online(self) -> bool:
        assert self.world.app is not None
        return bool(self.world.app.link.state.online)

    async def refused(self) -> None:
        """Wait until a try has failed."""
        await self.world.until(lambda: self.detail != "not connected yet" and not self.online, 120)

    async def back(self, limit_s: float = 600) -> None:
        """Wait until the central system knows the station is there."""
        await self.world.until(
            lambda: self.online and self.world.central.books.boots
            and self.world.app.link.state.registration.value == "accepted", limit_s)
        await self.world.advance(10)


@contextlib.asynccontextmanager
async def secured(server: Credential | None = None, *, context: ssl.SSLContext | None = None,
                  plain: bool = False, profile: int = 2, password: str = PASSWORD,
                  trust: Credential | None = None, client: Credential | None = None,
                  check_hostname: bool = True, csms: str = "", prepare: Callable[[World], Any] = id,
                  **options: Any) -> AsyncIterator[Secured]:
    """`plain`: the central system begins without TLS. `prepare` sees the world before the start."""
    with tempfile.TemporaryDirectory(prefix="cpctl-tls-") as name:
        folder = Path(name)
        lines = [f"security_profile = {profile}", csms]
        if password:
            secret = folder / "password"
            secret.touch(mode=0o600)
            secret.write_text(password)
            lines.append(f'password_file = "{secret}"')
        if trust is None:
            trust = root()
        lines.append(f'ca_file = "{trust.write(folder, "ca")[0]}"')
        if client is not None:
            certificate, key = client.write(folder, "station")
            lines += [f'client_cert_file = "{certificate}"', f'client_key_file = "{key}"']
        tls = None if plain else context or server_context(server or root().server())
        if not check_hostname:
            lines.append("check_hostname = false")
        async with world(start=False, real_sockets=True, tls=tls, csms="\n".join(lines),
                         **options) as made:
            prepare(made)
            await made.start()
            yield Secured(made)


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Tell a story of real sockets in time that lapses."""
    virtual_loop.run(story(), loop=LapseLoop())
