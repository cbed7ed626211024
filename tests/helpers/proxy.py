"""PROXY headers, as a balancer sends them."""

import struct
from ipaddress import ip_address

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
LOCAL, PROXY = 0, 1
TCP4, TCP6, UNIX_STREAM = 0x11, 0x21, 0x31


def line(client: str, server: str = "", port: int = 56324) -> bytes:
    """A header of version 1."""
    version = ip_address(client).version
    server = server or ("192.0.2.1" if version == 4 else "2001:db8::1")
    return f"PROXY TCP{version} {client} {server} {port} 79\r\n".encode()


def binary(command: int, kind: int, body: bytes = b"", length: int | None = None) -> bytes:
    """A header of version 2; ``length`` is what it says of the body, if that is not true."""
    size = len(body) if length is None else length
    return SIGNATURE + bytes((0x20 | command, kind)) + struct.pack("!H", size) + body


def addresses(client: str, port: int = 56324) -> bytes:
    """The addresses of version 2, the client's and another."""
    packed = ip_address(client).packed
    return packed + b"\x01".rjust(len(packed), b"\0") + struct.pack("!HH", port, 79)


def packed(client: str, tlvs: bytes = b"", port: int = 56324) -> bytes:
    """A header of version 2."""
    kind = TCP4 if ip_address(client).version == 4 else TCP6
    return binary(PROXY, kind, addresses(client, port) + tlvs)
