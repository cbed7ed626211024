"""systemd: status notifications (sd_notify(3)) and socket activation (sd_listen_fds(3))."""

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from fingerd.errors import StartError
from fingerd.server.listeners import InheritedSocket, ListenAddress, is_supported, systemd_names
from fingerd.server.server import FingerServer
from fingerd.settings import Settings
from fingerd.text import escape_controls

LISTEN_FDS_START = 3  # SD_LISTEN_FDS_START
STATUS_SECONDS = 30.0  # between two lines of STATUS=
SEND_SECONDS = 1.0  # for a notification, while the service manager does not read


class Notifier:
    """Sends notifications to the service manager; does nothing if there is none.

    Connects when constructed, since a chroot hides the manager's socket. Removes the variables from the environment, so
    that programs run by a backend cannot use them. Raises StartError (exit code 78) if it cannot connect to a unix
    socket; a socket of another kind, such as vsock, is a warning.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        interval = os.environ.pop("WATCHDOG_USEC", "")
        for_us = os.environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._socket: socket.socket | None = None
        self.warnings: tuple[str, ...] = ()
        if address and not address.startswith(("/", "@")):
            what = f"NOTIFY_SOCKET {address} is neither a path nor an abstract socket: no notifications are sent"
            self.warnings = (escape_controls(what),)
        elif address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(SEND_SECONDS)
            try:
                self._socket.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            except OSError as error:
                self._socket.close()
                what = f"cannot connect to NOTIFY_SOCKET {address}: {error.strerror}"
                raise StartError(what, os.EX_CONFIG) from error
        self.watchdog_seconds = int(interval) / 1e6 if self._socket and for_us and _is_number(interval) else 0.0

    def descriptors(self) -> tuple[int, ...]:
        """The descriptor that must stay open, if any."""
        return (self._socket.fileno(),) if self._socket else ()

    def send(self, state: str) -> None:
        """Send a state of sd_notify(3)."""
        if self._socket:
            with contextlib.suppress(OSError):  # a service manager that does not receive is no reason to stop
                self._socket.send(state.encode())

    def send_at_once(self, state: str) -> None:
        """Send a state, but not if that would wait."""
        if self._socket:
            queue = select.poll()
            queue.register(self._socket, select.POLLOUT)
            if queue.poll(0):
                self.send(state)

    def beat(self) -> None:
        """Send WATCHDOG=1, expected more often than every ``watchdog_seconds``; nothing if that would wait."""
        self.send_at_once("WATCHDOG=1")


class StatusLine:
    """What ``systemctl status`` shows of a server, every STATUS_SECONDS, by a timer of its loop.

    ``closed`` tells how many connections were closed so far.
    """

    def __init__(self, notifier: Notifier, server: FingerServer, closed: Callable[[], int]) -> None:
        self._notifier = notifier
        self._server = server
        self._closed = closed
        self._last = 0, time.monotonic()  # the connections that were closed, and when
        self._timer = server.loop.add_timer(self._send)
        self._timer.start(STATUS_SECONDS)

    def _send(self) -> None:
        """Send STATUS=, with the queries a second since the last one."""
        self._timer.start(STATUS_SECONDS)
        load, threads = self._server.load(), self._server.active.limits.threads
        (before, since), self._last = self._last, (self._closed(), time.monotonic())
        closed, now = self._last
        rate = (closed - before) / max(now - since, 1e-6)
        workers = f"{load.busy_workers} of {threads} workers"
        self._notifier.send_at_once(f"STATUS={load.connections} connections, {rate:.1f} queries/s, {workers}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def listen_fds() -> dict[str, list[socket.socket]]:
    """The listening sockets from systemd, by their names, in its order; without names, all have the empty one.

    StartError (exit code 78) if a descriptor is something else.
    """
    count = os.environ.pop("LISTEN_FDS", "")
    for_us = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if not for_us or not _is_number(count):
        return {}
    listeners: dict[str, list[socket.socket]] = {}
    for number in range(int(count)):
        descriptor = LISTEN_FDS_START + number
        try:
            listener = socket.socket(fileno=descriptor)
            listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            listening = 0
        if not listening or not is_supported(listener):
            raise StartError(f"descriptor {descriptor} of LISTEN_FDS is not a listening stream socket", os.EX_CONFIG)
        listener.set_inheritable(False)
        listener.setblocking(False)
        listeners.setdefault(names[number] if number < len(names) else "", []).append(listener)
    return listeners


def finger_sockets(
    settings: Settings, passed: Mapping[str, Sequence[socket.socket]]
) -> tuple[Sequence[ListenAddress], Mapping[str, Sequence[socket.socket]]]:
    """Where Finger listens, and the passed sockets for that, by name: all that no other section names.

    Those that ``listen`` does not name replace its addresses. StartError (exit code 78) if that cannot be meant.
    """
    named = set(systemd_names(settings.listen))
    listens = [section.listen for section in (settings.http, settings.plan) if section]
    others = {*systemd_names(chain(*listens))} - named  # the service of ``plan`` may have a socket of the same name
    sockets = {name: found for name, found in passed.items() if name not in others}
    rest = [name for name in sockets if name not in named]
    if not rest:
        return settings.listen, sockets
    kept = tuple(address for address in settings.listen if isinstance(address, InheritedSocket) and address.name)
    replaced = [address for address in settings.listen if address not in kept]
    if named and not replaced:
        raise StartError(f"listen does not name the socket {rest[0]}, which was passed", os.EX_CONFIG)
    if any(address.proxies for address in replaced):  # their clients would count as the balancer
        what = "sockets that were passed would replace an address with proxies: name them, {systemd: NAME, proxies: …}"
        raise StartError(f"listen: {what}", os.EX_CONFIG)
    all_others = [listener for name in rest for listener in sockets[name]]
    return (InheritedSocket("systemd"), *kept), {**sockets, "": all_others}
