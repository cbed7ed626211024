"""``type: files``: a folder of people, who need no account on the host.

``NAME.txt`` is somebody's plan. ``NAME/`` is a folder with a file for each
atom: ``name``, ``office``, ``project``, ``plan`` … A file called
``nofinger`` in it hides the person. A name is a key: it can mean an entry of
the folder, and nothing else on the host.
"""

import logging
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.config.system_options import read_path
from fingerd.config.values import Size
from fingerd.errors import BackendError
from fingerd.people import TEXT_ATOMS, Person, Record
from fingerd.protocol.query import is_queryable
from fingerd.safe_files import UnsafeFileError, is_safe_name, open_directory, read_regular

log = logging.getLogger(__name__)

PLAN_ENDING = ".txt"
HIDDEN = "nofinger"
NAMESAKES = 100  # that are told of at once; more would only fill memory


@dataclass(frozen=True)
class Files(Backend):
    """A folder of people: NAME.txt with a plan, or NAME/ with name, office, project, plan and so on.

    The folder is read anew for each query, so a change is seen by the next one.
    """

    repeatable_seconds: ClassVar[float] = 1.0
    searches_names: ClassVar[bool] = True

    folder: Annotated[str, read_path]
    file_bytes: Annotated[int, Size()] = 64 << 10  # of each file; the rest is not told

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The person of this name, and those whose full name it is a part of where that counts."""
        with self._opened() as folder:
            logins = [lookup.username] if is_safe_name(lookup.username) else []
            if lookup.by_name:
                logins += islice(self._called(folder, lookup), NAMESAKES)
            found = (self._person(folder, login, TEXT_ATOMS) for login in dict.fromkeys(logins))
            return [person for person in found if person]

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """Everybody, in the order of their names."""
        with self._opened() as folder:
            for login in _names(folder):
                if time.monotonic() >= lookup.deadline:
                    raise BackendError(f"files {self.folder}: not listed in time")
                if person := self._person(folder, login, _IN_A_LINE):
                    yield person

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """The folder, where it is not there, or closed to us."""
        path = root / self.folder.lstrip("/")
        if not path.is_dir():
            yield f"there is no folder {path}"
        elif not os.access(path, os.R_OK | os.X_OK):
            yield f"the folder {path} is closed to uid {os.getuid()}"

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder, open for a while; BackendError where it cannot be, or where the host fails meanwhile."""
        try:
            folder = open_directory(self.folder)
            if folder is None:
                raise BackendError(f"files {self.folder}: there is no such folder")
            try:
                yield folder
            finally:
                os.close(folder)
        except UnsafeFileError as error:
            raise BackendError(f"files {error}") from error
        except OSError as error:
            raise BackendError(f"files {self.folder}: {error.strerror}") from error

    def _called(self, folder: int, lookup: Lookup) -> Iterator[str]:
        """The logins of those whose full name has all words of the name; BackendError where it takes too long."""
        for login in _names(folder):
            if time.monotonic() >= lookup.deadline:
                raise BackendError(f"files {self.folder}: not searched in time")
            person = self._person(folder, login, ("name",))
            if person and person.matches_name(lookup.username):
                yield login

    def _person(self, folder: int, login: str, atoms: Collection[str]) -> Person | None:
        """Somebody with these atoms, as far as they are written down."""
        try:
            own = open_directory(login, folder)
        except UnsafeFileError as error:
            log.info("files: in %s: %s", self.folder, error)
            return None
        if own is None:
            most = self.file_bytes if "plan" in atoms else 0
            plan = self._text(f"{login}{PLAN_ENDING}", folder, self.folder, most)
            return None if plan is None else Person.from_record(login, Record(plan=plan if most else ""))
        try:
            if _is_there(HIDDEN, own):
                return None
            texts = {atom: self._text(atom, own, f"{self.folder}/{login}", self.file_bytes) for atom in atoms}
        finally:
            os.close(own)
        told = {atom: text if atom in _TEXTS else text.strip() for atom, text in texts.items() if text}
        return Person.from_record(login, Record(**told))

    def _text(self, name: str, folder: int, path: str, most: int) -> str | None:
        try:
            return read_regular(name, folder, most)
        except UnsafeFileError as error:
            log.info("files: in %s: %s", path, error)
            return None


_IN_A_LINE = ("name", "office", "office_phone", "job")
_TEXTS = ("project", "plan", "pgpkey", "pubkey")  # whose blanks are their own


def _names(folder: int) -> Iterator[str]:
    """The names of everybody in the folder, in order, each once."""
    with os.scandir(folder) as entries:
        names = {
            entry.name if entry.is_dir(follow_symlinks=False) else entry.name.removesuffix(PLAN_ENDING)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or entry.name.endswith(PLAN_ENDING)
        }
    return iter(sorted(name for name in names if is_safe_name(name) and is_queryable(name)))


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:  # who cannot be asked whether they want to be told is not told
        return True
    return True
