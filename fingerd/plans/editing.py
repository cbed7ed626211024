"""``edit``: the plan in the user's editor, as ``crontab -e`` does. What was typed is never lost.

The copy is in a directory of its own, which only the user can enter: editors leave backups beside what they edit.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from fingerd.daemon.output import print_error
from fingerd.plans import store
from fingerd.plans.commands import Person, warn_if_closed
from fingerd.plans.errors import NotWrittenError, TextError
from fingerd.plans.places import open_entry
from fingerd.plans.store import PLAN
from fingerd.plans.texts import checked, max_input

DEFAULT_EDITORS = ("sensible-editor", "vi")  # Debian's choice, and POSIX's

_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # which the terminal sends to the editor and to this process


def edit(person: Person, environment: Mapping[str, str] = os.environ) -> None:
    """Let the user edit the plan, until it can be stored or the user gives up."""
    with open_entry(person.config, person.name) as entry:
        stored, limit = store.read(entry, PLAN), entry.max_bytes
    with _copy_of(stored.data or b"") as path:
        while True:
            _run_editor(path, environment)
            data = _read(path, max_input(limit))
            if data == (stored.data or b""):
                return print_error("fingerd-plan: nothing has changed")
            try:
                checked(data, PLAN, limit, colors=person.colors)
                break
            except TextError as error:
                print_error(*(f"fingerd-plan: {line}" for line in str(error).splitlines()))
                if not _asks_again():
                    raise
        with open_entry(person.config, person.name) as entry:
            store.replace(entry, PLAN, data, colors=person.colors, expected=stored.version)
            warn_if_closed(entry)


@contextlib.contextmanager
def _copy_of(data: bytes) -> Iterator[Path]:
    """A private file with this content. It is removed at the end; after an error, a changed one stays, and is named."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="fingerd-plan-"))
        path = folder / PLAN
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise NotWrittenError(f"cannot make a copy to edit: {error.strerror}") from error
    try:
        yield path
    except BaseException:
        if path.exists() and path.read_bytes() != data:
            print_error(f"fingerd-plan: what you have written is in {path}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _run_editor(path: Path, environment: Mapping[str, str]) -> None:
    """Run the editor, which may be named with options, on the file until it ends. NotWrittenError if it fails."""
    found = (environment.get(name) for name in ("VISUAL", "EDITOR"))
    editor = next(filter(None, found), "") or next(filter(shutil.which, DEFAULT_EDITORS), DEFAULT_EDITORS[-1])
    # A handler, since a signal that is ignored would be ignored by the editor, too.
    before = {number: signal.signal(number, lambda *_: None) for number in _FROM_TERMINAL}
    try:
        # Without a shell, which would end by a signal that the editor takes for a key.
        code = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
    except (OSError, ValueError) as error:
        raise NotWrittenError(f"the editor {editor} cannot be started: {getattr(error, 'strerror', error)}") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code:
        raise NotWrittenError(f"the editor {editor} has failed (exit code {code}): nothing was changed")


def _read(path: Path, size: int) -> bytes:
    """What the editor has written; editors may have replaced the file."""
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise NotWrittenError(f"cannot read {path}: {error.strerror}") from error


def _asks_again() -> bool:
    """Whether the user wants to edit again; not if nobody answers."""
    print_error("Edit again (y/n)? ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
