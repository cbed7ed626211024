"""What the kernel is told and asked about sockets beside their data: time-outs, unsent bytes, the peer's user."""

import contextlib
import fcntl
import socket
import struct
import termios

_INT = struct.Struct("i")
_CREDENTIALS = struct.Struct("3i")  # ucred: process id, user id, group id
_NO_LINGER = struct.pack("ii", 1, 0)
_FIN_WAIT_SECONDS = 5  # that the kernel keeps a connection whose client does not close its side


def peer_uid(sock: socket.socket) -> int:
    """The user id of the process at the other end of a unix socket, as it was when it connected (unix(7))."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])


def unsent_bytes(descriptor: int) -> int:
    """How many bytes the kernel holds that the peer has not taken; a FIN counts as one (SIOCOUTQ, tcp(7), unix(7))."""
    try:
        return int(_INT.unpack(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(_INT.size)))[0])
    except OSError:
        return 0


def reset_when_closed(sock: socket.socket) -> None:
    """Have ``close`` discard what the kernel holds, and send a reset, instead of keeping it for the peer."""
    with contextlib.suppress(OSError):  # it is gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)


def limit_client_silence(listener: socket.socket, seconds: float) -> None:
    """Have the kernel give up clients of this listener that take nothing for so long, also those closed by then.

    Accepted sockets inherit the options from the listener (tcp(7)), so that they cost nothing for each.
    """
    if listener.family in (socket.AF_INET, socket.AF_INET6):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, min(round(seconds * 1000), 2**31 - 1))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, _FIN_WAIT_SECONDS)
