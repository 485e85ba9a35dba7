"""A small server on the loopback that answers where a request goes: `python -m karez.gateway.worker TABLE --port N`.

    POST /decide   {"metro", "model", "prompt_tokens", "data_class", "objective_ms"} -> the decision
    GET /healthz   the digest of the twin that the table was compiled from

It reads the table anew when the file changes and on SIGHUP; a bad file leaves the old table in place, and /healthz and
the standard error say so. It imports the standard library, numpy and `karez.steer` only: many of it fit on a machine.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

# Threads of linear algebra, which nothing here uses, would each hold memory.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from karez.steer import DATA_CLASSES, BadTable, Decision, Table, decide, load

HOST = "127.0.0.1"
MOST_HEAD_BYTES = 16 * 1024
MOST_BODY_BYTES = 64 * 1024
MOST_TOKENS = 2**31 - 1
LOOK_EVERY_S = 0.5
FIELDS = ("metro", "model", "prompt_tokens", "data_class", "objective_ms")
PHRASES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    505: "HTTP Version Not Supported",
}
USAGE = "usage: python -m karez.gateway.worker TABLE [--port N]"

Body = Mapping[str, object]


class Bad(Exception):
    """A request that is answered with an error; `closes` where the bytes after it cannot be trusted."""

    def __init__(self, status: int, problems: list[str], *, closes: bool = False, allow: str = "") -> None:
        """Keep what the answer says."""
        super().__init__("; ".join(problems))
        self.status, self.problems, self.closes, self.allow = status, problems, closes, allow


class Request(NamedTuple):
    """One request, taken off the wire."""

    method: str
    path: str
    body: bytes
    keep_alive: bool


class Tables:
    """The table in use, and the file it comes from."""

    def __init__(self, path: str) -> None:
        """Load the table.

        Raises:
            BadTable: the file holds no whole table.
            OSError: the file cannot be read.
        """
        self.path = path
        self.seen = _stamp(path)
        self.table: Table = load(path)
        self.problem = ""

    def reload(self) -> None:
        """Take the file's table in one step, or keep the old one and say why."""
        self.seen = _stamp(self.path)
        try:
            self.table, self.problem = load(self.path), ""
        except (BadTable, OSError) as error:
            self.problem = f"kept the table of {self.table.digest[:12]}: {error}"
            print(self.problem, file=sys.stderr, flush=True)

    def look(self) -> None:
        """Reload if the file has changed."""
        if _stamp(self.path) != self.seen:
            self.reload()


class Connection(asyncio.Protocol):
    """One client: requests in, answers out in the same order, however the bytes are cut."""

    def __init__(self, tables: Tables) -> None:
        """Answer from `tables`."""
        self.tables = tables
        self.buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self.buffer += data
        answers = []
        while not self.transport.is_closing():
            answer, closes = self._next()
            answers.append(answer)
            if closes:
                self.transport.write(b"".join(answers))
                self.transport.close()
                return
            if not answer:
                break
        self.transport.write(b"".join(answers))

    def pause_writing(self) -> None:
        """Take no more requests from a client that does not read its answers."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self.transport.resume_reading()

    def _next(self) -> tuple[bytes, bool]:
        """The answer to the next whole request (empty where there is none), and whether to hang up after it."""
        closes = False
        try:
            request, self.buffer = _cut(self.buffer)
            if request is None:
                return b"", False
            closes = not request.keep_alive
            return _encoded(200, _routed(request, self.tables), closes=closes), closes
        except Bad as bad:
            error = {"error": {"message": str(bad), "problems": bad.problems}}
            closes = closes or bad.closes
            return _encoded(bad.status, error, allow=bad.allow, closes=closes), closes


def answer(table: Table, body: bytes) -> dict[str, object]:
    """The decision on the question in `body` (JSON), as JSON has it: null stands for nowhere.

    Raises:
        Bad: the question is not one; all its problems.
    """
    question = _question(table, body)
    return _shown(decide(table, **question))  # type: ignore[arg-type]


def main(arguments: list[str]) -> int:
    """The exit code after serving until SIGTERM or SIGINT; 2 for wrong arguments or a bad table."""
    try:
        path, port = _arguments(arguments)
        tables = Tables(path)
        asyncio.run(_serve(tables, port))
    except (BadTable, ValueError, OSError) as error:
        print(f"{error}\n{USAGE}", file=sys.stderr)
        return 2
    return 0


async def _serve(tables: Tables, port: int) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(lambda: Connection(tables), HOST, port)
    loop.add_signal_handler(signal.SIGHUP, tables.reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    _every(loop, LOOK_EVERY_S, tables.look)
    print(f"http://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    await done.wait()
    server.close()


def _every(loop: asyncio.AbstractEventLoop, seconds: float, act: Callable[[], None]) -> None:
    def turn() -> None:
        act()
        loop.call_later(seconds, turn)

    loop.call_later(seconds, turn)


def _cut(buffer: bytes) -> tuple[Request | None, bytes]:
    """The first request of `buffer` if it is whole, and the bytes after it."""
    end = buffer.find(b"\r\n\r\n", 0, MOST_HEAD_BYTES + 4)
    if end < 0:
        if len(buffer) > MOST_HEAD_BYTES:
            raise Bad(431, [f"the head is longer than {MOST_HEAD_BYTES} bytes"], closes=True)
        return None, buffer
    lines = buffer[:end].decode("latin-1").split("\r\n")
    method, path, version = _request_line(lines[0])
    headers = _headers(lines[1:])
    last = end + 4 + _length(headers)
    if len(buffer) < last:
        return None, buffer
    wish = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close").lower()
    return Request(method, path, buffer[end + 4 : last], wish != "close"), buffer[last:]


def _request_line(line: str) -> tuple[str, str, str]:
    parts = line.split(" ")
    if len(parts) != 3:
        raise Bad(400, ["the first line is not METHOD PATH HTTP/1.1"], closes=True)
    if parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Bad(505, [f"{parts[2]!r} is not HTTP/1.1"], closes=True)
    return parts[0], parts[1].partition("?")[0], parts[2]


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip() or (name == "content-length" and name in headers):
            raise Bad(400, [f"{line[:80]!r} is no header, or one that came twice"], closes=True)
        headers[name] = value.strip()
    return headers


def _length(headers: Mapping[str, str]) -> int:
    """Bytes of the body; a body whose end could be read in two ways is refused."""
    if "transfer-encoding" in headers:
        raise Bad(411, ["send the body whole, with Content-Length"], closes=True)
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Bad(400, [f"Content-Length {text[:40]!r} is no length"], closes=True)
    if int(text) > MOST_BODY_BYTES:
        raise Bad(413, [f"the body is longer than {MOST_BODY_BYTES} bytes"], closes=True)
    return int(text)


def _routed(request: Request, tables: Tables) -> Body:
    if request.path == "/decide":
        _only("POST", request)
        return answer(tables.table, request.body)
    if request.path == "/healthz":
        _only("GET", request)
        return {"status": "ok", "digest": tables.table.digest, "problem": tables.problem}
    raise Bad(404, ["there is only POST /decide and GET /healthz"])


def _only(method: str, request: Request) -> None:
    if request.method != method:
        raise Bad(405, [f"{request.path} takes {method} only"], allow=method)


def _question(table: Table, body: bytes) -> dict[str, object]:
    try:
        question = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Bad(400, [f"the body is not JSON: {error}"]) from error
    if not isinstance(question, dict):
        raise Bad(400, ["the body is not a JSON object"])
    problems = [f"{name!r} is no field; the fields are {', '.join(FIELDS)}" for name in question if name not in FIELDS]
    problems += [f"{name} is missing" for name in FIELDS if name not in question]
    problems += _wrong(table, question)
    if problems:
        raise Bad(400, problems)
    return question


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _wrong(table: Table, question: Mapping[str, object]) -> list[str]:
    """What is wrong with the values that are there."""
    names: dict[str, Mapping[str, int]] = {"metro": table.metros, "model": table.models, "data_class": DATA_CLASSES}
    problems = [
        f"{name} {str(question[name])[:80]!r} is not known"
        for name, known in names.items()
        if name in question and not (isinstance(question[name], str) and question[name] in known)
    ]
    tokens, objective_ms = question.get("prompt_tokens", 1), question.get("objective_ms", 1)
    if type(tokens) is not int or not 1 <= tokens <= MOST_TOKENS:
        problems.append(f"prompt_tokens is not a whole number from 1 to {MOST_TOKENS}")
    if type(objective_ms) not in (int, float) or not 0 < objective_ms <= sys.float_info.max:  # type: ignore[operator]
        problems.append("objective_ms is not a number above 0")
    return problems


def _shown(decision: Decision) -> dict[str, object]:
    """A decision as JSON has it: what is not known or nowhere is null."""
    shown: dict[str, object] = {name: _finite(value) for name, value in decision._asdict().items()}
    shown["excluded"] = [{name: _finite(value) for name, value in e._asdict().items()} for e in decision.excluded]
    return shown


def _finite(value: object) -> object:
    return None if value == "" or (isinstance(value, float) and not math.isfinite(value)) else value


def _encoded(status: int, body: Body, *, allow: str = "", closes: bool = False) -> bytes:
    payload = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    extra = f"Allow: {allow}\r\n" if allow else ""
    extra += "Connection: close\r\n" if closes else ""
    head = f"HTTP/1.1 {status} {PHRASES[status]}\r\nContent-Type: application/json\r\n{extra}"
    return f"{head}Content-Length: {len(payload)}\r\n\r\n".encode("ascii") + payload


def _stamp(path: str) -> tuple[int, int, int] | None:
    """What differs when the file was replaced or rewritten; None where it is gone."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _arguments(arguments: list[str]) -> tuple[str, int]:
    """The table's path and the port (default 0: any that is free).

    Raises:
        ValueError: they are not as the usage says.
    """
    if len(arguments) == 1:
        return arguments[0], 0
    if len(arguments) != 3 or arguments[1] != "--port" or not arguments[2].isdecimal() or int(arguments[2]) > 65535:
        raise ValueError("give the file of a steering table, and a port if you want a certain one")
    return arguments[0], int(arguments[2])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
