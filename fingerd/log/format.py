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
from fingerd.protocol.proxy_header import SIGNATURE_1
from fingerd.text import decode_line, escape_controls, first_line

QUERY_CHARACTERS = 1000  # maximum length of a logged query, as a JSON string with its quotes
SHORT_QUERY_CHARACTERS = 100  # of one that is shortened while the log cannot be written fast enough
CUT_MARK = "[...]"  # at the end of a shortened query, and where a record is cut
MESSAGE_CHARACTERS = 8_192  # of a record; syslog takes no message of any length
TRACEBACK_CHARACTERS = 32_768  # the last ones of it

Style = Literal["text", "json"]
AddressDetail = Literal["full", "network", "none"]


class Access(NamedTuple):
    """What the access log records of one connection; ``sent`` in bytes, ``seconds`` from whole query to answer."""

    client: str
    line: bytes
    outcome: str
    sent: int
    seconds: float
    proto: str = ""  # empty for Finger
    status: int = 0  # of HTTP; 0 where there was no response
    via: str = ""  # the balancer that named the client; empty for none


@lru_cache(2)
def timestamp(second: int) -> str:
    """The local time in ISO 8601 with its UTC offset; ``second`` is seconds since the epoch."""
    return datetime.fromtimestamp(second).astimezone().isoformat(timespec="seconds")


def record_text(record: logging.LogRecord, style: Style) -> str:
    """A ``logging`` record as text or JSON: one line, in the text style with the lines of a traceback below it."""
    trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    if len(trace) > TRACEBACK_CHARACTERS:
        trace = f"{CUT_MARK}{trace[-TRACEBACK_CHARACTERS:]}"
    message = record.getMessage()
    if len(message) > MESSAGE_CHARACTERS:
        message = f"{message[:MESSAGE_CHARACTERS]}{CUT_MARK}"
    if style == "json":
        origin = {"time": timestamp(int(record.created)), "level": record.levelname, "logger": record.name}
        return json.dumps({**origin, "message": message} | ({"traceback": trace} if trace else {}))
    lines = [f"{record.levelname} {record.name}: {message}", *trace.splitlines()]
    return "\n".join(map(escape_controls, lines))


def quote_query(line: bytes, is_short: bool = False) -> str:
    """A query line as a JSON string: printable ASCII, at most QUERY_CHARACTERS characters.

    With ``is_short``, at most SHORT_QUERY_CHARACTERS, CUT_MARK at the end included.
    """
    limit = SHORT_QUERY_CHARACTERS - len(CUT_MARK) if is_short else QUERY_CHARACTERS
    text = _decoded(first_line(line))[:limit]
    while len(quoted := encode_basestring_ascii(text)) > limit:
        text = text[: -((len(quoted) - limit + 11) // 12)]  # one character is quoted as up to twelve
    return f'{quoted[:-1]}{CUT_MARK}"' if is_short else quoted


def _decoded(line: bytes) -> str:
    """The line as a query is decoded; one that is no text as Latin-1, so that every byte can be seen."""
    try:
        return decode_line(line)[0]
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _client_field(client: str, detail: AddressDetail) -> str:
    return anonymized(client) if detail == "network" else "-"


def _without_client(line: bytes) -> bytes:
    """The query, but empty if it is a malformed or unexpected PROXY header, which contains the client's address."""
    return b"" if line[: len(SIGNATURE_1)].upper() == SIGNATURE_1 else line


def access_text(record: Access, detail: AddressDetail, now: float, is_short: bool = False) -> str:
    """The access line as text, its fields in a fixed order; ``now`` is unused, since the sink adds the time."""
    client, line, outcome, sent, seconds, proto, status, via = record
    if detail != "full":
        client, line = _client_field(client, detail), _without_client(line)
    end = f" proto={proto} status={status}" if proto else ""
    if via:
        end = f" via={via if detail == 'full' else _client_field(via, detail)}{end}"
    query = quote_query(line, is_short)
    return f"client={client} query={query} outcome={outcome} bytes={sent} ms={seconds * 1e3:.1f}{end}"


def access_json(record: Access, detail: AddressDetail, now: float, is_short: bool = False) -> str:
    """The access line as a JSON object, which includes the time; ``now`` is seconds since the epoch."""
    client, line, outcome, sent, seconds, proto, status, via = record
    if detail != "full":
        client, line = _client_field(client, detail), _without_client(line)
    end = f', "proto": "{proto}", "status": {status}' if proto else ""
    if via:
        end = f', "via": "{via if detail == "full" else _client_field(via, detail)}"{end}'
    return (
        f'{{"time": "{timestamp(int(now))}", "client": "{client}", "query": {quote_query(line, is_short)},'
        f' "outcome": "{outcome}", "bytes": {sent}, "ms": {seconds * 1e3:.1f}{end}}}'
    )
