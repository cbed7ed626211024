"""The format of log lines: every byte from a client is escaped, and each line stays one line."""

import json
import logging
import sys
from datetime import datetime

import pytest

from fingerd.log.format import Access, AddressDetail, access_json, access_text, quote_query, record_text, timestamp
from fingerd.text import read_text

QUOTED = {
    "a name": (b"bob\r\n", '"bob"'),
    "verbose": (b"/W bob\n", '"/W bob"'),
    "no line end": (b"bob", '"bob"'),
    "empty": (b"", '""'),
    "quotes and backslashes": (b'a"b\\c\r\n', '"a\\"b\\\\c"'),
    "control characters": (b"\0\x1b[2J\t\r\n", '"\\u0000\\u001b[2J\\t"'),
    "line breaks within": (b"a\r\nb", '"a"'),
    "DEL": (b"a\x7fb", '"a\\u007fb"'),
    "C1": ("a\x9bb".encode(), '"a\\u009bb"'),
    "UTF-8": ("ü".encode(), '"\\u00fc"'),
    "above 16 bits": ("😀".encode(), '"\\ud83d\\ude00"'),
    "not UTF-8": (b"\xfc\xff", '"\\u00fc\\u00ff"'),
    "windows-1252": (b"it\x92s", '"it\\u2019s"'),
    "undefined in windows-1252": (b"it\x92s\x81", '"it\\u0092s\\u0081"'),
    "line separators": ("a\u2028b".encode(), '"a\\u2028b"'),
}

LONG = {
    "letters": b"x" * 5000,
    "one too long": b"x" * 999,
    "quotes": b'"' * 5000,
    "control characters": b"\x1b" * 5000,
    "DEL": b"\x7f" * 5000,
    "twelve characters for each": "😀".encode() * 2000,
    "mixed": (b"x" * 7 + '😀ü\x7f"'.encode()) * 300,
    "not UTF-8": b"\xff" * 5000,
}


@pytest.mark.parametrize("line", [b"PROXY TCP4 192.0.2.7 192.0.2.1 1 79\r\n", b"proxy TCP4 192.0.2.7"])
def test_a_header_is_no_query_where_addresses_are_shortened(line: bytes) -> None:
    for form in (access_text, access_json):
        record = Access("192.0.2.9", line, "proxy-error", 0, 0.0)
        assert "192.0.2.7" in form(record, "full", 0)
        assert "192.0.2.7" not in form(record, "network", 0)
        assert "192.0.2.7" not in form(record, "none", 0)
        assert "PROXYING" in form(record._replace(line=b"PROXYING"), "none", 0)


@pytest.mark.parametrize(("line", "quoted"), QUOTED.values(), ids=QUOTED.keys())
def test_a_query_is_logged_as_a_json_string(line: bytes, quoted: str) -> None:
    assert quote_query(line) == quoted


@pytest.mark.parametrize("line", LONG.values(), ids=LONG.keys())
def test_a_long_query_is_cut_to_a_thousand_characters(line: bytes) -> None:
    quoted = quote_query(line)
    assert 900 < len(quoted) <= 1000
    assert quoted.isascii()
    assert quoted.isprintable()
    text = json.loads(quoted)
    assert text
    try:
        assert line.decode().startswith(text)
    except UnicodeDecodeError:
        assert line.decode("windows-1252").startswith(text)


@pytest.mark.parametrize("line", LONG.values(), ids=LONG.keys())
def test_a_shortened_query_is_a_json_string_of_a_hundred_characters_with_a_mark(line: bytes) -> None:
    quoted = quote_query(line, is_short=True)
    assert 80 < len(quoted) <= 100
    assert quoted.isascii()
    assert quoted.isprintable()
    assert json.loads(quoted).endswith("[...]")
    text = json.loads(quoted).removesuffix("[...]")
    assert read_text(line).startswith(text)
    assert f'"query": {quoted}, ' in access_json(ACCESS._replace(line=line), "full", 0.0, is_short=True)


def test_very_long_records_are_cut() -> None:
    for style in ("text", "json"):
        text = record_text(warning("%s", "x" * 100_000), style)
        assert "xxx[...]" in text
        assert len(text) < 10_000
        trace = record_text(error("y" * 100_000), style)
        assert "[...]yyy" in trace
        assert len(trace) < 40_000


def test_a_query_of_exactly_a_thousand_characters_is_not_cut() -> None:
    assert json.loads(quote_query(b"x" * 998)) == "x" * 998


UNDEFINED = b"\x81\x8d\x8f\x90\x9d"  # in windows-1252


def test_every_byte_can_be_decoded_from_the_log() -> None:
    for number in set(range(256)) - set(b"\r\n"):
        line = b"a%cb" % number
        quoted = quote_query(line)
        assert quoted.isascii()
        assert quoted.isprintable()
        charset = "latin-1" if number in UNDEFINED else "windows-1252"
        assert json.loads(quoted) == line.decode(charset)


ACCESS = Access("192.0.2.7", b"/W bob\r\n", "answered", 212, 0.0004)


def test_the_access_line_has_its_fields_in_a_fixed_order() -> None:
    line = access_text(ACCESS, "full", 0.0)
    assert line == 'client=192.0.2.7 query="/W bob" outcome=answered bytes=212 ms=0.4'


def test_the_json_access_line_has_the_same_fields_and_the_time() -> None:
    line = access_json(ACCESS, "full", 1_700_000_000.9)
    assert json.loads(line) == {
        "time": timestamp(1_700_000_000),
        "client": "192.0.2.7",
        "query": "/W bob",
        "outcome": "answered",
        "bytes": 212,
        "ms": 0.4,
    }
    assert list(json.loads(line)) == ["time", "client", "query", "outcome", "bytes", "ms"]
    assert "\n" not in line


DETAILS: dict[str, tuple[str, AddressDetail, str]] = {
    "IPv4 in full": ("192.0.2.7", "full", "192.0.2.7"),
    "the network of IPv4": ("192.0.2.7", "network", "192.0.2.0/24"),
    "no IPv4": ("192.0.2.7", "none", "-"),
    "IPv6 in full": ("2001:db8:1:2::7", "full", "2001:db8:1:2::7"),
    "the network of IPv6": ("2001:db8:1:2::7", "network", "2001:db8:1::/48"),
    "no IPv6": ("2001:db8:1:2::7", "none", "-"),
    "unix in full": ("unix", "full", "unix"),
    "the network of unix": ("unix", "network", "unix"),
    "no unix": ("unix", "none", "-"),
}


@pytest.mark.parametrize(("client", "detail", "logged"), DETAILS.values(), ids=DETAILS.keys())
def test_the_client_is_logged_in_the_configured_detail(client: str, detail: AddressDetail, logged: str) -> None:
    record = ACCESS._replace(client=client)
    assert access_text(record, detail, 0.0).startswith(f"client={logged} query=")
    assert json.loads(access_json(record, detail, 0.0))["client"] == logged


@pytest.mark.parametrize(("via", "detail", "logged"), DETAILS.values(), ids=DETAILS.keys())
def test_the_balancer_is_logged_in_the_same_detail_after_the_milliseconds(
    via: str, detail: AddressDetail, logged: str
) -> None:
    record = ACCESS._replace(via=via)
    assert access_text(record, detail, 0.0).endswith(f" ms=0.4 via={logged}")
    found = json.loads(access_json(record, detail, 0.0))
    assert list(found)[-2:] == ["ms", "via"]
    assert found["via"] == logged
    by_http = record._replace(proto="http", status=200)
    assert access_text(by_http, detail, 0.0).endswith(f" ms=0.4 via={logged} proto=http status=200")
    assert list(json.loads(access_json(by_http, detail, 0.0)))[-4:] == ["ms", "via", "proto", "status"]


@pytest.mark.parametrize("line", [*(line for line, _ in QUOTED.values()), *LONG.values()])
def test_both_formats_have_the_same_query(line: bytes) -> None:
    record = ACCESS._replace(line=line)
    text, json_line = access_text(record, "full", 0.0), access_json(record, "full", 0.0)
    assert text.isascii()
    assert text.isprintable()
    assert f"query={quote_query(line)} outcome=" in text
    assert json.loads(json_line)["query"] == json.loads(quote_query(line))


def test_a_timestamp_is_the_local_time_with_its_offset() -> None:
    time = datetime.fromisoformat(timestamp(1_700_000_000))
    assert time.utcoffset() is not None
    assert time.timestamp() == 1_700_000_000


@pytest.mark.parametrize("second", [-1, -2_000_000_000, 0, 2**31, 2**32 + 1, 4_900_000_000, 250_000_000_000])
def test_a_timestamp_of_a_wrong_clock_is_shown(second: int) -> None:
    assert datetime.fromisoformat(timestamp(second)).timestamp() == second


def warning(message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("fingerd.ruip.ruip", logging.WARNING, __file__, 1, message, values, None)


def error(message: str) -> logging.LogRecord:
    """A record with the traceback of an exception."""
    try:
        raise RuntimeError(message)
    except RuntimeError:
        return logging.LogRecord("fingerd", logging.ERROR, __file__, 1, "internal error", (), sys.exc_info())


RECORDS = {
    "plain": ("backend failed", "WARNING fingerd.ruip.ruip: backend failed"),
    "lines": ("a\nb\r\nc", "WARNING fingerd.ruip.ruip: a\\nb\\r\\nc"),
    "terminal": ("\x1b[2J\x9b2J\x7f", "WARNING fingerd.ruip.ruip: \\x1b[2J\\x9b2J\\x7f"),
    "separators": ("a\u2028b\u2029c", "WARNING fingerd.ruip.ruip: a\\u2028b\\u2029c"),
    "a lone surrogate": ("a\udcffb", "WARNING fingerd.ruip.ruip: a\\udcffb"),
    "letters and tabs": ("ü\t😀", "WARNING fingerd.ruip.ruip: ü\\t😀"),
}


@pytest.mark.parametrize(("message", "line"), RECORDS.values(), ids=RECORDS.keys())
def test_a_record_is_one_line_without_control_characters(message: str, line: str) -> None:
    assert record_text(warning("%s", message), "text") == line


@pytest.mark.parametrize("message", [message for message, _ in RECORDS.values()], ids=RECORDS.keys())
def test_a_record_is_one_json_object(message: str) -> None:
    record = warning("%s", message)
    line = record_text(record, "json")
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {
        "time": timestamp(int(record.created)),
        "level": "WARNING",
        "logger": "fingerd.ruip.ruip",
        "message": message,
    }


def test_a_traceback_follows_its_line() -> None:
    first, *trace = record_text(error("at \x1b[2J"), "text").split("\n")
    assert first == "ERROR fingerd: internal error"
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1] == "RuntimeError: at \\x1b[2J"


def test_a_traceback_is_a_field_of_the_json_object() -> None:
    line = record_text(error("at \x1b[2J"), "json")
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["traceback"].endswith("RuntimeError: at \x1b[2J")


def test_milliseconds_have_one_decimal() -> None:
    record = ACCESS._replace(seconds=12.34567)
    assert access_text(record, "full", 0.0).endswith(" ms=12345.7")
    assert json.loads(access_json(record, "full", 0.0))["ms"] == 12345.7
