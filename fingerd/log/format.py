"""The format of log lines: the access line of each connection, and ``logging`` records, as text or JSON.

Bytes from clients are escaped: none can control a terminal, or be taken for a field or a line of its own.
"""

import json
import logging
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Literal, NamedTuple

from fingerd.net.addresses import anonymized
from fingerd.text import escape_controls, read_text, strip_line_end

QUERY_CHARACTERS = 1000  # maximum length of a logged query, as a JSON string with its quotes

Style = Literal["text", "json"]
AddressDetail = Literal["full", "network", "none"]


class Access(NamedTuple):
    """What the access log records of one connection; ``sent`` in bytes, ``seconds`` from whole query to answer."""

    client: str
    line: bytes
    outcome: str
    sent: int
    seconds: float


@lru_cache(2)
def timestamp(second: int) -> str:
    """The local time in ISO 8601 with its UTC offset; ``second`` is seconds since the epoch."""
    return datetime.fromtimestamp(second).astimezone().isoformat(timespec="seconds")


def record_text(record: logging.LogRecord, style: Style) -> str:
    """A ``logging`` record as text or JSON: one line, in the text style with the lines of a traceback below it."""
    trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    message = record.getMessage()
    if style == "json":
        origin = {"time": timestamp(int(record.created)), "level": record.levelname, "logger": record.name}
        return json.dumps({**origin, "message": message} | ({"traceback": trace} if trace else {}))
    lines = [f"{record.levelname} {record.name}: {message}", *trace.splitlines()]
    return "\n".join(map(escape_controls, lines))


def quote_query(line: bytes) -> str:
    """A query line as a JSON string: printable ASCII, at most QUERY_CHARACTERS characters."""
    text = read_text(strip_line_end(line))[:QUERY_CHARACTERS]
    while len(quoted := encode_basestring_ascii(text)) > QUERY_CHARACTERS:
        text = text[: -((len(quoted) - QUERY_CHARACTERS + 11) // 12)]  # one character is quoted as up to twelve
    return quoted


def _client_field(client: str, detail: AddressDetail) -> str:
    if detail == "full":
        return client
    return anonymized(client) if detail == "network" else "-"


def access_text(record: Access, detail: AddressDetail, now: float) -> str:
    """The access line as text, its fields in a fixed order; ``now`` is unused, since the sink adds the time."""
    return (
        f"client={_client_field(record.client, detail)} query={quote_query(record.line)} outcome={record.outcome}"
        f" bytes={record.sent} ms={record.seconds * 1e3:.1f}"
    )


def access_json(record: Access, detail: AddressDetail, now: float) -> str:
    """The access line as a JSON object, which includes the time; ``now`` is seconds since the epoch."""
    return (
        f'{{"time": "{timestamp(int(now))}", "client": "{_client_field(record.client, detail)}",'
        f' "query": {quote_query(record.line)}, "outcome": "{record.outcome}",'
        f' "bytes": {record.sent}, "ms": {record.seconds * 1e3:.1f}}}'
    )
