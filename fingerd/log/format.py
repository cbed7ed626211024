"""How log lines look: one line for each connection, and the records of ``logging``, as text or JSON.

Nothing that a client sent reaches a terminal or another program unescaped.
"""

import json
import logging
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Literal, NamedTuple

from fingerd.net.addresses import anonymized
from fingerd.text import escape_controls, read_text, strip_line_end

QUERY_CHARACTERS = 1000  # of a query in the log, in its JSON form with the quotes

Style = Literal["text", "json"]
Kept = Literal["full", "network", "none"]


class Access(NamedTuple):
    """What is remembered of one connection; times in seconds."""

    client: str
    line: bytes
    outcome: str
    sent: int
    seconds: float


@lru_cache(2)
def stamp(second: int) -> str:
    """The local time in ISO 8601 with its offset; ``second`` counts from 1970 in UTC."""
    return datetime.fromtimestamp(second).astimezone().isoformat(timespec="seconds")


def record_text(record: logging.LogRecord, style: Style) -> str:
    """A record of ``logging``: one line, and the traceback of a bug below it."""
    trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    message = record.getMessage()
    if style == "json":
        fields = {
            "time": stamp(int(record.created)),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
        }
        return json.dumps(fields | ({"traceback": trace} if trace else {}))
    lines = [f"{record.levelname} {record.name}: {message}", *trace.splitlines()]
    return "\n".join(map(escape_controls, lines))


def quote_query(line: bytes) -> str:
    """A client's line as a JSON string: ASCII without control characters, at most 1,000 of them."""
    text = read_text(strip_line_end(line))[:QUERY_CHARACTERS]
    while len(quoted := encode_basestring_ascii(text)) > QUERY_CHARACTERS:
        text = text[: -((len(quoted) - QUERY_CHARACTERS + 11) // 12)]  # one character takes up to twelve
    return quoted


def _kept_of(client: str, kept: Kept) -> str:
    if kept == "full":
        return client
    return anonymized(client) if kept == "network" else "-"


def access_text(seen: Access, kept: Kept, now: float) -> str:
    """The line of one connection, its fields in a fixed order; ``now`` is left to the place where lines go."""
    return (
        f"client={_kept_of(seen.client, kept)} query={quote_query(seen.line)} outcome={seen.outcome}"
        f" bytes={seen.sent} ms={seen.seconds * 1e3:.1f}"
    )


def access_json(seen: Access, kept: Kept, now: float) -> str:
    """The same as a JSON object, with the time in seconds since 1970 that ``now`` is."""
    return (
        f'{{"time": "{stamp(int(now))}", "client": "{_kept_of(seen.client, kept)}", "query": {quote_query(seen.line)},'
        f' "outcome": "{seen.outcome}", "bytes": {seen.sent}, "ms": {seen.seconds * 1e3:.1f}}}'
    )
