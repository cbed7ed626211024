"""What the kernel needs to execute a program: the interpreter of a script, or the loader of a dynamic executable.

Each path is looked up below a root directory that is not this process's yet.
"""

import contextlib
import os
import struct
from pathlib import Path

MAX_LINE = 256  # bytes of the first line of a script that the kernel reads (BINPRM_BUF_SIZE)
MAX_PATH = 4096
MAX_HEADERS = 64
_PT_INTERP = 3
# Of ELF files with 32 and with 64 bits: where the offset of the program headers is, their size and their number, and
# where the offset and the size of a segment are in a header.
_LAYOUTS = {1: (28, "I", 42, 4, 16), 2: (32, "Q", 54, 8, 32)}
MAX_INTERPRETERS = 5  # of interpreters of a script, as the kernel allows
MAX_LINKS = 40


def find_program(program: str, path: str, root: Path) -> Path | None:
    """Return the executable file that ``program`` means below ``root``, ``path`` being PATH; None if there is none."""
    directories = [""] if "/" in program else path.split(os.pathsep)
    for directory in directories:
        # A directory that may not be searched; or half a character, which is in no file name.
        with contextlib.suppress(OSError, UnicodeEncodeError):
            found = _resolve(os.path.join(directory, program), root)
            if found.is_file() and os.access(found, os.X_OK):
                return found
    return None


def missing_interpreter(program: Path, root: Path) -> str | None:
    """Return the first interpreter that is not executable below ``root``, of a script or of its interpreter."""
    for _ in range(MAX_INTERPRETERS):
        interpreter = interpreter_of(program)
        if not interpreter:
            return None
        program = _resolve(interpreter, root)
        if not os.access(program, os.X_OK):
            return interpreter
    return None


def describe_missing(interpreter: str, program: str, where: str = "") -> str:
    """The message that a program cannot be executed for want of its interpreter."""
    hint = ": its first line ends with CR LF" if interpreter.endswith("\r") else ""
    return f"there is no {interpreter!r}{where}, which executes {program}{hint}"


def _resolve(path: str, root: Path) -> Path:
    """Return the file that ``path`` means to a process with this root directory: its links begin there, too."""
    left, found, links = path.split("/")[::-1], root, 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            found = found.parent if found != root else root
            continue
        try:
            target = os.readlink(found / part)
        except OSError:  # no link, or missing, or not accessible
            target = ""
        if target and links < MAX_LINKS:
            links += 1
            left += target.split("/")[::-1]
            found = root if target.startswith("/") else found
        else:
            found /= part
    return found


def interpreter_of(program: Path) -> str | None:
    """Return the path of the interpreter or loader that the file names; None if it names none or cannot be read."""
    try:
        with program.open("rb") as file:
            head = file.read(MAX_LINE)
            if head.startswith(b"#!"):
                words = head[2:].partition(b"\n")[0].strip(b" \t").replace(b"\t", b" ").split(b" ")
                return words[0].decode("utf-8", "surrogateescape") or None
            if not head.startswith(b"\x7fELF"):
                return None
            position, form, counts, offset_at, size_at = _LAYOUTS[head[4]]
            order = "<" if head[5] == 1 else ">"
            (start,) = struct.unpack_from(f"{order}{form}", head, position)
            size, number = struct.unpack_from(f"{order}HH", head, counts)
            file.seek(start)
            headers = file.read(size * min(number, MAX_HEADERS))
            for header in (headers[begin : begin + size] for begin in range(0, len(headers), size)):
                if struct.unpack_from(f"{order}I", header)[0] == _PT_INTERP:
                    file.seek(struct.unpack_from(f"{order}{form}", header, offset_at)[0])
                    length = struct.unpack_from(f"{order}{form}", header, size_at)[0]
                    return file.read(min(length, MAX_PATH)).rstrip(b"\0").decode("utf-8", "surrogateescape")
    except (OSError, struct.error, KeyError, ValueError, IndexError):  # not readable, or cut
        pass
    return None
