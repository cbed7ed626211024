"""Accounts: passwd, the name service, which accounts are shown, and GECOS fields."""

import errno
import os
import pwd
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fingerd.backends.system import System, accounts
from fingerd.backends.system.accounts import Account, Accounts
from fingerd.backends.system.facts import warn_once
from fingerd.backends.system.name_service import iterate_accounts
from fingerd.errors import BackendError

MakeAccounts = Callable[..., Accounts]
LATER = time.monotonic() + 3600


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeAccounts:
    """Writes a passwd file, and makes Accounts of it; the name service lists the same accounts."""
    path = tmp_path / "passwd"
    monkeypatch.setattr(accounts, "iterate_accounts", lambda: _entries(path))

    def make(*lines: str | bytes, min_uid: int = 1000, also: tuple[str, ...] = ()) -> Accounts:
        path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
        return Accounts(min_uid, also, str(path))

    return make


def _entries(path: Path) -> Iterator[pwd.struct_passwd]:
    """The entries as the C library returns them: undecodable bytes as surrogates, missing fields as None."""
    for line in path.read_bytes().splitlines():
        fields = line.decode(errors="surrogateescape").split(":")
        name, _, uid, gid, *rest = fields if len(fields) == 7 else [fields[0], "", "0", "0", None, None, None]
        yield pwd.struct_passwd((name, "x", int(uid or 0), int(gid or 0), *rest))


GECOS = {
    "all fields": ("Ann Example,Room 7,555 12,555 34,other", ("Ann Example", "Room 7", "555 12", "555 34")),
    "empty": ("", ("", "", "", "")),
    "commas alone": (",,,,", ("", "", "", "")),
    "comma-rich": ("a,b,c,d,e,f,g,h", ("a", "b", "c", "d")),
    "spaces": (" Ann , Room 7 ,,", ("Ann", "Room 7", "", "")),
    "ampersand": ("& of the & family", ("Ann of the Ann family", "", "", "")),
    "asterisk": ("*Ann", ("Ann", "", "", "")),
    "UTF-8": ("Zoë 日本,Büro", ("Zoë 日本", "Büro", "", "")),
    "over-long": ("x" * 5000, ("x" * 1024, "", "", "")),
    "full of ampersands": ("&" * 1024, (("Ann" * 1024)[:1024], "", "", "")),
    "percent signs": ("%s%n{user}", ("%s%n{user}", "", "", "")),
}


@pytest.mark.parametrize(("gecos", "fields"), GECOS.values(), ids=GECOS)
def test_gecos_fields(make: MakeAccounts, gecos: str, fields: tuple[str, ...]) -> None:
    account = make(f"ann:x:1001:1001:{gecos}:/home/ann:/bin/bash").find("ann")
    assert account == Account("ann", 1001, "/home/ann", "/bin/bash", *fields)


def test_an_entry_that_is_not_utf_8_is_windows_1252_in_both_sources(
    make: MakeAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = b"zo\xeb:x:1001:1001:Zo\xeb O\x92Sch\xf6n,\x93Room\x94 \x81:/home/zo\xeb:/bin/\x80"
    people = make(line)
    found = people.find("zoë")
    assert found is not None
    assert (found.name, found.office, found.shell) == ("Zoë O’Schön", "“Room” ?", "/bin/€")
    assert list(people.find_by_name("zoë", LATER)) == [found]
    entries = list(_entries(Path(people._passwd)))
    monkeypatch.setattr(accounts, "iterate_accounts", lambda: iter(entries))
    monkeypatch.setattr(pwd, "getpwnam", {entry.pw_name: entry for entry in entries}.__getitem__)
    assert list(people.find_by_name("zoë", LATER)) == [found], "once, although the keys differ"
    without_passwd = make()
    assert list(without_passwd.find_by_name("zoë", LATER)) == [found]


def test_a_home_that_is_not_utf_8_is_shown_as_text() -> None:
    system = System(homes=False, sessions=False, last_login=False, mail=None)
    person = system._person(Account("zoe", 1001, os.fsdecode(b"/home/zo\xeb\x92s"), "/bin/sh"), True)
    assert person is not None
    assert person.directory == "/home/zoë’s"


def test_a_netgroup_line_is_not_an_account_and_breaks_nothing(make: MakeAccounts) -> None:  # Debian's #547014
    people = make("+@operator", "+", "-mallory", "+eve:::::", "# comment", "", "half:x:10", "ann:x:1001:1001:Ann::")
    for login in ("+@operator", "+", "@operator", "-mallory", "mallory", "+eve", "eve", "# comment", "half", ""):
        assert people.find(login) is None
    assert [account.login for account in people.find_by_name("ann", LATER)] == ["ann"]


def test_accounts_of_services_and_nobody_are_not_shown(make: MakeAccounts) -> None:
    ids = {
        "root": 0,
        "daemon": 999,
        "nobody": 65534,
        "renamed": 65534,
        "ann": 1000,
        "service": 61184,
        "dynamic": 65519,
        "none": 65535,
        "nfs": 4294967294,
        "directory": 200001,
        "home": 60001,
    }
    people = make(*(f"{login}:x:{uid}:100:Some Body:/home/{login}:/bin/sh" for login, uid in ids.items()))
    shown = ["ann", "directory", "home"]
    assert [login for login in ids if people.find(login)] == shown
    assert [account.login for account in people.find_by_name("body", LATER)] == shown


def test_min_uid_and_also(make: MakeAccounts) -> None:
    lines = ("root:x:0:0:Root::", "adm:x:3:3:::", "ann:x:1000:1:::", "bob:x:2000:1:::")
    people = make(*lines, min_uid=2000, also=("root", "absent"))
    assert [login for login in ("root", "adm", "ann", "bob", "absent") if people.find(login)] == ["root", "bob"]


def test_a_login_is_a_key(make: MakeAccounts) -> None:
    people = make("ann:x:1001:1001:Ann::")
    for login in ("Ann", "ANN", "ann ", " ann", "ann:x", "an", "an*", "../ann", "ann\0", "ann\n", "1001", "\udcff"):
        assert people.find(login) is None, login


def test_long_logins_are_distinguished(make: MakeAccounts) -> None:  # cfingerd's #24898 and #74672
    logins = ["a" * 8 + "b", "a" * 8 + "c", "a" * 32, "a" * 33, "ann@staff.example.org"]
    people = make(*(f"{login}:x:{1000 + number}:1:::" for number, login in enumerate(logins)))
    assert [getattr(people.find(login), "uid", None) for login in logins] == [1000, 1001, 1002, 1003, 1004]


def test_changes_of_passwd_are_seen_at_once(make: MakeAccounts) -> None:
    people = make("ann:x:1001:1001:Ann::")
    assert people.find("bob") is None
    make("ann:x:1001:1001:Ann Smith::", "bob:x:1002:1002:::")
    assert people.find("bob")
    assert [account.login for account in people.find_by_name("smith", LATER)] == ["ann"]
    make("bob:x:1002:1002:::")
    assert people.find("ann") is None


@pytest.mark.parametrize(
    ("name", "logins"),
    [
        ("smith", ["ann", "joe"]),
        ("SMITH", ["ann", "joe"]),
        ("ann smith", ["ann"]),
        ("smith, ann", ["ann"]),
        ("smi", []),
        ("ann.smith", []),
        ("ann", ["ann"]),
        (",", []),
        ("*", []),
        ("room", []),
    ],
)
def test_full_names_match_by_whole_words(make: MakeAccounts, name: str, logins: list[str]) -> None:
    people = make(
        "ann:x:1001:1:Ann Smith,Room 1::", "joe:x:1002:1:& Smith::", "smith:x:5:1:Smith::", "x:x:1003:1:Xen::"
    )
    assert [account.login for account in people.find_by_name(name, LATER)] == logins


def test_logins_that_are_not_in_passwd_are_looked_up_in_the_name_service(
    make: MakeAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[str] = []

    def directory(login: str) -> pwd.struct_passwd:
        queries.append(login)
        if login != "ldap":
            raise KeyError(login)
        return pwd.struct_passwd(("ldap", "x", 5000, 5000, None, None, None))

    monkeypatch.setattr(pwd, "getpwnam", directory)
    people = make("ann:x:1001:1001:Ann::")
    assert people.find("ldap") == Account("ldap", 5000, "", "/bin/sh")
    assert people.find("ldap")
    assert people.find("absent") is None
    assert people.find("ann")
    assert queries == ["ldap", "absent"]
    monkeypatch.setattr(accounts, "CACHE_SECONDS", 0.0)
    people = make("ann:x:1001:1001:Ann::")
    for _ in range(2):
        assert people.find("ldap")
    assert queries == ["ldap", "absent", "ldap", "ldap"]


@pytest.mark.parametrize("name", ["Alice", "ALICE", "alİce", "EXAMPLE\\alice", "alice@example.org", " alice", "alice "])
def test_another_spelling_that_the_name_service_takes_for_a_login_is_unknown(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = pwd.struct_passwd(("alice", "x", 5000, 5000, "Alice", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", lambda login: entry)  # as sssd without case_sensitive, and winbind
    accounts = Accounts(1000, (), str(tmp_path / "none"))
    assert accounts.find(name) is None
    account = accounts.find("alice")
    assert account is not None
    assert account.name == "Alice"


def test_the_cache_is_bounded(make: MakeAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "CACHE_ENTRIES_MAX", 10)
    people = make()
    for number in range(25):
        assert people.find(f"absent{number}") is None
    assert len(people._cache) <= 10


def test_a_hidden_login_costs_a_name_service_query_like_an_absent_one(
    make: MakeAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[str] = []

    def unknown(login: str) -> pwd.struct_passwd:
        queries.append(login)
        raise KeyError(login)

    monkeypatch.setattr(pwd, "getpwnam", unknown)
    people = make("root:x:0:0:Root::")
    for login in ("root", "root", "absent", "absent"):
        assert people.find(login) is None
    assert [login[:6] for login in queries] == ["root" + queries[0][4:6], "absent"]


def test_without_passwd_the_name_service_is_used(tmp_path: Path) -> None:
    people = Accounts(0, (), str(tmp_path / "absent"))
    root = people.find("root")
    assert root is not None
    assert root.uid == 0


def test_passwd_is_read_once_for_many_lookups(make: MakeAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    people = make(*(f"user{number}:x:{20000 + number}:1:User {number}::" for number in range(1000)))
    reads: list[str] = []
    original = accounts._read_passwd

    def reading(path: str) -> dict[str, Account]:
        reads.append(path)
        return original(path)

    monkeypatch.setattr(accounts, "_read_passwd", reading)
    assert all(people.find(f"user{number}") for number in range(1000))
    assert [account.login for account in people.find_by_name("7", LATER)] == ["user7"]
    assert len(reads) == 1


def test_malformed_lines_do_not_affect_others(make: MakeAccounts) -> None:
    ids = ["9" * 5000, "99999999999999999999", "4294968296", "4294967295", "-5", "1e3", ""]
    people = make(*(f"odd{number}:x:{uid}:1:::" for number, uid in enumerate(ids)), "ann:x:1001:1:Ann::")
    assert people.find("ann")
    assert [people.find(f"odd{number}") for number in range(len(ids))] == [None] * len(ids)


def test_a_name_search_returns_only_accounts_that_their_login_finds(
    make: MakeAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """U20's #24904: a second line of a hidden account is not found by its name, and no account is returned twice."""
    people = make("ann:x:500:1:Ann Smith::", "ann:x:5000:1:Ann Smith::", "bob:x:5001:1:Bob Smith::")
    twice = [*_entries(Path(people._passwd)), *_entries(Path(people._passwd))]
    monkeypatch.setattr(accounts, "iterate_accounts", lambda: iter(twice))
    assert [account.login for account in people.find_by_name("smith", LATER)] == ["bob"]


def test_a_slow_listing_delays_one_search_and_no_other_lookup(
    make: MakeAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = threading.Event()

    def slowly() -> Iterator[pwd.struct_passwd]:
        finish.wait(30)
        yield pwd.struct_passwd(("root", "x", 0, 0, "Ann Far", "/root", "/bin/sh"))

    monkeypatch.setattr(accounts, "iterate_accounts", slowly)
    people = make("ann:x:1001:1001:Ann Near::", also=("root",))
    with pytest.raises(BackendError, match="did not list its accounts in time"):
        list(people.find_by_name("ann", time.monotonic() + 0.05))
    assert people.find("ann")
    finish.set()
    found = [account.login for account in people.find_by_name("near", LATER)]
    assert found == ["ann"]
    assert people._name_service.logins(LATER) == {"ann": ["root"], "far": ["root"]}


def test_a_failed_listing_is_logged_once(
    make: MakeAccounts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Iterator[pwd.struct_passwd]:
        raise OSError("out of order")

    warn_once.cache_clear()
    monkeypatch.setattr(accounts, "iterate_accounts", broken)
    people = make("ann:x:1001:1001:Ann::")
    assert [account.login for account in people.find_by_name("ann", LATER)] == ["ann"]
    assert caplog.messages == ["full names of the name service unavailable: out of order"]


@pytest.mark.parametrize(
    ("error", "cause"),
    {
        "no memory": (MemoryError(), "MemoryError"),
        "no memory in the C library": (OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate memory"),
        "a bug": (ZeroDivisionError(), "ZeroDivisionError"),
        "an end": (SystemExit(), "SystemExit"),
    }.values(),
)
def test_a_listing_that_ends_by_an_exception_is_a_failure_that_is_retried(
    make: MakeAccounts, monkeypatch: pytest.MonkeyPatch, error: BaseException, cause: str
) -> None:
    def broken() -> Iterator[pwd.struct_passwd]:
        raise error

    people = make("ann:x:1001:1001:Ann::")
    monkeypatch.setattr(accounts, "iterate_accounts", broken)
    for _ in range(2):  # the second is answered at once
        with pytest.raises(BackendError, match=f"^system: the name service cannot list its accounts: {cause}$"):
            list(people.find_by_name("ann", LATER))
    monkeypatch.setattr(accounts, "iterate_accounts", lambda: _entries(Path(people._passwd)))
    monkeypatch.setattr(people._name_service, "_valid_until", 0.0)
    assert [account.login for account in people.find_by_name("ann", LATER)] == ["ann"]


def test_iterate_accounts_returns_what_getpwall_returns() -> None:
    assert [tuple(entry)[2:] for entry in iterate_accounts()] == [tuple(entry)[2:] for entry in pwd.getpwall()]
    assert [entry.pw_name for entry in iterate_accounts()] == [entry.pw_name for entry in pwd.getpwall()]


@pytest.mark.parametrize("stored", ["rené", "rene\u0301"])
def test_a_login_is_found_in_all_its_spellings(make: MakeAccounts, stored: str) -> None:
    found = make(f"{stored}:x:1001:1001::/home/r:/bin/sh", "bob:x:1002:1002::/home/bob:/bin/sh")
    for login in ("rené", "rene\u0301"):
        account = found.find(login)
        assert account is not None
        assert account.login == stored  # as the system's other files spell it
    assert found.find("rene") is None


@pytest.mark.parametrize("stored", ["rené", "rene\u0301"])
def test_also_shows_a_login_in_all_its_spellings(make: MakeAccounts, stored: str) -> None:
    line = f"{stored}:x:999:999::/home/r:/bin/sh"
    for login in ("rené", "rene\u0301"):
        assert make(line, also=(login,)).find(login)
        assert make(line).find(login) is None


@pytest.mark.parametrize("stored", ["rené", "rene\u0301"])
def test_the_name_service_is_asked_for_both_spellings(
    make: MakeAccounts, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    def getpwnam(login: str) -> pwd.struct_passwd:
        if login != stored:
            raise KeyError(login)
        return pwd.struct_passwd((stored, "x", 1001, 1001, "", "/home/r", "/bin/sh"))

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    for login in ("rené", "rene\u0301"):
        assert make().find(login)
