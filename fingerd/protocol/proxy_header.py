"""PROXY headers, by which a balancer names its client: bytes to a value, without I/O.

HAProxy's specification of the PROXY protocol, versions 1 and 2; quotations in comments are from it, with its sections.
"""

import re
import struct
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NamedTuple

from fingerd.errors import ProxyHeaderError

MAX_HEADER_BYTES = 2048  # of version 2; the specification has no bound but 65,551
MAX_LINE_BYTES = 107  # of version 1, with its CR LF
MAX_PORT = 65535
ADDRESSES_MAX = 4096  # pairs that are remembered as valid, some 300 bytes each

_SIGNATURE_1 = b"PROXY "
_SIGNATURE_2 = b"\r\n\r\n\0\r\nQUIT\n"
# "exactly one space"; "Heading zeroes are not permitted in front of numbers"
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")

_FIXED = struct.Struct("!12xBBH")  # of version 2: version and command, family and protocol, the length of what follows
_LOCAL, _PROXY = 0x20, 0x21  # with the version, which "must always be sent as \\x2"
_TCP_OVER_IPV4, _TCP_OVER_IPV6, _UNIX_STREAM = 0x11, 0x21, 0x31
# The families and protocols that there are, and how many bytes the addresses have. "automatically falls back to the
# UNSPEC mode for the valid combinations above that it does not support": what is not a stream is no client of ours.
_ADDRESS_BYTES = {family << 4 | protocol: 0 for family in range(4) for protocol in range(3)}
_ADDRESS_BYTES |= {_TCP_OVER_IPV4: 12, _TCP_OVER_IPV6: 36, _UNIX_STREAM: 216}


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
    if received.startswith(_SIGNATURE_2):
        return _parse_binary(received)
    if received.startswith(_SIGNATURE_1):
        return _parse_line(received)
    if _SIGNATURE_1.startswith(received) or _SIGNATURE_2.startswith(received):
        return None
    # "otherwise the protocol is not covered by this specification and the connection must be dropped" (2.2)
    raise ProxyHeaderError("no PROXY header")


def _parse_line(received: bytes) -> ProxyHeader | None:
    """Version 1 (2.1): ``PROXY TCP4 SOURCE DESTINATION PORT PORT``, or TCP6, or ``PROXY UNKNOWN``, and CR LF."""
    if (match := _LINE.match(received)) and match.end() <= MAX_LINE_BYTES:
        version, source, destination, port, other_port = match.groups()
        if (number := int(port)) <= MAX_PORT and int(other_port) <= MAX_PORT:
            return ProxyHeader(match.end(), _read_source(version, source, destination), number)
    elif (match := _UNKNOWN.match(received)) and match.end() <= MAX_LINE_BYTES:
        return ProxyHeader(match.end())  # "must ignore anything presented before the CRLF is found"
    line = received[:MAX_LINE_BYTES]
    # "The receiver must not tolerate a single CR or LF character to end the line"; "If the CRLF sequence is not found
    # in the first 107 characters, the receiver should declare the line invalid."
    if b"\n" in line or b"\r" in line[:-1] or len(line) == MAX_LINE_BYTES:
        raise ProxyHeaderError("not a line of version 1")
    return None  # "must wait for the CRLF sequence before starting to decode the addresses"


@lru_cache(ADDRESSES_MAX)
def _read_source(version: bytes, source: bytes, destination: bytes) -> str:
    """The source address of version 1; ProxyHeaderError if one of the two is not of this family."""
    family = AF_INET if version == b"4" else AF_INET6
    try:
        # "the same format as the layer 3 source address and matches the same family"
        inet_pton(family, destination.decode())
        return inet_ntop(family, inet_pton(family, source.decode()))
    except (OSError, ValueError):
        raise ProxyHeaderError("not an address of its family") from None


@lru_cache(ADDRESSES_MAX)
def _ipv4(packed: bytes) -> str:
    return inet_ntop(AF_INET, packed)


def _parse_binary(received: bytes) -> ProxyHeader | None:
    """Version 2 (2.2): version and command, family and protocol, the length of what follows, addresses, TLVs."""
    if len(received) < _FIXED.size:
        # "the receiver must only accept this value"; "must drop connections presenting unexpected values here"
        if len(received) > len(_SIGNATURE_2) and received[len(_SIGNATURE_2)] not in (_LOCAL, _PROXY):
            raise ProxyHeaderError("not a version or a command of version 2")
        return None
    command, kind, length = _FIXED.unpack_from(received)
    size = _FIXED.size + length
    address_bytes = 0  # "LOCAL: ... discard the protocol block including the family which is ignored"
    if command == _PROXY:
        # "other values ... must be rejected as invalid by receivers"
        address_bytes = _ADDRESS_BYTES.get(kind, MAX_HEADER_BYTES)
    if size > MAX_HEADER_BYTES or length < address_bytes or command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("not a header of version 2")
    # "must not start to parse an address before the whole address block is received". What follows on the addresses
    # are TLVs: "a receiver may choose to skip over and ignore those bytes"
    if len(received) < size:
        return None
    if not address_bytes:
        return ProxyHeader(size)  # "The receiver should ignore address information"
    if kind == _TCP_OVER_IPV4:
        return ProxyHeader(size, _ipv4(received[16:20]), received[24] << 8 | received[25])
    if kind == _TCP_OVER_IPV6:
        return ProxyHeader(size, inet_ntop(AF_INET6, received[16:32]), received[48] << 8 | received[49])
    return ProxyHeader(size, "unix")  # whose address is of the client's choice
