"""An HTTP client that sends what it is told, and a fingerd that is asked by HTTP."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.daemons import Daemon, ask


@dataclass(frozen=True)
class Response:
    """A response, whose body has the length that its header tells."""

    status: int
    headers: Mapping[str, str]  # by lower-case names; none is repeated
    body: bytes
    raw: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def parse(raw: bytes, method: str = "GET") -> Response:
    """The response that these bytes are; AssertionError if they are none."""
    head, end, body = raw.partition(b"\r\n\r\n")
    assert end, raw
    first, *lines = head.decode("ascii").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.1 ([0-9]{3}) [A-Za-z -]+", first)
    assert match, first
    fields = [line.split(": ", 1) for line in lines]
    headers = {name.lower(): value for name, value in fields}
    assert len(headers) == len(fields), lines
    if method != "HEAD" and match[1] not in ("204", "304"):
        assert int(headers["content-length"]) == len(body), raw
    else:
        assert not body
    return Response(int(match[1]), headers, body, raw)


def send(address: tuple[str, int] | str, request: bytes, *, source: str = "") -> bytes:
    """All that a server sends back for these bytes."""
    return ask(address, request, source=source)


def head(target: str, method: str = "GET", **headers: str) -> bytes:
    """A request; an underscore in the name of a field is a hyphen."""
    fields = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def get(
    address: tuple[str, int] | str, target: str, method: str = "GET", *, source: str = "", **headers: str
) -> Response:
    """The response to a request."""
    return parse(send(address, head(target, method, **headers), source=source), method)


class HttpDaemon(Daemon):
    """A daemon that listens for Finger and for HTTP, on ports that are free."""

    def __init__(self, folder: Path, config: str, http: str = "", *options: str) -> None:
        path = folder / "fingerd.yaml"
        path.write_text(f'listen: "127.0.0.1:0"\nhttp: {{listen: "127.0.0.1:0"{http and ", "}{http}}}\n{config}')
        super().__init__(path, *options)

    @property
    def http(self) -> tuple[str, int]:
        """The address on which it answers by HTTP."""
        return "127.0.0.1", int(re.findall(r":(\d+)\b", self.listening)[-1])

    def get(self, target: str, method: str = "GET", *, source: str = "", **headers: str) -> Response:
        """Its response to a request."""
        return get(self.http, target, method, source=source, **headers)
