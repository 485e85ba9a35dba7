"""A real service on a loopback port, and a plain client of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import msgspec
import uvicorn

from karez.faces import service

OPENER = build_opener(ProxyHandler({}))
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Reply:
    status: int
    kind: str
    body: bytes


@dataclass(frozen=True)
class Client:
    url: str

    def get(self, path: str, *, host: str = "") -> Reply:
        return self._send(Request(self.url + path, headers={"Host": host} if host else {}))

    def ask(self, operation: str, question: object) -> Reply:
        return self.post(operation, msgspec.json.encode(question))

    def post(self, operation: str, body: bytes, *, kind: str = "application/json") -> Reply:
        url = f"{self.url}/v1/operations/{operation}"
        return self._send(Request(url, data=body, headers={"Content-Type": kind}))

    def _send(self, request: Request) -> Reply:
        try:
            with OPENER.open(request, timeout=PATIENCE_S) as reply:
                return Reply(reply.status, reply.headers["Content-Type"], reply.read())
        except HTTPError as error:
            with error:
                return Reply(error.code, error.headers["Content-Type"], error.read())


@contextmanager
def served(root: Path, *, allow_writes: bool = False) -> Iterator[Client]:
    """A client of a service of `root`, which stops at the end."""
    config = uvicorn.Config(service.app(root, allow_writes=allow_writes), log_level="error")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            _wait_for(server)
            yield Client(f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
    assert not thread.is_alive()


def _wait_for(server: uvicorn.Server) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not server.started:
        assert time.monotonic() < give_up_s, "the service did not start"
        time.sleep(0.01)
