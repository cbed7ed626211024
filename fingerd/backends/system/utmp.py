"""Login sessions as login(1), sshd and terminal emulators record them in utmp(5).

psutil is not used: up to version 5 (Debian 12) it rounds login times to two minutes. All versions append the host to a
login of 32 characters, and cannot tell a host without sessions from one that keeps no utmp.
"""

import errno
import os
import platform
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


@dataclass(frozen=True, slots=True)
class Login:
    """A login session. If it is ``graphical``, its ``idle_since`` counts, as the terminal has no input."""

    user: str
    terminal: str
    host: str
    since: float | None
    graphical: bool = False
    idle_since: float | None = None


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
            terminal = field_text(line)
            since = seconds + microseconds / 1e6 if seconds else None
            yield Login(field_text(user), terminal, field_text(host), since, graphical=":" in terminal)  # as :0


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
