"""Login sessions from systemd-logind over D-Bus, with the idle times of desktops; the only importer of jeepney.

The interface is org.freedesktop.login1(5). The files in /run/systemd/sessions are private, as their headers declare.
"""

import itertools
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeepney import (
    DBusAddress,
    DBusErrorResponse,
    HeaderFields,
    MessageType,
    Parser,
    Properties,
    message_bus,
    new_method_call,
)
from jeepney.auth import BEGIN, Authenticator

from fingerd.backends.system.utmp import Login, is_alive, remote_host
from fingerd.net.stream import CHUNK_BYTES, DeadlineSocket, connect

BUS = "/run/dbus/system_bus_socket"
READ_SECONDS = 2.0  # for one reading of all sessions; the next one continues after a timeout
MAX_PROCESSES = 32  # of a session that are searched for its terminal

_NAME = "org.freedesktop.login1"
_MANAGER = DBusAddress("/org/freedesktop/login1", _NAME, f"{_NAME}.Manager")
_GRAPHICAL = ("x11", "wayland", "mir")


class LogindError(Exception):
    """The sessions cannot be read; the text is the reason."""


@dataclass(frozen=True, slots=True)
class _Session:
    """A session of logind: as a login, with its class, and the pid of its leader, the first process."""

    login: Login
    class_: str
    leader: int


class Logind:
    """Reads the sessions over a connection to the bus, made on demand. Not thread-safe."""

    def __init__(self, bus: str = BUS) -> None:
        self._bus = bus
        self._connection: _Bus | None = None
        self._final: dict[object, _Session] = {}  # those that do not change until they end

    def read(self) -> Sequence[Login]:
        """All login sessions; raises LogindError if they cannot be read."""
        deadline = time.monotonic() + READ_SECONDS
        try:
            if self._connection is None:
                self._connection = _Bus(self._bus, deadline)
            return tuple(self._read_logins(self._connection, deadline))
        except (OSError, ValueError, LookupError, TypeError, DBusErrorResponse) as error:  # all that jeepney raises
            self._disconnect()
            raise LogindError(f"{type(error).__name__}: {error}") from error
        except BaseException:  # MemoryError: a message may be half sent, or half read
            self._disconnect()
            raise

    def _read_logins(self, bus: "_Bus", deadline: float) -> Iterator[Login]:
        (listed,) = bus.call(new_method_call(_MANAGER, "ListSessions"), deadline)
        self._final = {key: self._final[key] for key in map(tuple, listed) if key in self._final}
        for key in map(tuple, listed):
            session = self._final.get(key)
            if session is None:
                session = _read_session(bus, str(key[-1]), deadline)
            if session is None:
                continue
            is_complete = session.class_ != "user-incomplete"
            if is_complete and not session.login.graphical:
                self._final[key] = session
            # An ended session is listed while it has processes. The classes manager and greeter are not logins.
            if is_complete and session.class_.startswith("user") and is_alive(session.leader):
                yield session.login

    def close(self) -> None:
        """Disconnect from the bus."""
        self._final = {}
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Bus:
    """A connection to a message bus. jeepney's own has no timeout for its first replies."""

    def __init__(self, path: str, deadline: float) -> None:
        self._stream = DeadlineSocket(connect([(socket.AF_UNIX, path)], deadline), deadline)
        self._parser = Parser()
        self._serials = itertools.count(1)
        try:
            authenticator = Authenticator()
            for request in authenticator:
                self._stream.sendall(request)
                authenticator.feed(self._receive())
            self._stream.sendall(BEGIN)
            self.call(message_bus.Hello(), deadline)
        except BaseException:
            self.close()
            raise

    def call(self, message: Any, deadline: float) -> Any:
        """The values of the reply; raises DBusErrorResponse for an error reply, OSError if none comes in time."""
        serial = next(self._serials)
        self._stream.start_answer(deadline)
        self._stream.sendall(message.serialise(serial))
        while True:
            while (reply := self._parser.get_next_message()) is None:
                self._parser.add_data(self._receive())
            if reply.header.fields.get(HeaderFields.reply_serial) == serial:
                break
        if reply.header.message_type is MessageType.error:
            raise DBusErrorResponse(reply)
        return reply.body

    def _receive(self) -> bytes:
        if not (data := self._stream.recv(CHUNK_BYTES)):
            raise ConnectionResetError("the bus closed the connection")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()


def _read_session(bus: _Bus, path: str, deadline: float) -> _Session | None:
    """One session; None if it has ended meanwhile, or has no terminal yet."""
    try:
        (properties,) = bus.call(Properties(DBusAddress(path, _NAME, f"{_NAME}.Session")).get_all(), deadline)
    except DBusErrorResponse:
        return None
    values: Mapping[str, Any] = {name: value for name, (_, value) in properties.items()}
    since, idle_since = values.get("Timestamp"), values.get("IdleSinceHint")
    graphical, leader = values.get("Type") in _GRAPHICAL, int(values.get("Leader") or 0)
    console, display = str(values.get("TTY") or "").removeprefix("/dev/"), str(values.get("Display") or "")
    terminal: str | None = (graphical and display) or console
    if not graphical and terminal in ("", "ssh"):  # logind does not know terminals of ssh, which sshd opens later
        terminal = _find_terminal(leader)
    if terminal is None:
        return None
    login = Login(
        user=str(values["Name"]),
        terminal=terminal,
        host=remote_host(terminal, str(values.get("RemoteHost") or "")),
        since=since / 1e6 if since else None,
        graphical=graphical,
        idle_since=idle_since / 1e6 if graphical and values.get("IdleHint") and idle_since else None,
        names=frozenset(filter(None, (console, display, _seat(values)))),
    )
    return _Session(login, str(values.get("Class")), leader)


def _seat(values: Mapping[str, Any]) -> str:
    """The name of the seat, in a pair with its object path; "" for a session without one."""
    seat = values.get("Seat")
    return str(seat[0]) if seat else ""


def _find_terminal(leader: int) -> str | None:
    """The first terminal of the leader and its descendants, "" if /proc hides them; None if they have none yet."""
    processes = [leader]
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        except OSError:
            if process == leader:
                return ""
            continue
        if terminal := _terminal_name(int(fields[4])):
            return terminal
        processes += map(int, children[: max(MAX_PROCESSES - len(processes), 0)])
    return None


def _terminal_name(device: int) -> str:
    """The name of a terminal by its device number in /proc/PID/stat, proc(5); "" for 0 or an unknown major."""
    major, minor = device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00
    if 136 <= major <= 143:  # Linux' devices.txt: pseudo-terminals; 4 are virtual consoles and serial lines
        return f"pts/{minor + (major - 136) * 256}"
    if major == 4 and minor:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return ""
