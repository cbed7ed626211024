"""Who is logged in, as login, sshd and terminals write it to utmp(5).

The file is read here rather than by psutil: up to version 5 (Debian 12) that
rounds the times of logins to two minutes, and all of its versions run a login
of 32 characters into the host behind it, and see no difference between a host
where nobody is logged in and one that keeps no utmp.
"""

import os
import platform
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fingerd.text import read_text

UTMP = "/run/utmp"
USER_PROCESS = 7
NAME_BYTES = 32  # longer logins are cut
MOST_BYTES = 16 << 20  # that are read, of some 40,000 records

# bits/utmp.h: times have 32 bits wherever a 32 bit ABI of the same processor is to read the file too, and so on x86,
# PowerPC, s390x, RISC-V and all that are 32 bits themselves.
TIMES_OF_64_BITS = platform.machine() in ("aarch64", "alpha", "ia64", "loongarch64") and struct.calcsize("P") == 8
# ut_type, ut_pid, ut_line, ut_id, ut_user, ut_host, ut_exit; ut_session, ut_tv; ut_addr_v6. As times are unsigned
# here, those of 32 bits last until 2106.
RECORD = struct.Struct("=hxxi32s4x32s256s4x" + ("8xqq16x24x" if TIMES_OF_64_BITS else "4xIi16x20x"))


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody who is logged in. On a ``graphical`` desktop nobody types on the terminal; its ``idle_since`` counts."""

    user: str
    terminal: str
    host: str
    since: float | None
    graphical: bool = False
    idle_since: float | None = None


def read_utmp(path: str) -> Sequence[Login] | None:
    """Who is logged in; None where the file is not kept here. OSError where it cannot be read.

    Where it is kept, it is never empty: it has a record of the boot.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES)
    except FileNotFoundError:
        return None
    return tuple(_logins(data)) if len(data) >= RECORD.size else None


def _logins(data: bytes) -> Iterator[Login]:
    whole = len(data) // RECORD.size * RECORD.size
    for kind, pid, line, user, host, seconds, microseconds in RECORD.iter_unpack(data[:whole]):
        if kind == USER_PROCESS and user[:1] != b"\0" and lives(pid):
            terminal = field_text(line)
            since = seconds + microseconds / 1e6
            yield Login(field_text(user), terminal, field_text(host), since, graphical=":" in terminal)  # as :0


def lives(pid: int) -> bool:
    """Whether the process is still there: who dies suddenly leaves a record behind. who(1) looks at that too."""
    if pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # there, and somebody else's
        return True
    return True


def field_text(field: bytes) -> str:
    """The text in a field of fixed length, which a NUL ends where it is shorter."""
    return read_text(field.partition(b"\0")[0])
