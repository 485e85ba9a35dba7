"""The HTTP face: every operation under one folder, one at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from karez import operations
from karez.errors import Infeasible, InputError, KarezError, Problem, Refused, TargetMissed
from karez.faces import questions, text
from karez.operations import OPERATIONS, Operation

LARGEST_BODY = 2**20
# As Linux has it; resolving a path takes time that grows with the square of its length.
LONGEST_PATH = 4096
LOOPBACK = ("127.0.0.1", "localhost")
STATUSES = {
    InputError: HTTPStatus.BAD_REQUEST,
    Refused: HTTPStatus.CONFLICT,
    Infeasible: HTTPStatus.UNPROCESSABLE_ENTITY,
    TargetMissed: HTTPStatus.UNPROCESSABLE_ENTITY,
}


def app(root: Path, *, allow_writes: bool = False, hosts: Sequence[str] = LOOPBACK) -> Starlette:
    """The service of all operations on what lies under `root`.

    Operations that write are refused unless `allow_writes`. Requests must name one of `hosts`, or a page in a browser
    could reach a service on loopback under a name of its own.
    """
    service = Starlette(
        routes=[
            Route("/healthz", _health),
            Route("/v1/operations", _list),
            Route("/v1/operations/{name}", _ask, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={HTTPException: _refused, KarezError: _failed, OSError: _failed},
    )
    service.state.root = root.resolve()
    service.state.allow_writes = allow_writes
    service.state.turn = asyncio.Lock()
    return service


def serve(root: Path, *, host: str, port: int, allow_writes: bool) -> None:
    """Serve until SIGINT or SIGTERM, then answer what is running and return.

    Raises:
        InputError: the address cannot be listened on.
    """
    # uvicorn raises the signal again once it has stopped; a wanted stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    hosts = LOOPBACK if host in LOOPBACK else ("*",)
    service = app(root, allow_writes=allow_writes, hosts=hosts)
    with _listener(host, port) as listener:
        print(f"karez: serving {root} on http://{host}:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        config = uvicorn.Config(service, log_level="warning", server_header=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InputError.of(f"{host}:{port}", error.strerror or str(error), "give another --host or --port") from error


def within(root: Path, given: str) -> str:
    """The path that `given` names under `root`, which must be resolved itself; an empty text stays empty.

    Raises:
        ValueError: it is absolute, too long, holds `..`, or a symbolic link in it leads out of `root`.
    """
    if not given:
        return given
    if len(given) > LONGEST_PATH or Path(given).is_absolute() or ".." in Path(given).parts:
        raise ValueError(given)
    path = Path(os.path.realpath(root / given))
    if not path.is_relative_to(root):
        raise ValueError(given)
    return str(path)


async def _health(_request: Request) -> Response:
    return _json({"status": "ok"})


async def _list(request: Request) -> Response:
    listed = [_described(operation, request.app.state.allow_writes) for operation in OPERATIONS.values()]
    return _json({"schema": text.SCHEMA, "operations": listed})


async def _ask(request: Request) -> Response:
    state, name = request.app.state, request.path_params["name"]
    if name not in OPERATIONS:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no operation named {name}; see /v1/operations")
    if OPERATIONS[name].writes and not state.allow_writes:
        raise HTTPException(HTTPStatus.FORBIDDEN, f"{name} writes files; serve with --allow-writes to offer it")
    # A page in a browser can send anything else without asking first.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the question must be application/json")
    question = _question(name, await _body(request), state.root)
    async with state.turn:
        return await run_in_threadpool(_answer, name, question)


def _answer(name: str, question: msgspec.Struct) -> Response:
    return Response(text.json(name, operations.run(name, question)), media_type="application/json")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a question has at most {LARGEST_BODY:,} bytes")
    return bytes(body)


def _question(name: str, body: bytes, root: Path) -> msgspec.Struct:
    try:
        values = msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise InputError.of("body", str(error), "give one JSON object") from error
    problems = _outside(name, values, root)
    try:
        question = questions.read(name, values, strict=True)
    except InputError as error:
        told = {problem.where for problem in problems}
        problems += [problem for problem in error.problems if problem.where not in told]
    if problems:
        raise InputError(problems)
    return question


def _outside(name: str, values: dict[str, Any], root: Path) -> list[Problem]:
    """Put every path of a question under `root`; what is returned is wrong with the others."""
    problems = []
    for field in questions.fields(OPERATIONS[name].question):
        if field.is_path and isinstance(given := values.get(field.name), str):
            try:
                values[field.name] = within(root, given)
            except ValueError:
                fix = "give a path relative to the served folder that does not leave it by .. or a link"
                problems.append(Problem(field.name, f"{given!r} is not within the served folder", fix))
    return problems


def _described(operation: Operation, allow_writes: bool) -> dict[str, object]:
    return {
        "name": operation.name,
        "summary": operation.summary,
        "writes": operation.writes,
        "offered": allow_writes or not operation.writes,
        "question": msgspec.json.schema(operation.question),
    }


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(HTTPStatus(error.status_code), error.detail, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    """An error as the command line has it, with paths as the question gave them: where they lie is ours to know."""
    statuses = (status for kind, status in STATUSES.items() if isinstance(error, kind))
    problems = error.problems if isinstance(error, InputError) else ()
    folder = f"{request.app.state.root}{os.sep}"
    told = [
        msgspec.structs.replace(p, where=p.where.replace(folder, ""), what=p.what.replace(folder, "")) for p in problems
    ]
    detail = str(error).replace(folder, "")
    return _problem(next(statuses, HTTPStatus.INTERNAL_SERVER_ERROR), detail, problems=told)


def _problem(
    status: HTTPStatus,
    detail: str,
    *,
    problems: Sequence[Problem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error as RFC 9457 has it."""
    body = {"title": status.phrase, "status": status.value, "detail": detail, "problems": problems}
    content = msgspec.json.encode(body)
    return Response(content, status.value, headers, media_type="application/problem+json")


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
