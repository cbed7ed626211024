"""Reads and changes what a person has published: one field at a time, each a whole file.

Every function takes the entry of ``open_entry``. No file is followed or waited for: a link, a file with several names
and whatever is no regular file in the place of a file is a NotAllowedError that names it. What is compared with a
version and then changed is locked meanwhile, for some seconds at most: by the directory of the first place.
"""

import hashlib
import os
import stat
from dataclasses import dataclass

from fingerd.config.values import did_you_mean
from fingerd.people import NOFINGER
from fingerd.plans.directory_locks import locked
from fingerd.plans.errors import ChangedError, NotAllowedError, UsageError, write_errors
from fingerd.plans.places import Entry, Place
from fingerd.plans.regular_files import check_regular, examine, status_of
from fingerd.plans.texts import checked
from fingerd.plans.whole_files import (
    Commit,
    create_directory,
    create_file,
    nothing,
    remove_directory,
    remove_file,
    remove_left_behind,
    replace_file,
)

PLAN = "plan"
MAX_READ_BYTES = 1 << 20  # of a file that was written without fingerd-plan and is longer than the daemon reads
HIDES = NOFINGER[0]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of a field, as it is in the file; None if there is no file."""

    data: bytes | None

    @property
    def version(self) -> str:
        """What identifies this content; empty if there is no file."""
        return "" if self.data is None else hashlib.sha256(self.data).hexdigest()


def read(entry: Entry, field: str) -> Stored:
    """What the daemon would read of this field."""
    for place in _places_with(entry, field):
        name = place.names[field]
        if (
            _examine(place, name)
            and (data := _read_file(place, name, max(entry.max_bytes + 1, MAX_READ_BYTES))) is not None
        ):
            return Stored(data)
    return Stored(None)


def replace(
    entry: Entry, field: str, data: bytes, *, colors: bool, expected: str | None = None, commit: Commit = nothing
) -> Stored:
    """Make a text the content of a field; ``expected`` is the version that it must have before. What is stored now.

    ``commit`` is called just before the change is made; what it raises leaves everything as it is.

    Raises TextError for a text that cannot be shown, ChangedError for another version, LockedError if another process
    holds the lock.
    """
    place = _places_with(entry, field)[0]
    name = place.names[field]
    text = checked(data, field, entry.max_bytes, colors=colors)
    _check_may_change(place, field)
    with write_errors(place.path_of(name)), locked(place.directory, place.path):
        _examine(place, name)
        _clean(entry)
        _check_version(entry, field, expected)
        replace_file(name, text, place.directory, commit=commit)
    return Stored(text)


def remove(entry: Entry, field: str, expected: str | None = None, commit: Commit = nothing) -> None:
    """Remove a field, wherever the daemon might read it. A person who is one file keeps it, with nothing in it."""
    places = _places_with(entry, field)
    for place in places:
        _check_may_change(place, field)
    with write_errors(places[0].path), locked(places[0].directory, places[0].path):
        existing = [place for place in places if _examine(place, place.names[field])]
        _clean(entry)
        _check_version(entry, field, expected)
        for place in existing:
            _remove_from(place, place.names[field], commit)


def _remove_from(place: Place, name: str, commit: Commit) -> None:
    with write_errors(place.path_of(name)):
        if place.is_shared:
            replace_file(name, b"", place.directory, commit=commit)
        else:
            commit()
            remove_file(name, place.directory)


def hide(entry: Entry) -> None:
    """Have the daemon know no such person."""
    _clean(entry)
    place = next((place for place in entry.places if not place.is_shared), entry.places[0])
    if not place.is_shared:
        if not _hiding(place):
            with write_errors(place.path_of(HIDES)):
                create_file(HIDES, place.directory)
    elif entry.hiding_name:
        if not _has_directory(place, entry.hiding_name):
            with write_errors(place.path_of(entry.hiding_name)):
                create_directory(entry.hiding_name, HIDES, place.directory)
    else:
        raise NotAllowedError(f"{entry.login} is one file in {place.path}, beside which nothing can hide it")


def unhide(entry: Entry) -> None:
    """Undo ``hide``, wherever the person is hidden."""
    _clean(entry)
    for place in entry.places:
        for name in () if place.is_shared else _hiding(place):
            _examine(place, name)
            with write_errors(place.path_of(name)):
                remove_file(name, place.directory)
    place = entry.places[0]
    if entry.hiding_name and _has_directory(place, entry.hiding_name):
        with write_errors(place.path_of(entry.hiding_name)):
            remove_directory(entry.hiding_name, NOFINGER, place.directory)


def _places_with(entry: Entry, field: str) -> list[Place]:
    """The places that may have this field; UsageError if there is none."""
    places = [place for place in entry.places if field in place.names]
    if places:
        return places
    known = [name for place in entry.places for name in place.names]
    if entry.places[0].is_shared:
        name = next(iter(entry.places[0].names.values()))
        raise UsageError(f"there is no field {field}: {entry.places[0].path_of(name)} is a plan, and has no others")
    raise UsageError(f"there is no field {field}{did_you_mean(field, known) or ': there are ' + ', '.join(known)}")


def _check_version(entry: Entry, field: str, expected: str | None) -> None:
    """ChangedError unless the field has the version that is expected."""
    if expected is not None and read(entry, field).version != expected:
        raise ChangedError(f"{entry.login}: the {field} has changed meanwhile")


def _check_may_change(place: Place, field: str) -> None:
    if place.names[field] == ".forward":  # a program in it would be run by the mail system
        raise NotAllowedError(f"{place.path_of('.forward')} is the mail system's too: use an editor")


def _hiding(place: Place) -> list[str]:
    """The files that hide the person, of any kind."""
    return [name for name in NOFINGER if _status(place, name)]


def _has_directory(place: Place, name: str) -> bool:
    status = _status(place, name)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _status(place: Place, name: str) -> os.stat_result | None:
    return status_of(name, place.directory, place.path_of(name))


def _examine(place: Place, name: str) -> bool:
    return examine(name, place.directory, place.path_of(name))


def _read_file(place: Place, name: str, limit: int) -> bytes | None:
    """The content; None if it was removed meanwhile. What is opened is what is checked."""
    try:
        descriptor = os.open(name, _READ, dir_fd=place.directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotAllowedError(f"{place.path_of(name)}: {error.strerror}") from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_nlink:  # else it has just been replaced
            check_regular(place.path_of(name), status)
        return file.read(limit)


def _clean(entry: Entry) -> None:
    """Remove what a killed process has left behind."""
    for place in entry.places:
        remove_left_behind(place.directory, NOFINGER)
