"""``type: ldap`` with a real slapd: encrypted, limited, frozen, killed, restarted; and with misbehaving servers."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ldap3", reason="needs ldap3 (pip install ldap3)")

from fingerd.backends import Lookup
from fingerd.backends.ldap import MAX_MATCHES, Ldap
from fingerd.config.system_options import Secret
from fingerd.errors import BackendError, ConfigError
from fingerd.people import Person
from fingerd.protocol.reply import INTERNAL_ERROR
from fingerd.settings import load_config
from tests.conftest import Start
from tests.helpers.daemons import EXAMPLES, FINGERD, ROOT, Daemon, ask, descriptors, status, wait_until
from tests.helpers.requirements import need
from tests.helpers.slapd import PASSWORD, READER, SUFFIX, Slapd, make_authority, needs_slapd

MEMBERS = 2100
UNUSUAL = f"""
dn: uid=odd,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: odd
uid: second
cn:: T2Rk4oCu
cn: Another Name
sn: Odd
title: one
title: two
description: first line
description: second line
jpegPhoto:: /9j/AAECA4D/
physicalDeliveryOfficeName: The back door

dn: uid=a*b(c)\\5Cd,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: a*b(c)\\d
cn: Star Bracket
sn: Bracket

dn: cn=nologin,ou=people,{SUFFIX}
objectClass: inetOrgPerson
cn: Nologin Marrowby
sn: Marrowby
mail: nologin@example.org

dn: ou=closed,{SUFFIX}
objectClass: organizationalUnit
ou: closed

dn: ou=elsewhere,{SUFFIX}
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:1/ou=elsewhere,{SUFFIX}

dn: uid=mary ann,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: mary ann
cn: Mary Ann
sn: exact

dn: uid=first,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: first
cn: First
sn: exact

dn: uid=exact,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: exact
cn: Exact
sn: Other

dn: ou=members,{SUFFIX}
objectClass: organizationalUnit
ou: members
"""


def ldif() -> str:
    """The LDIF of the example, of unusual entries, and of many members."""
    members = "\n".join(
        f"dn: uid=u{number},ou=members,{SUFFIX}\nobjectClass: inetOrgPerson\n"
        f"uid: u{number}\ncn: Member {number}\nsn: x\n"
        for number in range(MEMBERS)
    )
    return f"{(EXAMPLES / 'ldap' / 'people.ldif').read_text()}{UNUSUAL}\n{members}"


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    server = Slapd(tmp_path_factory.mktemp("slapd"), ldif())
    yield server
    server.stop()


@pytest.fixture
def own_slapd(tmp_path: Path) -> Iterator[Slapd]:
    """A server that the test may stop."""
    server = Slapd(tmp_path / "slapd", (EXAMPLES / "ldap" / "people.ldif").read_text())
    yield server
    server.stop()


Make = Callable[..., Ldap]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes backends, and closes them; no descriptor may stay open."""
    before = descriptors(os.getpid())
    made: list[Ldap] = []

    def make(*urls: str, **options: Any) -> Ldap:
        made.append(Ldap(urls, **{"base": SUFFIX, "timeout": 5.0, **options}))
        return made[-1]

    yield make
    gc.disable()  # a collection would also close them
    try:
        for backend in made:
            backend.close()
        wait_until(lambda: descriptors(os.getpid()) <= before)
    finally:
        gc.enable()


def lookup(username: str, seconds: float = 10, by_name: bool = False) -> Lookup:
    return Lookup(username, False, "192.0.2.1", time.monotonic() + seconds, by_name)


def find(backend: Ldap, username: str, seconds: float = 10, by_name: bool = False) -> list[Person]:
    return list(backend.find(lookup(username, seconds, by_name)))


def list_users(backend: Ldap, seconds: float = 10) -> Iterator[Person]:
    people = backend.list_users(lookup("", seconds))
    assert people is not None
    return people


BRINDLE = Person(
    "brindle",
    name="Brindle Oakenshaw",
    office="Kiln house",
    office_phone="555-0101",
    job="potter",
    directory="/home/brindle",
    shell="/bin/sh",
    plan="",
)


# Entries


@needs_slapd
def test_an_entry_is_a_person(slapd: Slapd, make: Make) -> None:
    assert find(make(slapd.ldap), "brindle") == [BRINDLE]
    assert find(make(slapd.ldap), "nobody") == []


@needs_slapd
def test_the_first_attribute_that_an_entry_has_is_used(slapd: Slapd, make: Make) -> None:
    fields = {
        "plan": ("info", "DESCRIPTION"),
        "office": (),
        "timezone": ("preferredLanguage", "title"),
        "name": ("cn",),
    }
    (odd,) = find(make(slapd.ldap, fields=fields), "second")
    assert (odd.login, odd.name, odd.office, odd.job) == ("odd", "Odd\u202e", "", "one, two")
    assert (odd.timezone, odd.plan) == ("one, two", "first line\nsecond line")
    (odd,) = find(make(slapd.ldap), "odd")
    assert odd.office == "The back door"
    (odd,) = find(make(slapd.ldap, fields={"plan": ("jpegPhoto",)}), "odd")
    assert odd.plan == b"\xff\xd8\xff\xe0\x00\x10JFIF"[:3].decode("latin-1") + "\x00\x01\x02\x03\x80\xff"


@needs_slapd
def test_filter_base_and_scope_select_the_entries(slapd: Slapd, make: Make) -> None:
    people = f"ou=people,{SUFFIX}"
    assert find(make(slapd.ldap, filter="(mail={user}@example.org)"), "zoe")[0].name == "Zoë Marrowby"
    assert find(make(slapd.ldap, filter="(mail={user}@example.org)"), "nologin")[0].login == "nologin"
    assert [person.login for person in find(make(slapd.ldap, filter="(|(uid={user})(sn={user}))"), "marrowby")] == [
        "zoe",
        "tansy",
        "marrowby",  # its entry has no login, so the username is used
    ]
    assert find(make(slapd.ldap, scope="one"), "brindle") == []
    assert find(make(slapd.ldap, scope="one", base=people), "brindle") == [BRINDLE]
    assert find(make(slapd.ldap, scope="base", base=f"uid=brindle,{people}"), "brindle") == [BRINDLE]
    assert find(make(slapd.ldap, filter="(uid:caseExactMatch:={user})"), "brindle") == [BRINDLE]


@needs_slapd
@pytest.mark.parametrize("rule", ["(uid={user})", "(|(uid={user})(mail={user}@example.org))"])
def test_a_login_is_found_by_its_exact_spelling_only(slapd: Slapd, make: Make, rule: str) -> None:
    backend = make(slapd.ldap, filter=rule)
    for name in ("ZOE", "Zoe", "\uff5a\uff4f\uff45", "zoe ", " zoe"):  # equal to the server
        assert find(backend, name) == [], name
    assert [find(backend, name) for name in ("mary  ann", "MARY ANN")] == [[], []]
    names = ("zoe", "odd", "second", "mary ann")
    assert [find(backend, name)[0].login for name in names] == ["zoe", "odd", "odd", "mary ann"]


@needs_slapd
def test_the_exact_login_comes_first(slapd: Slapd, make: Make) -> None:
    found = find(make(slapd.ldap, filter="(|(sn={user})(uid={user}))"), "exact")
    assert [person.login for person in found] == ["exact", "mary ann", "first"]


@needs_slapd
def test_at_most_100_people_are_found(slapd: Slapd, make: Make) -> None:
    assert len(find(make(slapd.ldap, filter="(|(uid={user})(sn={user}))"), "x")) == MAX_MATCHES
    named = make(slapd.ldap, name_filter="(cn=*{word}*)")
    assert len(find(named, "member", by_name=True)) == MAX_MATCHES


@needs_slapd
def test_name_filter_finds_parts_of_names(slapd: Slapd, make: Make) -> None:
    backend = make(slapd.ldap, name_filter="(cn=*{word}*)")
    assert backend.searches_names
    assert not make(slapd.ldap).searches_names
    for name in ("oakenshaw", "OAKENSHAW brindle", "brindle"):
        assert find(backend, name, by_name=True) == [BRINDLE]
        assert find(backend, name) == ([BRINDLE] if name == "brindle" else [])
    assert [person.login for person in find(backend, "marrowby", by_name=True)] == ["zoe", "tansy"]
    for name in ("oaken", "oakenshaw nobody", "*", "oakenshaw)(cn=*", "\\2a", "o" * 2000):
        assert find(backend, name, by_name=True) == []
    assert find(make(slapd.ldap), "oakenshaw", by_name=True) == []


@needs_slapd
def test_a_list_is_read_in_pages(slapd: Slapd, make: Make) -> None:
    backend = make(slapd.ldap, list_filter="(uid=*)")
    people = list(list_users(backend))
    assert len({person.login for person in people}) == len(people) == MEMBERS + 8
    assert replace(BRINDLE, directory="", shell="") in people
    few = list_users(backend)  # a list that is not read to its end
    assert [next(few).login for _ in range(3)]
    few.close()  # type: ignore[attr-defined]
    assert len(list(list_users(backend))) == MEMBERS + 8
    assert make(slapd.ldap).list_users(lookup("")) is None


@needs_slapd
def test_a_list_cut_by_the_server_or_the_deadline_fails(slapd: Slapd, make: Make, tmp_path: Path) -> None:
    limited = Slapd(tmp_path / "limited", ldif(), "sizelimit size.soft=300 size.hard=300 size.prtotal=300")
    try:
        backend = make(limited.ldap, list_filter="(uid=*)", name_filter="(cn=*{word}*)")
        assert find(backend, "m", by_name=True) == []  # the first entries only
        assert len(find(backend, "member", by_name=True)) == MAX_MATCHES
        people = list_users(backend)
        next(people)
        with pytest.raises(BackendError, match=r"^ldap ldap://127\.0\.0\.1:\d+: sizeLimitExceeded$"):
            list(people)
    finally:
        limited.stop()
    slow = list_users(make(slapd.ldap, list_filter="(uid=*)"), seconds=0.5)
    next(slow)
    time.sleep(0.6)
    with pytest.raises(BackendError, match=r": not done in time$"):
        list(slow)


@needs_slapd
@pytest.mark.parametrize("how", ["ldaps", "starttls", "localhost", "unverified", "ldapi"])
def test_every_type_of_connection_finds_the_same(slapd: Slapd, make: Make, how: str) -> None:
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "ldaps": (slapd.ldaps, {"ca_file": str(slapd.ca)}),
        "starttls": (slapd.ldap, {"ca_file": str(slapd.ca), "starttls": True}),
        "localhost": (f"ldaps://localhost:{slapd.tls_port}/", {"ca_file": str(slapd.ca)}),
        "unverified": (f"ldaps://127.0.0.2:{slapd.tls_port}", {"verify": False}),
        "ldapi": (slapd.ldapi, {"starttls": False}),
    }
    url, options = ways[how]
    backend = make(url, **options)
    assert [find(backend, "brindle") for _ in range(3)] == [[BRINDLE]] * 3
    as_reader = make(url, **options, bind_dn=READER, password_file=Secret(PASSWORD))
    assert find(as_reader, "brindle")[0].home_phone == "555-0102"
    if how == "ldapi":
        assert find(make(url.replace("/", "%2F").replace("ldapi:%2F%2F", "ldapi://")), "brindle") == [BRINDLE]


@needs_slapd
def test_an_invalid_certificate_is_a_failure(slapd: Slapd, make: Make, tmp_path: Path) -> None:
    make_authority(tmp_path)
    other = {"ca_file": str(tmp_path / "ca.pem")}
    for backend in (make(slapd.ldaps, **other), make(slapd.ldap, starttls=True, **other), make(slapd.ldaps)):
        with pytest.raises(BackendError, match=r"^ldap ldaps?://127\.0\.0\.1:\d+: its certificate is not good: "):
            find(backend, "brindle")
    with pytest.raises(BackendError, match=r"IP address mismatch, certificate is not valid for '127\.0\.0\.2'"):
        find(make(f"ldaps://127.0.0.2:{slapd.tls_port}", ca_file=str(slapd.ca)), "brindle")


@needs_slapd
def test_the_refusal_of_a_server_is_a_failure_with_its_result_code(slapd: Slapd, make: Make) -> None:
    wrong = make(slapd.ldap, bind_dn=READER, password_file=Secret("wr0ng"))
    with pytest.raises(BackendError, match=r"^ldap ldap://127\.0\.0\.1:\d+: invalidCredentials$") as caught:
        find(wrong, "brindle")
    assert "wr0ng" not in f"{caught.value!r} {caught.value.__cause__!r} {wrong!r}"
    for base in ("ou=nowhere,dc=example,dc=org", f"ou=closed,{SUFFIX}"):
        with pytest.raises(BackendError, match=r": noSuchObject$"):
            find(make(slapd.ldap, base=base), "brindle")
    with pytest.raises(BackendError, match=r": referral$"):  # and is not followed
        find(make(slapd.ldap, base=f"ou=elsewhere,{SUFFIX}"), "brindle")


# Names

HOSTILE = [
    "*",
    "b*",
    "(uid=*)",
    "*)(uid=*",
    ")(|(uid=*",
    "*)(|(objectClass=*)",
    "brindle)(uid=*",
    "brindle)(|(uid=brindle",
    "\\2a",
    "\\",
    "brindle\\",
    "\\00",
    "\\62rindle",
    "brindle\\00x",
    "uid=brindle",
    "&",
    "!(uid=nobody)",
    "{user}",
    "{word}",
    "' OR 1=1 --",
    "-l",
    "..",
    "a/b",
    "%2a",
    "$(id)",
    "${jndi:ldap://x/a}",
    "Zoé",
    "日本",
    "\u0430lice",
    "\u202e",
    "\udcff",
    "brindle\udcff",
    "brindle\0(uid=*",
    "",
    " ",
    "x" * 1024,
    "x" * 500_000,
    b"\xff\xfe\xe4".decode("latin-1"),
]


@needs_slapd
@pytest.mark.parametrize("by_name", [False, True], ids=["login", "name"])
@pytest.mark.parametrize("rule", ["(uid={user})", "(|(uid={user})(cn={user}))", "(uid:caseExactMatch:={user})"])
def test_a_username_is_only_a_value(slapd: Slapd, make: Make, rule: str, by_name: bool) -> None:
    backend = make(slapd.ldap, filter=rule, name_filter="(cn=*{word}*)")
    for name in HOSTILE:
        assert find(backend, name, by_name=by_name) == [], name
    (star,) = find(backend, "a*b(c)\\d", by_name=by_name)
    assert star.name == "Star Bracket"


# Failing servers


@contextmanager
def bad_server(behave: Callable[[socket.socket], object]) -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that treats every client so: its URL, and the clients' sockets."""
    seen: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            seen.append(client)
            threading.Thread(target=work, args=(client,), daemon=True).start()

    def work(client: socket.socket) -> None:
        with suppress(OSError):
            behave(client)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"ldap://127.0.0.1:{server.getsockname()[1]}", seen
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in seen:
                client.close()


def silent(_: socket.socket) -> None:
    """Never sends anything."""


def drip(client: socket.socket) -> None:
    """Sends a response byte by byte."""
    for byte in b"\x30\x84\x00\x00\x10\x00\x02\x01\x02" + b"\0" * 4000:
        client.sendall(bytes([byte]))
        time.sleep(0.05)


def flood(client: socket.socket) -> None:
    """Sends a response of four gigabytes."""
    client.recv(1000)
    client.sendall(b"\x30\x84\xff\xff\xff\xff")
    while True:
        client.sendall(b"x" * 100_000)


def garbled(client: socket.socket) -> None:
    """Sends a malformed response."""
    client.recv(1000)
    client.sendall(b"\x30\x0a\x02\x01\x01" + b"\xff" * 7)


def other_protocol(client: socket.socket) -> None:
    """Speaks another protocol."""
    client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)


BAD = {
    "silent": (silent, "not done in time"),
    "drip": (drip, "not done in time"),
    "flood": (flood, "an answer of more than 2 MiB"),
    "garbled": (garbled, "malformed response ("),
    "other protocol": (other_protocol, ""),
    "hangs up": (socket.socket.close, ""),
}


@pytest.mark.parametrize(("behave", "cause"), BAD.values(), ids=BAD)
def test_a_misbehaving_server_fails_by_the_deadline(
    make: Make, behave: Callable[[socket.socket], object], cause: str
) -> None:
    for options in ({}, {"starttls": True}, {"bind_dn": "cn=x", "password_file": Secret("s3cret")}):
        with bad_server(behave) as (url, _):
            started = time.monotonic()
            with pytest.raises(BackendError) as caught:
                find(make(url, timeout=0.4 if behave in (silent, drip, other_protocol) else 10.0, **options), "brindle")
            assert str(caught.value).startswith(f"ldap {url}: {cause}")
            assert "s3cret" not in str(caught.value)
            assert time.monotonic() - started < 9


def test_a_misbehaving_tls_server_fails_by_the_deadline(make: Make) -> None:
    for behave in (silent, drip, other_protocol):
        with bad_server(behave) as (url, _):
            with pytest.raises(BackendError, match=r"^ldap ldaps://"):
                find(make(url.replace("ldap:", "ldaps:"), timeout=0.4), "brindle")


def test_a_search_is_limited_by_the_deadline_of_the_lookup(make: Make) -> None:
    with bad_server(silent) as (url, seen):
        backend = make(url)
        with pytest.raises(BackendError, match="not done in time"):
            find(backend, "brindle", seconds=0.3)
        assert len(seen) == 1
        with pytest.raises(BackendError, match="not done in time"):
            find(backend, "brindle", seconds=-1)
        assert len(seen) == 1


def test_an_unreachable_server_is_a_failure(make: Make, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"^ldap ldap://127\.0\.0\.1:1: Connection refused$"):
        find(make("ldap://127.0.0.1:1"), "brindle")
    with pytest.raises(BackendError, match=r"^ldap ldapi:///.*/none: No such file or directory$"):
        find(make(f"ldapi://{tmp_path}/none"), "brindle")
    with pytest.raises(BackendError, match=r"^ldap ldap://nowhere\.invalid: "):
        find(make("ldap://nowhere.invalid"), "brindle")
    with pytest.raises(BackendError, match=r"^ldap ldap://\[::1\]:1: "):
        find(make("ldap://[::1]:1"), "brindle")


# Looks up a user twice where the name server never answers.
SILENT_NAME_SERVER = """
mount --bind {directory}/resolv.conf /etc/resolv.conf && ip link set lo up && exec {python} - <<.
import socket, time
from fingerd.backends import Lookup, load_type
from fingerd.errors import BackendError
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
backend = load_type("{type}")(**{options})
for name in range(2):
    started = time.monotonic()
    try:
        backend.find(Lookup("brindle", False, "unix", started + 5))
    except BackendError as error:
        print(error, time.monotonic() - started < 4)
assert server.recv(1000)
.
"""
UNRESOLVABLE = {
    "ldap": ({"url": ("ldap://ldap.example.org",), "base": "", "timeout": 0.4}, "ldap ldap://ldap.example.org: "),
    "sql": (
        {"url": "postgresql://u@db.example.org/db", "query": "SELECT :user AS login", "timeout": 0.4},
        "sql postgresql://db.example.org/db: db.example.org: ",
    ),
}


@pytest.mark.root
@pytest.mark.parametrize(("kind", "how"), UNRESOLVABLE.items(), ids=UNRESOLVABLE)
def test_a_silent_name_server_fails_by_the_deadline(kind: str, how: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    need("namespaces", "ip")
    if kind == "sql":
        pytest.importorskip("psycopg2", reason="needs psycopg2 (pip install psycopg2-binary)")
    options, cause = how
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    script = SILENT_NAME_SERVER.format(directory=tmp_path, python=sys.executable, type=kind, options=options)
    command = ["unshare", "--net", "--mount", "sh", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (result.stderr, result.stdout) == ("", f"{cause}not done in time True\n" * 2)


@needs_slapd
def test_servers_that_are_down_are_skipped(slapd: Slapd, make: Make) -> None:
    with bad_server(silent) as (url, seen):
        backend = make("ldap://127.0.0.1:1", url, slapd.ldap, timeout=1.5)
        assert [find(backend, "brindle") for _ in range(5)] == [[BRINDLE]] * 5
        assert len(seen) == 1
    both = make("ldap://127.0.0.1:1", "ldap://[::1]:1")
    with pytest.raises(BackendError, match=r"^ldap ldap://127\.0\.0\.1:1: .*; ldap ldap://\[::1\]:1: "):
        find(both, "brindle")


@needs_slapd
def test_encrypted_and_unencrypted_servers_can_be_mixed(slapd: Slapd, make: Make, tmp_path: Path) -> None:
    make_authority(tmp_path)
    backend = make(slapd.ldaps, slapd.ldap, ca_file=str(tmp_path / "ca.pem"))  # the second has no certificate to check
    assert find(backend, "brindle") == [BRINDLE]


@needs_slapd
def test_a_server_that_was_down_is_tried_again(
    own_slapd: Slapd, slapd: Slapd, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fingerd.backends.ldap.pool.DOWN_SECONDS", 0.1)
    backend = make(own_slapd.ldap, slapd.ldap)
    assert find(backend, "u7") == []
    own_slapd.stop()
    assert [person.login for person in find(backend, "u7")] == ["u7"]
    own_slapd.start()
    wait_until(lambda: find(backend, "u7") == [])


@needs_slapd
def test_connections_are_reused_and_replaced(own_slapd: Slapd, make: Make) -> None:
    before = descriptors(os.getpid())
    backend = make(own_slapd.ldap)
    assert descriptors(os.getpid()) == before  # none is made before a lookup
    assert [find(backend, "brindle") for _ in range(5)] == [[BRINDLE]] * 5
    assert descriptors(os.getpid()) == before + 1
    own_slapd.stop()
    with pytest.raises(BackendError, match="Connection refused"):
        find(backend, "brindle")
    assert descriptors(os.getpid()) == before
    own_slapd.start()
    assert find(backend, "brindle") == [BRINDLE]
    own_slapd.stop()
    own_slapd.start()  # the idle connection is broken
    assert find(backend, "brindle") == [BRINDLE]
    backend.close()
    assert descriptors(os.getpid()) == before


@needs_slapd
def test_waiting_for_a_free_connection_has_a_deadline(slapd: Slapd, make: Make) -> None:
    backend = make(slapd.ldap, list_filter="(uid=*)", connections=1, timeout=0.3)
    people = list_users(backend)
    next(people)
    with pytest.raises(BackendError, match=r"^ldap: no connection was free in time$"):
        find(backend, "brindle")
    people.close()  # type: ignore[attr-defined]
    assert find(backend, "brindle") == [BRINDLE]


@needs_slapd
def test_a_connection_returned_after_close_is_closed(slapd: Slapd, make: Make) -> None:
    before = descriptors(os.getpid())
    backend = make(slapd.ldap, list_filter="(uid=brindle)")
    running = list_users(backend)
    next(running)
    backend.close()
    assert descriptors(os.getpid()) == before + 1
    assert list(running) == []
    assert descriptors(os.getpid()) == before


@needs_slapd
def test_32_threads_search_concurrently(slapd: Slapd, make: Make) -> None:
    backend = make(slapd.ldap, connections=8, timeout=20.0)
    wrong: list[object] = []

    def work(first: int) -> None:
        for number in range(first, first + 10):
            try:
                found = [(person.login, person.name) for person in find(backend, f"u{number}", seconds=30)]
            except Exception as error:
                found = [("", repr(error))]
            if found != [(f"u{number}", f"Member {number}")]:
                wrong.append((number, found))

    threads = [threading.Thread(target=work, args=(10 * number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@needs_slapd
def test_lookups_import_nothing(slapd: Slapd) -> None:
    code = """if True:
        import sys, time
        from fingerd.backends import Lookup, load_type
        plain, tls, ca = sys.argv[1:]
        backends = [load_type("ldap")(url=(url,), base="dc=example,dc=org", ca_file=ca if url == tls else None,
                    list_filter="(uid=brindle)", name_filter="(cn=*{word}*)")
                    for url in (plain, tls, plain.replace("127.0.0.1", "localhost"), "ldap://127.0.0.1:1")]
        class Refuse:
            def find_spec(self, name, *_):
                sys.exit(f"late import of {name}")
        sys.meta_path.insert(0, Refuse())
        for backend in backends:
            try:
                for name in ("Zo\\u00eb", "brindle", "oakenshaw"):
                    lookup = Lookup(name, False, "unix", time.monotonic() + 5, True)
                    print(len(backend.find(lookup)), end=" ")
                print(len(list(backend.list_users(lookup))))
            except Exception as error:
                print(type(error).__name__)
            backend.close()
        del sys.meta_path[0]
    """
    command = [sys.executable, "-c", code, slapd.ldap, slapd.ldaps, str(slapd.ca)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "1 1 1 1\n" * 3 + "ConnectionLostError\n", "")


CONFIG = """\
listen: "127.0.0.1:0"
backend:
  type: ldap
  url: {url}
  base: dc=example,dc=org
  timeout: 1
policy: [{{from: any, show: everything}}]
limits: {{answer_seconds: 4, per_client: 1000, threads: 12}}
"""


def answers_around(daemon: Daemon, seconds: float, event: Callable[[], object]) -> list[bytes]:
    """The answers to eight clients that send queries one after the other, before, during and after an event."""
    answers: list[bytes] = []
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            answers.append(ask(daemon.address, b"brindle\r\n"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    event()
    time.sleep(seconds)
    end.set()
    for thread in threads:
        thread.join()
    return answers


@needs_slapd
def test_a_restart_of_the_server_causes_errors_but_no_leaks(own_slapd: Slapd, start: Start) -> None:
    daemon = start(CONFIG.format(url=own_slapd.ldap))
    pid = daemon.process.pid
    threads = int(status(pid, "Threads")[0])
    good = daemon.ask(b"brindle\r\n")
    assert b"Brindle Oakenshaw" in good
    failed = f"{INTERNAL_ERROR}\r\n".encode()
    assert set(answers_around(daemon, 0.3, lambda: None)) == {good}
    before = descriptors(pid)

    assert set(answers_around(daemon, 0.3, own_slapd.stop)) == {good, failed}
    assert set(answers_around(daemon, 0.2, lambda: None)) == {failed}
    answers = answers_around(daemon, 0.3, own_slapd.start)
    assert (answers[0], answers[-1]) == (failed, good)

    own_slapd.send(signal.SIGSTOP)  # it accepts connections, but never answers
    assert set(answers_around(daemon, 0.3, lambda: None)) <= {good, failed}
    assert daemon.ask(b"brindle\r\n") == failed
    own_slapd.send(signal.SIGCONT)
    wait_until(lambda: daemon.ask(b"brindle\r\n") == good)
    assert set(answers_around(daemon, 0.3, lambda: None)) == {good}

    wait_until(lambda: descriptors(pid) <= before + 8)  # an idle connection for each concurrent client
    assert int(status(pid, "Threads")[0]) <= threads + 12
    own_slapd.stop()
    assert daemon.ask(b"brindle\r\n") == failed
    wait_until(lambda: descriptors(pid) <= before)
    assert daemon.stop() == 0
    assert any("backend failed: ldap ldap://" in line and "Connection refused" in line for line in daemon.log)
    assert not any("Traceback" in line for line in daemon.log)


@needs_slapd
@pytest.mark.root
def test_it_works_in_an_empty_chroot_without_its_certificates_and_password(
    slapd: Slapd, start: Start, tmp_path: Path
) -> None:
    chroot, password = tmp_path / "jail", tmp_path / "password"
    chroot.mkdir()
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    options = f"  ca_file: {slapd.ca}\n  bind_dn: {READER}\n  password_file: {password}\n"
    config = CONFIG.format(url=slapd.ldaps).replace("  timeout: 1\n", options)
    daemon = start(f"{config}process: {{user: nobody, chroot: {chroot}}}\n")
    assert b"555-0102" in daemon.ask(b"brindle\r\n")
    daemon.stop()
    assert PASSWORD not in "".join(daemon.log)


# Options


def test_a_missing_library_is_reported_with_its_packages(tmp_path: Path) -> None:
    (tmp_path / "ldap3.py").write_text("raise ModuleNotFoundError(\"No module named 'ldap3'\")\n")
    config = tmp_path / "fingerd.yaml"
    config.write_text("backend:\n  type: ldap\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    command = [*FINGERD, "--check", "-c", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})
    assert (result.returncode, result.stderr) == (
        78,
        f"{config}:2:9: backend.type: the backend ldap needs something that is not installed: "
        "No module named 'ldap3' (pip install 'fingerd[ldap]', or Debian's python3-ldap3)\n",
    )


PROBLEMS = {
    "no server": ("url: []", "backend.url: is empty: give at least one server"),
    "no base": ("base: x=y\n  bas: x", "backend.bas: unknown option (did you mean base?)"),
    "scheme": ("url: http://a", "backend.url: must begin with ldap://, ldaps:// or ldapi://"),
    "user": ("url: ldap://u:s3cret@a", "backend.url: must not contain a user: use bind_dn and password_file"),
    "search": (
        "url: ldap://a/dc=x",
        "backend.url: must be a host with an optional port, as in ldap://ldap.example.org",
    ),
    "question": ("url: ldap://a?cn", "backend.url: must end after the host and the port"),
    "no host": (
        'url: "ldap://:389"',
        "backend.url: must be a host with an optional port, as in ldap://ldap.example.org",
    ),
    "port": ("url: ldap://a:99999", "backend.url: Port out of range 0-65535"),
    "port 0": ("url: ldap://a:0", "backend.url: port 0 is not valid"),
    "brackets": ('url: "ldap://[::1"', "backend.url: Invalid IPv6 URL"),
    "no path": (
        "url: ldapi://run/x",
        "backend.url: must be ldapi:// and the path of a socket, as in ldapi:///run/slapd/ldapi",
    ),
    "filter": ("filter: (uid=x)", "backend.filter: must contain {user}"),
    "filter's form": ("filter: (uid={user}", "backend.filter: is not an RFC 4515 filter: (uid=a"),
    "name as attribute": (
        'filter: "({user}=x)"',
        "backend.filter: {user} must be a value, not an attribute",
    ),
    "list": ("list_filter: uid=*", "backend.list_filter: is not an RFC 4515 filter: uid=*"),
    "names": ("name_filter: (cn={user})", "backend.name_filter: must contain {word}"),
    "atom": ("fields: {plam: x}", "backend.fields.plam: there is no atom plam (did you mean plan?)"),
    "attribute": ("fields: {plan: a=b}", "backend.fields.plan: a=b is not an attribute name"),
    "no login": ("fields: {login: []}", "backend.fields.login: must name an attribute: a person needs a login"),
    "scope": ("scope: sub", "backend.scope: must be subtree, one or base (did you mean subtree?)"),
    "password alone": ("password_file: PASSWORD", "backend: bind_dn and password_file must be given together"),
    "name alone": ("bind_dn: cn=x", "backend: bind_dn and password_file must be given together"),
    "empty name": (
        "bind_dn: ''\n  password_file: PASSWORD",
        "backend.bind_dn: is empty: omit it for anonymous access",
    ),
    "unencrypted": (
        "bind_dn: cn=x\n  password_file: PASSWORD",
        "backend.url: would send the password to ldap://192.0.2.1 unencrypted: use ldaps:// or starttls",
    ),
    "starttls with ldaps": (
        "url: ldaps://a\n  starttls: true",
        "backend.starttls: is for ldap:// only: ldaps:// is encrypted from the start",
    ),
    "unused ca_file": ("ca_file: PASSWORD", "backend.ca_file: is not used: no connection is encrypted"),
    "no certificate": ("starttls: true\n  ca_file: PASSWORD", "backend.ca_file: PASSWORD: contains no certificates"),
    "no file": ("starttls: true\n  ca_file: /none", "backend.ca_file: /none: No such file or directory"),
    "no password": ("bind_dn: x\n  password_file: /none", "backend.password_file: /none: No such file or directory"),
    "base's form": ("base: people", "backend.base: is not a distinguished name: people"),
}


@pytest.mark.parametrize(("options", "problem"), PROBLEMS.values(), ids=PROBLEMS)
def test_invalid_options_are_reported(tmp_path: Path, options: str, problem: str) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    lines = [f"  {line.strip()}" for line in options.replace("PASSWORD", str(password)).split("\n")]
    given = {line.strip().partition(":")[0] for line in lines}
    lines += [
        line for line in ("  url: ldap://192.0.2.1", "  base: dc=x") if line.strip().partition(":")[0] not in given
    ]
    path = tmp_path / "fingerd.yaml"
    path.write_text("\n".join(["backend:", "  type: ldap", *lines]))
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert [text.partition(": ")[2] for text in caught.value.problems] == [problem.replace("PASSWORD", str(password))]


def test_a_password_may_be_sent_unencrypted_to_a_local_server() -> None:
    for url in ("ldap://127.0.0.1", "ldap://[::1]:3389/", "ldap://localhost", "ldapi:///run/slapd/ldapi"):
        backend = Ldap((url,), "dc=x", bind_dn="cn=x", password_file=Secret("s3cret"))
        assert "s3cret" not in repr(backend)


def test_requirements_that_a_chroot_lacks_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(Ldap(("ldap://127.0.0.1", "ldaps://[::1]"), "").missing_requirements(tmp_path)) == []
    (complaint,) = Ldap(("ldap://192.0.2.1", "ldap://a", "ldap://b"), "").missing_requirements(tmp_path)
    assert "no host name can be looked up" in complaint
    assert list(Ldap(("ldapi:///socket",), "").missing_requirements(tmp_path)) == [
        f"there is no socket {tmp_path}/socket"
    ]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hosts").touch()
    assert list(Ldap(("ldap://a",), "").missing_requirements(tmp_path)) == []
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "certificates"))
    (tmp_path / "certificates").mkdir()
    backend = Ldap(("ldaps://127.0.0.1",), "")
    assert list(backend.missing_requirements(Path("/"))) == []
    assert list(backend.missing_requirements(tmp_path / "etc")) == ["no certificate can be verified: give ca_file"]
    assert list(Ldap(("ldaps://127.0.0.1",), "", verify=False).missing_requirements(tmp_path)) == []
