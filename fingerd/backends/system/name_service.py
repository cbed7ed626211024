"""Iterates over all accounts of the name service, without the GIL: ``pwd.getpwall`` blocks all threads meanwhile."""

import ctypes
import errno
import os
import pwd
import threading
from collections.abc import Iterator

MIN_BUFFER, MAX_BUFFER = 1 << 12, 1 << 20  # bytes for one account

_libc = ctypes.CDLL(None, use_errno=True)  # its calls release the GIL
_lock = threading.Lock()  # the position in the list belongs to the process


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


def iterate_accounts() -> Iterator[pwd.struct_passwd]:
    """All accounts that the name service enumerates; raises OSError if it fails."""
    with _lock:
        _libc.setpwent()
        try:
            size = MIN_BUFFER
            entry, found = _Passwd(), ctypes.POINTER(_Passwd)()
            while True:
                buffer = ctypes.create_string_buffer(size)
                error = _libc.getpwent_r(ctypes.byref(entry), buffer, ctypes.c_size_t(size), ctypes.byref(found))
                if error == errno.ERANGE and size < MAX_BUFFER:
                    size *= 2  # the next call returns the same account
                elif error == errno.ENOENT:
                    return
                elif error:
                    raise OSError(error, os.strerror(error))
                else:
                    name, gecos, home, shell = map(_text, (entry.pw_name, entry.pw_gecos, entry.pw_dir, entry.pw_shell))
                    yield pwd.struct_passwd((name, "x", entry.pw_uid, entry.pw_gid, gecos, home, shell))
        finally:
            _libc.endpwent()


def _text(field: bytes | None) -> str:
    return os.fsdecode(field or b"")
