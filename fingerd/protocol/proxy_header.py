"""PROXY headers, by which a balancer names its client: bytes to a value, without I/O.

HAProxy's specification of the PROXY protocol, versions 1 and 2; quotations in comments are from it, with its sections.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from fingerd.errors import ProxyHeaderError

MAX_HEADER_BYTES = 2048  # of version 2; the specification has no bound but 65,551
MAX_LINE_BYTES = 107  # of version 1, with its CR LF
ADDRESSES_MAX = 4096  # that are remembered as valid, some 200 bytes each

_SIGNATURE_1 = b"PROXY "
_SIGNATURE_2 = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_BYTES = 16  # of version 2, up to the length, with it
_FAMILIES, _PROTOCOLS = range(4), range(3)  # that the specification knows
_TCP_OVER_IPV4, _TCP_OVER_IPV6, _UNIX_STREAM = 0x11, 0x21, 0x31  # family and protocol
_ADDRESS_BYTES = {_TCP_OVER_IPV4: 12, _TCP_OVER_IPV6: 36, _UNIX_STREAM: 216}


class ProxyHeader(NamedTuple):
    """A complete header: how many bytes it has, and the client that it names."""

    size: int
    client: str = ""  # an address, or ``unix``; empty if it names none, and the balancer itself is the client
    port: int = 0


def parse_proxy_header(received: bytes) -> ProxyHeader | None:
    """The header at the beginning of a connection; None as long as more of it may come.

    ProxyHeaderError as soon as the bytes cannot become a header: "It is
    recommended to abort the connection as soon as possible" (2.1).
    """
    if received.startswith(_SIGNATURE_1):
        return _parse_line(received)
    if received.startswith(_SIGNATURE_2):
        return _parse_binary(received)
    if _SIGNATURE_1.startswith(received) or _SIGNATURE_2.startswith(received):
        return None
    # "otherwise the protocol is not covered by this specification and the connection must be dropped" (2.2)
    raise ProxyHeaderError("no PROXY header")


def _parse_line(received: bytes) -> ProxyHeader | None:
    """Version 1 (2.1): ``PROXY TCP4 SOURCE DESTINATION PORT PORT``, or TCP6, or ``PROXY UNKNOWN``, and CR LF."""
    end = received.find(b"\r\n", 0, MAX_LINE_BYTES)
    line = received[: end if end >= 0 else MAX_LINE_BYTES]
    # "The receiver must not tolerate a single CR or LF character to end the line"
    if b"\n" in line or b"\r" in (line if end >= 0 else line[:-1]):
        raise ProxyHeaderError("a line end that is not CR LF")
    if end < 0:
        # "If the CRLF sequence is not found in the first 107 characters, the receiver should declare the line invalid."
        if len(received) >= MAX_LINE_BYTES:
            raise ProxyHeaderError("too long")
        return None  # "must wait for the CRLF sequence before starting to decode the addresses"
    _, protocol, *fields = line.split(b" ")  # "exactly one space": of two, the field between is empty
    if protocol == b"UNKNOWN":  # "must ignore anything presented before the CRLF is found"
        return ProxyHeader(end + 2)
    if len(fields) != 4 or protocol not in (b"TCP4", b"TCP6"):
        raise ProxyHeaderError("not the fields of version 1")
    source, destination, port, other_port = fields
    _read_port(other_port)
    _read_address(protocol, destination)  # "the same format as the layer 3 source address and matches the same family"
    return ProxyHeader(end + 2, _read_address(protocol, source), _read_port(port))


@lru_cache(ADDRESSES_MAX)
def _read_address(protocol: bytes, field: bytes) -> str:
    """An address of version 1; ProxyHeaderError if it is none of this protocol's family."""
    try:
        text = field.decode("ascii")
        if protocol == b"TCP4":
            return str(IPv4Address(text))  # which takes no heading zeroes
        if "%" not in text:
            return str(IPv6Address(text))
    except ValueError:
        pass
    raise ProxyHeaderError("not an address of its family")


def _read_port(field: bytes) -> int:
    """A port of version 1: "a decimal integer in the range [0..65535] inclusive", without "heading zeroes"."""
    if field.isdigit() and len(field) <= 5 and (field[0] != ord("0") or field == b"0") and (port := int(field)) < 65536:
        return port
    raise ProxyHeaderError("not a port")


def _parse_binary(received: bytes) -> ProxyHeader | None:
    """Version 2 (2.2): version and command, family and protocol, the length of what follows, addresses, TLVs."""
    if len(received) < _FIXED_BYTES:
        _check_version(received[12:13])
        return None
    version_command, kind = received[12], received[13]
    size = _FIXED_BYTES + (received[14] << 8 | received[15])
    _check_version(received[12:13])
    if size > MAX_HEADER_BYTES:
        raise ProxyHeaderError("too long")
    address_bytes = 0
    # "LOCAL: ... must use the real connection endpoints and discard the protocol block including the family"
    if version_command & 0x0F:
        if kind >> 4 not in _FAMILIES or kind & 0x0F not in _PROTOCOLS:  # "must be rejected as invalid by receivers"
            raise ProxyHeaderError("not a family or a protocol of version 2")
        # "automatically falls back to the UNSPEC mode for the valid combinations above that it does not support":
        # what is not a stream is no client of ours. "The receiver should ignore address information."
        address_bytes = _ADDRESS_BYTES.get(kind, 0)
        if size < _FIXED_BYTES + address_bytes:
            raise ProxyHeaderError("shorter than its addresses")
    # "must not start to parse an address before the whole address block is received". What follows on the addresses
    # are TLVs: "a receiver may choose to skip over and ignore those bytes"
    if len(received) < size:
        return None
    if not address_bytes:
        return ProxyHeader(size)
    if kind == _TCP_OVER_IPV4:
        return ProxyHeader(size, inet_ntop(AF_INET, received[16:20]), received[24] << 8 | received[25])
    if kind == _TCP_OVER_IPV6:
        return ProxyHeader(size, inet_ntop(AF_INET6, received[16:32]), received[48] << 8 | received[49])
    return ProxyHeader(size, "unix")  # whose address is of the client's choice


def _check_version(version_command: bytes) -> None:
    """ProxyHeaderError if the 13th byte is there and is wrong.

    The version: "the receiver must only accept this value". The command: "must drop connections presenting unexpected
    values here".
    """
    if version_command not in (b"", b"\x20", b"\x21"):
        raise ProxyHeaderError("not a version or a command of version 2")
