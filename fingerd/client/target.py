"""Whom to ask for what: ``user@host`` and ``finger://`` URLs, as the client's user writes them. Pure."""

import re
from dataclasses import dataclass

from fingerd.errors import QueryError
from fingerd.net.stream import is_ipv6_address
from fingerd.protocol.query import Query, parse_query
from fingerd.text import escape_controls, read_text

LOCALHOST = "localhost"

_PLACE = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%[^\]]+)?)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_URL = re.compile(r"finger://(?P<authority>[^/?#]*)(?:/(?P<request>[^#]*))?(?:#.*)?", re.IGNORECASE)
_NO_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class TargetError(ValueError):
    """The user named nothing that can be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class FingerTarget:
    """One host and what to ask it. ``host`` is in ASCII, ``label`` as it was written; ``port`` None where none was."""

    label: str
    host: str
    port: int | None
    query: Query


def read_target(text: str) -> FingerTarget:
    """The target that the user writes as ``[user][@host ...][:port]`` or as a URL; TargetError where it is none.

    The right-most host is asked, for what is left of it (RFC 1288 2.4). No
    control character gets through, in whatever disguise, so a target is
    always one line on the wire.
    """
    _refuse_controls(text)
    if _SCHEME.match(text):
        return _read_url(text)
    name, at, place = text.rpartition("@")
    return _target(name, *_read_place(place)) if at else _target(text, LOCALHOST, None)


def _read_url(text: str) -> FingerTarget:
    """``finger://host[:port][/request]`` (draft-ietf-uri-url-finger-02), or the user before the host."""
    match = _URL.fullmatch(text)
    if not match:
        raise TargetError("is no URL like finger://host[:port][/request] or finger://user@host[:port]")
    user, _, place = match["authority"].rpartition("@")
    if user and match["request"]:
        raise TargetError("names a user before the host, and one behind it")
    host, port = _read_place(place)
    return _target(_unquoted(user or match["request"] or ""), _unquoted(host), port)


def _target(name: str, host: str, port: int | None) -> FingerTarget:
    try:
        query = parse_query(name.encode())
    except QueryError:
        raise TargetError("has something that is no host after an @") from None
    if not host or " " in host:
        raise TargetError("has no host after the last @" if not host else "has a blank in its host")
    try:
        address = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise TargetError("has a host that cannot be one") from None
    return FingerTarget(host, address, port, query)


def _read_place(text: str) -> tuple[str, int | None]:
    """Host and port of ``host``, ``host:port``, ``[ipv6]`` or ``[ipv6]:port``."""
    match = _PLACE.fullmatch(text)
    if not match or (match["ipv6"] and not is_ipv6_address(match["ipv6"])):
        raise TargetError("has no host[:port] after the last @ (an IPv6 address stands in brackets)")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 1 <= port <= 65535:
        raise TargetError("has a port that is not from 1 to 65535")
    return match["ipv6"] or match["host"], port


def _unquoted(text: str) -> str:
    """What a part of a URL means: its escapes as bytes of UTF-8, or of Latin-1 where they are not UTF-8."""
    if _NO_ESCAPE.search(text):
        raise TargetError("has a % without two hexadecimal digits after it")
    first, *rest = text.encode().split(b"%")
    unquoted = read_text(first + b"".join(bytes.fromhex(part[:2].decode()) + part[2:] for part in rest))
    _refuse_controls(unquoted)
    return unquoted


def _refuse_controls(text: str) -> None:
    if escape_controls(text) != text:
        raise TargetError("has control characters")
