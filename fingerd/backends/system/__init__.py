"""``type: system``: the host's own accounts, as finger daemons have told of them since 1977.

Account, real name and office come from the name service, sessions from utmp
or systemd-logind, last logins from lastlog and its successors, mail from the
times of the spool, and the rest from files that people write. Whoever may not
be told of, or does not want to be, is nobody: in words, and in time where
that can be had.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.backends.system.accounts import LOCAL, Account, Accounts
from fingerd.backends.system.facts import Shared, leave_out
from fingerd.backends.system.homes import SHORT, TEXTS, Homes
from fingerd.backends.system.last_logins import LastLogins, missing_last_logins
from fingerd.backends.system.mail_spool import SPOOL, mail_of, missing_mail
from fingerd.backends.system.sessions import AGE_SECONDS, Sessions, missing_sessions
from fingerd.config.system_options import read_path
from fingerd.config.values import Integer, Size
from fingerd.errors import BackendError, OptionError
from fingerd.people import Person

NAMESAKES = 100  # that are told of at once; more would only fill memory
EVENED_OUT = 4  # hidden people of one name; more of them may be seen by the time that the answer takes


@dataclass(frozen=True)
class System(Backend):
    """The accounts of the host: passwd and GECOS, sessions and idle times, last login, mail, .plan and so on.

    Told of are accounts from ``min_uid`` on, and those named in ``also``; not
    who has a file .nofinger, or a home that cannot be looked into and nothing
    in the folder ``plans``.
    """

    repeatable_seconds: ClassVar[float] = 1.0
    searches_names: ClassVar[bool] = True

    min_uid: Annotated[int, Integer(0, (1 << 32) - 1)] = 1000
    also: tuple[str, ...] = ()  # logins below min_uid that may be told of
    homes: bool = True  # read files in homes
    plans: Annotated[str, read_path] | None = None  # a folder with a file or a folder for each user
    mail: Annotated[str, read_path] | None = SPOOL  # the folder with a mailbox for each user
    sessions: bool = True  # who is logged in, and the list of them
    last_login: bool = True
    file_bytes: Annotated[int, Size()] = 64 << 10  # of each file; the rest is not told
    _accounts: Accounts = field(init=False, repr=False, compare=False)
    _homes: Homes = field(init=False, repr=False, compare=False)
    _sessions: Sessions = field(init=False, repr=False, compare=False)
    _last_logins: LastLogins = field(init=False, repr=False, compare=False)
    _listed: Shared[Sequence[Person] | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if "nobody" in self.also:
            raise OptionError("the account nobody is nobody's", "also")
        object.__setattr__(self, "_accounts", Accounts(self.min_uid, self.also))
        object.__setattr__(self, "_homes", Homes(self.homes, self.plans, self.file_bytes))
        object.__setattr__(self, "_sessions", Sessions())
        object.__setattr__(self, "_last_logins", LastLogins())
        object.__setattr__(self, "_listed", Shared(AGE_SECONDS))
        leave_out.cache_clear()  # a reload tells anew of what is missing

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Who has this login, and those whose full name has all its words where that counts.

        BackendError where the host has no descriptors or no memory left.
        """
        try:
            return self._find(lookup)
        except OSError as error:
            raise BackendError(f"system: {error}") from error

    def _find(self, lookup: Lookup) -> Sequence[Person]:
        account = self._accounts.find(lookup.username)
        found = self._person(account, lookup.verbose) if account else None
        if not found:
            self._spend_time(lookup.username, account)
        people = [found] if found else []
        if lookup.by_name:
            others = (other for other in self._accounts.called(lookup.username, lookup.deadline) if other != account)
            told = [self._person(other, lookup.verbose) for other in islice(others, NAMESAKES)]
            people += filter(None, told)
            for _ in range(told.count(None), EVENED_OUT):  # a name that some hidden people have costs what none costs
                self._homes.read("nobody", 0, "/", ())
        return people

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """Who is logged in, or was up to a second ago, in the order of their logins; None where nobody knows."""
        try:
            people = self._listed.get(self._logged_in) if self.sessions else None
        except OSError as error:
            raise BackendError(f"system: {error}") from error
        return None if people is None else iter(people)

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """Each source that is not there below ``root`` and not switched off."""
        passwd = root / LOCAL.lstrip("/")
        if not passwd.is_file():
            yield f"there is no {passwd}"
        if self.homes and root != Path("/") and not (homes := root / "home").is_dir():
            yield f"there is no folder {homes}: whose home is not seen is hidden (homes: false tells of them)"
        if self.plans and not (plans := root / self.plans.lstrip("/")).is_dir():
            yield f"there is no folder {plans}"
        if self.sessions:
            yield from missing_sessions(root)
        if self.last_login:
            yield from missing_last_logins(root)
        if self.mail:
            yield from missing_mail(self.mail, root)

    def close(self) -> None:
        """Leave the bus."""
        self._sessions.close()

    def _logged_in(self) -> Sequence[Person] | None:
        """Who is logged in, with what fits into a line of the list."""
        logins = self._sessions.logins()
        if logins is None:
            return None
        people: list[Person] = []
        for account in filter(None, map(self._accounts.find, sorted(logins))):
            login, office, phone = account.login, account.office, account.office_phone
            sessions = self._sessions.of(login, time.time())
            if sessions and self._homes.read(login, account.uid, account.home, ()) is not None:
                people.append(Person(login, name=account.name, office=office, office_phone=phone, sessions=sessions))
        return people

    def _person(self, account: Account, verbose: bool) -> Person | None:
        """What is known of somebody, as far as a short or the long form tells it; None for the hidden."""
        login, uid = account.login, account.uid
        texts = self._homes.read(login, uid, account.home, TEXTS if verbose else SHORT)
        if texts is None:
            return None
        sessions = self._sessions.of(login, time.time()) if self.sessions else None
        return Person(
            login,
            name=account.name,
            office=account.office,
            office_phone=account.office_phone,
            home_phone=account.home_phone,
            directory=account.home,
            shell=account.shell,
            sessions=sessions,
            last_login=self._last_logins.of(login, uid) if self.last_login else None,
            mail=mail_of(login, self.mail) if self.mail and verbose else None,
            forward=texts.get("forward", ""),
            project=texts.get("project", ""),
            plan=texts.get("plan", "" if self.homes or self.plans else None),
            pgpkey=texts.get("pgpkey", ""),
            pubkey=texts.get("pubkey", ""),
            pronouns=texts.get("pronouns", "").strip(),
        )

    def _spend_time(self, login: str, hidden: Account | None) -> None:
        """Do for the hidden what was done for the absent, and the other way round: neither takes longer."""
        if hidden:
            self._accounts.find_nobody(login)
        else:
            self._homes.read("nobody", 0, "/", ())
