"""PROXY headers, by which a balancer names its client: bytes to a value, without I/O.

HAProxy's specification of the PROXY protocol, versions 1 and 2; quotations in comments are from it, with its sections.
"""

import re
import struct
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from fingerd.errors import ProxyHeaderError

MAX_HEADER_BYTES = 2048  # of version 2; the specification has no bound but 65,551
MAX_LINE_BYTES = 107  # of version 1, with its CR LF
MAX_PORT = 65535
KNOWN_MAX = 4096  # parts of headers that are remembered as valid, some 300 bytes each

# A complete header: how many bytes it has; the client that it names, an address or ``unix``, empty if it names none and
# the balancer itself is the client; and its port. A plain tuple is made in a quarter of the time of a named one.
ProxyHeader = tuple[int, str, int]

SIGNATURE_1 = b"PROXY "
_SIGNATURE_2 = b"\r\n\r\n\0\r\nQUIT\n"
_FIRST_1, _FIRST_2 = SIGNATURE_1[0], _SIGNATURE_2[0]
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")

_FIXED = struct.Struct("!12xBBH")  # of version 2: version and command, family and protocol, the length of what follows
_LOCAL, _PROXY = 0x20, 0x21  # with the version, which "must always be sent as \\x2"
_TCP_OVER_IPV4, _TCP_OVER_IPV6, _UNIX_STREAM = 0x11, 0x21, 0x31
# The families and protocols that there are, and how many bytes the addresses have. "automatically falls back to the
# UNSPEC mode for the valid combinations above that it does not support": what is not a stream is no client of ours.
_ADDRESS_BYTES = {family << 4 | protocol: 0 for family in range(4) for protocol in range(3)}
_ADDRESS_BYTES |= {_TCP_OVER_IPV4: 12, _TCP_OVER_IPV6: 36, _UNIX_STREAM: 216}
_IPV4_SOURCE_END = _FIXED.size + 4


def parse_proxy_header(received: bytes) -> ProxyHeader | None:
    """The header at the beginning of a connection; None as long as more of it may come.

    ProxyHeaderError as soon as the bytes cannot become a header: "It is
    recommended to abort the connection as soon as possible" (2.1).
    """
    if not received:
        return None
    first = received[0]
    if first == _FIRST_1:
        return _parse_line(received)
    if first == _FIRST_2:
        return _parse_binary(received)
    # "otherwise the protocol is not covered by this specification and the connection must be dropped" (2.2)
    raise ProxyHeaderError("no PROXY header")


def _parse_line(received: bytes) -> ProxyHeader | None:
    """Version 1 (2.1): ``PROXY TCP4 SOURCE DESTINATION PORT PORT``, or TCP6, or ``PROXY UNKNOWN``, and CR LF."""
    line, end, _ = received.partition(b"\r\n")
    size = len(line) + 2
    if not end or size > MAX_LINE_BYTES:
        return _await_end(received)
    try:
        addresses, port, other_port = line.rsplit(b" ", 2)
        source = _read_source(addresses, other_port)
    except (ValueError, ProxyHeaderError):
        return _parse_unknown(line)
    if port.isdigit() and (number := int(port)) <= MAX_PORT and (port >= b"1" or port == b"0"):  # as in _read_port
        return size, source, number
    raise ProxyHeaderError("not a port")


def _parse_unknown(line: bytes) -> ProxyHeader:
    """A line without addresses (2.1): ``PROXY UNKNOWN``, and perhaps more."""
    if not _UNKNOWN.fullmatch(line):
        raise ProxyHeaderError("not a line of version 1")
    return len(line) + 2, "", 0  # "must ignore anything presented before the CRLF is found"


def _await_end(received: bytes) -> ProxyHeader | None:
    """None: "must wait for the CRLF sequence" (2.1). ProxyHeaderError if this cannot become a line of version 1."""
    line = received[:MAX_LINE_BYTES]
    # "The receiver must not tolerate a single CR or LF character to end the line"; "If the CRLF sequence is not found
    # in the first 107 characters, the receiver should declare the line invalid."
    if b"\n" in line or b"\r" in line[:-1] or len(line) == MAX_LINE_BYTES:
        raise ProxyHeaderError("not a line of version 1")
    if line[: len(SIGNATURE_1)] != SIGNATURE_1[: len(line)]:
        raise ProxyHeaderError("no PROXY header")
    return None


@lru_cache(KNOWN_MAX)
def _read_source(addresses: bytes, other_port: bytes) -> str:
    """The source of a line of version 1, of which all but its port is given; ProxyHeaderError if a field is wrong."""
    _read_port(other_port)
    try:
        name, protocol, source, destination = addresses.split(b" ")  # "exactly one space"
        family = {(b"PROXY", b"TCP4"): AF_INET, (b"PROXY", b"TCP6"): AF_INET6}[name, protocol]
        # "the same format as the layer 3 source address and matches the same family"
        inet_pton(family, destination.decode())
        return inet_ntop(family, inet_pton(family, source.decode()))
    except (OSError, ValueError, KeyError):
        raise ProxyHeaderError("not two addresses of one family") from None


def _read_port(port: bytes) -> int:
    """A port of version 1: "Heading zeroes are not permitted in front of numbers". ProxyHeaderError if it is none."""
    if port.isdigit() and int(port) <= MAX_PORT and (port >= b"1" or port == b"0"):
        return int(port)
    raise ProxyHeaderError("not a port")


def _parse_binary(received: bytes) -> ProxyHeader | None:
    """Version 2 (2.2): version and command, family and protocol, the length of what follows, addresses, TLVs."""
    if len(received) < _FIXED.size:
        return _await_fixed(received)
    size, kind, ipv4_source = _begin_binary(received[:_IPV4_SOURCE_END])
    # "must not start to parse an address before the whole address block is received". What follows on the addresses
    # are TLVs: "a receiver may choose to skip over and ignore those bytes"
    if len(received) < size:
        return None
    if kind == _TCP_OVER_IPV4:
        return size, ipv4_source, received[24] << 8 | received[25]
    if kind == _TCP_OVER_IPV6:
        return size, inet_ntop(AF_INET6, received[16:32]), received[48] << 8 | received[49]
    if kind == _UNIX_STREAM:
        return size, "unix", 0  # whose address is of the client's choice
    return size, "", 0  # "The receiver should ignore address information"


def _await_fixed(received: bytes) -> ProxyHeader | None:
    """None if this may become a header of version 2, else ProxyHeaderError."""
    signature, command = received[: len(_SIGNATURE_2)], received[len(_SIGNATURE_2) :][:1]
    if signature != _SIGNATURE_2[: len(signature)]:
        raise ProxyHeaderError("no PROXY header")
    # "the receiver must only accept this value"; "must drop connections presenting unexpected values here"
    if command and command[0] not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("not a version or a command of version 2")
    return None


@lru_cache(KNOWN_MAX)
def _begin_binary(begun: bytes) -> tuple[int, int, str]:
    """The size of a header of version 2, the kind of its addresses, 0 to ignore them, and the source if it is IPv4.

    ``begun`` ends after that source, or before it.
    """
    _await_fixed(begun)
    command, kind, length = _FIXED.unpack_from(begun)
    size = _FIXED.size + length
    if command == _LOCAL:
        kind = 0  # "discard the protocol block including the family which is ignored"
    # "other values ... must be rejected as invalid by receivers"
    if kind not in _ADDRESS_BYTES:
        raise ProxyHeaderError("not a header of version 2")
    if size > MAX_HEADER_BYTES or length < _ADDRESS_BYTES[kind]:
        raise ProxyHeaderError("not a length of a header of version 2")
    is_ipv4 = kind == _TCP_OVER_IPV4 and len(begun) == _IPV4_SOURCE_END
    return size, kind, inet_ntop(AF_INET, begun[_FIXED.size :]) if is_ipv4 else ""
