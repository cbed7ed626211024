"""``type: ldap`` with a real slapd: entries, lists, encryption, and usernames."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ldap3", reason="needs ldap3 (pip install ldap3)")

from fingerd.config.system_options import Secret
from fingerd.errors import BackendError
from fingerd.people import MAX_MATCHES
from tests.backends.ldap.conftest import BRINDLE, MEMBERS, Make, find, ldif, list_users, lookup
from tests.helpers.slapd import PASSWORD, READER, SUFFIX, Slapd, make_authority, needs_slapd


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
    (odd,) = find(make(slapd.ldap, fields={"links": ("description",)}), "odd")
    assert odd.links == "first line\nsecond line"
    (odd,) = find(make(slapd.ldap, fields={"plan": ("jpegPhoto",)}), "odd")
    assert odd.plan == r"\xffd8ff0001020380ff"  # no text


@needs_slapd
def test_filter_base_and_scope_select_the_entries(slapd: Slapd, make: Make) -> None:
    people = f"ou=people,{SUFFIX}"
    assert find(make(slapd.ldap, filter="(mail={user}@example.org)"), "zoe")[0].name == "Zoë Marrowby"
    with pytest.raises(BackendError, match=r"^ldap dc=example,dc=org: an entry was found without uid, its login$"):
        find(make(slapd.ldap, filter="(mail={user}@example.org)"), "nologin")
    assert [person.login for person in find(make(slapd.ldap, filter="(&(uid=*)(sn={user}))"), "Marrowby")] == [
        "zoe",
        "tansy",
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
def test_only_listed_names_are_looked_up(slapd: Slapd, make: Make) -> None:
    backend = make(slapd.ldap, names=("zo*", "u7", "oakenshaw"), name_filter="(cn=*{word}*)")
    assert [len(find(backend, name)) for name in ("zoe", "u7", "u77", "brindle", "zoey")] == [1, 1, 0, 0, 0]
    assert [len(find(backend, name, by_name=True)) for name in ("oakenshaw", "marrowby")] == [1, 0]


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
        with pytest.raises(BackendError, match=r"^ldap ldaps?://127\.0\.0\.1:\d+: certificate verify failed: "):
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


# Usernames

HOSTILE = [
    "*", "b*", "(uid=*)", "*)(uid=*", ")(|(uid=*", "*)(|(objectClass=*)", "brindle)(uid=*", "brindle)(|(uid=brindle",
    "\\2a", "\\", "brindle\\", "\\00", "\\62rindle", "brindle\\00x", "uid=brindle", "&", "!(uid=nobody)", "{user}",
    "{word}", "' OR 1=1 --", "-l", "..", "a/b", "%2a", "$(id)", "${jndi:ldap://x/a}", "Zoé", "日本", "\u0430lice",
    "\u202e", "\udcff", "brindle\udcff", "brindle\0(uid=*", "", " ", "x" * 1024, "x" * 500_000,
    b"\xff\xfe\xe4".decode("latin-1"),
]  # fmt: skip


@needs_slapd
@pytest.mark.parametrize("by_name", [False, True], ids=["login", "name"])
@pytest.mark.parametrize("rule", ["(uid={user})", "(|(uid={user})(cn={user}))", "(uid:caseExactMatch:={user})"])
def test_a_username_is_only_a_value(slapd: Slapd, make: Make, rule: str, by_name: bool) -> None:
    backend = make(slapd.ldap, filter=rule, name_filter="(cn=*{word}*)")
    for name in HOSTILE:
        assert find(backend, name, by_name=by_name) == [], name
    (star,) = find(backend, "a*b(c)\\d", by_name=by_name)
    assert star.name == "Star Bracket"
