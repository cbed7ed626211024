"""What people write of themselves: files in their homes, and in a folder for hosts whose homes are closed.

Everything is opened with the daemon's own rights, below a folder that is
already open, and no link is followed. A file belongs to the person or to root.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fingerd.plain import RefusedError, is_key, open_folder, read_plain

log = logging.getLogger(__name__)

# The atoms that are a file each: .plan in a home, plan in a folder of the person's own.
SHORT = ("plan", "project", "pronouns")
TEXTS = (*SHORT, "pgpkey", "pubkey", "forward")
HIDDEN = "nofinger"


@dataclass(frozen=True, slots=True)
class Homes:
    """Where people write: in their homes, if ``homes`` says so, and below the folder ``plans``, if there is one."""

    homes: bool
    plans: str | None
    file_bytes: int

    def read(self, login: str, uid: int, home: str, atoms: Sequence[str]) -> Mapping[str, str] | None:
        """These texts of a person, as far as there are any; None for somebody who wants to be hidden.

        Where a home cannot be looked into, nobody knows whether ``.nofinger``
        is there. So the person is hidden, unless they have written something
        for this daemon into the folder ``plans``.
        """
        texts: dict[str, str] = {}
        told = False
        if self.plans is not None:
            published = self._published(login, uid, atoms)
            if published is None:
                return None
            texts, told = published
        if not self.homes or not home.startswith("/"):
            return texts
        try:
            folder = open_folder(home, to_list=False)
        except RefusedError:
            return texts if told else None
        if folder is None:
            return texts
        try:
            there = _is_there(f".{HIDDEN}", folder)
            if there or (there is None and not told):
                return None
            return texts if there is None else self._texts(folder, ".", uid, atoms) | texts
        finally:
            os.close(folder)

    def _published(self, login: str, uid: int, atoms: Sequence[str]) -> tuple[dict[str, str], bool] | None:
        """What the person has written into the folder ``plans``, and whether it is anything; None for the hidden."""
        nothing: dict[str, str] = {}
        if not is_key(login) or self.plans is None:
            return nothing, False
        try:
            plans = open_folder(self.plans, to_list=False)
        except RefusedError:
            return None
        if plans is None:
            return nothing, False
        try:
            own = open_folder(login, plans, to_list=False)
            if own is None:
                plan = self._text(login, plans, uid)
                return ({"plan": plan} if plan is not None and "plan" in atoms else nothing), plan is not None
        except RefusedError:
            return None
        finally:
            os.close(plans)
        try:
            if os.fstat(own).st_uid not in (0, uid):
                return nothing, False
            if _is_there(HIDDEN, own) is not False:
                return None
            texts = self._texts(own, "", uid, TEXTS)
            return {atom: text for atom, text in texts.items() if atom in atoms}, bool(texts)
        finally:
            os.close(own)

    def _texts(self, folder: int, before: str, uid: int, atoms: Sequence[str]) -> dict[str, str]:
        texts = {atom: self._text(before + atom, folder, uid) for atom in atoms}
        return {atom: text for atom, text in texts.items() if text is not None}

    def _text(self, name: str, folder: int, uid: int) -> str | None:
        try:
            return read_plain(name, folder, self.file_bytes, owner=uid)
        except RefusedError as error:
            log.debug("not told of uid %d: %s", uid, error)
            return None


def _is_there(name: str, folder: int) -> bool | None:
    """Whether there is anything of this name, a broken link too; None where the folder cannot be looked into."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return True
