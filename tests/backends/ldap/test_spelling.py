"""``type: ldap``: a name that the server takes for another one is unknown. With a real slapd."""

import base64
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ldap3", reason="needs ldap3 (pip install ldap3)")

from fingerd.backends.chain import Chain
from fingerd.backends.ldap.comparisons import comparisons
from fingerd.backends.static import Static
from fingerd.errors import ConfigError
from fingerd.settings import read_config
from tests.backends.ldap.conftest import Make, find, lookup
from tests.helpers.slapd import SUFFIX, Slapd, needs_slapd

NFD = unicodedata.normalize("NFD", "zoë")
PEOPLE = {
    "alice": ("Alice Archer", "alice@example.org"),
    "strauss": ("Strauss", "strauss@example.org"),
    "zoë": ("Zoë", "zoe@Example.ORG"),
    f"{NFD}2": ("NFD", "nfd@example.org"),
    "mary ann": ("Mary Ann", "mary.ann@example.org"),
}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def folding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A server with these people."""
    ldif = f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: x\n\n" + "\n".join(
        f"dn: cn=n{number},{SUFFIX}\nobjectClass: inetOrgPerson\nobjectClass: extensibleObject\ncn: n{number}\nsn: x\n"
        f"uid:: {encoded(uid)}\ndisplayName:: {encoded(name)}\nmail: {mail}\n"
        for number, (uid, (name, mail)) in enumerate(PEOPLE.items())
    )
    server = Slapd(tmp_path_factory.mktemp("folding"), f"{ldif}employeeNumber: 7\n")
    yield server
    server.stop()


FILTERS = {
    "default": "(uid={user})",
    "another name of it": "(userid={user})",
    "its number": "(0.9.2342.19200300.100.1.1={user})",
    "within": "(&(objectClass=inetOrgPerson)(|(uid={user})(sn=nobody))(!(sn={user})))",
    "approximate": "(uid~={user})",
    "extensible": "(uid:caseIgnoreMatch:={user})",
    "without a rule": "(uid:={user})",
    "prefix": "(uid={user}*)",
    "anywhere": "(uid=*{user}*)",
    "capitals": "(UID={user})",
}
# Equal to alice for the server, for one of the filters, or for a careless comparison.
OTHERS = (
    "alİce", "ALICE", "Alice", "al\u0131ce", "\uff41lice", "\uff41\uff4c\uff49\uff43\uff45", " alice", "alice ",
    "alice  ", "al\u200bice", "alice\u200b", "\ufeffalice", "al\u00adice", "al\u200cice", "al\u2060ice", "alice\u0000",
    "\u2170ice", "al\u2139ce", "\u1d43lice", "alic\u212f", "alice\u034f", "alice\ufe0f", "al\u180eice",
)  # fmt: skip


@needs_slapd
@pytest.mark.parametrize("rule", FILTERS.values(), ids=FILTERS)
def test_a_login_is_found_by_its_exact_spelling_only(folding: Slapd, make: Make, rule: str) -> None:
    backend = make(folding.ldap, filter=rule)
    assert [person.login for person in find(backend, "alice")] == ["alice"]
    for name in OTHERS:
        assert find(backend, name) == [], ascii(name)
    for name in ("strauß", "STRAUSS", "strau\u1e9e", "mary  ann", "Mary Ann", "mary\u00a0ann", "zoe", "ZOË"):
        assert find(backend, name) == [], ascii(name)
    chain = Chain((Static({"alice": "hidden"}), backend))
    assert [person.text for person in chain.find(lookup("alice"))] == ["hidden\n"]
    assert all(not chain.find(lookup(name)) for name in OTHERS)


@needs_slapd
def test_canonically_equal_names_are_equal(folding: Slapd, make: Make) -> None:
    backend = make(folding.ldap)
    for name in ("zoë", NFD):
        assert [person.name for person in find(backend, name)] == ["Zoë"]
    for name in ("zoë2", f"{NFD}2"):
        assert [person.name for person in find(backend, name)] == ["NFD"]


@needs_slapd
def test_any_attribute_of_the_filter_may_have_the_name(folding: Slapd, make: Make) -> None:
    backend = make(folding.ldap, filter="(|(uid={user})(mail={user})(mail={user}@example.org)(displayName={user}))")
    for name in ("alice", "alice@example.org", "Alice Archer"):
        assert [person.login for person in find(backend, name)] == ["alice"]
    assert [person.login for person in find(backend, "zoe")] == ["zoë"]  # the host of the address is written otherwise
    for name in (
        "ALICE@example.org",
        "alice@EXAMPLE.org",
        "ALICE",
        "alice archer",
        "Alice  Archer",
        "al\u00adice",
        "Zoe",
    ):
        assert find(backend, name) == [], ascii(name)


@needs_slapd
def test_a_name_is_exact_within_other_text(folding: Slapd, make: Make) -> None:
    for rule in ("(mail={user}@*)", "(mail={user}@*.org)", "(mail=*{user}@*m*.org)", "(mail={user}@EXAMPLE\\2eorg)"):
        backend = make(folding.ldap, filter=rule)
        assert [person.login for person in find(backend, "alice")] == ["alice"], rule
        for name in ("ALICE", "Alice", "alİce", "alice@", "al\u00adice"):
            assert find(backend, name) == [], (rule, ascii(name))


@needs_slapd
def test_what_may_be_searched_and_not_read_finds_nobody(folding: Slapd, make: Make) -> None:
    backend = make(folding.ldap, filter="(|(employeeNumber={user})(uid={user}))")
    assert find(backend, "7") == []
    assert [person.login for person in find(backend, "mary ann")] == ["mary ann"]


COMPARED = {
    "(uid={user})": ["uid"],
    "(&(uid={user})(!(mail={user})))": ["uid"],
    "(|(uid={user})(&(mail={user})(cn=x)(!(sn={user}))))": ["uid", "mail"],
    "(|(uid={user})(sn>={user})(cn<={user}))": ["uid"],
    "(|(uid={user})(:caseExactMatch:={user}))": ["uid"],
    "(uid;lang-de={user})": ["uid;lang-de"],
    "(ou:dn:={user})": ["ou"],
}


@pytest.mark.parametrize(("rule", "attributes"), COMPARED.items())
def test_what_is_compared(rule: str, attributes: list[str]) -> None:
    assert [comparison.attribute for comparison in comparisons(rule)] == attributes


VALUES = {
    ("(cn={user})", "bob"): (["bob"], ["BOB", "bobb", "abob", "bob\n", ""]),
    ("(cn={user}.{user})", "bob"): (["bob.bob"], ["bob.Bob", "bob"]),
    ("(cn=a*b{user}*c*{user}d)", "x"): (["abxcxd", "a-bx-c-xd", "ABxCxD"], ["abxd", "abxcXd", "abXcxd", "abxxd"]),
    ("(cn=\\2a{user}\\29)", "."): (["*.)"], ["*x)", ".", "*.)."]),
    ("(cn={user})", "a*(|\\"): (["a*(|\\"], ["axx(|\\", "a"]),
    ("(cn=é{user})", "e\u0301"): (["éé", "e\u0301e\u0301", "Éé"], ["éÉ", "ee"]),
}


@pytest.mark.parametrize(("case", "values"), VALUES.items())
def test_which_values_have_a_name_in_its_place(case: tuple[str, str], values: tuple[list[str], list[str]]) -> None:
    (comparison,) = comparisons(case[0])
    for number, texts in enumerate(values):
        for text in texts:
            assert comparison.is_met({"cn": [b"\xff", text.encode()]}, case[1]) is not bool(number), text
            assert comparison.is_met({"cn;lang-de": [text.encode()]}, case[1]) is not bool(number), text
            assert not comparison.is_met({"sn": [text.encode()]}, case[1])


def test_a_long_value_is_compared_in_little_time() -> None:
    (comparison,) = comparisons("(cn=*{user}*{user}*{user}*{user}*{user}b)")
    assert not comparison.is_met({"cn": [b"a" * 8192]}, "a" * 1000)
    assert not comparison.is_met({"cn": [b"a" * (1 << 21) + b"b"]}, "a")


BAD = {
    "(!(uid={user}))": "must compare an attribute with {user}, so that its value can be compared exactly",
    "(uid>={user})": "must compare an attribute with {user}, so that its value can be compared exactly",
    "(:caseExactMatch:={user})": "must compare an attribute with {user}, so that its value can be compared exactly",
    "(uid=\\{user}b)": "{user} must not follow a backslash",
    "(uid=\\5{user})": "{user} must not follow a backslash",
}


def warnings_of(path: Path, rule: str) -> tuple[str, ...]:
    path.write_text(f"backend:\n  type: ldap\n  url: ldap://192.0.2.1\n  base: dc=x\n  filter: '{rule}'\n")
    return read_config(str(path), {})[1]


@pytest.mark.parametrize(("rule", "problem"), BAD.items())
def test_a_filter_without_a_comparison_is_refused(tmp_path: Path, rule: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        warnings_of(tmp_path / "fingerd.yaml", rule)
    assert str(caught.value) == f"{tmp_path}/fingerd.yaml:5:11: backend.filter: {problem}"


def test_parts_of_values_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    what = "filter has an asterisk next to {user}: a part of a value, a single letter too, finds people"
    for rule in ("(cn=*{user}*)", "(cn={user}*)", "(cn=*{user})", "(|(uid={user})(cn=x*{user}))"):
        assert warnings_of(path, rule) == (f"{path}:2:3: backend: {what}",)
    for rule in ("(uid={user})", "(mail={user}@*)", "(cn=*,{user},*)"):
        assert warnings_of(path, rule) == ()
