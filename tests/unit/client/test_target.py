"""Parsing targets and URLs to hosts and queries, and refusing invalid ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.client.target import FingerTarget, TargetError, read_target
from fingerd.protocol.query import Query

TARGETS = {
    "list-here": ("", FingerTarget("localhost", "localhost", None, Query())),
    "user-here": ("bob", FingerTarget("localhost", "localhost", None, Query("bob"))),
    "user-there": ("bob@example.org", FingerTarget("example.org", "example.org", None, Query("bob"))),
    "list": ("@example.org", FingerTarget("example.org", "example.org", None, Query())),
    "port": ("bob@example.org:1079", FingerTarget("example.org", "example.org", 1079, Query("bob"))),
    "lowest-port": ("bob@one:1", FingerTarget("one", "one", 1, Query("bob"))),
    "highest-port": ("bob@one:65535", FingerTarget("one", "one", 65535, Query("bob"))),
    "ipv4": ("bob@192.0.2.7:79", FingerTarget("192.0.2.7", "192.0.2.7", 79, Query("bob"))),
    "ipv6": ("bob@[2001:db8::1]", FingerTarget("2001:db8::1", "2001:db8::1", None, Query("bob"))),
    "ipv6-port": ("@[::1]:1079", FingerTarget("::1", "::1", 1079, Query())),
    "ipv6-zone": ("@[fe80::1%lo]:1079", FingerTarget("fe80::1%lo", "fe80::1%lo", 1079, Query())),
    "forwarding": ("bob@one@two", FingerTarget("two", "two", None, Query("bob", ("one",)))),
    "list-forwarding": ("@one@two@three:7", FingerTarget("three", "three", 7, Query("", ("one", "two")))),
    "verbose": ("/W bob@one", FingerTarget("one", "one", None, Query("bob", (), True))),
    "several-words": ("bob smith@one", FingerTarget("one", "one", None, Query("bob smith"))),
    "name-like-a-url": ("finger:bob", FingerTarget("localhost", "localhost", None, Query("finger:bob"))),
    "not-ascii": ("zoë@bücher.example", FingerTarget("bücher.example", "xn--bcher-kva.example", None, Query("zoë"))),
    "url": ("finger://example.org/bob", FingerTarget("example.org", "example.org", None, Query("bob"))),
    "url-host": ("finger://example.org", FingerTarget("example.org", "example.org", None, Query())),
    "url-host-slash": ("finger://example.org/", FingerTarget("example.org", "example.org", None, Query())),
    "url-port": ("FINGER://example.org:79/bob", FingerTarget("example.org", "example.org", 79, Query("bob"))),
    "url-user": ("finger://bob@example.org", FingerTarget("example.org", "example.org", None, Query("bob"))),
    "url-user-port": ("finger://bob@[::1]:7/", FingerTarget("::1", "::1", 7, Query("bob"))),
    "url-verbose": ("finger://one/%2FW%20bob", FingerTarget("one", "one", None, Query("bob", (), True))),
    "url-verbose-unescaped": ("finger://one//W%20bob", FingerTarget("one", "one", None, Query("bob", (), True))),
    "url-forwarding": ("finger://two/bob@one", FingerTarget("two", "two", None, Query("bob", ("one",)))),
    "url-forwarding-escaped": ("finger://two/bob%40one", FingerTarget("two", "two", None, Query("bob", ("one",)))),
    "url-user-forwarding": ("finger://bob@one@two", FingerTarget("two", "two", None, Query("bob", ("one",)))),
    "url-utf-8": ("finger://one/zo%C3%AB", FingerTarget("one", "one", None, Query("zoë"))),
    "url-windows-1252": ("finger://one/zo%eb%92", FingerTarget("one", "one", None, Query("zoë’"))),
    "url-percent": ("finger://one/100%25", FingerTarget("one", "one", None, Query("100%"))),
    "url-percent-and-digits": ("finger://one/%250a", FingerTarget("one", "one", None, Query("%0a"))),
    "url-not-ascii": ("finger://b%C3%BCcher.de/zoë", FingerTarget("bücher.de", "xn--bcher-kva.de", None, Query("zoë"))),
    "url-zone": ("finger://[fe80::1%25lo]/", FingerTarget("fe80::1%lo", "fe80::1%lo", None, Query())),
    "url-fragment": ("finger://one/bob#plan", FingerTarget("one", "one", None, Query("bob"))),
    "url-question": ("finger://one/bob?plan", FingerTarget("one", "one", None, Query("bob?plan"))),
}  # fmt: skip


@pytest.mark.parametrize(("text", "target"), TARGETS.values(), ids=TARGETS)
def test_a_target_is_a_host_and_a_query(text: str, target: FingerTarget) -> None:
    assert read_target(text) == target


@pytest.mark.parametrize(
    ("text", "asked"),
    {
        "": "@localhost",
        "bob": "bob@localhost",
        "finger://example.org/bob": "bob@example.org",
        "/W bob@one@[::1]:7": "/W bob@one@[::1]:7",
        "zoë@bücher.example": "zoë@bücher.example",
    }.items(),
)
def test_what_is_asked_is_a_target_again(text: str, asked: str) -> None:
    assert read_target(text).asked == asked
    assert read_target(asked) == read_target(text)


CONTROLS = "control characters"
REFUSED = {
    "line-feed": ("bob\n@one", CONTROLS),
    "line-feed-at-the-end": ("bob\n", CONTROLS),
    "carriage-return": ("bob@one\r\nDATA", CONTROLS),
    "nul": ("bob\0@one", CONTROLS),
    "tab": ("bob\tsmith@one", CONTROLS),
    "escape": ("\x1b]0;x\x07@one", CONTROLS),
    "del": ("bob\x7f", CONTROLS),
    "c1": ("bob\x9b", CONTROLS),
    "line-separator": ("bob\u2028x", CONTROLS),
    "not-utf-8": ("bob\udce9@one", CONTROLS),
    "control-in-a-host": ("bob@one\x00two", CONTROLS),
    "url-line-feed": ("finger://one/bob%0D%0ADATA", CONTROLS),
    "url-line-feed-at-the-end": ("finger://one/bob%0a", CONTROLS),
    "url-nul": ("finger://one/%00", CONTROLS),
    "url-control-in-the-user": ("finger://b%0Aob@one", CONTROLS),
    "url-control-in-the-host": ("finger://one%0A/bob", CONTROLS),
    "url-c1": ("finger://one/%C2%9B31m", CONTROLS),
    "url-undefined-byte": ("finger://one/bob%81", "no character"),
    "url-half-a-character": ("finger://one/%E2%80%81%81", "no character"),
    "url-line-separator": ("finger://one/%E2%80%A8", CONTROLS),
    "no-host": ("bob@", "no host after"),
    "no-host-but-a-port": ("bob@:79", "no host after"),
    "no-host-between": ("bob@@one", "invalid host after an @"),
    "space-in-a-host": ("bob@one two", "space in its host"),
    "space-in-a-host-between": ("bob@o ne@two", "invalid host after an @"),
    "port-too-high": ("bob@one:65536", "1 to 65535"),
    "port-zero": ("bob@one:0", "1 to 65535"),
    "port-letters": ("bob@one:http", "brackets"),
    "port-arabic-digits": ("bob@one:٧٩", "brackets"),
    "port-empty": ("bob@one:", "brackets"),
    "ipv6-without-brackets": ("bob@::1", "brackets"),
    "name-in-brackets": ("bob@[one]", "brackets"),
    "number-in-brackets": ("bob@[1]", "brackets"),
    "ipv4-in-brackets": ("bob@[192.0.2.1]", "brackets"),
    "too-much-in-brackets": ("bob@[1:2:3:4:5:6:7:8:9]", "brackets"),
    "zone-without-an-address": ("bob@[fe80%lo]", "brackets"),
    "url-invalid-address": ("finger://[::g]/", "brackets"),
    "empty-label": ("bob@bü..example", "invalid host name"),
    "label-too-long": ("bob@" + "ü" * 70, "invalid host name"),
    "url-another-scheme": ("http://example.org/bob", "not a URL like finger://"),
    "url-empty": ("finger://", "no host"),
    "url-two-users": ("finger://bob@one/alice", "both before and after the host"),
    "url-incomplete-escape": ("finger://one/100%", "hexadecimal"),
    "url-invalid-escape": ("finger://one/%zz", "hexadecimal"),
    "url-escaped-space": ("finger://one%20two", "space"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_an_invalid_target_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(TargetError, match=why):
        read_target(text)


@given(st.one_of(st.text(), st.text("finger:/%0123456789ABCDEF@#?[]", max_size=30).map("finger://one/".__add__)))
def test_any_text_is_refused_or_one_line_without_controls(text: str) -> None:
    try:
        target = read_target(text)
    except TargetError:
        return
    line = target.query.encode().decode()
    assert line.endswith("\r\n")
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line[:-2] + target.label)
    assert target.host.isascii()
