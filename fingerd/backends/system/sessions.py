"""Who is logged in, where, and for how long nothing was typed: from utmp, or else from systemd-logind.

Debian 13 keeps no utmp any more. What either says is read again when the
file has changed, and once a second otherwise; a terminal is looked at for
every answer.
"""

import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fingerd.backends.system.facts import leave_out, signature
from fingerd.backends.system.logind import BUS, Logind, LogindError
from fingerd.backends.system.utmp import NAME_BYTES, UTMP, Login, read_utmp
from fingerd.people import Session
from fingerd.safe_files import RESOURCE_ERRNOS

AGE_SECONDS = 1.0  # after which all is read again, so that who died without a record is seen
RETRY_SECONDS = 10.0  # after which it is tried again where nobody could tell: a bus that is stuck costs 2 seconds each

_TALKABLE = stat.S_IWUSR | stat.S_IWGRP  # mesg(1): programs of the group tty, as write(1), may write to it


class Sessions:
    """Who is logged in now, by logins; shared by all threads."""

    def __init__(self, utmp: str = UTMP, bus: str = BUS) -> None:
        self._utmp = utmp
        self._logind = Logind(bus)
        self._bus = bus
        self._lock = threading.Lock()
        self._read: object = None  # the signature of what was read
        self._until = 0.0  # how long that holds; time.monotonic()
        self._by_login: Mapping[str, Sequence[Login]] | None = None
        self._are_whole = False  # the logins, which utmp cuts

    def of(self, login: str, now: float) -> tuple[Session, ...] | None:
        """The sessions of one user; None where nobody knows who is logged in."""
        by_login = self._now()
        if by_login is None:
            return None
        if login not in by_login and len(os.fsencode(login)) > NAME_BYTES and not self._are_whole:
            return None  # what utmp has of the login may be somebody else's just as well
        found = by_login.get(login)
        return tuple(_told(each, now) for each in found) if found else ()

    def logins(self) -> Sequence[str] | None:
        """Who is logged in, each once; None where nobody knows. utmp has 32 bytes of a longer login."""
        by_login = self._now()
        return None if by_login is None else tuple(by_login)

    def close(self) -> None:
        """Leave the bus."""
        with self._lock:
            self._logind.close()

    def _now(self) -> Mapping[str, Sequence[Login]] | None:
        utmp = signature(self._utmp)
        if self._is_fresh(utmp):
            return self._by_login
        with self._lock:
            if not self._is_fresh(utmp):
                found = self._logins()
                self._by_login = None if found is None else _grouped(found)
                self._read = utmp
                self._until = time.monotonic() + (RETRY_SECONDS if found is None else AGE_SECONDS)
            return self._by_login

    def _is_fresh(self, utmp: object) -> bool:
        return utmp == self._read and time.monotonic() < self._until

    def _logins(self) -> Sequence[Login] | None:
        try:
            found = read_utmp(self._utmp)
        except OSError as error:
            if error.errno in RESOURCE_ERRNOS:
                raise
            leave_out("sessions of utmp", str(error))
            found = None
        self._are_whole = found is None
        if found is not None or not os.path.exists(self._bus):
            return found
        try:
            return self._logind.read()
        except LogindError as error:
            leave_out("sessions of systemd-logind", str(error))
            return None


def missing_sessions(root: Path) -> Iterator[str]:
    """A complaint where nobody knows below ``root`` who is logged in."""
    if not any(root.joinpath(path.lstrip("/")).exists() for path in (UTMP, BUS)):
        yield f"no sessions are told, and no list: there is neither {UTMP} nor systemd-logind at {BUS}"


def _grouped(logins: Sequence[Login]) -> Mapping[str, Sequence[Login]]:
    by_login: dict[str, list[Login]] = {}
    for login in logins:
        by_login.setdefault(login.user, []).append(login)
    return by_login


def _told(login: Login, now: float) -> Session:
    """The session, with what its terminal says now.

    As finger(1) does it: the terminal's time of access is when something was
    typed last, and who wants no messages takes the right to write to it away.
    """
    messages, idle_since = not login.graphical, login.idle_since
    if not login.graphical and login.terminal:
        try:
            status = os.stat(os.path.join("/dev", login.terminal))
        except OSError:
            status = None
        if status is not None and stat.S_ISCHR(status.st_mode):
            messages, idle_since = status.st_mode & _TALKABLE == _TALKABLE, status.st_atime
    idle = None if idle_since is None else max(now - idle_since, 0.0)
    return Session(login.terminal, login.host, login.since, idle, messages)
