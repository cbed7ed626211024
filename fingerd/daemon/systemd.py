"""systemd: telling it how we are (sd_notify(3)), and taking the sockets that it passes (sd_listen_fds(3))."""

import contextlib
import os
import socket
import time

from fingerd.errors import StartError
from fingerd.server.listeners import is_supported

FIRST_PASSED = 3  # SD_LISTEN_FDS_START


class Notifier:
    """The way to the supervisor; where there is none, everything is told to nobody.

    Connected when made, while the supervisor's socket can still be seen: a
    jail hides it. What programs that we run could misuse is taken out of the
    environment.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        interval = os.environ.pop("WATCHDOG_USEC", "")
        meant = os.environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                self._socket.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            except OSError as error:
                self._socket.close()
                raise StartError(f"cannot reach NOTIFY_SOCKET {address}: {error.strerror}", os.EX_CONFIG) from error
        self.watchdog_seconds = int(interval) / 1e6 if self._socket and meant and interval.isdigit() else 0.0

    def descriptors(self) -> tuple[int, ...]:
        """What must stay open for it."""
        return (self._socket.fileno(),) if self._socket else ()

    def ready(self) -> None:
        """We serve: after the start, and after every reload, good or bad."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """We read the configuration again."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """We take no more clients."""
        self._tell("STOPPING=1")

    def watchdog(self) -> None:
        """The loop that serves turns; to be told more often than every ``watchdog_seconds``."""
        self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _tell(self, state: str) -> None:
        if self._socket:
            with contextlib.suppress(OSError):  # a supervisor that does not listen is no reason to stop
                self._socket.send(state.encode())


def listen_fds() -> list[socket.socket]:
    """The listening sockets that systemd passed to this process, in its order.

    StartError with exit code 78 where something else was passed.
    """
    count = os.environ.pop("LISTEN_FDS", "")
    meant = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    os.environ.pop("LISTEN_FDNAMES", None)
    if not meant or not count.isdigit():
        return []
    listeners = []
    for descriptor in range(FIRST_PASSED, FIRST_PASSED + int(count)):
        try:
            listener = socket.socket(fileno=descriptor)
            listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            listening = 0
        if not listening or not is_supported(listener):
            raise StartError(f"descriptor {descriptor} of LISTEN_FDS is no listening stream socket", os.EX_CONFIG)
        listener.set_inheritable(False)
        listener.setblocking(False)
        listeners.append(listener)
    return listeners
