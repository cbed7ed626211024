"""``type: ldap``: an attribute is found by any name that it has for the server, and no entry counts without a login."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ldap3", reason="needs ldap3 (pip install ldap3)")

from fingerd.backends.chain import Chain
from fingerd.backends.ldap.schema import Schema, all_values_of, values_of
from fingerd.backends.static import Static
from fingerd.errors import BackendError
from tests.backends.ldap.conftest import Make, find, list_users, lookup
from tests.helpers.slapd import SUFFIX, Slapd, needs_slapd

MEMBERS = 600
TYPES = """\
attributetype ( 1.3.6.1.4.1.99999.1.1 NAME ( 'acmeAccount' 'acmeLogin' ) DESC 'NAME ( x' EQUALITY caseIgnoreMatch \
SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{256} )
attributetype ( 1.3.6.1.4.1.99999.1.2 NAME 'acmeNick' SUP uid )
"""
HIDDEN = f"""{TYPES}\
access to dn.base="cn=Subschema" by * none
access to * by * read
"""
HEAD = f"""\
dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
dc: example
o: x

dn: ou=members,{SUFFIX}
objectClass: organizationalUnit
ou: members
"""


def entry(name: str, *attributes: str) -> str:
    classes = "objectClass: inetOrgPerson\nobjectClass: extensibleObject\nsn: x"
    return f"\ndn: cn={name},{SUFFIX}\n{classes}\ncn: {name}\n" + "".join(f"{each}\n" for each in attributes)


LDIF = HEAD + "".join(
    (
        entry("Bob Tansy", "uid: bob", "acmeLogin: bob", "title;lang-en: potter", "telephoneNumber: 5"),
        entry("Carol", "uid: carol", "acmeNick: caz", "telephoneNumber: 6"),
        entry("Contact", "telephoneNumber: 7", "mail: contact@example.org"),
    )
)
PAGES = HEAD + "".join(
    f"\ndn: uid=m{number},ou=members,{SUFFIX}\nobjectClass: inetOrgPerson\nobjectClass: extensibleObject\n"
    f"uid: m{number}\nacmeLogin: a{number}\ncn: M\nsn: x\n"
    for number in range(MEMBERS)
)


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A server with attributes of its own."""
    server = Slapd(tmp_path_factory.mktemp("acme"), LDIF, TYPES)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def hiding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """The same, which does not disclose its schema."""
    server = Slapd(tmp_path_factory.mktemp("hiding"), LDIF, HIDDEN)
    yield server
    server.stop()


STANDARD = ("uid", "userid", "USERID", "0.9.2342.19200300.100.1.1")
OWN = ("acmeLogin", "acmeaccount", "1.3.6.1.4.1.99999.1.1")


@needs_slapd
@pytest.mark.parametrize("filtered", [*STANDARD, *OWN])
@pytest.mark.parametrize("login", [*STANDARD, *OWN])
def test_a_login_is_found_by_every_name_of_its_attribute(acme: Slapd, make: Make, login: str, filtered: str) -> None:
    backend = make(acme.ldap, filter=f"({filtered}={{user}})", fields={"login": (login,)}, list_filter="(acmeLogin=*)")
    assert [person.login for person in find(backend, "bob")] == ["bob"]
    assert [person.login for person in list_users(backend)] == ["bob"]
    chain = Chain((Static({"bob": "hidden"}), backend))
    assert [person.text for person in chain.find(lookup("bob"))] == ["hidden\n"]
    for name in ("BOB", "Bob", "\uff42ob", " bob"):
        assert not chain.find(lookup(name)), name


@needs_slapd
@pytest.mark.parametrize("name", ["cn", "commonName", "COMMONNAME", "2.5.4.3", "name", "2.5.4.41"])
def test_an_atom_is_found_by_every_name_of_its_attribute(acme: Slapd, make: Make, name: str) -> None:
    fields = {"name": (name,), "office": ("0.9.2342.19200300.100.1.6", "2.5.4.20"), "project": (f"{name};lang-de",)}
    (bob,) = find(make(acme.ldap, fields=fields), "bob")
    assert bob.name in ({"Bob Tansy"} if "cn" in name.lower() or "common" in name.lower() else {"Bob Tansy", "x"})
    assert (bob.office, bob.office_phone, bob.project) == ("5", "5", "")


@needs_slapd
def test_a_value_with_an_option_stands_in_for_one_without(acme: Slapd, make: Make) -> None:
    for attribute in ("title", "title;lang-en", "TITLE;LANG-EN", "2.5.4.12"):
        assert [person.job for person in find(make(acme.ldap, fields={"job": (attribute,)}), "bob")] == ["potter"]
    assert [person.job for person in find(make(acme.ldap, fields={"job": ("title;lang-de",)}), "bob")] == [""]


@needs_slapd
def test_a_subtype_of_the_login_is_compared_too(acme: Slapd, make: Make) -> None:
    backend = make(acme.ldap)
    assert [person.login for person in find(backend, "caz")] == ["carol"]
    assert [find(backend, name) for name in ("CAZ", "Caz", "CAROL")] == [[], [], []]


@needs_slapd
def test_an_entry_without_a_login_is_a_failure(acme: Slapd, make: Make) -> None:
    for options, login in (
        ({"filter": "(telephoneNumber={user})"}, "uid"),
        ({"filter": "(telephoneNumber={user})", "fields": {"login": ("userid", "employeeNumber")}}, "userid or "),
        ({"filter": "(telephoneNumber={user})", "fields": {"login": ("noSuchAttribute",)}}, "noSuchAttribute"),
    ):
        backend = make(acme.ldap, **options)
        with pytest.raises(BackendError, match=rf"^ldap dc=example,dc=org: an entry was found without {login}"):
            find(backend, "7")
        with pytest.raises(BackendError):
            Chain((backend, Static({"7": "seven"}))).find(lookup("7"))
    assert [person.login for person in find(make(acme.ldap, filter="(telephoneNumber={user})"), "5")] == ["bob"]


@needs_slapd
def test_a_list_leaves_out_entries_without_a_login_and_fails_if_none_has_one(acme: Slapd, make: Make) -> None:
    everybody = "(objectClass=inetOrgPerson)"
    assert [person.login for person in list_users(make(acme.ldap, list_filter=everybody))] == ["bob", "carol"]
    assert list(list_users(make(acme.ldap, list_filter="(uid=nobody)"))) == []
    for login in ("employeeNumber", "noSuchAttribute", "1.2.3.4"):
        with pytest.raises(BackendError, match=rf": an entry was found without {login}, its login$"):
            list(list_users(make(acme.ldap, list_filter=everybody, fields={"login": (login,)})))


@needs_slapd
def test_a_schema_may_be_read_between_the_pages_of_a_list(tmp_path: Path, make: Make) -> None:
    server = Slapd(tmp_path / "slapd", PAGES, TYPES)
    try:
        backend = make(server.ldap, list_filter="(uid=*)", fields={"login": ("1.3.6.1.4.1.99999.1.1",)})
        for _ in range(2):
            logins = {person.login for person in list_users(backend)}
            assert logins == {f"a{number}" for number in range(MEMBERS)}
    finally:
        server.stop()


@needs_slapd
def test_without_a_schema_standard_names_are_known_and_others_fail(hiding: Slapd, make: Make) -> None:
    for login in STANDARD:
        backend = make(hiding.ldap, filter=f"({login}={{user}})", fields={"login": (login,)}, list_filter="(uid=*)")
        assert [person.login for person in find(backend, "bob")] == ["bob"]
        assert find(backend, "BOB") == []
        assert [person.login for person in list_users(backend)] == ["bob", "carol"]
    backend = make(hiding.ldap, fields={"login": ("acmeLogin",)}, list_filter="(acmeLogin=*)")
    for name in ("bob", "BOB"):  # the server returns acmeAccount
        with pytest.raises(BackendError, match=r": an entry was found without acmeLogin, its login$"):
            find(backend, name)
    with pytest.raises(BackendError):
        list(list_users(backend))


DESCRIPTIONS = (
    "( 1.1 NAME ( 'one' 'eins' ) DESC 'it''s SUP two' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
    "(1.2 NAME 'sub' DESC 'NAME wrong' SUP eins X-ORIGIN 'x' )",
    "( 1.3 NAME 'subsub' SUP 1.2 )",
    "( loop-oid NAME ('loop') SUP 'pool' )",
    "( 1.5 NAME 'pool' SUP loop )",
    "( 1.6 )",
    "( 1.7 NAME (",
    "(",
    "",
    "nonsense",
)


@pytest.mark.parametrize(
    ("requested", "returned", "key"),
    [
        ("one", "EINS", "one"),
        ("1.1", "one;x-a", "1.1;x-a"),
        ("One", "sub", "one;sub"),
        ("eins", "subsub;x", "eins;subsub;x"),
        ("sub", "one", None),
        ("loop", "pool", "loop;pool"),
        ("loop-OID", "loop", "loop-oid"),
        ("wrong", "sub", None),
        ("two", "one", None),
        ("unknown", "UNKNOWN", "unknown"),
        ("userid", "uid", "userid"),
    ],
)
def test_a_returned_attribute_has_the_requested_name(requested: str, returned: str, key: str | None) -> None:
    named = Schema(DESCRIPTIONS).by_requested_name((requested,), {returned.lower(): [b"x"]})
    assert list(named) == ([key] if key else [])
    assert list(values_of(named, requested)) == list(all_values_of(named, requested)) == ([b"x"] if key else [])


def test_the_own_values_of_an_attribute_come_before_those_of_its_subtypes() -> None:
    named = Schema(DESCRIPTIONS).by_requested_name(
        ("one", "sub"), {"sub": [b"1"], "eins;x-b;x-a": [b"2"], "one": [b"3"]}
    )
    assert list(values_of(named, "one")) == [b"3"]
    assert sorted(all_values_of(named, "One")) == [b"1", b"2", b"3"]
    assert list(values_of(named, "ONE;x-a;x-b")) == [b"2"]
    assert list(values_of(named, "sub")) == [b"1"]


def test_what_the_standard_schema_explains() -> None:
    standard = Schema()
    assert standard.explains(("userid", "cn", "mail"), ("uid", "commonname"))
    assert standard.explains(("acmeLogin",), ("acmelogin;x",))
    assert not standard.explains(("uid",), ("uid", "acmenick"))  # perhaps a subtype
    assert not standard.explains(("uid", "acmeLogin"), ("uid",))  # perhaps returned by another name
