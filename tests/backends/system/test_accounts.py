"""Accounts: what passwd holds, who of it may be told of, and what GECOS fields say."""

import pwd
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fingerd.backends.system import accounts
from fingerd.backends.system.accounts import Account, Accounts
from fingerd.backends.system.facts import leave_out
from fingerd.backends.system.name_service import everybody
from fingerd.errors import BackendError

Host = Callable[..., Accounts]
LATER = time.monotonic() + 3600


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Accounts of a passwd of the test's own, which is also all that the name service lists."""
    path = tmp_path / "passwd"
    monkeypatch.setattr(accounts, "everybody", lambda: _listed(path))

    def host(*lines: str | bytes, min_uid: int = 1000, also: tuple[str, ...] = ()) -> Accounts:
        path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
        return Accounts(min_uid, also, str(path))

    return host


def _listed(path: Path) -> Iterator[pwd.struct_passwd]:
    """The entries as the C library gives them: bytes that are no text as surrogates, what is missing as None."""
    for line in path.read_bytes().splitlines():
        fields = line.decode(errors="surrogateescape").split(":")
        name, _, uid, gid, *rest = fields if len(fields) == 7 else [fields[0], "", "0", "0", None, None, None]
        yield pwd.struct_passwd((name, "x", int(uid or 0), int(gid or 0), *rest))


GECOS = {
    "all fields": ("Ann Example,Room 7,555 12,555 34,other", ("Ann Example", "Room 7", "555 12", "555 34")),
    "empty": ("", ("", "", "", "")),
    "commas alone": (",,,,", ("", "", "", "")),
    "comma-rich": ("a,b,c,d,e,f,g,h", ("a", "b", "c", "d")),
    "blanks": (" Ann , Room 7 ,,", ("Ann", "Room 7", "", "")),
    "ampersand": ("& of the & family", ("Ann of the Ann family", "", "", "")),
    "asterisk": ("*Ann", ("Ann", "", "", "")),
    "UTF-8": ("Zoë 日本,Büro", ("Zoë 日本", "Büro", "", "")),
    "over-long": ("x" * 5000, ("x" * 1024, "", "", "")),
    "full of ampersands": ("&" * 1024, (("Ann" * 1024)[:1024], "", "", "")),
    "percent signs": ("%s%n{user}", ("%s%n{user}", "", "", "")),
}


@pytest.mark.parametrize(("gecos", "told"), GECOS.values(), ids=GECOS)
def test_gecos_fields(host: Host, gecos: str, told: tuple[str, ...]) -> None:
    account = host(f"ann:x:1001:1001:{gecos}:/home/ann:/bin/bash").find("ann")
    assert account == Account("ann", 1001, "/home/ann", "/bin/bash", *told)


def test_gecos_that_is_no_utf_8_is_read_as_latin_1_from_both_sources(host: Host) -> None:
    people = host(b"zoe:x:1001:1001:Zo\xeb Sch\xf6n:/home/zoe:")
    found = people.find("zoe")
    assert found is not None
    assert (found.name, found.shell) == ("Zoë Schön", "/bin/sh")
    assert list(people.called("schön", LATER)) == [found]


def test_a_netgroup_line_is_nobody_and_stops_nothing(host: Host) -> None:  # Debian's #547014
    people = host("+@operator", "+", "-mallory", "+eve:::::", "# comment", "", "half:x:10", "ann:x:1001:1001:Ann::")
    for login in ("+@operator", "+", "@operator", "-mallory", "mallory", "+eve", "eve", "# comment", "half", ""):
        assert people.find(login) is None
    assert [account.login for account in people.called("ann", LATER)] == ["ann"]


def test_who_is_no_person_is_not_told_of(host: Host) -> None:
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
    people = host(*(f"{login}:x:{uid}:100:Some Body:/home/{login}:/bin/sh" for login, uid in ids.items()))
    told = ["ann", "directory", "home"]
    assert [login for login in ids if people.find(login)] == told
    assert [account.login for account in people.called("body", LATER)] == told


def test_min_uid_and_also(host: Host) -> None:
    lines = ("root:x:0:0:Root::", "adm:x:3:3:::", "ann:x:1000:1:::", "bob:x:2000:1:::")
    people = host(*lines, min_uid=2000, also=("root", "absent"))
    assert [login for login in ("root", "adm", "ann", "bob", "absent") if people.find(login)] == ["root", "bob"]


def test_a_login_is_a_key(host: Host) -> None:
    people = host("ann:x:1001:1001:Ann::")
    for login in ("Ann", "ANN", "ann ", " ann", "ann:x", "an", "an*", "../ann", "ann\0", "ann\n", "1001", "\udcff"):
        assert people.find(login) is None, login


def test_long_logins_are_told_apart(host: Host) -> None:  # cfingerd's #24898 and #74672
    logins = ["a" * 8 + "b", "a" * 8 + "c", "a" * 32, "a" * 33, "ann@staff.example.org"]
    people = host(*(f"{login}:x:{1000 + number}:1:::" for number, login in enumerate(logins)))
    assert [getattr(people.find(login), "uid", None) for login in logins] == [1000, 1001, 1002, 1003, 1004]


def test_changes_are_seen_at_once(host: Host) -> None:
    people = host("ann:x:1001:1001:Ann::")
    assert people.find("bob") is None
    host("ann:x:1001:1001:Ann Smith::", "bob:x:1002:1002:::")
    assert people.find("bob")
    assert [account.login for account in people.called("smith", LATER)] == ["ann"]
    host("bob:x:1002:1002:::")
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
def test_real_names_are_found_by_whole_words(host: Host, name: str, logins: list[str]) -> None:
    people = host(
        "ann:x:1001:1:Ann Smith,Room 1::", "joe:x:1002:1:& Smith::", "smith:x:5:1:Smith::", "x:x:1003:1:Xen::"
    )
    assert [account.login for account in people.called(name, LATER)] == logins


def test_the_name_service_is_asked_for_who_is_not_in_the_file(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def directory(login: str) -> pwd.struct_passwd:
        asked.append(login)
        if login != "ldap":
            raise KeyError(login)
        return pwd.struct_passwd(("ldap", "x", 5000, 5000, None, None, None))

    monkeypatch.setattr(pwd, "getpwnam", directory)
    people = host("ann:x:1001:1001:Ann::")
    assert people.find("ldap") == Account("ldap", 5000, "", "/bin/sh")
    assert people.find("ldap")
    assert people.find("absent") is None
    assert people.find("ann")
    assert asked == ["ldap", "absent"]
    monkeypatch.setattr(accounts, "REMEMBERED_SECONDS", 0.0)
    people = host("ann:x:1001:1001:Ann::")
    for _ in range(2):
        assert people.find("ldap")
    assert asked == ["ldap", "absent", "ldap", "ldap"]


def test_what_is_remembered_is_bounded(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "MOST_REMEMBERED", 10)
    people = host()
    for number in range(25):
        assert people.find(f"absent{number}") is None
    assert len(people._remembered) <= 10


def test_who_is_hidden_costs_a_question_to_the_name_service_as_the_absent_do(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def nobody(login: str) -> pwd.struct_passwd:
        asked.append(login)
        raise KeyError(login)

    monkeypatch.setattr(pwd, "getpwnam", nobody)
    people = host("root:x:0:0:Root::")
    for login in ("root", "root", "absent", "absent"):
        assert people.find(login) is None
    assert [login[:6] for login in asked] == ["root" + asked[0][4:6], "absent"]


def test_without_the_file_the_name_service_is_all(tmp_path: Path) -> None:
    people = Accounts(0, (), str(tmp_path / "absent"))
    root = people.find("root")
    assert root is not None
    assert root.uid == 0


def test_passwd_is_read_once_however_many_are_asked_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    people = host(*(f"user{number}:x:{20000 + number}:1:User {number}::" for number in range(1000)))
    read: list[str] = []
    original = accounts._read_passwd

    def reading(path: str) -> dict[str, Account]:
        read.append(path)
        return original(path)

    monkeypatch.setattr(accounts, "_read_passwd", reading)
    assert all(people.find(f"user{number}") for number in range(1000))
    assert [account.login for account in people.called("7", LATER)] == ["user7"]
    assert len(read) == 1


def test_one_line_that_makes_no_sense_costs_nobody_else(host: Host) -> None:
    ids = ["9" * 5000, "99999999999999999999", "4294968296", "4294967295", "-5", "1e3", ""]
    people = host(*(f"odd{number}:x:{uid}:1:::" for number, uid in enumerate(ids)), "ann:x:1001:1:Ann::")
    assert people.find("ann")
    assert [people.find(f"odd{number}") for number in range(len(ids))] == [None] * len(ids)


def test_a_name_is_looked_for_among_those_whom_the_login_means(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """U20's #24904: a second line of a hidden account is not found by its name, and nobody is told twice."""
    people = host("ann:x:500:1:Ann Smith::", "ann:x:5000:1:Ann Smith::", "bob:x:5001:1:Bob Smith::")
    twice = [*_listed(Path(people._passwd)), *_listed(Path(people._passwd))]
    monkeypatch.setattr(accounts, "everybody", lambda: iter(twice))
    assert [account.login for account in people.called("smith", LATER)] == ["bob"]


def test_a_name_service_that_lists_slowly_holds_up_one_query_and_no_other(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slowly() -> Iterator[pwd.struct_passwd]:
        go_on.wait(30)
        yield pwd.struct_passwd(("root", "x", 0, 0, "Ann Far", "/root", "/bin/sh"))

    monkeypatch.setattr(accounts, "everybody", slowly)
    people = host("ann:x:1001:1001:Ann Near::", also=("root",))
    with pytest.raises(BackendError, match="did not list its accounts in time"):
        list(people.called("ann", time.monotonic() + 0.05))
    assert people.find("ann")
    go_on.set()
    found = [account.login for account in people.called("near", LATER)]
    assert found == ["ann"]
    assert people._elsewhere.logins(LATER) == {"ann": ["root"], "far": ["root"]}


def test_a_name_service_that_cannot_list_is_told_of_once(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Iterator[pwd.struct_passwd]:
        raise OSError("out of order")

    leave_out.cache_clear()
    monkeypatch.setattr(accounts, "everybody", broken)
    people = host("ann:x:1001:1001:Ann::")
    assert [account.login for account in people.called("ann", LATER)] == ["ann"]
    assert caplog.messages == ["real names of the name service left out: out of order"]


def test_everybody_is_whom_the_c_library_lists() -> None:
    assert [tuple(entry)[2:] for entry in everybody()] == [tuple(entry)[2:] for entry in pwd.getpwall()]
    assert [entry.pw_name for entry in everybody()] == [entry.pw_name for entry in pwd.getpwall()]
