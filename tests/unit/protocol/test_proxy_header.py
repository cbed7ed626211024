"""PROXY headers: each is read from the specification, whole and in pieces."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.errors import ProxyHeaderError
from fingerd.net.addresses import UNIX
from fingerd.protocol.proxy_header import MAX_HEADER_BYTES, MAX_LINE_BYTES, parse_proxy_header
from tests.helpers.proxy import SIGNATURE, addresses, binary

LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 79\r\n"
LONGEST = b"PROXY TCP6 %s %s 65535 65535\r\n" % ((b"ffff:" * 8)[:-1], (b"FFFF:" * 8)[:-1])
REST = b"bob\r\n"


IPV4, IPV6 = addresses("192.0.2.7"), addresses("2001:db8::7")
TLV = b"\x02\x00\x03a.b" + b"\x04\xff\xff"  # whose last length is beyond the header: TLVs are not looked at

HEADERS = {
    "TCP4": (LINE, ("192.0.2.7", 56324)),
    "TCP6": (b"PROXY TCP6 2001:DB8::7 ::1 0 65535\r\n", ("2001:db8::7", 0)),
    "the longest of TCP6": (LONGEST, ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535)),
    "TCP6 with an IPv4-mapped address": (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 79\r\n", ("::ffff:192.0.2.7", 1)),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", ("", 0)),
    "UNKNOWN with anything": (b"PROXY UNKNOWN \0\xff PROXY  TCP4\r\n", ("", 0)),
    "UNKNOWN of 107 bytes": (b"PROXY UNKNOWN".ljust(105) + b"\r\n", ("", 0)),
    "binary TCP4": (binary(1, 0x11, IPV4), ("192.0.2.7", 56324)),
    "binary TCP6": (binary(1, 0x21, IPV6), ("2001:db8::7", 56324)),
    "binary unix": (binary(1, 0x31, b"/run/a\0".ljust(216, b"x")), (UNIX, 0)),
    "binary TCP4 with TLVs": (binary(1, 0x11, IPV4 + TLV), ("192.0.2.7", 56324)),
    "binary TCP6 with TLVs": (binary(1, 0x21, IPV6 + TLV), ("2001:db8::7", 56324)),
    "binary, the longest": (binary(1, 0x11, IPV4.ljust(MAX_HEADER_BYTES - 16, b"\0")), ("192.0.2.7", 56324)),
    "LOCAL": (binary(0, 0x00), ("", 0)),
    "LOCAL with addresses": (binary(0, 0x11, IPV4), ("", 0)),
    "LOCAL with a family that is none, and too few bytes": (binary(0, 0xFF, b"abc"), ("", 0)),
    "UNSPEC": (binary(1, 0x00), ("", 0)),
    "UNSPEC with addresses": (binary(1, 0x00, IPV4), ("", 0)),
    **{f"the valid kind {kind:#x}": (binary(1, kind, IPV4), ("", 0)) for kind in (1, 2, 0x10, 0x12, 0x20, 0x22, 0x30)},
    "a unix datagram": (binary(1, 0x32), ("", 0)),
}


@pytest.mark.parametrize(("header", "client"), HEADERS.values(), ids=HEADERS)
def test_a_header_names_a_client_and_ends_where_it_ends(header: bytes, client: tuple[str, int]) -> None:
    expected = (len(header), *client)
    for rest in (b"", REST, header, b"\r\n", b"\n"):
        assert parse_proxy_header(header + rest) == expected
    for size in range(len(header)):
        assert parse_proxy_header(header[:size]) is None


BROKEN = {
    "a query": b"bob\r\n",
    "an empty query": b"\r\nPROXY",
    "a line feed": b"\n",
    "HTTP": b"GET / HTTP/1.1\r\n",
    "TLS": b"\x16\x03\x01",
    "small letters": b"proxy TCP4",
    "a tab after PROXY": b"PROXY\tTCP4",
    "a second version": b"PROXY2 TCP4",
    "a blank before PROXY": b" PROXY",
    "two blanks": LINE.replace(b" 1", b"  1"),
    "a blank at the end": LINE.replace(b"\r\n", b" \r\n"),
    "a field too few": b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
    "a field too many": LINE.replace(b"\r\n", b" 1\r\n"),
    "nothing after PROXY": b"PROXY \r\n",
    "no protocol": b"PROXY  192.0.2.7 198.51.100.1 56324 79\r\n",
    "UDP4": LINE.replace(b"TCP", b"UDP"),
    "TCP5": LINE.replace(b"TCP4", b"TCP5"),
    "tcp4": LINE.replace(b"TCP4", b"tcp4"),
    "a longer word than UNKNOWN": b"PROXY UNKNOWNS\r\n",
    "IPv6 in TCP4": b"PROXY TCP4 2001:db8::7 2001:db8::1 1 79\r\n",
    "IPv4 in TCP6": b"PROXY TCP6 192.0.2.7 198.51.100.1 1 79\r\n",
    "another family as destination": b"PROXY TCP4 192.0.2.7 2001:db8::1 1 79\r\n",
    "heading zeroes": b"PROXY TCP4 192.0.2.07 198.51.100.1 1 79\r\n",
    "three numbers": b"PROXY TCP4 192.0.7 198.51.100.1 1 79\r\n",
    "256": b"PROXY TCP4 192.0.2.256 198.51.100.1 1 79\r\n",
    "a host name": b"PROXY TCP4 localhost 198.51.100.1 1 79\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 79\r\n",
    "a zone with blanks in it": b"PROXY TCP6 fe80::1%a\x0bb ::1 1 79\r\n",
    "two double colons": b"PROXY TCP6 1::2::3 ::1 1 79\r\n",
    "brackets": b"PROXY TCP6 [::1] ::1 1 79\r\n",
    "digits of another script": "PROXY TCP4 192.0.2.７ 198.51.100.1 1 79\r\n".encode(),
    "bytes that are no text": b"PROXY TCP4 192.0.2.\xff 198.51.100.1 1 79\r\n",
    "a NUL": b"PROXY TCP4 192.0.2.7\0 198.51.100.1 1 79\r\n",
    **{
        f"the port {port.decode()!r}": b"PROXY TCP4 192.0.2.7 198.51.100.1 %s\r\n" % fields
        for port in (b"", b"65536", b"99999999999", b"-1", b"+1", b"01", b"00", b"0x1", b"1.0", b"\xc2\xb2", b"http")
        for fields in (b"1 " + port, port + b" 79")
    },
    "a line feed alone": LINE.replace(b"\r\n", b"\n"),
    "a line feed alone, and a whole line": b"PROXY UNKNOWN\n" + LINE,
    "a carriage return alone": LINE.replace(b"\r\n", b"\rb"),
    "a carriage return within UNKNOWN": b"PROXY UNKNOWN a\rb\r\n",
    "a line feed within UNKNOWN": b"PROXY UNKNOWN a\nb\r\n",
    "108 bytes": b"PROXY UNKNOWN".ljust(106) + b"\r\n",
    "107 bytes without an end": b"PROXY UNKNOWN".ljust(107),
    "a long line": b"PROXY UNKNOWN" + b" " * 3000,
    "binary, signature cut": SIGNATURE[:-1] + b"\x21",
    "binary, version 1": SIGNATURE + b"\x11",
    "binary, version 3": SIGNATURE + b"\x31",
    "binary, command 2": SIGNATURE + b"\x22",
    "binary, command 15": SIGNATURE + b"\x2f",
    **{f"binary, kind {kind:#x}": binary(1, kind, IPV4) for kind in (0x13, 0x1F, 0x03, 0x0F, 0x41, 0x40, 0xF1, 0xFF)},
    "binary, TCP4 with 11 bytes": binary(1, 0x11, IPV4[:-1]),
    "binary, TCP4 without addresses": binary(1, 0x11),
    "binary, TCP6 with IPv4": binary(1, 0x21, IPV4),
    "binary, unix with 215 bytes": binary(1, 0x31, b"x" * 215),
    "binary, over 2 KiB": binary(1, 0x11, IPV4, MAX_HEADER_BYTES - 15),
    "binary, the longest that can be said": binary(1, 0x11, IPV4, 0xFFFF),
    "binary, LOCAL over 2 KiB": binary(0, 0, b"", 0xFFFF),
}


@pytest.mark.parametrize("received", BROKEN.values(), ids=BROKEN)
def test_what_cannot_become_a_header_is_an_error(received: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(received)
    for rest in (b" ", LINE, b"\0" * 300):
        with pytest.raises(ProxyHeaderError):
            parse_proxy_header(received + rest)
    for size in range(len(received)):  # it is never taken for a header on its way
        try:
            assert parse_proxy_header(received[:size]) is None
        except ProxyHeaderError:
            break


@given(st.one_of(st.binary(max_size=80), st.builds(lambda raw: b"PROXY " + raw, st.binary(max_size=120))))
def test_the_bounds_hold_for_any_bytes(received: bytes) -> None:
    try:
        header = parse_proxy_header(received)
    except ProxyHeaderError:
        return
    if header is None:
        assert len(received) < (MAX_LINE_BYTES if received.startswith(b"P") else MAX_HEADER_BYTES)
    else:
        assert 0 < header[0] <= min(len(received), MAX_HEADER_BYTES)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_both_versions_name_the_same_client(client: object, port: int) -> None:
    text = str(client)
    version = ip_address(text).version
    line = f"PROXY TCP{version} {text} {text} {port} 79\r\n".encode()
    packed = binary(1, 0x11 if version == 4 else 0x21, addresses(text, port))
    first, second = parse_proxy_header(line), parse_proxy_header(packed)
    assert first
    assert second
    assert first[1:] == second[1:]
    assert (ip_address(first[1]), first[2]) == (client, port)
