"""The host's accounts: who has one, whom of them may be told of, and what the GECOS field says of them.

Accounts come from the name service (nsswitch.conf(5)), so those of LDAP and
sssd come along. What stands in /etc/passwd is read from there, as long as it
is unchanged: the name service reads that file anew for every name, which
takes 0.7 ms where it has 10,000 lines.
"""

import os
import pwd
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fingerd.backends.system.facts import leave_out, signature
from fingerd.backends.system.name_service import everybody
from fingerd.errors import BackendError
from fingerd.people import name_words
from fingerd.text import read_text

LOCAL = "/etc/passwd"

REMEMBERED_SECONDS = 5.0  # how long an answer of the name service holds, and how late a change there may be seen
MOST_REMEMBERED = 4096  # of these answers, about 300 bytes each
EVERYBODY_SECONDS = 30.0  # how long a list of all accounts holds, in which real names are looked for
SHARE_OF_LISTING = 100  # … and so many times what it took, so that a slow directory is not asked all the time

GECOS_CHARACTERS = 1024  # that are told of a GECOS field; longer ones are cut
SHELL = "/bin/sh"  # where passwd has none, passwd(5)

# Not people, whatever min_uid is. systemd (its UIDS-GIDS document) gives 61184 to 65519 to services that run as users
# made for them; 65534 is nobody's; 65535 and the highest one mean "no user" to the kernel.
UIDS = range((1 << 32) - 1)
_NOBODY = "nobody"
_NOT_PEOPLE = (range(61184, 65536), range((1 << 32) - 2, 1 << 32))


@dataclass(frozen=True, slots=True)
class Account:
    """One account: passwd(5), with the GECOS field taken apart."""

    login: str
    uid: int
    home: str
    shell: str
    name: str = ""
    office: str = ""
    office_phone: str = ""
    home_phone: str = ""


class Accounts:
    """Those accounts that may be told of: from ``min_uid`` on, and the logins of ``also``; shared by all threads."""

    def __init__(self, min_uid: int, also: tuple[str, ...], passwd: str = LOCAL) -> None:
        self._min_uid = min_uid
        self._also = frozenset(also)
        self._passwd = passwd
        self._local = _Local(None, {}, {})
        self._remembered: dict[str, tuple[float, Account | None]] = {}
        self._reading = threading.Lock()
        self._elsewhere = _Elsewhere()
        self._nobody = secrets.token_hex(8)

    def find(self, login: str) -> Account | None:
        """The account of this login; None where there is none, and where it may not be told of."""
        account = self._in_passwd().accounts.get(login) or self._in_name_service(login)
        if self._is_told(account or _ABSENT):
            return account
        if account:
            self.find_nobody(login)
        return None

    def find_nobody(self, login: str) -> None:
        """Spend what a login costs that nobody has: who is hidden takes no less than who is absent.

        Whoever does not stand in passwd has cost a question to the name service already.
        """
        if login in self._local.accounts:  # as it was a moment ago: another look would take time of its own
            self._in_name_service(f"{login}{self._nobody}")

    def called(self, name: str, deadline: float) -> Iterator[Account]:
        """The accounts whose full name has all the words of ``name``, those of passwd first, and nobody twice.

        BackendError where the name service does not list its accounts by the deadline, in ``time.monotonic()`` seconds.
        """
        wanted = name_words(name)
        if not wanted:
            return
        word = next(iter(wanted))
        logins = [*self._in_passwd().logins.get(word, ()), *self._elsewhere.logins(deadline).get(word, ())]
        for login in dict.fromkeys(logins):
            account = self.find(login)  # which may be another one than the list has under this login
            if account and wanted <= name_words(account.name):
                yield account

    def _is_told(self, account: Account) -> bool:
        if account.login in self._also:
            return True
        uid = account.uid
        return uid >= self._min_uid and account.login != _NOBODY and not any(uid in ids for ids in _NOT_PEOPLE)

    def _in_passwd(self) -> "_Local":
        """What the file says now."""
        if self._local.signature != signature(self._passwd):
            with self._reading:
                before = signature(self._passwd)
                if self._local.signature != before:
                    accounts = _read_passwd(self._passwd)
                    self._local = _Local(before, accounts, _by_word(accounts.values()))
        return self._local

    def _in_name_service(self, login: str) -> Account | None:
        """The account that the name service has under this login, or had some seconds ago."""
        now = time.monotonic()
        until, account = self._remembered.get(login, (0.0, None))
        if now < until:
            return account
        try:
            account = _account(pwd.getpwnam(login))
        except (KeyError, ValueError):  # nobody, a service that does not answer, or a name that cannot be asked for
            account = None
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered = {}
        self._remembered[login] = now + REMEMBERED_SECONDS, account
        return account


@dataclass(frozen=True, slots=True)
class _Local:
    """What passwd says: accounts by their logins, and logins by the words of full names."""

    signature: object
    accounts: Mapping[str, Account]
    logins: Mapping[str, Sequence[str]]


class _Elsewhere:
    """Logins by the words of full names, as the name service lists them.

    A directory may take long for that. So a thread of its own lists them, and
    the list of before is used meanwhile.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._logins: Mapping[str, Sequence[str]] | None = None
        self._until = 0.0
        self._is_listing = False

    def logins(self, deadline: float) -> Mapping[str, Sequence[str]]:
        """What was listed last; BackendError where that is nothing by the deadline."""
        with self._changed:
            if time.monotonic() >= self._until and not self._is_listing:
                self._is_listing = True
                threading.Thread(target=self._list, name="accounts", daemon=True).start()
            self._changed.wait_for(lambda: self._logins is not None, deadline - time.monotonic())
            if self._logins is None:
                raise BackendError("system: the name service did not list its accounts in time")
            return self._logins

    def _list(self) -> None:
        start = time.monotonic()
        logins = self._logins or {}
        try:
            logins = _by_word(account for account in map(_account, everybody()) if account)
        except OSError as error:
            leave_out("real names of the name service", str(error))
        finally:
            now = time.monotonic()
            with self._changed:
                self._logins, self._is_listing = logins, False
                self._until = now + max(EVERYBODY_SECONDS, (now - start) * SHARE_OF_LISTING)
                self._changed.notify_all()


def _by_word(accounts: Iterable[Account]) -> Mapping[str, Sequence[str]]:
    logins: dict[str, list[str]] = {}
    for account in accounts:
        for word in name_words(account.name):
            logins.setdefault(word, []).append(account.login)
    return logins


_ABSENT = Account(_NOBODY, 65534, "/", SHELL)  # who is looked at as closely as somebody who is there


def _read_passwd(path: str) -> dict[str, Account]:
    """The accounts of a passwd(5); what is no whole line of it is left to the name service."""
    accounts: dict[str, Account] = {}
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return accounts
    for line in lines:
        fields = line.split(b":")
        if len(fields) == 7 and fields[0][:1] not in _NO_LOGIN and _is_uid(fields[2]):
            login, home = read_text(fields[0]), os.fsdecode(fields[5])
            accounts.setdefault(login, _made(login, int(fields[2]), fields[4], home, read_text(fields[6])))
    return accounts


def _is_uid(field: bytes) -> bool:
    return field.isdigit() and len(field) <= 10 and int(field) in UIDS


_NO_LOGIN = (b"", b"+", b"-", b"#")  # a netgroup or NIS line begins with + or -


def _account(entry: pwd.struct_passwd) -> Account | None:
    """An entry of the name service; None for a netgroup line, all of whose other fields are empty."""
    if os.fsencode(entry.pw_name)[:1] in _NO_LOGIN:
        return None
    gecos = os.fsencode(entry.pw_gecos or "")
    return _made(entry.pw_name, entry.pw_uid, gecos, entry.pw_dir or "", entry.pw_shell or "")


def _made(login: str, uid: int, gecos: bytes, home: str, shell: str) -> Account:
    return Account(login, uid, home, shell or SHELL, *_read_gecos(login, gecos))


def _read_gecos(login: str, gecos: bytes) -> list[str]:
    """Full name, office, office phone and home phone; what follows them is nobody's business.

    ``&`` in the name stands for the login with a capital, and an asterisk
    before it is skipped: finger(1) has always done both.
    """
    text = read_text(gecos)[:GECOS_CHARACTERS]
    name, *others = [*text.removeprefix("*").split(","), "", "", ""][:4]
    name = name.replace("&", login[:1].upper() + login[1:])[:GECOS_CHARACTERS]
    return [field.strip() for field in (name, *others)]
