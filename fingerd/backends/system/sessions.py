"""Login sessions with their idle times, from utmp or else, as Debian 13 no longer keeps one, from systemd-logind.

Only systemd-logind knows the idle time of a desktop, so it is asked for it where utmp has one, too.
"""

import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fingerd.backends.system.facts import signature, warn_once
from fingerd.backends.system.logind import BUS, Logind, LogindError
from fingerd.backends.system.utmp import NAME_BYTES, UTMP, Login, is_console, read_utmp
from fingerd.people import Session
from fingerd.safe_files import RESOURCE_ERRNOS

CACHE_SECONDS = 1.0  # for which sessions are cached unless utmp changes; a killed process is noticed after that
RETRY_SECONDS = 10.0  # after a failure of systemd-logind: each attempt costs 2 seconds if the bus does not answer

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP  # mesg(1): programs of the group tty, such as write(1), may write to it


class Sessions:
    """The sessions of the host, by login; shared by all threads."""

    def __init__(self, utmp: str = UTMP, bus: str = BUS) -> None:
        self._utmp = utmp
        self._logind = Logind(bus)
        self._bus = bus
        self._bus_valid_from = 0.0  # it is not used before that, in time.monotonic() seconds
        self._lock = threading.Lock()
        self._signature: object = None  # of the utmp that was read
        self._valid_until = 0.0  # time.monotonic()
        self._by_login: Mapping[str, Sequence[Login]] | None = None
        self._is_truncated = True  # whether long logins are, as in utmp

    def for_login(self, login: str, now: float) -> tuple[Session, ...] | None:
        """The sessions of one user at ``now``, in ``time.time()`` seconds; None if the host keeps no sessions."""
        if (by_login := self._current()) is None:
            return None
        if login not in by_login and len(os.fsencode(login)) > NAME_BYTES and self._is_truncated:
            return None  # several logins may begin with the 32 bytes in utmp
        return tuple(_to_session(each, now) for each in by_login.get(login, ()))

    def logins(self) -> Sequence[str] | None:
        """All users with a session, each once; None if the host keeps no sessions. utmp has 32 bytes of a login."""
        by_login = self._current()
        return None if by_login is None else tuple(by_login)

    def close(self) -> None:
        """Disconnect from the bus."""
        with self._lock:
            self._logind.close()

    def _current(self) -> Mapping[str, Sequence[Login]] | None:
        utmp = signature(self._utmp)
        if self._is_fresh(utmp):
            return self._by_login
        with self._lock:
            if not self._is_fresh(utmp):
                found = self._read()
                by_login: dict[str, list[Login]] = {}
                for login in found or ():
                    by_login.setdefault(login.user, []).append(login)
                self._by_login = None if found is None else by_login
                self._signature = utmp
                self._valid_until = time.monotonic() + CACHE_SECONDS
            return self._by_login

    def _is_fresh(self, utmp: object) -> bool:
        return utmp == self._signature and time.monotonic() < self._valid_until

    def _read(self) -> Sequence[Login] | None:
        try:
            found = read_utmp(self._utmp)
        except OSError as error:
            if error.errno in RESOURCE_ERRNOS:
                raise
            warn_once("sessions of utmp", str(error))
            found = None
        self._is_truncated = found is not None
        if found is None:
            return self._read_logind()
        if not any(map(_may_be_desktop, found)):
            return found
        desktops = [login for login in self._read_logind() or () if login.graphical]
        return tuple(_with_idle_hint(login, desktops) if _may_be_desktop(login) else login for login in found)

    def _read_logind(self) -> Sequence[Login] | None:
        """The sessions of systemd-logind; None if there is none, it fails, or it failed a moment ago."""
        if time.monotonic() < self._bus_valid_from or not os.path.exists(self._bus):
            return None
        try:
            return self._logind.read()
        except LogindError as error:
            warn_once("sessions of systemd-logind", str(error))
            self._bus_valid_from = time.monotonic() + RETRY_SECONDS
            return None


def missing_sessions(root: Path) -> Iterator[str]:
    """A message if neither source exists below ``root``."""
    if not any(root.joinpath(path.lstrip("/")).exists() for path in (UTMP, BUS)):
        yield f"sessions and the user list are unavailable: there is neither {UTMP} nor systemd-logind at {BUS}"


def _may_be_desktop(login: Login) -> bool:
    """Whether it is a desktop, or on a console, where some display managers record no more than the terminal."""
    return login.graphical or is_console(login.terminal)


def _with_idle_hint(login: Login, desktops: Sequence[Login]) -> Login:
    """A login of utmp as systemd-logind knows it: idle since when, and graphical where only that can tell."""
    same = [each for each in desktops if each.user == login.user and each.names & login.names]
    if not same:
        return login
    hints = [each.idle_since for each in same if each.idle_since is not None]
    return replace(login, graphical=True, idle_since=max(hints) if len(hints) == len(same) else None)


def _to_session(login: Login, now: float) -> Session:
    """The session with the current state of its terminal, whose access time, as in finger(1), is the last input's."""
    messages, last_input = not login.graphical, login.idle_since
    if not login.graphical and login.terminal:
        with suppress(OSError):
            status = os.stat(os.path.join("/dev", login.terminal))
            if stat.S_ISCHR(status.st_mode):
                messages = status.st_mode & _WRITABLE == _WRITABLE
                last_input = status.st_atime if status.st_atime > 0 else None  # else no access has a time
    return Session(login.terminal, login.host, login.since, _idle(last_input, login.since, now), messages)


def _idle(last_input: float | None, since: float | None, now: float) -> float | None:
    """The seconds since the last input, but no more than the session has lasted, for the terminal may be older.

    None if the last input is unknown; 0 if it, or the login, is in the future, as after a clock was set back.
    """
    return None if last_input is None else max(now - max(last_input, since or last_input), 0.0)
