"""What holds of any bytes that come by HTTP: one response, well formed, that repeats nothing of them raw."""

import json
import re
import socket
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from fingerd.backends.static import Static
from fingerd.http.door import HttpDoor
from fingerd.http.forwarded import Proxies
from fingerd.http.framing import MAX_HEAD_BYTES, HeadFraming
from fingerd.http.options import Http
from fingerd.http.request import MAX_FIELDS, METHODS, HttpError, Request, check_request, logged, parse_request
from fingerd.http.response import reply_to
from fingerd.net.addresses import parse_address, parse_network
from fingerd.people import Record
from fingerd.ruip.policy import Rule
from fingerd.ruip.ruip import Answer, AnswerContext
from fingerd.server.active_config import ActiveConfig
from fingerd.server.connection import Connection
from fingerd.server.listeners import TcpAddress
from fingerd.server.workers import WorkerPool
from fingerd.settings import Settings

T = TypeVar("T")

STATUSES = {200, 303, 304, 400, 403, 404, 405, 414, 431, 505}
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")
_FIELD = re.compile(r"[A-Za-z-]+: [ -~]*")
CLIENT = "192.0.2.7", "192.0.2.7", "192.0.2.7"
_CONTEXT = AnswerContext("192.0.2.7", 1e12, 1_700_000_000.0)


def http(raw: bytes) -> None:
    """From the first byte received to the response."""
    head = _framed(raw)
    if head is None:
        return
    assert b"\n" not in logged(head)
    request = _result(parse_request, head)
    if isinstance(request, HttpError):
        assert request.status in (400, 414, 431, 505)
        assert request.text.isascii()
    else:
        _check_request(head, request)
    _check_response(_response(head), is_head=head.startswith(b"HEAD "))


def _result(call: Callable[..., T], *arguments: object) -> T | HttpError:
    """What a function returns, or the error that is its answer."""
    try:
        return call(*arguments)
    except HttpError as error:
        return error


def _framed(raw: bytes) -> bytes | None:
    """The bytes that are taken for a request; None where more would be waited for."""
    framing = HeadFraming()
    end = framing.find_end(raw)
    for size in range(1, len(raw) + 1) if end >= 0 else ():  # as much as has come when the transport looks
        if framing.find_other_end(raw[:size]) >= 0:
            break
        if framing.find_end(raw[:size]) >= 0:
            assert size == end + 1, "a head has one end, however it comes"
            break
    if end < 0:
        end = framing.find_other_end(raw)
    return raw[: end + 1] if end >= 0 else raw if len(raw) > MAX_HEAD_BYTES else None


def _check_request(head: bytes, request: Request) -> None:
    assert head.endswith(b"\n")
    assert len(head) <= MAX_HEAD_BYTES
    assert b"\n " not in head
    assert b"\n\t" not in head
    assert b"\0" not in head
    assert head.count(b"\r") in (0, head.count(b"\n"))
    assert head.count(b"\n") <= MAX_FIELDS + 2
    assert re.fullmatch("/[!-~]*", request.path) or (request.path == "" and request.is_malformed)
    assert not set("?# ") & set(request.path)
    assert re.fullmatch(r"(?:[^%]|%[0-9A-Fa-f]{2})*", request.path)
    for text in (word for field in request.fields for word in field):
        text.encode()
    assert not any(set("\r\n\0") & set(field) for field in (*request.forwarded_for, request.if_none_match))
    lower = head.lower()
    if b"\ntransfer-encoding:" in lower or re.search(rb"\ncontent-length:[ \t]*0*[1-9]", lower):
        assert request.has_body, "no other reader of these bytes may find a body that is none for us"
    error = _result(check_request, request)
    if error:
        assert error.status in (400, 405)
    else:
        assert request.method in METHODS
        assert head.startswith(request.method.encode())
    _check_client(request)


@cache
def _proxies() -> Proxies:
    return Proxies((parse_network("10.0.0.0/8"), "unix"))


def _check_client(request: Request) -> None:
    client = _result(_proxies().client_of, request.forwarded_for, "10.0.0.1")
    if isinstance(client, HttpError):
        assert (client.status, client.outcome) == (400, "proxy-error")
        return
    address = parse_address(client)
    assert str(address) == client
    assert not address.is_loopback
    assert client not in _proxies()


class _Services:
    """A dispatcher that leaves every answer to this thread, and remembers none."""

    waiting: WorkerPool[Connection] = WorkerPool(1, print)

    def context_of(self, request: Connection) -> AnswerContext:
        return _CONTEXT

    def commit(self, request: Connection) -> bool:
        raise AssertionError("nothing is changed here")

    def take_token(self, request: Connection) -> bool:
        return True

    def settle_client(self, request: Connection, peer: object) -> bool:
        return True

    def place(self, request: Connection, query: object, rule: object, form: object, cost: int = 1) -> None:
        return None


@cache
def _door() -> tuple[HttpDoor, ActiveConfig]:
    people = Static(
        {
            "bob": "Happy and well\n",
            "jürgen": Record("Jürgen", plan="grüßt €\x1b[2J <b> https://a.example/", links="profile"),
            "a/b": "<script>",
        }
    )
    options = Http((TcpAddress("127.0.0.1", 0),), base_url="https://a.example", domains=("a.example",))
    rule = Rule(("any",), list=True, match="name", users_per_query=3)
    active = ActiveConfig(Settings(backend=people, listen=(), policy=(rule,), http=options))
    door = HttpDoor(options)
    door.use_config(active)
    return door, active


def _response(head: bytes) -> bytes:
    door, active = _door()
    connection: Any = socket  # nothing is sent
    request = Connection(connection, 0, ("192.0.2.7", 1), *CLIENT, "", active, door, None)
    request.line, request.is_counted = head, True
    assert door.prepare(request, _Services()) is None
    answer: Answer = reply_to(request.asked.request, request.asked.answer(_CONTEXT))
    assert answer.outcome in ("answered", "unknown", "refused", "malformed", "too-long")
    return answer.reply


def _check_response(response: bytes, is_head: bool) -> None:
    head, _, body = response.partition(b"\r\n\r\n")
    first, *fields = head.decode("ascii").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.1 ([0-9]{3}) [A-Za-z -]+", first)
    assert match
    status = int(match[1])
    assert status in STATUSES
    assert all(map(_FIELD.fullmatch, fields)), fields
    values = dict(field.split(": ", 1) for field in fields)
    assert len(values) == len(fields)
    assert values["Connection"] == "close"
    if body or not (is_head or status == 304):
        assert values["Content-Length"] == str(len(body))
        text = body.decode()
        assert not _CONTROL.search(text.replace("\r\n", "\n"))
        assert "<script" not in text
        kind = values.get("Content-Type", "")
        if "json" in kind:
            json.loads(text)
        elif "xml" in kind:
            ET.fromstring(text)
