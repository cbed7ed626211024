"""``type: system``: the host's own accounts, as finger daemons have shown them since 1977.

A hidden person cannot be distinguished from an unknown user by the answer or, if possible, by its time.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.backends.system.accounts import ACCOUNTS_FILE, Account, Accounts
from fingerd.backends.system.facts import CachedValue, warn_once
from fingerd.backends.system.homes import FILE_ATOMS, SHORT_ATOMS, Homes
from fingerd.backends.system.last_logins import LastLogins, missing_last_logins
from fingerd.backends.system.mail_spool import SPOOL, mail_of, missing_mail
from fingerd.backends.system.sessions import CACHE_SECONDS, Sessions, missing_sessions
from fingerd.config.system_options import read_path
from fingerd.config.values import Integer, Size
from fingerd.errors import BackendError, OptionError
from fingerd.people import MAX_MATCHES, Person
from fingerd.safe_files import writable_by_others
from fingerd.text import read_text

MAX_PADDED = 4  # hidden people of one name; more of them can be detected by the answer's time


@dataclass(frozen=True)
class System(Backend):
    """The accounts of the host: passwd and GECOS, sessions and idle times, last login, mail, .plan and so on.

    Accounts from ``min_uid`` on and those named in ``also`` are shown, except those with a file nofinger, or with a
    home that the daemon cannot search and nothing in the directory ``plans``.
    """

    repeatable_seconds: ClassVar[float] = 1.0
    searches_names: ClassVar[bool] = True

    min_uid: Annotated[int, Integer(0, (1 << 32) - 1)] = 1000
    also: tuple[str, ...] = ()  # logins below min_uid that are shown too
    homes: bool = True  # whether files in homes are read
    plans: Annotated[str, read_path] | None = None  # a directory with a file or a directory for each user
    mail: Annotated[str, read_path] | None = SPOOL  # the directory with a mailbox for each user
    sessions: bool = True  # whether sessions and the list of logged-in users are shown
    last_login: bool = True
    file_bytes: Annotated[int, Size()] = 64 << 10  # of each file; a longer one is cut

    def __post_init__(self) -> None:
        if "nobody" in self.also:
            raise OptionError("the account 'nobody' is never shown", "also")
        warn_once.cache_clear()  # after a reload, missing sources are logged again
        _ = self._sources  # made here, before threads start

    @cached_property
    def _sources(self) -> "_Sources":
        return _Sources(self)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The person with this login and, with ``by_name``, those whose full name matches."""
        try:
            return self._find(lookup)
        except OSError as error:  # the host is out of descriptors or memory
            raise BackendError(f"system: {error}") from error

    def _find(self, lookup: Lookup) -> Sequence[Person]:
        accounts = self._sources.accounts
        account = accounts.find(lookup.username)
        found = self._person(account, lookup.verbose) if account else None
        if account and not found:  # do what is done for an absent person, and vice versa, so that both take as long
            accounts.dummy_lookup(lookup.username)
        elif not found:
            self._read_dummy_home()
        people = [found] if found else []
        if lookup.by_name:
            others = (other for other in accounts.find_by_name(lookup.username, lookup.deadline) if other != account)
            matches = [self._person(other, lookup.verbose) for other in islice(others, MAX_MATCHES)]
            people += filter(None, matches)
            for _ in range(matches.count(None), MAX_PADDED):  # a name of hidden people costs as much as an absent name
                self._read_dummy_home()
        return people

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The logged-in users, up to one second old, sorted by login; None if the host keeps no sessions."""
        try:
            people = self._sources.users.get(self._logged_in) if self.sessions else None
        except OSError as error:
            raise BackendError(f"system: {error}") from error
        return None if people is None else iter(people)

    def warnings(self) -> Iterator[str]:
        """A message if others may replace the directory of published plans, as by a link."""
        if self.plans:
            yield from writable_by_others(self.plans, itself=False)

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """A message for each enabled source that does not exist below ``root``."""
        if not (passwd := root / ACCOUNTS_FILE.lstrip("/")).is_file():
            yield f"there is no file {passwd}"
        if self.homes and root != Path("/") and not (homes := root / "home").is_dir():
            yield f"there is no directory {homes}: users whose home is missing are hidden (homes: false shows them)"
        if self.plans and not (plans := root / self.plans.lstrip("/")).is_dir():
            yield f"there is no directory {plans}"
        if self.sessions:
            yield from missing_sessions(root)
        if self.last_login:
            yield from missing_last_logins(root)
        if self.mail:
            yield from missing_mail(self.mail, root)

    def close(self) -> None:
        """Disconnect from the bus."""
        self._sources.sessions.close()

    def _logged_in(self) -> Sequence[Person] | None:
        """The logged-in users, with the atoms that fit into a row of the list."""
        sources = self._sources
        logins = sources.sessions.logins()
        if logins is None:
            return None
        people: list[Person] = []
        for account in filter(None, map(sources.accounts.find, sorted(logins))):
            login, office, phone = account.login, account.office, account.office_phone
            sessions = sources.sessions.for_login(login, time.time())
            if sessions and sources.homes.read(login, account.uid, account.home, ()) is not None:
                people.append(Person(login, name=account.name, office=office, office_phone=phone, sessions=sessions))
        return people

    def _person(self, account: Account, verbose: bool) -> Person | None:
        """The person with the atoms of the short or the long form; None if hidden."""
        login, uid, sources = account.login, account.uid, self._sources
        files = sources.homes.read(login, uid, account.home, FILE_ATOMS if verbose else SHORT_ATOMS)
        if files is None:
            return None
        no_plan = "" if self.homes or self.plans else None
        atoms: dict[str, Any] = {"plan": no_plan, **{atom: file.content for atom, file in files.items()}}
        atoms["pronouns"] = atoms.get("pronouns", "").strip()
        return Person(
            login,
            name=account.name,
            office=account.office,
            office_phone=account.office_phone,
            home_phone=account.home_phone,
            directory=read_text(os.fsencode(account.home)),
            shell=account.shell,
            sessions=sources.sessions.for_login(login, time.time()) if self.sessions else None,
            last_login=sources.last_logins.for_login(login, uid) if self.last_login else None,
            mail=mail_of(login, self.mail) if self.mail and verbose else None,
            plan_changed=files["plan"].changed if "plan" in files else None,
            **atoms,
        )

    def _read_dummy_home(self) -> None:
        self._sources.homes.read("nobody", 0, "/", ())


class _Sources:
    """What a ``System`` reads from; shared by all threads."""

    def __init__(self, options: System) -> None:
        self.accounts = Accounts(options.min_uid, options.also)
        self.homes = Homes(options.homes, options.plans, options.file_bytes)
        self.sessions = Sessions()
        self.last_logins = LastLogins()
        self.users = CachedValue[Sequence[Person] | None](CACHE_SECONDS)
