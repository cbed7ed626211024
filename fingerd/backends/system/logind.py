"""Who is logged in, as systemd-logind tells it over D-Bus, on hosts that keep no utmp; the only importer of jeepney.

The interface is org.freedesktop.login1(5). The files in /run/systemd/sessions
are quicker to read, but say of themselves that they are private.
"""

import itertools
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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

from fingerd.backends.system.utmp import Login, lives

BUS = "/run/dbus/system_bus_socket"
ANSWER_SECONDS = 2.0  # for all that is asked at one time; what was heard until then is not asked next time
MOST_RELATIVES = 32  # processes of a session that are looked at for its terminal

_NAME = "org.freedesktop.login1"
_MANAGER = DBusAddress("/org/freedesktop/login1", _NAME, f"{_NAME}.Manager")
_GRAPHICAL = ("x11", "wayland", "mir")


class LogindError(Exception):
    """It cannot be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class _Session:
    """A session: the login that it may be, what it is for, and the process that it began with."""

    login: Login
    class_: str
    leader: int

    @property
    def is_settled(self) -> bool:
        """Whether nothing of it changes any more, but for its end."""
        return self.class_ != "user-incomplete" and not self.login.graphical


class Logind:
    """A connection to the bus, made when it is needed. One thread at a time may use it."""

    def __init__(self, bus: str = BUS) -> None:
        self._bus = bus
        self._connection: _Bus | None = None
        self._settled: dict[object, _Session] = {}

    def read(self) -> Sequence[Login]:
        """Who is logged in; LogindError where that cannot be told."""
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            if self._connection is None:
                self._connection = _Bus(self._bus, deadline)
            return tuple(self._logins(self._connection, deadline))
        except (OSError, ValueError, LookupError, TypeError, DBusErrorResponse) as error:  # all that jeepney raises
            self._leave()
            raise LogindError(f"{type(error).__name__}: {error}") from error

    def _logins(self, bus: "_Bus", deadline: float) -> Iterator[Login]:
        (listed,) = bus.ask(new_method_call(_MANAGER, "ListSessions"), deadline)
        self._settled = {key: self._settled[key] for key in map(tuple, listed) if key in self._settled}
        for key in map(tuple, listed):
            session = self._settled.get(key)
            if session is None:
                session = _with_terminal(_read_session(bus, str(key[-1]), deadline))
            if session is None:
                continue
            if session.is_settled:
                self._settled[key] = session
            # One that is over may be listed as long as it has processes; managers and greeters are nobody's login.
            if session.class_.startswith("user") and session.class_ != "user-incomplete" and lives(session.leader):
                yield session.login

    def close(self) -> None:
        """Leave the bus."""
        self._settled = {}
        self._leave()

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Bus:
    """A connection to a message bus. jeepney's own would wait for its first word, and for more, without an end."""

    def __init__(self, path: str, deadline: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._parser = Parser()
        self._serials = itertools.count(1)
        try:
            self._wait_until(deadline)
            self._socket.connect(path)
            login = Authenticator()
            for words in login:
                self._socket.sendall(words)
                login.feed(self._hear(deadline))
            self._socket.sendall(BEGIN)
            self.ask(message_bus.Hello(), deadline)
        except BaseException:
            self.close()
            raise

    def ask(self, question: Any, deadline: float) -> Any:
        """The values of the answer; DBusErrorResponse for one that is an error, OSError where none comes in time."""
        serial = next(self._serials)
        self._wait_until(deadline)
        self._socket.sendall(question.serialise(serial))
        while True:
            while (said := self._parser.get_next_message()) is None:
                self._parser.add_data(self._hear(deadline))
            if said.header.fields.get(HeaderFields.reply_serial) == serial:
                break
        if said.header.message_type is MessageType.error:
            raise DBusErrorResponse(said)
        return said.body

    def _hear(self, deadline: float) -> bytes:
        self._wait_until(deadline)
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the bus has hung up")
        return data

    def _wait_until(self, deadline: float) -> None:
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))

    def close(self) -> None:
        """Leave it."""
        self._socket.close()


def _read_session(bus: _Bus, path: str, deadline: float) -> _Session | None:
    """One session; None where it has ended meanwhile."""
    try:
        (said,) = bus.ask(Properties(DBusAddress(path, _NAME, f"{_NAME}.Session")).get_all(), deadline)
    except DBusErrorResponse:
        return None
    values: Mapping[str, Any] = {name: value for name, (_, value) in said.items()}
    since, idle_since = values.get("Timestamp"), values.get("IdleSinceHint")
    graphical = values.get("Type") in _GRAPHICAL
    login = Login(
        user=str(values["Name"]),
        terminal=str((graphical and values.get("Display")) or values.get("TTY") or ""),
        host=str(values.get("RemoteHost") or ""),
        since=since / 1e6 if since else None,
        graphical=graphical,
        idle_since=idle_since / 1e6 if graphical and values.get("IdleHint") and idle_since else None,
    )
    return _Session(login, str(values.get("Class")), int(values.get("Leader") or 0))


def _with_terminal(session: _Session | None) -> _Session | None:
    """The session with its terminal; None for one that has none, and may get one.

    logind does not know the terminals of ssh: sshd asks for one after it has
    told of the session. So it is the first that a process of the session has.
    Where /proc shows no processes of others, it stays unknown.
    """
    if session is None or session.login.graphical or session.login.terminal not in ("", "ssh"):
        return session
    processes = [session.leader]
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        except OSError:
            if process == session.leader:
                return replace(session, login=replace(session.login, terminal=""))
            continue
        if terminal := _terminal_name(int(fields[4])):
            return replace(session, login=replace(session.login, terminal=terminal))
        processes += map(int, children[: max(MOST_RELATIVES - len(processes), 0)])
    return None


def _terminal_name(device: int) -> str:
    """The name of a terminal by the number in /proc/PID/stat, proc(5); empty for none, or an unknown kind.

    Linux' devices.txt: 136 to 143 are pseudo-terminals, 4 virtual consoles and serial lines.
    """
    major, minor = device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00
    if 136 <= major <= 143:
        return f"pts/{minor + (major - 136) * 256}"
    if major == 4 and minor:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return ""
