"""Ports for programs that cannot choose a free one themselves, and ports on which nothing listens.

A port that the kernel chose and that was closed again may be anybody's a moment later: all tests and their clients
get theirs from the same range, and a client that connects to its own port is even connected to itself. So these are
outside that range, and no other process of tests gets the same.
"""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

_FIRST, _END = 10_000, 65_536
_BLOCK = 50


def free_port() -> int:
    """A port on which nothing listens, at any address; each call returns another one."""
    return next(port for port in _ports if is_free(port))


def _free_ports() -> Iterator[int]:
    """The ports of the blocks that no other process has; a block is kept until this process ends."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for start in range(_FIRST, _END, _BLOCK):
        block = range(start, min(start + _BLOCK, _END))
        if block[-1] < low or block[0] > high:
            kept = socket.socket(socket.AF_UNIX)
            try:
                kept.bind(f"\0ports {start} of tests")
            except OSError as error:
                kept.close()
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                kept.detach()  # the descriptor stays open until this process ends
                yield from block
    raise AssertionError(f"no free port outside {low} to {high}")


def is_free(port: int) -> bool:
    """Whether no socket of this machine, at whatever address, has this port."""
    family, host = (socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "")
    with socket.socket(family) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


_ports = _free_ports()
