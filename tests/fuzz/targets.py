"""The properties that hold for any input bytes: a function for each kind of input, which raises if one is violated."""

import codecs
import contextlib
import dataclasses
import json
import logging
import os
import re
import socket
import sys
import threading
import types
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from fingerd.backends import Backend, Lookup, backend_names, load_type
from fingerd.backends.static import Static
from fingerd.backends.web.html import read_page
from fingerd.client.terminal import TerminalFilter
from fingerd.config.file_time import is_option
from fingerd.config.values import Integer, Seconds, Size
from fingerd.errors import ConfigError, QueryError
from fingerd.log.format import QUERY_CHARACTERS, Access, access_json, access_text, quote_query, record_text
from fingerd.protocol import reply as words
from fingerd.protocol.query import IAC, WHITESPACE, Query, parse_query
from fingerd.protocol.reply import CRLF, cut_reply, encode_reply
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.relay import Relay
from fingerd.ruip.report import format_list, format_people
from fingerd.ruip.ruip import AnswerContext, ReplyOptions, Ruip
from fingerd.safe_files import decode_file
from fingerd.server.finger_door import LineFraming
from fingerd.server.listeners import InheritedSocket, TcpAddress, UnixAddress, parse_listen
from fingerd.server.listeners import ListenAddress as Address
from fingerd.settings import Settings, read_config
from fingerd.text import ANSWER_CUT, decode_line, escape_controls, first_line, mark_cut, read_cut, read_text, to_nfc
from tests.fuzz.http_target import http
from tests.fuzz.proxy_target import proxy

# All backends, loaded here: importing a backend's module would be a file access by the configuration reader.
_BACKENDS = [load_type(name) for name in backend_names()]

CHARSETS = get_args(get_type_hints(ReplyOptions)["charset"])
CLOSING = ANSWER_CUT.encode() + CRLF

# By Unicode's category; as regular expressions, because atheris slows down every instrumented step of Python.
_CONTROLS = "".join(chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cc")
_TAB = "\t"
_CONTROL = re.compile(f"[{_CONTROLS.replace(_TAB, '')}]")  # in no answer and no query
_UNPRINTABLE = re.compile(f"[{_CONTROLS}\u2028\u2029\ud800-\udfff]")  # in no line of a log


def query(line: bytes) -> None:
    """``parse_query``: a query that is parsed again from its own encoding, or one of two errors, for any line end."""
    found = _parsed(line)
    body = first_line(line)
    assert line.startswith(body)
    assert line[len(body) : len(body) + 1] in (b"", b"\n", b"\r")
    assert not set(body) & set(CRLF)
    for end in (b"", b"\n", b"\r", b"\r\0", CRLF):
        assert _parsed(body + end) == found
    if IAC not in body:
        assert _parsed(codecs.BOM_UTF8 + line) == found, "a byte order mark is ignored"
    for received in (body, line[: len(body) + 1], line):  # as much as has come when the transport looks
        last = max(LineFraming().find_end(received), LineFraming().find_other_end(received))
        assert (last < 0) == (received == body)
        assert last < 0 or _parsed(received[: last + 1]) == found
    assert _parsed(b" " + body + b"\t ") == found, "spaces at both ends are ignored"
    if codecs.BOM_UTF8 not in line:
        assert _parsed(b"/W " + line) == (found if isinstance(found, str) else dataclasses.replace(found, verbose=True))
    if isinstance(found, str):
        return
    assert not _CONTROL.search("".join((found.username, *found.hosts)))
    assert "\t" not in "".join(found.hosts)
    assert found.username == found.username.strip(WHITESPACE)
    assert all(found.hosts), "an at sign has a host after it"
    assert "@" not in "".join((found.username, *found.hosts))
    assert found.is_list == (found.username == "" and found.hosts == ())
    encoded = found.encode()
    assert encoded.endswith(CRLF)
    assert not any(end in encoded[: -len(CRLF)] for end in CRLF)
    assert parse_query(encoded) == found
    if IAC not in line:
        text = to_nfc(read_text(body))
        assert all(to_nfc(part) in text for part in (found.username, *found.hosts)), "all parts come from the line"


def _parsed(line: bytes) -> Query | str:
    """The query, or the reason of the error, which contains nothing of the line."""
    try:
        return parse_query(line)
    except QueryError as error:
        reason = str(error)
    assert reason in ("control characters", "not a host name", "not text")
    return reason


_PEOPLE = Static({"bob": "Happy and well\n", "jürgen": "grüßt €\x1b[2J", "two words": "x" * 400, "a/W": "a\r\n\r\nb"})
_CONTEXT = AnswerContext("192.0.2.7", 20.0, 1_700_000_000.0)
_QUERY_BYTES, _REPLY_BYTES = 64, 128  # small, so that they are often exceeded
_MESSAGES = {
    "unknown": words.NO_SUCH_USER,
    "too-long": words.QUERY_TOO_LONG,
    "malformed": words.MALFORMED_QUERY,
}


def answer(line: bytes) -> None:
    """``Ruip.answer_line``: never raises, and gives only answers that the configuration and RFC 1288 define."""
    for (charset, listed), (plain, with_header) in _ruips().items():
        outcome, reply, *_ = plain.answer_line(line, _CONTEXT)
        assert (outcome == "too-long") == (len(first_line(line)) > _QUERY_BYTES)
        assert (outcome, reply) in _known_answers(charset, listed)
        framed = with_header.answer_line(line, _CONTEXT)
        assert framed.outcome == outcome
        _check_lines(framed.reply, charset)
        assert reply in framed.reply, "the header and the footer do not change the answer"


@cache
def _ruips() -> Mapping[tuple[str, bool], tuple[Ruip, Ruip]]:
    """For each charset, with and without the list: one without, and one with a header and a footer."""
    return {
        (charset, listed): (
            _ruip(ReplyOptions(charset), listed),
            _ruip(ReplyOptions(charset, "{user} {client}\r{time}", "-- \n{user}\x00{nobody}"), listed),
        )
        for charset in CHARSETS
        for listed in (False, True)
    }


def _ruip(wording: ReplyOptions, listed: bool) -> Ruip:
    return Ruip(_PEOPLE, Policy([Rule(("any",), list=listed)]), wording, _QUERY_BYTES, _REPLY_BYTES)


@cache
def _known_answers(charset: str, listed: bool) -> frozenset[tuple[str, bytes]]:
    """All possible outcomes and answers."""
    people = list(_PEOPLE.list_users(Lookup("", False, _CONTEXT.client, _CONTEXT.deadline)))
    texts = {*_MESSAGES.items(), ("refused", words.FORWARDING_DENIED)}
    texts |= {("answered", format_people([person], _CONTEXT.now, False, _REPLY_BYTES)) for person in people}
    texts.add(
        ("answered", format_list(people, _CONTEXT.now, _REPLY_BYTES)) if listed else ("refused", words.LIST_DENIED)
    )
    return frozenset((outcome, cut_reply(encode_reply(text, charset), _REPLY_BYTES)) for outcome, text in texts)


def reply(raw: bytes) -> None:
    """``encode_reply``: every line is terminated and printable, and contains all printable characters of the text."""
    text = _any_text(raw)
    lines = re.split("\r\n|\r|\n", text)
    if lines[-1] == "" and len(lines) > 1:
        lines.pop()
    for charset in CHARSETS:
        encoded = encode_reply(text, charset)
        _check_lines(encoded, charset)
        expected = "".join(f"{_masked(line, charset)}\r\n" for line in lines)
        assert encoded.decode(charset) == expected
        assert encode_reply(expected, charset) == encoded, "printable text is not changed"


def _any_text(raw: bytes) -> str:
    """Bytes as text; bytes that are not UTF-8 become lone surrogates."""
    return raw.decode(errors="surrogateescape")


def _masked(line: str, charset: str) -> str:
    return "".join("?" if _CONTROL.match(each) or not _has(charset, each) else each for each in line)


@cache
def _has(charset: str, character: str) -> bool:
    try:
        return bool(character.encode(charset))
    except UnicodeEncodeError:
        return False


def _check_lines(encoded: bytes, charset: str) -> None:
    """RFC 1288 2.2: all lines end in CR LF, and contain no control character except tab."""
    assert encoded.endswith(CRLF)
    assert not _CONTROL.search(encoded.decode(charset).replace("\r\n", ""))


def cut(raw: bytes) -> None:
    """``cut_reply``, ``read_cut`` and ``mark_cut``; the first byte is the limit minus one."""
    limit, rest = (raw[0] + 1 if raw else 1), raw[1:]
    for charset in CHARSETS:
        _check_cut_reply(encode_reply(_any_text(rest), charset), charset, limit)
    _check_read_cut(rest, limit)
    marked = mark_cut(read_text(rest))
    assert marked.endswith(f"\n{ANSWER_CUT}\n")
    assert read_text(rest).startswith(marked.removesuffix(f"\n{ANSWER_CUT}\n"))


def _check_cut_reply(whole: bytes, charset: str, limit: int) -> None:
    shorter = cut_reply(whole, limit)
    _check_lines(shorter, charset)  # so no UTF-8 character is cut
    if len(whole) <= limit:
        assert shorter == whole
        return
    assert len(shorter) <= max(limit, len(CLOSING))
    assert shorter.endswith(CLOSING)
    kept = shorter.removesuffix(CLOSING)
    assert whole.startswith(kept) or (kept.count(CRLF) == 1 and whole.startswith(kept.removesuffix(CRLF)))
    assert cut_reply(shorter, max(limit, len(CLOSING))) == shorter


def _check_read_cut(data: bytes, limit: int) -> None:
    marked = read_cut(data, limit)
    assert marked.endswith(f"\n{ANSWER_CUT}\n")
    kept = marked.removesuffix(f"\n{ANSWER_CUT}\n")
    assert len(kept) <= limit
    with contextlib.suppress(UnicodeDecodeError):
        assert data.decode().startswith(kept)
        assert len(kept.encode()) <= limit


_TEXT_LINE = re.compile(r'client=192\.0\.2\.7 query=(".*") outcome=answered bytes=5 ms=1\.0')
_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|[nrt])")


def log(raw: bytes) -> None:
    """The access line and log records: one line each, without characters that a terminal interprets."""
    sent = _decoded_query(first_line(raw))
    quoted = quote_query(raw)
    assert quoted.isascii()
    assert quoted.isprintable()
    assert len(quoted) <= QUERY_CHARACTERS
    kept = json.loads(quoted)
    assert sent.startswith(kept)
    assert kept == sent or len(quoted) > QUERY_CHARACTERS - 24, "not cut more than necessary"
    access = Access("192.0.2.7", raw, "answered", 5, 0.001)
    line = _TEXT_LINE.fullmatch(access_text(access, "full", 0.0))
    assert line, "no field can be forged"
    assert line[1] == quoted
    assert json.loads(access_json(access, "full", 0.0))["query"] == kept
    shortened = "" if raw[:6].upper() == b"PROXY " else kept
    assert json.loads(access_json(access, "network", 0.0))["query"] == shortened
    text = _any_text(raw)
    escaped = escape_controls(text)
    assert not _UNPRINTABLE.search(escaped)
    assert escape_controls(escaped) == escaped
    if "\\" not in text:
        assert _ESCAPE.sub(lambda match: match[0].encode().decode("unicode_escape"), escaped) == text
    record = logging.LogRecord("fingerd", logging.WARNING, "", 0, "%s", (text,), None)
    assert record_text(record, "text") == f"WARNING fingerd: {escaped}"
    assert json.loads(record_text(record, "json"))["message"] == text


def _decoded_query(line: bytes) -> str:
    """The line as a query is read; one that is no query, for a byte without a meaning, in Latin-1."""
    for charset in ("utf-8", "windows-1252"):
        with contextlib.suppress(UnicodeDecodeError):
            return line.decode(charset)
    return line.decode("latin-1")


_PROBLEM = re.compile(r"(?:(?P<file>/proc/self/fd/[0-9]+):(?P<line>[1-9][0-9]*):(?P<column>[1-9][0-9]*)|--prefix): .+")
_LINE_ENDS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # those of YAML 1.1
# Python's own error messages about numbers and texts, which no message may contain.
_PYTHON = re.compile("invalid literal|could not convert|Exceeds the limit|codec can't encode|int too large")


def config(raw: bytes) -> None:
    """``read_config``: settings of the declared types, or errors with their locations; without side effects."""
    path = _file_with(raw)
    settings = _loaded(path, raw, {})
    if settings is None:
        return
    assert _loaded(path, raw, {}) == settings
    prefixed = dataclasses.replace(settings, log=dataclasses.replace(settings.log, prefix="fuzz"))
    assert _loaded(path, raw, {"log.prefix": ("--prefix", "fuzz")}) == prefixed
    _check_type(settings, Settings, "")
    for address in settings.listen:
        if isinstance(address, TcpAddress):
            assert parse_listen(str(address)) == dataclasses.replace(address, proxies=())
            with contextlib.suppress(OSError, UnicodeError):  # reported at start; the flag prevents a DNS query
                socket.getaddrinfo(address.host or None, address.port, flags=socket.AI_NUMERICHOST)


def _file_with(raw: bytes) -> str:
    """The path of a file in memory with these bytes; it disappears with the process."""
    descriptor = _memory()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, raw, 0)
    return f"/proc/self/fd/{descriptor}"


@cache
def _memory() -> int:
    return os.memfd_create("fingerd.yaml")


def _loaded(path: str, raw: bytes, options: Mapping[str, tuple[str, str]]) -> Settings | None:
    """The settings; None if there are errors."""
    try:
        with side_effects_forbidden(), _few_digits():
            settings, warnings = read_config(path, options)
    except ConfigError as error:
        problems, message = error.problems, str(error)
    else:
        _check_problems(warnings, path, raw)
        return settings
    assert problems
    assert message == "\n".join(problems)
    _check_problems(problems, path, raw)
    return None


@contextlib.contextmanager
def _few_digits() -> Iterator[None]:
    """Lower Python's limit of digits in a number from 4,300 to 640 within the block."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(sys.int_info.str_digits_check_threshold)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


def _check_problems(problems: tuple[str, ...], path: str, raw: bytes) -> None:
    """Each is one line with a location in the file, in the order of the file."""
    text = raw.decode(errors="replace")
    last = len(_LINE_ENDS.findall(text)) + 1
    locations = []
    for problem in problems:
        assert not _UNPRINTABLE.search(problem), problem
        assert not _PYTHON.search(problem), problem
        match = _PROBLEM.fullmatch(problem)
        assert match, problem
        if match["file"]:
            assert match["file"] == path
            assert int(match["line"]) <= last, problem
            assert int(match["column"]) <= len(text) + 2, problem
            locations.append((int(match["line"]), int(match["column"])))
    assert locations == sorted(locations), problems
    assert len(set(problems)) == len(problems)


def _check_type(value: Any, kind: Any, path: str) -> None:
    """The value has the declared type of its option, and is within its bounds."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        _check_type(value, arguments[0], path)
        if isinstance(arguments[1], Integer | Seconds | Size):
            assert arguments[1].minimum <= value <= arguments[1].maximum, path
    elif origin is Literal:
        assert any(value == word and type(value) is type(word) for word in arguments), path
    elif kind is Address:
        assert isinstance(value, TcpAddress | UnixAddress | InheritedSocket), path
    elif kind is Backend:
        assert type(value) in _BACKENDS, path
        _check_type(value, type(value), path)
    elif origin in (Union, types.UnionType):
        assert any(_is_type(value, each, path) for each in arguments), path
    elif origin is tuple:
        assert isinstance(value, tuple), path
        for item in value:
            _check_type(item, arguments[0], path)
    elif origin is Mapping:
        for key, item in value.items():
            assert isinstance(key, str), path
            _check_type(item, arguments[1], f"{path}.{key}")
    elif dataclasses.is_dataclass(kind):
        assert type(value) is kind, path
        hints = get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            if is_option(field):
                _check_type(getattr(value, field.name), hints[field.name], f"{path}.{field.name}")
    else:
        assert isinstance(value, (int, float) if kind is float else kind), path


def _is_type(value: Any, kind: Any, path: str) -> bool:
    try:
        _check_type(value, kind, path)
    except AssertionError:
        return False
    return True


class SideEffectError(AssertionError):
    """Reading a configuration changed something on the machine, or used the network."""


_guarded_thread: int | None = None
_READING = ("os.listdir", "os.scandir", "os.getxattr", "os.listxattr")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DOING = (
    "os.",
    "socket.",
    "subprocess.",
    "shutil.",
    "tempfile.",
    "signal.",
    "syslog.",
    "resource.",
    "fcntl.",
    "ctypes.",
)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _guarded_thread is None or _guarded_thread != threading.get_ident():
        return
    opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
    if opened or (event.startswith(_DOING) and event not in _READING):
        raise SideEffectError(f"{event}{arguments}")


@cache
def _install_audit() -> None:
    sys.addaudithook(_audit)  # permanently: Python cannot remove an audit hook


@contextlib.contextmanager
def side_effects_forbidden() -> Iterator[None]:
    """Within the block, changes of files, and any use of sockets or processes, raise SideEffectError in this thread."""
    global _guarded_thread
    _install_audit()
    compiled, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # bytecode caches do not count
    _guarded_thread = threading.get_ident()
    try:
        yield
    finally:
        _guarded_thread = None
        sys.dont_write_bytecode = compiled


_UNDEFINED = re.compile("[\x81\x8d\x8f\x90\x9d]")  # in windows-1252
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SHOWN = re.compile("[\t\n -~]*")


def decode(raw: bytes) -> None:
    """Bytes of an unknown charset: UTF-8, or windows-1252, in which no byte is a control character of C1."""
    text, latin = read_text(raw), raw.decode("latin-1")
    if text.encode() != raw:
        assert len(text) == len(raw), "one character for a byte"
        assert not any("\x80" <= character < "\xa0" for character in text)
        assert text.count("?") == latin.count("?") + len(_UNDEFINED.findall(latin))
    try:
        line, charset = decode_line(raw)
    except UnicodeDecodeError:
        assert _UNDEFINED.search(latin)
    else:
        assert line == text
        assert line.encode(charset) == raw
    _check_lines(encode_reply(decode_file(raw)), "utf-8")
    _check_lines(encode_reply(read_page(raw, "text/plain")), "utf-8")
    whole, pieces = Relay("utf-8", 1 << 20), Relay("utf-8", 1 << 20)
    expected = whole.feed(raw) + whole.finish()
    assert b"".join(pieces.feed(raw[at : at + 1]) for at in range(len(raw))) + pieces.finish() == expected
    if raw:
        _check_lines(expected, "utf-8")


def terminal(raw: bytes) -> None:
    """``TerminalFilter``: only harmless characters, however the answer is split; the first byte says where."""
    at, rest = (raw[0] if raw else 0), raw[1:]
    for international in (False, True):
        parts, whole = (TerminalFilter(international, False, "utf-8") for _ in range(2))
        shown = whole.show(rest, final=True).decode()
        assert (parts.show(rest[:at]) + parts.show(rest[at:], final=True)).decode() == shown
        assert not _CONTROL.search(shown.replace("\n", ""))
        assert not _DIRECTIONS.search(shown)
        assert international or _SHOWN.fullmatch(shown)


@dataclass(frozen=True)
class Target:
    """A function that raises if a property is violated, the maximal length of its input, and its share of the time."""

    check: Callable[[bytes], None]
    max_bytes: int
    share: int = 1


TARGETS = {
    "query": Target(query, 2048),
    "answer": Target(answer, 256),
    "reply": Target(reply, 2048),
    "cut": Target(cut, 512),
    "log": Target(log, 2048),
    "decode": Target(decode, 256),
    "terminal": Target(terminal, 256),
    "proxy": Target(proxy, 2300),
    "http": Target(http, 1024, share=2),
    "config": Target(config, 2048, share=5),
}
