"""The start of a search: the corpus, the configurations in the source tree, and dictionaries of tokens."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from fingerd.backends import Backend, backend_names, load_type
from fingerd.config.file_time import is_option
from fingerd.settings import Settings
from tests.helpers.daemons import EXAMPLES, ROOT

CORPUS = Path(__file__).parent / "corpus"

_DISABLED = re.compile(r"^( *)# (?=[a-z_]+: )", re.MULTILINE)  # before an option in a comment
_COMMENT = re.compile(r"(?:^|\s+)#.*", re.MULTILINE)  # comments would make the inputs long, and test little

# Tokens of queries and answers.
_WIRE = (
    b"/W", b"/w", b" ", b"\t", b"@", b"/", b"\r", b"\n", b"\r\n", b"bob", b"j\xc3\xbcrgen", b"two words", b"\\", b'"',
    b"\0", b"\x1b[2J", b"\x7f", b"\xc2\x9b", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80",
    b"\xff", b"\xff\xff", b"\xff\xfb\x01", b"\xff\xfa", b"\xff\xf0", b"\xfc", b"\x81", b"\x92", b"\xef\xbb\xbf",
    b"\xff\xfe", b"\xe2\x80\x8d", b"\xe2\x80\xae", b"\xf0\x9f\x8f\xb4", b"\xf3\xa0\x81\xa7", b"\xef\xb8\x8f",
)  # fmt: skip

# Tokens of requests by HTTP.
_HTTP = (
    b"GET ", b"HEAD ", b"POST ", b"OPTIONS ", b"CONNECT ", b"PRI ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n",
    b" HTTP/2.0\r\n", b"/", b"/~", b"/json", b"/text", b"/feed", b"/list", b"/.well-known/webfinger",
    b"?resource=acct:", b"&rel=", b"?q=", b"*", b"http://", b"//", b"..", b"@a.example", b"bob", b"j%C3%BCrgen",
    b"j%FCrgen", b"a%2Fb", b"%00", b"%0d%0a", b"%25", b"%zz", b"%", b"%81", b"%ED%A0%80", b"#", b"+", b";",
    b"Host: a\r\n", b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"Accept: ", b"application/json",
    b"text/plain", b";q=0.5", b"If-None-Match: ", b"X-Forwarded-For: ", b"192.0.2.7", b"10.0.0.1", b"[::1]:80",
    b"unknown", b", ", b"0", b"\r\n", b"\n", b"\r", b"\r\n ", b"\t", b":", b" ", b"\0", b"\xfc", b"\x16\x03\x01",
    b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"0\r\n\r\n",
)  # fmt: skip

# Tokens of PROXY headers.
_PROXY = (
    b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"192.0.2.7 ", b"::1 ", b"ffff:" * 7 + b"ffff ", b"::ffff:127.0.0.1 ",
    b"fe80::1%lo ", b"0 ", b"79\r\n", b"65535", b"65536", b"00", b"\r\n", b"\r", b"\n", b" ", b"bob\r\n", b"\0",
    b"\xff", b"\r\n\r\n\0\r\nQUIT\n", b"\x20", b"\x21", b"\x11", b"\x12", b"\x31", b"\x41", b"\0\x0c", b"\0\x24",
    b"\0\xd8", b"\xff\xff", b"\x07\xf0", b"\x07\xf1", b"\xc0\0\x02\x07", b"\x7f\0\0\x01", b"\0" * 10 + b"\xff\xff",
    b"\0" * 100, b"\x03\0\x04", b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 79\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
)  # fmt: skip

# Tokens of YAML, with all tags of PyYAML.
_YAML = (
    "\n", "\n  ", "\n  - ", "- ", "? ", ": ", ", ", "{", "}", "[", "]", "[]", "{}", "'", '"', "#", "|\n  ", ">-\n  ",
    "&a ", "*a", "<<: ", "!a ", "---\n", "...\n", "%YAML 1.1\n---\n", "%TAG ! tag:a,1:\n---\n", '"\\x', '"\\u', '"\\U',
    '"\\ud800"', "~", "null", "true", "no", "=", ".inf", ".nan", "1e9", "0x", "0b", "010", "0o17", "1_000", "1:30",
    ":30", "2024-01-01", "\t", "\r", "\x85", "\u2028", "\ufeff", '"\\0"',
    *(f"!!{tag.rpartition(':')[2]} " for tag in yaml.SafeLoader.yaml_constructors if tag),
)  # fmt: skip

# Values of text options, which their types do not list.
_TEXTS = (
    "any", "local", "127.0.0.1", "::1", "::ffff:", "/24", "10.0.0.0/8", "localhost:79", "[::1]:79", ":79", "unix:/",
    "systemd", "inetd", "http://a/", "https://[::1]:8000/{user}", "{user}", "/", "/bin/sh", "/proc/none", "syslog",
    "stderr", "KiB", "1GiB", "10s", "5m", "2h", "0.1", '"027"', "root", "nobody", "65534",
    "systemd: ", "address: ",
)  # fmt: skip


def corpus(name: str) -> dict[str, bytes]:
    """The inputs in a target's corpus, by file name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}


def configurations() -> dict[str, bytes]:
    """The configurations in the source tree, without comments; ``everything`` is that of etc/ with all options set."""
    found = {path.stem: path.read_text() for path in (*sorted(EXAMPLES.glob("*.yaml")), ROOT / "etc" / "fingerd.yaml")}
    found["everything"] = _DISABLED.sub(r"\1", found["fingerd"])
    return {name: f"{_COMMENT.sub('', text).strip()}\n".encode() for name, text in found.items()}


def words(name: str) -> list[bytes]:
    """The tokens of a target."""
    if name == "config":
        return sorted({text.encode() for text in (*_words(Settings), *_YAML, *_TEXTS)})
    return sorted({"http": _HTTP, "proxy": _PROXY}.get(name, _WIRE))


def _words(kind: Any, inside: bool = False) -> Iterator[str]:
    """The options of a type and the words that are their values. ``inside`` a backend, backends are not repeated."""
    if get_origin(kind) is Literal:
        yield from (str(word).lower() for word in get_args(kind))
    elif kind is Backend:
        for name in () if inside else backend_names():
            yield name
            yield from _words(load_type(name), inside=True)
    elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            if is_option(field):
                yield f"{field.name.rstrip('_')}: "
                yield from _words(hints[field.name], inside)
    else:
        for argument in get_args(kind):
            yield from _words(argument, inside)


def dictionary(name: str) -> str:
    """The tokens in libFuzzer's dictionary format."""
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words(name))
