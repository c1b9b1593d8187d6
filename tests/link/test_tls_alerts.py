"""A server that says by an alert why it hangs up, as most do; those of asyncio only hang up."""

import contextlib
import socket
import ssl
import threading

import pytest
from support import aio
from support.pki import Authority, server_context
from support.tls_world import root

from cpctl.link.connection import WebsocketConnector
from cpctl.link.errors import ConnectRefused, Why
from cpctl.link.route import Tls

V = ssl.TLSVersion
ALL = "ALL:@SECLEVEL=0"


@contextlib.contextmanager
def blocking_server(context):
    """Shakes hands in a thread, reads a little, closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(10)
                with contextlib.suppress(OSError), contextlib.closing(connection):
                    spoken = context.wrap_socket(connection, server_side=True)
                    spoken.recv(1000)
                    spoken.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@pytest.mark.requirement("16.SEC.6", "16.SEC.7")
@pytest.mark.parametrize(("why", "shown", "how"), [
    (Why.TLS_VERSION, None, {"minimum": V.MINIMUM_SUPPORTED, "maximum": V.TLSv1_1,
                             "ciphers": ALL}),
    (Why.CIPHERS, None, {"maximum": V.TLSv1_2, "ciphers": "AES128-SHA:@SECLEVEL=0"}),
    (Why.CIPHERS, None, {"maximum": V.TLSv1_2, "ciphers": "CHACHA20"}),
    (Why.OUR_CERTIFICATE, None, {"maximum": V.TLSv1_2, "client_ca": True}),
    (Why.OUR_CERTIFICATE, None, {"client_ca": True}),
    (Why.OUR_CERTIFICATE, "stranger", {"maximum": V.TLSv1_2, "client_ca": True}),
    (Why.OUR_CERTIFICATE, "stranger", {"client_ca": True})])
def test_the_alert_tells_why(tmp_path, why, shown, how):
    if "client_ca" in how:
        how = {**how, "client_ca": root()}
    trust, files = root().write(tmp_path, "ca")[0], (None, None)
    if shown is not None:
        files = tuple(str(one) for one in Authority("Nobody").client().write(tmp_path, shown))

    async def told():
        with (blocking_server(server_context(root().server(kind="rsa"), **how)) as port,
              pytest.raises(ConnectRefused) as refused):
            await WebsocketConnector().connect(
                f"wss://127.0.0.1:{port}/CP", ["ocpp1.6"], (), Tls((str(trust),), *files))
        assert refused.value.why is why, refused.value
        assert ";" in str(refused.value)  # what was found; what to do

    aio.run(told())


def test_roots_that_cannot_be_read_are_named(tmp_path):
    async def told():
        with pytest.raises(ConnectRefused, match="certificate files cannot be used") as refused:
            await WebsocketConnector().connect("wss://127.0.0.1:1/CP", ["ocpp1.6"], (),
                                               Tls((str(tmp_path / "gone.pem"),)))
        assert refused.value.why is Why.TLS

    aio.run(told())
