"""Login sessions as login(1), sshd and terminal emulators record them in utmp(5).

psutil is not used: up to version 5 (Debian 12) it rounds login times to two minutes. All versions append the host to a
login of 32 characters, and cannot tell a host without sessions from one that keeps no utmp.
"""

import errno
import os
import platform
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fingerd.text import read_text

UTMP = "/run/utmp"
USER_PROCESS = 7
NAME_BYTES = 32  # of a login; longer ones are truncated
MAX_BYTES = 16 << 20  # of the file that are read; some 40,000 records

# bits/utmp.h: times have 32 bits if a 32-bit ABI of the processor shares the file: on x86, PowerPC, s390x, RISC-V and
# all 32-bit processors.
TIMES_OF_64_BITS = platform.machine() in ("aarch64", "alpha", "ia64", "loongarch64") and struct.calcsize("P") == 8
# ut_type, ut_pid, ut_line, ut_id, ut_user, ut_host, ut_exit; ut_session, ut_tv; ut_addr_v6. Times are unsigned
# here, so 32 bits suffice until 2106.
RECORD = struct.Struct("=hxxi32s4x32s256s4x" + ("8xqq16x24x" if TIMES_OF_64_BITS else "4xIi16x20x"))

_CONSOLE = re.compile("tty[0-9]+")
_SEAT = re.compile("seat[0-9]+")  # from "login screen", as GDM records it beside the console
_DISPLAY = re.compile(":(?!:)")  # of this host, such as :0, :0.0 and screen's :0:S.0; an IPv6 address may begin with ::


@dataclass(frozen=True, slots=True)
class Login:
    """A login session. If it is ``graphical``, its ``idle_since`` counts, as the terminal has no input.

    ``names`` are those of its terminal, display and seat, as far as the source
    has them: another source may know the same session by another of them.
    """

    user: str
    terminal: str
    host: str
    since: float | None
    graphical: bool = False
    idle_since: float | None = None
    names: frozenset[str] = frozenset()


def read_utmp(path: str) -> Sequence[Login] | None:
    """All sessions; None if the host keeps no utmp. Raises OSError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES)
    except FileNotFoundError:
        return None
    return tuple(_logins(data)) if len(data) >= RECORD.size else None  # in use it has a record of the boot


def _logins(data: bytes) -> Iterator[Login]:
    whole = len(data) // RECORD.size * RECORD.size
    for kind, pid, line, user, host, seconds, microseconds in RECORD.iter_unpack(data[:whole]):
        if kind == USER_PROCESS and user[:1] != b"\0" and is_alive(pid):
            terminal, origin = field_text(line), field_text(host)
            since = seconds + microseconds / 1e6 if seconds else None
            names = frozenset(filter(None, (terminal, origin)))
            graphical = _is_graphical(terminal, origin)
            yield Login(field_text(user), terminal, remote_host(terminal, origin), since, graphical, names=names)


def is_console(terminal: str) -> bool:
    """Whether it is a virtual console, on which a desktop may run."""
    return bool(_CONSOLE.fullmatch(terminal))


def _is_graphical(terminal: str, host: str) -> bool:
    """Whether it is a desktop, as display managers record it: a display, a seat, or the console that it is on.

    That is ``:0``, ``seat0``, ``tty7`` from ``:0`` or ``tty2`` from ``tty2``. Nobody types on such a terminal; a
    terminal emulator has one of its own, ``pts/0`` from ``:0``.
    """
    if is_console(terminal):
        return host == terminal or bool(_DISPLAY.match(host))
    return ":" in terminal or bool(_SEAT.fullmatch(terminal))


def remote_host(terminal: str, host: str) -> str:
    """The host that the user logged in from; "" if the field holds the display, the terminal or a remark instead."""
    is_local = host == terminal or _DISPLAY.match(host) or _SEAT.fullmatch(terminal)
    return "" if is_local else host


def is_alive(pid: int) -> bool:
    """Whether the process still exists; one that is killed leaves its record behind. who(1) checks this too."""
    try:
        if pid > 0:
            os.kill(pid, 0)
    except OSError as error:  # EPERM: it exists, and belongs to another user
        return error.errno != errno.ESRCH
    return True


def field_text(field: bytes) -> str:
    """The text of a fixed-length field, which ends at the first NUL, if any."""
    return read_text(field.partition(b"\0")[0])
