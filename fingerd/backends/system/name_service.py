"""The list of all accounts of the name service. Python's own (``pwd.getpwall``) stops all threads until it is there."""

import ctypes
import errno
import os
import pwd
import threading
from collections.abc import Iterator

FIRST_BUFFER, LAST_BUFFER = 1 << 12, 1 << 20  # bytes for one account

_libc = ctypes.CDLL(None, use_errno=True)  # whose calls let other threads run
_lock = threading.Lock()  # the place in the list is the process's own


class _Passwd(ctypes.Structure):
    """``struct passwd`` of pwd.h."""

    _fields_ = (
        ("pw_name", ctypes.c_char_p),
        ("pw_passwd", ctypes.c_char_p),
        ("pw_uid", ctypes.c_uint32),
        ("pw_gid", ctypes.c_uint32),
        ("pw_gecos", ctypes.c_char_p),
        ("pw_dir", ctypes.c_char_p),
        ("pw_shell", ctypes.c_char_p),
    )


def everybody() -> Iterator[pwd.struct_passwd]:
    """All accounts, as far as the name service lists them; OSError where it fails."""
    with _lock:
        _libc.setpwent()
        try:
            size = FIRST_BUFFER
            entry, found = _Passwd(), ctypes.POINTER(_Passwd)()
            while True:
                buffer = ctypes.create_string_buffer(size)
                failure = _libc.getpwent_r(ctypes.byref(entry), buffer, ctypes.c_size_t(size), ctypes.byref(found))
                if failure == errno.ERANGE and size < LAST_BUFFER:
                    size *= 2  # and the same account again
                elif failure == errno.ENOENT:
                    return
                elif failure:
                    raise OSError(failure, os.strerror(failure))
                else:
                    name, gecos, home, shell = map(_text, (entry.pw_name, entry.pw_gecos, entry.pw_dir, entry.pw_shell))
                    yield pwd.struct_passwd((name, "x", entry.pw_uid, entry.pw_gid, gecos, home, shell))
        finally:
            _libc.endpwent()


def _text(field: bytes | None) -> str:
    return os.fsdecode(field or b"")
