"""Sessions: records of utmp, and systemd-logind behind a message bus of the test."""

import contextlib
import logging
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jeepney import HeaderFields, MessageType, Parser, new_error, new_method_return

from fingerd.backends.system import logind
from fingerd.backends.system.facts import warn_once
from fingerd.backends.system.sessions import Sessions, missing_sessions
from fingerd.backends.system.utmp import RECORD, USER_PROCESS, read_utmp
from fingerd.people import Session
from tests.helpers.daemons import wait_until

NOW = 1_700_000_000.0
PID = os.getpid()


def record(
    user: bytes = b"ann",
    line: bytes = b"pts/none",
    host: bytes = b"client",
    kind: int = USER_PROCESS,
    pid: int = PID,
    since: int = int(NOW) - 60,
) -> bytes:
    return RECORD.pack(kind, pid, line, user, host, since, 500_000)


BOOT = record(b"reboot", b"~", b"6.1", kind=2, pid=0)


@pytest.fixture(autouse=True)
def forget_warnings() -> None:
    warn_once.cache_clear()


@pytest.fixture
def utmp(tmp_path: Path) -> Path:
    return tmp_path / "utmp"


@pytest.fixture
def sessions(utmp: Path, tmp_path: Path) -> Iterator[Sessions]:
    sessions = Sessions(str(utmp), str(tmp_path / "bus"))
    yield sessions
    sessions.close()


def test_a_host_without_sources(utmp: Path, sessions: Sessions) -> None:
    assert sessions.for_login("ann", NOW) is None
    assert sessions.logins() is None
    utmp.touch()  # not in use: it would have a record of the boot
    assert sessions.for_login("ann", NOW) is None
    utmp.write_bytes(BOOT)
    assert sessions.for_login("ann", NOW) == ()
    assert sessions.logins() == ()


def test_records_of_utmp(utmp: Path, sessions: Sessions) -> None:
    others = [record(b"ghost", kind=kind) for kind in (0, 1, 2, 5, 6, 8, 9)]
    half = record(b"half")[:200]
    full = record(b"x" * 32, b"y" * 32, b"z" * 256)
    data = [BOOT, record(), record(b"", kind=7), record(b"bob", b":0", b":0"), *others, record(line=b"tty9", host=b"")]
    utmp.write_bytes(b"".join([*data, full, half]))
    assert sessions.logins() == ("ann", "bob", "x" * 32)
    since = NOW - 60 + 0.5
    assert sessions.for_login("bob", NOW) == (Session(":0", "", since, None, messages=False),)  # Debian's #53816
    assert [session.terminal for session in sessions.for_login("ann", NOW) or ()] == ["pts/none", "tty9"]
    assert sessions.for_login("x" * 32, NOW) == (Session("y" * 32, "z" * 256, since),)
    assert sessions.for_login("x" * 40, NOW) is None  # utmp truncates logins
    assert sessions.for_login("x" * 31, NOW) == ()
    assert sessions.for_login("ghost", NOW) == ()


def test_times_after_2038(utmp: Path) -> None:
    utmp.write_bytes(BOOT + RECORD.pack(7, PID, b"pts/0", b"ann", b"", 2_200_000_000, 0))
    assert [login.since for login in read_utmp(str(utmp)) or ()] == [2_200_000_000]


def test_a_session_whose_process_is_gone_is_ignored(utmp: Path, sessions: Sessions) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with subprocess.Popen(["sleep", "60"]) as lives:
        utmp.write_bytes(
            BOOT + record(b"gone", pid=gone.pid) + record(b"lives", pid=lives.pid) + record(b"init", pid=1)
        )
        assert sessions.logins() == ("lives", "init")
        lives.kill()
    wait_until(lambda: sessions.logins() == ("init",))


def test_idle_time_and_messages_of_a_real_terminal(utmp: Path, sessions: Sessions) -> None:
    master, slave = os.openpty()
    terminal = os.ttyname(slave)
    utmp.write_bytes(BOOT + record(line=terminal.removeprefix("/dev/").encode(), since=int(NOW) - 7200))
    modified = os.stat(slave).st_mtime
    for idle, mode in ((0.0, 0o620), (71 * 60, 0o600), (-100.0, 0o622)):
        os.utime(terminal, (NOW - idle, modified))
        os.fchmod(slave, mode)
        (session,) = sessions.for_login("ann", NOW) or ()
        assert session.idle == max(idle, 0)
        assert session.messages == (mode != 0o600)
    os.close(slave)
    os.close(master)
    (session,) = sessions.for_login("ann", NOW) or ()
    assert (session.idle, session.messages) == (None, True)


MINUTE, DAY, YEAR = 60, 86_400, 365 * 86_400
# When the login was and when the terminal was accessed, in seconds before now or None for 0; what is told.
ACCESS_TIMES = {
    "after the login": (50 * MINUTE, 10 * MINUTE, 10 * MINUTE),
    "with the login": (50 * MINUTE, 50 * MINUTE, 50 * MINUTE),
    "seconds before the login": (50 * MINUTE, 50 * MINUTE + 8, 50 * MINUTE),
    "a day before a login of 50 minutes ago": (50 * MINUTE, DAY, 50 * MINUTE),
    "54 years before the login": (10 * MINUTE, NOW - 1, 10 * MINUTE),
    "the epoch": (10 * MINUTE, None, None),
    "before the epoch": (10 * MINUTE, NOW + 86_400, None),
    "in the future": (10 * MINUTE, -5 * MINUTE, 0),
    "before a login in the future, as after a clock was set back": (-DAY, 2 * DAY, 0),
    "in the future, as is the login": (-2 * DAY, -DAY, 0),
    "over a year ago": (2 * YEAR, YEAR + DAY, YEAR + DAY),
    "before a login over a year ago": (2 * YEAR, 3 * YEAR, 2 * YEAR),
    "the epoch, and the login too": (None, None, None),
    "a day ago, and the login is unknown": (None, DAY, DAY),
}


@pytest.mark.parametrize(("login", "access", "idle"), ACCESS_TIMES.values(), ids=ACCESS_TIMES.keys())
def test_idle_is_never_longer_than_the_session_and_unknown_if_the_access_time_is(
    utmp: Path, sessions: Sessions, login: float | None, access: float | None, idle: float | None
) -> None:
    master, slave = os.openpty()
    try:
        terminal = os.ttyname(slave)
        since = 0 if login is None else int(NOW - login)
        utmp.write_bytes(BOOT + record(line=terminal.removeprefix("/dev/").encode(), since=since))
        os.utime(terminal, (0 if access is None else NOW - access, NOW))
        (session,) = sessions.for_login("ann", NOW) or ()
    finally:
        os.close(slave)
        os.close(master)
    assert (session.since is None) == (login is None)
    assert session.idle == (idle if idle is None else pytest.approx(idle, abs=0.6))  # the login has half a second


@pytest.mark.parametrize("line", [b"../etc/passwd", b"/etc/passwd", b"", b"null/x", b"shm"])
def test_a_line_that_is_not_a_terminal_has_no_idle_time(utmp: Path, sessions: Sessions, line: bytes) -> None:
    utmp.write_bytes(BOOT + record(line=line))
    (session,) = sessions.for_login("ann", NOW) or ()
    assert session.idle is None


def test_an_unreadable_utmp_is_ignored_and_logged(
    utmp: Path, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    utmp.mkdir()
    with caplog.at_level(logging.WARNING):
        assert sessions.for_login("ann", NOW) is None
        assert sessions.logins() is None
    assert [message.partition(":")[0] for message in caplog.messages] == ["sessions of utmp unavailable"]


class Bus:
    """A system bus with a logind that has the given sessions."""

    def __init__(self, path: Path) -> None:
        self.sessions: dict[str, Mapping[str, Any]] = {}
        self.calls: list[str] = []
        self.silent = self.broken = False
        self.delay = 0.0  # seconds before each reply
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            client.recv(1)
            client.recv(4096)
            client.sendall(b"OK 1234deadbeef\r\n")
            data = client.recv(4096).partition(b"BEGIN\r\n")[2]
            parser = Parser()
            serial = 0
            while True:
                parser.add_data(data)
                while (call := parser.get_next_message()) is not None:
                    serial += 1
                    time.sleep(self.delay)
                    if not self.silent:
                        client.sendall(self._reply(call).serialise(serial))
                data = client.recv(4096)
                if not data:
                    return
        except OSError:
            return

    def _reply(self, call: Any) -> Any:
        assert call.header.message_type is MessageType.method_call
        member = call.header.fields[HeaderFields.member]
        path = call.header.fields[HeaderFields.path]
        self.calls.append(member)
        if member == "Hello":
            return new_method_return(call, "s", (":1.7",))
        if self.broken:
            return new_error(call, "org.freedesktop.DBus.Error.ServiceUnknown", "s", ("no such service",))
        if member == "ListSessions":
            listed = [(path[1:], 1000, values["Name"][1], "", path) for path, values in self.sessions.items()]
            return new_method_return(call, "a(susso)", (listed,))
        if path not in self.sessions:
            return new_error(call, "org.freedesktop.DBus.Error.UnknownObject", "s", ("gone",))
        return new_method_return(call, "a{sv}", (dict(self.sessions[path]),))

    def close(self) -> None:
        self._listener.close()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    bus = Bus(tmp_path / "bus")
    yield bus
    bus.close()


def properties(name: str, leader: int = PID, **overrides: Any) -> dict[str, Any]:
    """The properties of a session of logind, some of them overridden."""
    values: dict[str, Any] = {
        "Name": ("s", name),
        "Timestamp": ("t", int(NOW - 60) * 1_000_000),
        "TTY": ("s", ""),
        "Display": ("s", ""),
        "RemoteHost": ("s", "client"),
        "Class": ("s", "user"),
        "Type": ("s", "tty"),
        "Leader": ("u", leader),
        "IdleHint": ("b", False),
        "IdleSinceHint": ("t", 0),
        "Seat": ("(so)", ("", "/")),
        "User": ("(uo)", (1000, "/org/freedesktop/login1/user/_1000")),
    }
    return values | {key: (values[key][0], value) for key, value in overrides.items()}


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """The pid of a process whose child has a terminal, as sshd and a shell, and the name of that terminal."""
    code = (
        "import os, pty, sys, time\n"
        "pid, master = pty.fork()\n"
        "if pid == 0: print(os.ttyname(0), flush=True); time.sleep(60)\n"
        "sys.stdout.write(os.read(master, 100).decode().strip() + '\\n'); sys.stdout.flush(); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout
        yield leader.pid, leader.stdout.readline().strip().removeprefix("/dev/")
        leader.kill()


def test_sessions_of_logind(sessions: Sessions, bus: Bus, terminal: tuple[int, str]) -> None:
    leader, name = terminal
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)  # neither it nor its children have a terminal
    bus.sessions = {
        "/ssh": properties("ann", leader),
        "/console": properties("bob", TTY="tty5"),
        "/sftp": properties("eve", sleeper.pid),
        "/manager": properties("ann", Class="manager", TTY="tty5"),
        "/greeter": properties("gdm", Class="greeter", TTY="tty5"),
        "/lock": properties("gdm", Class="lock-screen", TTY="tty5"),
        "/almost": properties("zoe", Class="user-incomplete", TTY="tty5"),
        "/early": properties("root", Class="user-early", TTY="tty6"),
        "/x11": properties("joe", Type="x11", TTY="tty7", Display=":0", RemoteHost=""),
        "/wayland": properties(
            "joe", Type="wayland", TTY="tty8", IdleHint=True, IdleSinceHint=int(NOW - 40) * 1_000_000
        ),
    }
    since = NOW - 60
    assert sorted(sessions.logins() or ()) == ["ann", "bob", "joe", "root"]
    (ssh,) = sessions.for_login("ann", NOW) or ()
    assert (ssh.terminal, ssh.host, ssh.since) == (name, "client", since)
    assert ssh.idle is not None
    assert sessions.for_login("joe", NOW) == (
        Session(":0", "", since, None, messages=False),
        Session("tty8", "client", since, 40, messages=False),
    )
    sleeper.kill()
    sleeper.wait()


def test_logind_is_read_once_a_second_and_each_final_session_once(sessions: Sessions, bus: Bus) -> None:
    bus.sessions = {"/1": properties("ann", TTY="tty5"), "/2": properties("bob", Type="wayland", TTY="tty6")}
    for _ in range(100):
        assert sorted(sessions.logins() or ()) == ["ann", "bob"]
    assert bus.calls == ["Hello", "ListSessions", "GetAll", "GetAll"]
    del bus.sessions["/1"]
    wait_until(lambda: sessions.logins() == ("bob",))
    assert bus.calls == ["Hello", "ListSessions", "GetAll", "GetAll", "ListSessions", "GetAll"]


def test_a_session_whose_leader_is_gone_is_ignored(sessions: Sessions, bus: Bus) -> None:
    with subprocess.Popen(["sleep", "60"]) as leader:
        bus.sessions = {"/1": properties("ann", leader.pid, TTY="tty5")}
        assert sessions.logins() == ("ann",)
        leader.kill()
    wait_until(lambda: sessions.logins() == ())


def test_the_terminal_is_unknown_if_proc_hides_processes_of_others(sessions: Sessions, bus: Bus) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert logind._find_terminal(gone.pid) == ""


@pytest.mark.parametrize(
    ("device", "name"),
    [
        (0, ""),
        (136 << 8, "pts/0"),
        (136 << 8 | 255, "pts/255"),
        (1 << 20 | 136 << 8 | 1, "pts/257"),
        (137 << 8 | 1, "pts/257"),
        (4 << 8, ""),
        (4 << 8 | 7, "tty7"),
        (4 << 8 | 64, "ttyS0"),
        (5 << 8, ""),
    ],
)
def test_terminal_names_by_device_number(device: int, name: str) -> None:
    assert logind._terminal_name(device) == name


def test_a_failing_bus_is_logged_and_retried(
    sessions: Sessions, bus: Bus, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fingerd.backends.system.sessions.RETRY_SECONDS", 0.5)
    bus.broken = True
    bus.sessions = {"/1": properties("ann", TTY="tty5")}
    with caplog.at_level(logging.WARNING):
        assert sessions.logins() is None
        assert sessions.for_login("ann", NOW) is None
    (message,) = caplog.messages
    assert message.startswith("sessions of systemd-logind unavailable: DBusErrorResponse: ")
    bus.broken = False
    wait_until(lambda: sessions.logins() == ("ann",))
    for client in bus._clients:  # as when the bus restarts
        client.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: sessions.logins() is None)
    wait_until(lambda: sessions.logins() == ("ann",))


def test_a_session_that_ends_while_it_is_read_is_ignored(sessions: Sessions, bus: Bus) -> None:
    class Vanishing(dict[str, Any]):
        def __contains__(self, key: object) -> bool:
            return False

    bus.sessions = Vanishing({"/1": properties("ann", TTY="tty5")})
    assert sessions.logins() == ()


@pytest.mark.parametrize("connects", [True, False])
def test_a_silent_bus_delays_one_lookup_by_two_seconds_and_is_not_retried_at_once(
    sessions: Sessions, bus: Bus, connects: bool
) -> None:
    bus.sessions = {"/1": properties("ann", TTY="tty5")}
    if connects:
        assert sessions.logins() == ("ann",)
    bus.silent = True
    start = time.monotonic()
    wait_until(lambda: sessions.logins() is None)
    assert 1.5 < time.monotonic() - start < 5
    start = time.monotonic()
    for _ in range(100):
        assert sessions.logins() is None
    assert time.monotonic() - start < 1


def test_a_slow_bus_is_read_completely_by_several_attempts(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.sessions = {f"/{number}": properties(f"user{number}", TTY=f"tty{number}") for number in range(12)}
    monkeypatch.setattr(logind, "READ_SECONDS", 0.5)
    bus.delay = 0.1
    reader = logind.Logind(str(tmp_path / "bus"))
    failures = 0
    while True:
        try:
            found = reader.read()
            break
        except logind.LogindError:  # an incomplete list would show the others as not logged in
            failures += 1
    reader.close()
    assert len(found) == 12
    assert failures > 0
    assert bus.calls.count("GetAll") < 12 + 2 * failures


# The line and the host of utmp; whether the terminal is a desktop's, and the host that is told.
RECORDED = {
    "X11 by SDDM or LightDM": (b"tty7", b":0", True, ""),
    "X11 by GDM": (b":1", b":1", True, ""),
    "Wayland by GDM": (b"tty2", b"tty2", True, ""),
    "the seat, by GDM": (b"seat0", b"login screen", True, ""),
    "a screen of a display": (b"tty8", b":0.0", True, ""),
    "a remote display": (b"client:0", b"client", True, "client"),
    "xrdp": (b":10", b"192.0.2.7", True, "192.0.2.7"),
    "a console": (b"tty3", b"", False, ""),
    "a terminal emulator": (b"pts/98", b":0", False, ""),
    "screen in a terminal emulator": (b"pts/98", b":0:S.0", False, ""),
    "ssh over IPv6": (b"pts/98", b"::1", False, "::1"),
    "ssh over IPv6 of IPv4": (b"pts/98", b"::ffff:192.0.2.7", False, "::ffff:192.0.2.7"),
    "tmux": (b"pts/98", b"tmux(7).%0", False, "tmux(7).%0"),
    "a serial line": (b"ttyS0", b"", False, ""),
}


@pytest.mark.parametrize(("line", "origin", "graphical", "host"), RECORDED.values(), ids=RECORDED.keys())
def test_a_desktop_is_recognized_and_no_display_is_a_host(
    utmp: Path, line: bytes, origin: bytes, graphical: bool, host: str
) -> None:
    utmp.write_bytes(BOOT + record(line=line, host=origin))
    (login,) = read_utmp(str(utmp)) or ()
    assert (login.terminal, login.graphical, login.host) == (line.decode(), graphical, host)


@pytest.fixture
def consoles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terminals tty2, tty7 and pts/98 that were last accessed when ``ann`` logged in, three days ago."""

    def status(path: str, **options: Any) -> os.stat_result:
        if path not in ("/dev/tty2", "/dev/tty7", "/dev/pts/98"):
            return real(path, **options)
        fields = list(real("/dev/null"))
        fields[stat.ST_ATIME] = int(NOW - 3 * DAY)
        return os.stat_result(fields)

    real = os.stat
    monkeypatch.setattr(os, "stat", status)


@pytest.mark.usefixtures("consoles")
@pytest.mark.parametrize("name", ["X11 by SDDM or LightDM", "X11 by GDM", "Wayland by GDM", "the seat, by GDM"])
def test_a_desktop_without_logind_has_no_idle_time(utmp: Path, sessions: Sessions, name: str) -> None:
    line, origin, *_ = RECORDED[name]
    utmp.write_bytes(BOOT + record(line=line, host=origin, since=int(NOW - 3 * DAY)))
    (session,) = sessions.for_login("ann", NOW) or ()
    assert session == Session(line.decode(), "", NOW - 3 * DAY + 0.5, None, messages=False)


DESKTOP = {"Type": "wayland", "TTY": "tty2", "Seat": ("seat0", "/seat0"), "RemoteHost": ""}
HINT = {"IdleHint": True, "IdleSinceHint": int(NOW - 600) * 1_000_000}
# The records of utmp, the sessions of logind, and the idle time of each terminal.
DESKTOPS: dict[str, tuple[tuple[tuple[bytes, bytes], ...], tuple[dict[str, Any], ...], dict[str, float | None]]] = {
    "X11, idle": (((b"tty7", b":0"),), (DESKTOP | HINT | {"Type": "x11", "TTY": "tty7"},), {"tty7": 600}),
    "X11 by its display": (((b":0", b":0"),), (DESKTOP | HINT | {"TTY": "", "Display": ":0"},), {":0": 600}),
    "Wayland, idle": (((b"tty2", b"tty2"),), (DESKTOP | HINT,), {"tty2": 600}),
    "Wayland, by a device": (((b"tty2", b"tty2"),), (DESKTOP | HINT | {"TTY": "/dev/tty2"},), {"tty2": 600}),
    "Wayland on a console as recorded": (((b"tty2", b""),), (DESKTOP | HINT,), {"tty2": 600}),
    "in use": (((b"tty2", b"tty2"),), (DESKTOP,), {"tty2": None}),
    "in use, on a console as recorded": (((b"tty2", b""),), (DESKTOP,), {"tty2": None}),
    "the seat and the console": (
        ((b"seat0", b"login screen"), (b"tty2", b"tty2")),
        (DESKTOP | HINT,),
        {"seat0": 600, "tty2": 600},
    ),
    "a seat with two desktops, one in use": (
        ((b"seat0", b"login screen"), (b"tty2", b"tty2")),
        (DESKTOP | HINT, DESKTOP | {"TTY": "tty7"}),
        {"seat0": None, "tty2": 600},
    ),
    "a seat with two desktops": (
        ((b"seat0", b"login screen"),),
        (DESKTOP | HINT, DESKTOP | HINT | {"TTY": "tty7", "IdleSinceHint": int(NOW - 60) * 1_000_000}),
        {"seat0": 60},
    ),
    "the desktop of another user": (((b"tty2", b"tty2"),), (DESKTOP | HINT | {"Name": "bob"},), {"tty2": None}),
    "another desktop": (((b"tty7", b":0"),), (DESKTOP | HINT,), {"tty7": None}),
    "a hint that is older than the login": (
        ((b"tty2", b"tty2"),),
        (DESKTOP | HINT | {"IdleSinceHint": 1_000_000},),
        {"tty2": 3 * DAY},
    ),
    "a text console": (((b"tty2", b""),), (DESKTOP | HINT | {"Type": "tty"},), {"tty2": 3 * DAY}),
    "a terminal emulator on the desktop": (
        ((b"tty7", b":0"), (b"pts/98", b":0")),
        (DESKTOP | HINT | {"TTY": "tty7", "Display": ":0"},),
        {"tty7": 600, "pts/98": 3 * DAY},
    ),
}


@pytest.mark.usefixtures("consoles")
@pytest.mark.parametrize(("records", "known", "idle"), DESKTOPS.values(), ids=DESKTOPS.keys())
def test_the_idle_time_of_a_desktop_in_utmp_is_the_hint_of_logind(
    utmp: Path,
    sessions: Sessions,
    bus: Bus,
    records: tuple[tuple[bytes, bytes], ...],
    known: tuple[dict[str, Any], ...],
    idle: dict[str, float | None],
) -> None:
    since = int(NOW - 3 * DAY)
    utmp.write_bytes(BOOT + b"".join(record(line=line, host=host, since=since) for line, host in records))
    bus.sessions = {f"/{number}": properties(**{"name": "ann"} | each) for number, each in enumerate(known)}
    told = {session.terminal: session.idle for session in sessions.for_login("ann", NOW) or ()}
    assert told == {name: each if each is None else pytest.approx(each, abs=0.6) for name, each in idle.items()}
    assert not any(session.host for session in sessions.for_login("ann", NOW) or ())


def test_a_failing_bus_costs_sessions_of_utmp_their_idle_times_only(
    utmp: Path, sessions: Sessions, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    bus.broken = True
    utmp.write_bytes(BOOT + record(line=b"tty2", host=b"tty2") + record(user=b"bob"))
    with caplog.at_level(logging.WARNING):
        assert [session.idle for session in sessions.for_login("ann", NOW) or ()] == [None]
        assert sessions.logins() == ("ann", "bob")
        calls = len(bus.calls)
        utmp.write_bytes(BOOT + record(line=b"tty2", host=b"tty2"))  # read at once
        assert sessions.logins() == ("ann",)
    assert len(bus.calls) == calls > 0
    assert [message.partition(":")[0] for message in caplog.messages] == ["sessions of systemd-logind unavailable"]


def test_logind_is_not_asked_if_nobody_is_at_a_console(utmp: Path, sessions: Sessions, bus: Bus) -> None:
    bus.sessions = {"/1": properties("ann", Type="wayland", TTY="tty2")}
    utmp.write_bytes(BOOT + record() + record(line=b"pts/98", host=b":0") + record(line=b"ttyS0", host=b""))
    assert sessions.logins() == ("ann",)
    assert bus.calls == []


def test_utmp_takes_precedence(utmp: Path, sessions: Sessions, bus: Bus) -> None:
    bus.sessions = {"/1": properties("ann", TTY="tty5")}
    utmp.write_bytes(BOOT)
    assert sessions.logins() == ()
    assert bus.calls == []


def test_a_missing_requirement_is_reported_if_no_source_exists(tmp_path: Path) -> None:
    (message,) = missing_sessions(tmp_path)
    assert message.startswith(
        "sessions and the user list are unavailable: there is neither /run/utmp nor systemd-logind"
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run/utmp").touch()
    assert list(missing_sessions(tmp_path)) == []


def test_records_have_the_size_of_the_c_library() -> None:
    assert RECORD.size in (384, 400)
    assert RECORD.size == 384 or struct.calcsize("l") == 8
