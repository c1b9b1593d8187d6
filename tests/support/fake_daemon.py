"""A stand-in for the daemon at the other end of the socket: canned answers, in a thread."""

import json
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

Answer = dict[str, Any] | bytes | None


class FakeDaemon:
    """Answers each call with `answers[method]`: a result, {"error": …}, raw bytes, or nothing.

    `tells` are notifications sent after the answer to that method.
    """

    def __init__(self, path: Path, answers: dict[str, Answer],
                 tells: dict[str, list[dict[str, Any]]] | None = None) -> None:
        self.path = path
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answers = answers
        self._tells = tells or {}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "FakeDaemon":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for one in self._open:
            one.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            with connection.makefile("rb") as lines:
                for line in lines:
                    if not self._answer(connection, json.loads(line)):
                        break
            if b"hang up" in [self._answers.get(method) for method, _ in self.calls]:
                connection.close()

    def _answer(self, connection: socket.socket, call: dict[str, Any]) -> bool:
        method = call["method"]
        self.calls.append((method, call["params"]))
        answer = self._answers.get(method)
        if answer is None:
            return True
        if answer == b"hang up":
            connection.shutdown(socket.SHUT_RDWR)
            return False
        if isinstance(answer, bytes):
            connection.sendall(answer)
            return True
        shown = answer if "error" in answer else {"result": answer}
        messages = [{"jsonrpc": "2.0", "id": call["id"], **shown}]
        messages += [{"jsonrpc": "2.0", "method": method, "params": one}
                     for one in self._tells.get(method, [])]
        connection.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in messages))
        return True
