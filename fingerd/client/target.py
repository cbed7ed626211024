"""Targets of the command line: ``user@host`` and ``finger://`` URLs, parsed to a host and a query. No I/O."""

import re
from dataclasses import dataclass

from fingerd.errors import QueryError
from fingerd.net.stream import is_ipv6_address
from fingerd.protocol.query import Query, parse_query
from fingerd.text import decode_line, escape_controls

LOCALHOST = "localhost"

_HOST_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%[^\]]+)?)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_URL = re.compile(r"finger://(?P<authority>[^/?#]*)(?:/(?P<request>[^#]*))?(?:#.*)?", re.IGNORECASE)
_INVALID_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class TargetError(ValueError):
    """A target is invalid; the message says why."""


@dataclass(frozen=True, slots=True)
class FingerTarget:
    """A host and a query. ``host`` is ASCII, ``label`` the host as written; ``port`` is None if not given."""

    label: str
    host: str
    port: int | None
    query: Query

    @property
    def asked(self) -> str:
        """What is asked of which host: ``bob@example.org``, or with {W} and a port ``/W bob@[::1]:1079``."""
        host = f"[{self.label}]" if ":" in self.label else self.label
        port = "" if self.port is None else f":{self.port}"
        name = "@".join((self.query.username, *self.query.hosts, host))
        return f"{'/W ' if self.query.verbose else ''}{name}{port}"


def read_target(text: str) -> FingerTarget:
    """Parse ``[user][@host ...][:port]`` or a URL. Raises TargetError if it is neither.

    The right-most host is queried, for the rest of the target (RFC 1288 2.4). Control characters are refused, escaped
    or not, so that the query is always one line.
    """
    _refuse_controls(text)
    if _SCHEME.match(text):
        return _read_url(text)
    name, at, host_port = text.rpartition("@")
    return _target(name, *_read_host_port(host_port)) if at else _target(text, LOCALHOST, None)


def _read_url(text: str) -> FingerTarget:
    """``finger://host[:port][/request]`` (draft-ietf-uri-url-finger-02), or with the user before the host."""
    match = _URL.fullmatch(text)
    if not match:
        raise TargetError("is not a URL like finger://host[:port][/request] or finger://user@host[:port]")
    user, _, host_port = match["authority"].rpartition("@")
    if user and match["request"]:
        raise TargetError("has a user both before and after the host")
    host, port = _read_host_port(host_port)
    return _target(_percent_decoded(user or match["request"] or ""), _percent_decoded(host), port)


def _target(name: str, host: str, port: int | None) -> FingerTarget:
    try:
        query = parse_query(name.encode())
    except QueryError:
        raise TargetError("has an invalid host after an @") from None
    if not host or " " in host:
        raise TargetError("has no host after the last @" if not host else "has a space in its host")
    try:
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise TargetError("has an invalid host name") from None
    return FingerTarget(host, ascii_host, port, query)


def _read_host_port(text: str) -> tuple[str, int | None]:
    """Host and port of ``host``, ``host:port``, ``[ipv6]`` or ``[ipv6]:port``."""
    match = _HOST_PORT.fullmatch(text)
    if not match or (match["ipv6"] and not is_ipv6_address(match["ipv6"])):
        raise TargetError("has no valid host[:port] after the last @ (write IPv6 addresses in brackets)")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 1 <= port <= 65535:
        raise TargetError("has a port that is not from 1 to 65535")
    return match["ipv6"] or match["host"], port


def _percent_decoded(text: str) -> str:
    """A part of a URL without percent-encoding: UTF-8, or windows-1252 if it is not UTF-8."""
    if _INVALID_ESCAPE.search(text):
        raise TargetError("has a % without two hexadecimal digits after it")
    first, *rest = text.encode().split(b"%")
    try:
        decoded, _ = decode_line(first + b"".join(bytes.fromhex(part[:2].decode()) + part[2:] for part in rest))
    except UnicodeDecodeError:
        raise TargetError("has an escaped byte that is no character") from None
    _refuse_controls(decoded)
    return decoded


def _refuse_controls(text: str) -> None:
    if escape_controls(text) != text:
        raise TargetError("has control characters")
