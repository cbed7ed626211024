"""The host's accounts: lookup by login and by full name, which accounts may be shown, and the GECOS field.

Accounts come from the name service (nsswitch.conf(5)), which includes LDAP and sssd. /etc/passwd is cached until it
changes: the name service reads it for every lookup, which takes 0.7 ms with 10,000 lines.
"""

import os
import pwd
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fingerd.backends.system.facts import signature, warn_once
from fingerd.backends.system.name_service import iterate_accounts
from fingerd.bugs import report_bug
from fingerd.errors import BackendError
from fingerd.people import name_words
from fingerd.safe_files import RESOURCE_ERRNOS
from fingerd.text import is_same_name, read_text, spellings, to_nfc

ACCOUNTS_FILE = "/etc/passwd"

CACHE_SECONDS = 5.0  # for an answer of the name service, and so the delay until a change there is seen
CACHE_ENTRIES_MAX = 4096  # of these answers, about 300 bytes each
LIST_SECONDS = 30.0  # for a list of all accounts, which name searches use
LIST_RETRY_SECONDS = 5.0  # after a list that could not be made for want of memory, or by a bug
LIST_COST_FACTOR = 100  # and at least this many times what listing took, so as not to load a slow LDAP server

GECOS_CHARACTERS = 1024  # longer GECOS fields are cut
DEFAULT_SHELL = "/bin/sh"  # for an empty field, passwd(5)

# Not people, whatever min_uid is. systemd (its UIDS-GIDS document) assigns 61184 to 65519 to services with dynamic
# users; 65534 is nobody; 65535 and the highest one mean "no user" to the kernel.
UIDS = range((1 << 32) - 1)
_NOBODY = "nobody"
_NOT_PEOPLE = (range(61184, 65536), range((1 << 32) - 2, 1 << 32))
_NOT_A_LOGIN = (b"", b"+", b"-", b"#")  # the first byte; a netgroup or NIS line begins with + or -


@dataclass(frozen=True, slots=True)
class Account:
    """One account: passwd(5), with the GECOS field split."""

    login: str
    uid: int
    home: str
    shell: str
    name: str = ""
    office: str = ""
    office_phone: str = ""
    home_phone: str = ""


_DUMMY = Account(_NOBODY, 65534, "/", DEFAULT_SHELL)  # checked for an absent login, so that both paths cost the same


class Accounts:
    """The accounts that may be shown: from ``min_uid`` on, and the logins in ``also``; shared by all threads."""

    def __init__(self, min_uid: int, also: tuple[str, ...], passwd: str = ACCOUNTS_FILE) -> None:
        self._min_uid = min_uid
        self._also = frozenset(map(to_nfc, also))
        self._passwd = passwd
        self._index = _PasswdIndex(None, {}, {})
        self._index_lock = threading.Lock()
        self._cache: dict[str, tuple[float, Account | None]] = {}
        self._name_service = _NameServiceIndex()
        self._dummy_suffix = secrets.token_hex(8)

    def find(self, login: str) -> Account | None:
        """The account with this login; None if there is none or it may not be shown."""
        account = self._read_passwd_index().accounts.get(to_nfc(login)) or self._query_name_service(login)
        if self._may_be_shown(account or _DUMMY):
            return account
        if account:
            self.dummy_lookup(login)
        return None

    def dummy_lookup(self, login: str) -> None:
        """Spend the time of a lookup of an absent login, so that a hidden one takes as long."""
        # Any login that is not in passwd has already cost a query. The file is not checked again: that would take time.
        if to_nfc(login) in self._index.accounts:
            self._query_name_service(f"{login}{self._dummy_suffix}")

    def find_by_name(self, name: str, deadline: float) -> Iterator[Account]:
        """The accounts whose full name has all words of ``name``; BackendError if they are not listed in time."""
        if not (wanted := name_words(name)):
            return
        word = next(iter(wanted))
        logins = [*self._read_passwd_index().logins.get(word, ()), *self._name_service.logins(deadline).get(word, ())]
        seen: set[Account] = set()  # the same account may be in both, under two keys if its login is not UTF-8
        for login in dict.fromkeys(logins):
            account = self.find(login)  # may differ from the account that was listed under this login
            if account and account not in seen and wanted <= name_words(account.name):
                seen.add(account)
                yield account

    def _may_be_shown(self, account: Account) -> bool:
        if to_nfc(account.login) in self._also:
            return True
        uid = account.uid
        return uid >= self._min_uid and account.login != _NOBODY and not any(uid in ids for ids in _NOT_PEOPLE)

    def _read_passwd_index(self) -> "_PasswdIndex":
        if self._index.signature != signature(self._passwd):
            with self._index_lock:
                before = signature(self._passwd)
                if self._index.signature != before:
                    accounts = _read_passwd(self._passwd)
                    self._index = _PasswdIndex(before, accounts, _index_by_word(accounts.items()))
        return self._index

    def _query_name_service(self, login: str) -> Account | None:
        """The account that the name service, which compares bytes, has under this login in any of its spellings."""
        found = [self._query_spelling(spelling) for spelling in spellings(login)]  # all, so that a hit takes as long
        return next(filter(None, found), None)

    def _query_spelling(self, login: str) -> Account | None:
        """The account that the name service has under exactly this login, cached for CACHE_SECONDS.

        A service such as sssd may find one by another spelling of its login, which is another login.
        """
        now = time.monotonic()
        valid_until, account = self._cache.get(login, (0.0, None))
        if now < valid_until:
            return account
        try:
            entry = pwd.getpwnam(login)
            account = _from_entry(entry) if is_same_name(entry.pw_name, login) else None
        except (KeyError, ValueError):  # unknown, or the service does not answer, or the login cannot be encoded
            account = None
        if len(self._cache) >= CACHE_ENTRIES_MAX:
            self._cache = {}
        self._cache[login] = now + CACHE_SECONDS, account
        return account


@dataclass(frozen=True, slots=True)
class _PasswdIndex:
    """The contents of passwd: accounts by login in NFC, and logins by the words of full names."""

    signature: object
    accounts: Mapping[str, Account]
    logins: Mapping[str, Sequence[str]]


class _NameServiceIndex:
    """Logins by the words of full names, listed by a separate thread: the name service may ask a slow LDAP server."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._logins: Mapping[str, Sequence[str]] | None = None
        self._valid_until = 0.0
        self._is_listing = False
        self._failure = ""  # why the first list could not be made

    def logins(self, deadline: float) -> Mapping[str, Sequence[str]]:
        """The last list, while the next one is being made; raises BackendError if there is none by the deadline."""
        with self._changed:
            if time.monotonic() >= self._valid_until and not self._is_listing:
                self._start_listing()
            self._changed.wait_for(
                lambda: not self._is_listing or self._logins is not None, deadline - time.monotonic()
            )
            if self._logins is None:
                raise BackendError(f"system: {self._failure or 'the name service did not list its accounts in time'}")
            return self._logins

    def _start_listing(self) -> None:
        """Start the thread; where that fails, the next query tries again."""
        self._is_listing, self._failure = True, ""
        try:
            threading.Thread(target=self._list, name="accounts", daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            self._is_listing, self._failure = False, str(error) or "out of memory"

    def _list(self) -> None:
        start = time.monotonic()
        logins, failure = self._logins, ""
        try:
            entries = ((entry.pw_name, _from_entry(entry)) for entry in iterate_accounts())
            logins = _index_by_word((key, account) for key, account in entries if account)
        except OSError as error:
            if error.errno in RESOURCE_ERRNOS:
                failure = f"the name service cannot list its accounts: {error.strerror}"
            else:
                warn_once("full names of the name service", str(error))
                logins = logins or {}
        except BaseException as error:
            failure = f"the name service cannot list its accounts: {type(error).__name__}"
            report_bug(error, "while listing accounts")
        finally:
            now = time.monotonic()
            seconds = LIST_RETRY_SECONDS if failure else max(LIST_SECONDS, (now - start) * LIST_COST_FACTOR)
            with self._changed:
                self._logins, self._is_listing, self._failure = logins, False, failure
                self._valid_until = now + seconds
                self._changed.notify_all()


def _index_by_word(accounts: Iterable[tuple[str, Account]]) -> Mapping[str, Sequence[str]]:
    """The keys of the accounts, with which ``Accounts.find`` finds them, by the words of their full names."""
    keys: dict[str, list[str]] = {}
    for key, account in accounts:
        for word in name_words(account.name):
            keys.setdefault(word, []).append(key)
    return keys


def _read_passwd(path: str) -> dict[str, Account]:
    """The accounts of a passwd(5) file; malformed lines are left to the name service."""
    accounts: dict[str, Account] = {}
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError:
        return accounts
    for line in lines:
        fields = line.split(b":")
        if len(fields) == 7 and fields[0][:1] not in _NOT_A_LOGIN and _is_uid(fields[2]):
            login, home = read_text(fields[0]), os.fsdecode(fields[5])
            accounts.setdefault(to_nfc(login), _build(login, int(fields[2]), fields[4], home, read_text(fields[6])))
    return accounts


def _is_uid(field: bytes) -> bool:
    return field.isdigit() and len(field) <= 10 and int(field) in UIDS


def _from_entry(entry: pwd.struct_passwd) -> Account | None:
    """An entry of the name service; None for a netgroup line, whose other fields are all empty."""
    login, gecos, shell = map(os.fsencode, (entry.pw_name, entry.pw_gecos or "", entry.pw_shell or ""))
    if login[:1] in _NOT_A_LOGIN:
        return None
    return _build(read_text(login), entry.pw_uid, gecos, entry.pw_dir or "", read_text(shell))


def _build(login: str, uid: int, gecos: bytes, home: str, shell: str) -> Account:
    return Account(login, uid, home, shell or DEFAULT_SHELL, *_split_gecos(login, gecos))


def _split_gecos(login: str, gecos: bytes) -> list[str]:
    """Full name, office, office phone and home phone; further fields are private and ignored.

    As in finger(1), ``&`` in the name stands for the capitalised login, and an asterisk before the name is skipped.
    """
    text = read_text(gecos)[:GECOS_CHARACTERS]
    name, *others = [*text.removeprefix("*").split(","), "", "", ""][:4]
    name = name.replace("&", login[:1].upper() + login[1:])[:GECOS_CHARACTERS]
    return [field.strip() for field in (name, *others)]
