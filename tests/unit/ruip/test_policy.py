"""The access rules: which rule applies, what it shows and matches, and the warnings about it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fingerd.backends import Backend, Lookup
from fingerd.backends.static import Static
from fingerd.config.values import Scalar
from fingerd.errors import ConfigError
from fingerd.net.sources import parse_source
from fingerd.people import ATOMS, LastLogin, Mail, Person, Record, Session
from fingerd.protocol.reply import AMBIGUOUS_NAME
from fingerd.ruip.policy import DEFAULT_RULE, DENY_ALL, NO_NUMBER, NOT_LOCAL, Policy, Rule, read_source, rule_warnings
from fingerd.ruip.ruip import Answer, AnswerContext, ReplyOptions, Ruip
from fingerd.settings import load_config, read_config
from tests.unit.ruip.conftest import at

HOME = Rule(from_=(parse_source("192.0.2.0/24"), parse_source("2001:db8::/32")), list=True)
NEIGHBOUR = Rule(from_=(parse_source("192.0.2.7"),), deny="silently")
HERE = Rule(from_=("local",), list=True)
STRANGERS = Rule(from_=("any",), deny=True)


def test_a_source_that_yaml_reads_as_a_number_must_be_quoted() -> None:
    with pytest.raises(ValueError, match="put it in quotes"):
        read_source(Scalar("22:30", "a number", False, 1350))
    assert read_source(Scalar("any", "text", False, None)) == "any"


def test_the_first_matching_rule_wins() -> None:
    assert Policy((NEIGHBOUR, HOME, STRANGERS)).rule_for("192.0.2.7") is NEIGHBOUR
    assert Policy((HOME, NEIGHBOUR, STRANGERS)).rule_for("192.0.2.7") is HOME
    assert Policy((STRANGERS, NEIGHBOUR, HOME)).rule_for("192.0.2.7") is STRANGERS


@pytest.mark.parametrize(
    ("client", "rule"),
    [
        ("192.0.2.9", HOME),
        ("::ffff:192.0.2.9", HOME),
        ("2001:db8::1", HOME),
        ("unix", HERE),
        ("::1", HERE),
        ("198.51.100.1", STRANGERS),
    ],
)
def test_every_source_of_a_rule_is_compared_with_the_client(client: str, rule: Rule) -> None:
    policy = Policy((HOME, HERE, STRANGERS))
    assert policy.rule_for(client) is rule


def test_a_client_that_no_rule_matches_is_denied() -> None:
    assert Policy((HOME,)).rule_for("198.51.100.1") is DENY_ALL
    assert Policy(()).rule_for("unix") is DENY_ALL
    assert DENY_ALL.deny is True


def test_the_default_rule_allows_users_but_neither_the_list_nor_forwarding() -> None:
    rule = Policy((DEFAULT_RULE,)).rule_for("198.51.100.1")
    assert (rule.deny, rule.list, rule.forward) == (False, False, False)


@pytest.mark.parametrize(
    ("sources", "client", "number"),
    [
        (("local", "any"), "127.0.0.1", 1),
        (("local", "any"), "::1", 1),
        (("local", "any"), "unix", 1),
        (("local", "any"), "192.0.2.7", 1),
        (("any", "local"), "127.0.0.1", 0),
        (("local", "127.0.0.1"), "127.0.0.1", 1),  # it is named by its address
        (("local", "127.0.0.0/8", "::/0"), "::1", 2),
        (("local",), "127.0.0.1", NO_NUMBER),
        (("local",), "unix", NO_NUMBER),
        (("192.0.2.0/24", "local"), "unix", NO_NUMBER),
        (("127.0.0.1",), "127.0.0.1", 0),
    ],
)
def test_a_client_that_is_not_local_matches_all_sources_but_that_one(
    sources: tuple[str, ...], client: str, number: int
) -> None:
    policy = Policy([Rule(from_=(parse_source(source),)) for source in sources])
    assert policy.find(NOT_LOCAL + client).number == number


@pytest.mark.parametrize("client", ["192.0.2.7", "10.7.200.9", "2001:db8::7", "2001:db8:8::7", "unix"])
def test_a_rule_is_found_in_a_bounded_number_of_steps(client: str) -> None:
    assert calls(lambda: MANY.find(client)) < 100


def test_unreachable_rules_are_found_in_a_bounded_number_of_steps_for_each_rule() -> None:
    assert calls(lambda: list(rule_warnings(MANY.rules))) < 100 * len(MANY.rules)


def calls(what: Callable[[], object]) -> int:
    """How many functions a call calls."""
    events: list[str] = []
    sys.setprofile(lambda _frame, event, _argument: events.append(event))
    try:
        what()
    finally:
        sys.setprofile(None)
    return events.count("call") + events.count("c_call")


MANY = Policy(
    [
        Rule(from_=(parse_source(network.format(high=number >> 8, low=number & 255)),), deny=True)
        for number in range(1000)
        for network in ("10.{high}.{low}.0/24", "2001:db8:{high}:{low}::/64")
    ]
)


# show: which atoms are shown

OFFICE = {"login", "name", "office", "office_phone"}
STANDARD = OFFICE | {"project", "plan", "pronouns", "pgpkey", "links", "sessions", "last_login"}

SHOW: dict[str, tuple[str, set[str]]] = {
    "the default": ("{from: any}", STANDARD),
    "minimal": ("{from: any, show: minimal}", {"name"}),
    "office": ("{from: any, show: office}", OFFICE),
    "standard": ("{from: any, show: standard}", STANDARD),
    "everything": ("{from: any, show: everything}", set(ATOMS)),
    "one atom": ("{from: any, show: plan}", {"plan"}),
    "a list of atoms": ("{from: any, show: [name, plan, mail]}", {"name", "plan", "mail"}),
    "a list of one preset": ("{from: any, show: [standard]}", STANDARD),
    "a preset and atoms": ("{from: any, show: [minimal, plan, project]}", {"name", "plan", "project"}),
    "two presets": ("{from: any, show: [minimal, standard]}", STANDARD),
    "the same twice": ("{from: any, show: [name, name, minimal]}", {"name"}),
    "office beside another word is the atom": ("{from: any, show: [name, office]}", {"name", "office"}),
}

NO_ATOM = "there is no atom"
INVALID_OPTIONS = {
    "a typo": ("show: pln", f"3:23: policy[0].show: {NO_ATOM} pln (did you mean plan?)"),
    "a typo of a preset": ("show: standart", f"3:23: policy[0].show: {NO_ATOM} standart (did you mean standard?)"),
    "a typo in a list": ("show: [name, offise]", f"3:30: policy[0].show[1]: {NO_ATOM} offise (did you mean office?)"),
    "another case": ("show: Plan", f"3:23: policy[0].show: {NO_ATOM} Plan (did you mean plan?)"),
    "with a hyphen": (
        "show: last-login",
        f"3:23: policy[0].show: {NO_ATOM} last-login (did you mean last_login?)",
    ),
    "unlike any atom": (
        "show: xyz",
        f"3:23: policy[0].show: {NO_ATOM} xyz (there are minimal, office, standard, everything, login, name, "
        "office_phone, home_phone, job, directory, shell, sessions, last_login, mail, forward, project, plan, pgpkey, "
        "pubkey, pronouns, timezone, links)",
    ),
    "the text, which is not an atom": ("show: text", f"3:23: policy[0].show: {NO_ATOM} text"),
    "an empty list": ("show: []", "3:23: policy[0].show: is empty: give at least the name"),
    "an empty value": ("show:", "3:22: policy[0].show: is empty: give a value or remove the option"),
    "the word no": (
        "show: no",
        '3:23: policy[0].show: YAML reads this as true or false; to mean the text, put it in quotes',
    ),
    "a mapping": ("show: {plan: true}", "3:23: policy[0].show: must be text"),
    "an unknown way to match": (
        "match: names",
        "3:24: policy[0].match: must be login, name or unique (did you mean name?)",
    ),
    "forward: true": (
        "forward: true",
        "3:26: policy[0].forward: must be false, or the hosts to which queries may be forwarded",
    ),
    "false among hosts": (
        "forward: [a, false]",
        "3:30: policy[0].forward[1]: must be false, or the hosts to which queries may be forwarded",
    ),
    "no host": ("forward: []", "3:26: policy[0].forward: is empty: name a host, or say false"),
    "an empty host": ("forward:", "3:25: policy[0].forward: is empty: give a value or remove the option"),
    "a mapping of hosts": ("forward: {a: b}", "3:26: policy[0].forward: must be text"),
    "a number as a host": (
        "forward: 1",
        '3:26: policy[0].forward: YAML reads this as a number; to mean the text, put it in quotes',
    ),
    "a port": (
        "forward: 'a:79'",
        "3:26: policy[0].forward: 'a:79' is not a host name, *.name, address or network",
    ),
    "too few hosts": ("forward_hosts: 0", "3:32: policy[0].forward_hosts: must be from 1 to 16"),
    "too many hosts": ("forward_hosts: 17", "3:32: policy[0].forward_hosts: must be from 1 to 16"),
    "too few users": ("users_per_query: 0", "3:34: policy[0].users_per_query: must be from 1 to 100"),
    "too many users": ("users_per_query: 101", "3:34: policy[0].users_per_query: must be from 1 to 100"),
}  # fmt: skip


def policy_of(tmp_path: Path, rules: str, backend: str = "{type: empty}") -> Policy:
    """The policy of a configuration with these rules."""
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {backend}\npolicy:\n{rules}\n")
    return Policy(load_config(str(path)).policy)


@pytest.mark.parametrize(("rule", "atoms"), SHOW.values(), ids=SHOW.keys())
def test_show_is_a_preset_or_a_list_of_atoms(rule: str, atoms: set[str], tmp_path: Path) -> None:
    assert policy_of(tmp_path, f"  - {rule}").rule_for("192.0.2.7").atoms == atoms


@pytest.mark.parametrize(("option", "problem"), INVALID_OPTIONS.values(), ids=INVALID_OPTIONS.keys())
def test_an_invalid_option_of_a_rule_is_reported_with_its_place(option: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: empty}}\npolicy:\n  - {{from: any, {option}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    (found,) = (line.removeprefix(f"{path}:") for line in caught.value.problems)
    assert found == problem or (problem.endswith("no atom text") and found.startswith(problem))


def test_forward_is_false_or_hosts(tmp_path: Path) -> None:
    rules = "\n".join(
        f"  - {{from: any, forward: {hosts}}}" for hosts in ("false", "b", "['*.B', 'false', 10.0.0.0/8]")
    )
    expected = [False, ("b",), ("*.b", "false", parse_source("10.0.0.0/8"))]
    assert [rule.forward for rule in policy_of(tmp_path, rules).rules] == expected


def test_the_defaults_can_be_written(tmp_path: Path) -> None:
    written = (
        "  - {from: any, deny: false, show: standard, list: false, forward: false, match: login, forward_hosts: 3, "
        "users_per_query: 1}"
    )
    assert policy_of(tmp_path, written).rules == (DEFAULT_RULE,)


NOW = at(6, 24, 12, 0)
PIRMANN = Person(
    "pirmann",
    name="David Pirmann",
    office="016 Hill",
    office_phone="x2443",
    home_phone="989-8482",
    directory="/dimacs/u1/pirmann",
    shell="/bin/tcsh",
    sessions=(Session("ttyp0", "romulus.rutgers.", at(6, 23, 10, 47), 300.0),),
    last_login=LastLogin(at(6, 23, 10, 47), "ttyp0"),
    mail=Mail(),
    plan="Work",
)
AWAY = PIRMANN.redacted_to([atom for atom in ATOMS if atom != "sessions"])


@dataclass(frozen=True)
class Dimacs(Backend):
    """The host of RFC 1288 4.2."""

    person: Person

    def find(self, lookup: Lookup) -> Sequence[Person]:
        return (self.person,) if lookup.username == self.person.login else ()


def asked(line: bytes, policy: Policy, backend: Backend) -> Answer:
    """The answer to the line of an external client."""
    return Ruip(backend, policy, ReplyOptions(), 1024, 1 << 18).answer_line(line, AnswerContext("192.0.2.7", 20.0, NOW))


# The three administrators of RFC 1288 3.2.3; 2.5.2 requires the full name of the first two as well.
ADMINISTRATORS = {
    "A, logged in": (
        "[name, office, office_phone, home_phone, sessions, last_login]",
        PIRMANN,
        "In real life: David Pirmann\r\n"
        "Office: 016 Hill, x2443                 Home phone: 989-8482\r\n"
        "On since Sat Jun 23 10:47 (EDT) on ttyp0 from romulus.rutgers., idle 5 minutes\r\n",
    ),
    "A, not logged in": (
        "[name, office, office_phone, home_phone, sessions, last_login]",
        AWAY,
        "In real life: David Pirmann\r\n"
        "Office: 016 Hill, x2443                 Home phone: 989-8482\r\n"
        "Last login Sat Jun 23 10:47 (EDT) on ttyp0\r\n",
    ),
    "B": ("[name, office, office_phone]", PIRMANN, "In real life: David Pirmann\r\nOffice: 016 Hill, x2443\r\n"),
    "B, to the letter": ("[office, office_phone]", PIRMANN, "Office: 016 Hill, x2443\r\n"),
    "C": ("minimal", PIRMANN, "In real life: David Pirmann\r\n"),
}


@pytest.mark.usefixtures("rutgers_time")
@pytest.mark.parametrize(("show", "person", "answer"), ADMINISTRATORS.values(), ids=ADMINISTRATORS.keys())
@pytest.mark.parametrize("line", [b"pirmann\r\n", b"/W pirmann\r\n"], ids=["short", "verbose"])
def test_rfc_1288_3_2_3_administrators_choose_what_is_shown(
    line: bytes, show: str, person: Person, answer: str, tmp_path: Path
) -> None:
    policy = policy_of(tmp_path, f"  - {{from: any, show: {show}}}")
    assert asked(line, policy, Dimacs(person)) == Answer("answered", answer.encode())


# match: what a name is compared with, and users_per_query: how many names a query may have

RUTGERS = """{type: static, users: {
  mark: {name: Mark J. Rinehart, plan: pots}, rinehart: {name: Ann Rinehart}, mel: {name: "Pleasant, Mel"},
  smith: {name: Mark Smith}, ann: A text.}}"""
MARK, ANN, MEL, SMITH = (
    f"In real life: {name}\r\n" for name in ("Mark J. Rinehart", "Ann Rinehart", "Pleasant, Mel", "Mark Smith")
)
TEXT = "A text.\r\n"
UNKNOWN, AMBIGUOUS = "No such user\r\n", f"{AMBIGUOUS_NAME}\r\n"

MATCHES = {
    "login: the exact login": ("login", "mark", "answered", MARK),
    "login: no other case": ("login", "Mark", "unknown", UNKNOWN),
    "login: no part of a name": ("login", "pleasant", "unknown", UNKNOWN),
    "login: no whole name": ("login", "Mark Smith", "unknown", UNKNOWN),
    "login: no pattern": ("login", "*", "unknown", UNKNOWN),
    "name: the login first, then everyone with that name": ("name", "mark", "answered", f"{MARK}\r\n{SMITH}"),
    "name: the login first, whatever its position": ("name", "rinehart", "answered", f"{ANN}\r\n{MARK}"),
    "name: parts of names in any case": ("name", "MARK", "answered", f"{MARK}\r\n{SMITH}"),
    "name: a text and a person with that name": ("name", "ann", "answered", f"{TEXT}\r\n{ANN}"),
    "name: one part": ("name", "pleasant", "answered", MEL),
    "name: two parts": ("name", "Mark Smith", "answered", SMITH),
    "name: parts of two names": ("name", "Ann Smith", "unknown", UNKNOWN),
    "name: half a part": ("name", "plea", "unknown", UNKNOWN),
    "name: no pattern": ("name", "*", "unknown", UNKNOWN),
    "unique: the exact login wins": ("unique", "mark", "answered", MARK),
    "unique: the exact login wins over earlier people": ("unique", "rinehart", "answered", ANN),
    "unique: one person with that name": ("unique", "pleasant", "answered", MEL),
    "unique: several refuse": ("unique", "Mark", "refused", AMBIGUOUS),
    "unique: a login in another case is a name": ("unique", "Rinehart", "refused", AMBIGUOUS),
    "unique: not found": ("unique", "nobody", "unknown", UNKNOWN),
}


@pytest.mark.parametrize(("match", "name", "outcome", "answer"), MATCHES.values(), ids=MATCHES.keys())
def test_match_says_what_a_name_is_compared_with(
    match: str, name: str, outcome: str, answer: str, tmp_path: Path
) -> None:
    policy = policy_of(tmp_path, f"  - {{from: any, show: minimal, match: {match}}}", RUTGERS)
    backend = load_config(str(tmp_path / "fingerd.yaml")).backend
    assert asked(f"{name}\r\n".encode(), policy, backend) == Answer(outcome, answer.encode())


USERS = {
    "one": ("login", "mark", "answered", MARK),
    "two": ("login", "mark mel", "answered", f"{MARK}\r\n{MEL}"),
    "in their order": ("login", "mel mark ann", "answered", f"{MEL}\r\n{MARK}\r\n{TEXT}"),
    "verbose": ("login", "/W mark mel", "answered", f"{MARK}\r\n{MEL}"),
    "spaces and tabs between": ("login", "mark \t mel", "answered", f"{MARK}\r\n{MEL}"),
    "a no-break space does not separate": ("login", "mark\N{NO-BREAK SPACE}mel", "unknown", UNKNOWN),
    "an unknown one among them": ("login", "mark nobody mel", "answered", f"{MARK}\r\n{UNKNOWN}\r\n{MEL}"),
    "an unknown one at first": ("login", "nobody mel", "answered", f"{UNKNOWN}\r\n{MEL}"),
    "unknown ones alone": ("login", "nobody none", "unknown", f"{UNKNOWN}\r\n{UNKNOWN}"),
    "the same twice": ("login", "mel mel", "answered", MEL),
    "the same twice, but not in a row": ("login", "ann mel ann", "answered", f"{TEXT}\r\n{MEL}"),
    "an unknown one twice": ("login", "nobody nobody", "unknown", UNKNOWN),
    "too many": ("login", "mark mel ann smith", "malformed", "Malformed query\r\n"),
    "too many of one": ("login", "mel mel mel mel", "malformed", "Malformed query\r\n"),
    "by parts of names": ("name", "Smith pleasant", "answered", f"{SMITH}\r\n{MEL}"),
    "one by two parts of the name": ("name", "Smith mark", "answered", SMITH),
    "two parts of one name, of which one is a login": ("name", "mark J.", "answered", MARK),
    "one whom an earlier name found": ("name", "smith mark x", "answered", f"{SMITH}\r\n{MARK}\r\n{UNKNOWN}"),
    "none but those whom an earlier name found": (
        "name",
        "mark smith x",
        "answered",
        f"{MARK}\r\n{SMITH}\r\n{UNKNOWN}",
    ),
    "two parts of one name, where one person is found": ("unique", "smith mel", "answered", f"{SMITH}\r\n{MEL}"),
    "an ambiguous one among them": ("unique", "Mark mel", "answered", f"{AMBIGUOUS}\r\n{MEL}"),
    "an ambiguous and an unknown one": ("unique", "Mark nobody", "refused", f"{AMBIGUOUS}\r\n{UNKNOWN}"),
    "forwarding": ("login", "mark mel@example.org", "refused", "Finger forwarding service denied\r\n"),
    "the list": ("login", "", "refused", "Finger online user list denied\r\n"),
}


@pytest.mark.parametrize(("match", "names", "outcome", "answer"), USERS.values(), ids=USERS.keys())
def test_several_users_are_answered_one_by_one(
    match: str, names: str, outcome: str, answer: str, tmp_path: Path
) -> None:
    rule = f"  - {{from: any, show: minimal, match: {match}, users_per_query: 3}}"
    policy = policy_of(tmp_path, rule, RUTGERS)
    backend = load_config(str(tmp_path / "fingerd.yaml")).backend
    assert asked(f"{names}\r\n".encode(), policy, backend) == Answer(outcome, answer.encode())


def test_two_people_of_the_same_full_name_are_two_people(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, "  - {from: any, show: minimal, match: name, users_per_query: 3}")
    backend = Static({"smith": Record(name="Mark Smith"), "other": Record(name="Mark Smith")})
    for names in (b"smith other", b"Mark Smith", b"smith mark other"):
        assert asked(names, policy, backend) == Answer("answered", f"{SMITH}\r\n{SMITH}".encode())


LONG_NAME = Static({"anna": Record(name="Anna Maria de Souza"), "bob": Record(name="Bob"), "two words": "I am both"})


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        ("Anna Maria de Souza", b"In real life: Anna Maria de Souza\r\n"),
        ("anna  MARIA\tde souza", b"In real life: Anna Maria de Souza\r\n"),
        ("anna Anna ANNA anna", b"In real life: Anna Maria de Souza\r\n"),
        ("two words", b"I am both\r\n"),
        ("two \t words", b"I am both\r\n"),
        ("anna bob", b"In real life: Anna Maria de Souza\r\n\r\nIn real life: Bob\r\n"),
        ("anna bob ANNA", b"Malformed query\r\n"),
        ("Anna Maria de Silva", b"Malformed query\r\n"),
    ],
)
def test_the_whole_text_is_one_name_first_whatever_its_number_of_words(
    names: str, answer: bytes, tmp_path: Path
) -> None:
    policy = policy_of(tmp_path, "  - {from: any, show: minimal, match: name, users_per_query: 2}")
    assert asked(names.encode(), policy, LONG_NAME).reply == answer


@pytest.mark.parametrize("names", ["anna bob bob", "two words and more", "Anna Maria de Souza"])
@pytest.mark.parametrize("rule", ["match: login", "match: unique", "match: name, show: [job]"])
def test_where_names_are_not_searched_more_words_are_malformed(names: str, rule: str, tmp_path: Path) -> None:
    policy = policy_of(tmp_path, f"  - {{from: any, users_per_query: 2, {rule}}}")
    assert asked(names.encode(), policy, LONG_NAME).reply == b"Malformed query\r\n"


def test_a_name_with_a_space_is_one_user_by_default(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, "  - {from: any}", "{type: static, users: {mark mel: both}}")
    backend = load_config(str(tmp_path / "fingerd.yaml")).backend
    assert asked(b"mark mel\r\n", policy, backend) == Answer("answered", b"both\r\n")


# Warnings

UNREACHABLE = "unreachable: earlier rules match all of these clients"
DENIED = "has no effect: the rule denies everything"
OPEN_RELAY = "open relay: any client can hide behind this host and query any other (RFC 1288 3.2.1)"
NAMELESS = "hides the full name, which RFC 1288 requires in every answer (2.5.2)"


def guessing(match: str) -> str:
    return f"list is refused, but match: {match} lets clients find people by guessing (RFC 1288 3.2.6)"


WARNINGS: dict[str, tuple[list[str], list[str]]] = {
    "none": (["{from: local, list: true, match: name}", "{from: any}"], []),
    "behind any": (["{from: any}", "{from: 192.0.2.0/24}"], [f"4:5: policy[1].from: {UNREACHABLE}"]),
    "behind any that denies": (["{from: any, deny: true}", "{from: local}"], [f"4:5: policy[1].from: {UNREACHABLE}"]),
    "the same again": (["{from: local}", "{from: local}"], [f"4:5: policy[1].from: {UNREACHABLE}"]),
    "a network within a network": (
        ["{from: 10.0.0.0/8}", "{from: 10.1.0.0/16}", "{from: any}"],
        [f"4:5: policy[1].from: {UNREACHABLE}"],
    ),
    "an address within a network": (
        ['{from: "2001:db8::/32"}', '{from: "2001:db8::7"}', "{from: any}"],
        [f"4:5: policy[1].from: {UNREACHABLE}"],
    ),
    "a network around a network": (["{from: 10.1.0.0/16}", "{from: 10.0.0.0/8}"], []),
    "several within several rules": (
        ["{from: [192.0.2.0/24, local]}", "{from: 198.51.100.0/24}", "{from: [198.51.100.7, 192.0.2.7, 127.0.0.1]}"],
        [f"5:5: policy[2].from: {UNREACHABLE}"],
    ),
    "several, of which one is new": (["{from: 192.0.2.0/24}", "{from: [192.0.2.7, 198.51.100.7]}"], []),
    "loopback behind local": (
        ["{from: local}", "{from: [127.0.0.1, '::1', 127.0.0.0/8]}"],
        [f"4:5: policy[1].from: {UNREACHABLE}"],
    ),
    "local behind loopback, for unix sockets": (["{from: [127.0.0.0/8, '::1']}", "{from: local}"], []),
    "IPv6 behind IPv4": (["{from: 0.0.0.0/0}", "{from: '::/0'}"], []),
    "forwarding to any name": (["{from: any, forward: '*'}"], [f"3:5: policy[0].forward: {OPEN_RELAY}"]),
    "forwarding to any IPv4 address": (
        ["{from: any, forward: [a, 0.0.0.0/0]}"],
        [f"3:5: policy[0].forward: {OPEN_RELAY}"],
    ),
    "forwarding to any IPv6 address": (
        ["{from: any, forward: '::/0'}"],
        [f"3:5: policy[0].forward: {OPEN_RELAY}"],
    ),
    "forwarding for any IPv4 client": (
        ["{from: [local, 0.0.0.0/0], forward: '*'}"],
        [f"3:5: policy[0].forward: {OPEN_RELAY}"],
    ),
    "forwarding for local clients": (["{from: [local, 192.0.2.0/24], forward: '*'}"], []),
    "forwarding to some hosts": (["{from: any, forward: ['*.example.org', 8.0.0.0/8]}"], []),
    "forwarding to no host": (["{from: any, forward: false}"], []),
    "forwarding for denied clients": (
        ["{from: any, forward: '*', deny: true}"],
        [f"3:5: policy[0].forward: {DENIED}"],
    ),
    "no full name": (["{from: any, show: [office, office_phone]}"], [f"3:5: policy[0].show: {NAMELESS}"]),
    "no full name, but nothing else either": (["{from: any, deny: true}"], []),
    "guessing": (["{from: any, match: name}"], [f"3:5: policy[0].match: {guessing('name')}"]),
    "guessing one person": (["{from: any, match: unique}"], [f"3:5: policy[0].match: {guessing('unique')}"]),
    "guessing, where the list is allowed": (["{from: any, match: unique, list: true}"], []),
    "options of a rule that denies everything": (
        [
            "{from: local, show: plan, forward_hosts: 2, deny: true}",
            "{from: any, match: name, list: true, deny: silently}",
        ],
        [
            f"3:5: policy[0].forward_hosts: {DENIED}",
            f"3:5: policy[0].show: {DENIED}",
            f"4:5: policy[1].list: {DENIED}",
            f"4:5: policy[1].match: {DENIED}",
        ],
    ),
    "all at once": (
        ["{from: any, match: name, show: plan}", "{from: local, match: unique}"],
        [
            f"3:5: policy[0].match: {guessing('name')}",
            f"3:5: policy[0].show: {NAMELESS}",
            f"4:5: policy[1].from: {UNREACHABLE}",
            f"4:5: policy[1].match: {guessing('unique')}",
        ],
    ),
}


@pytest.mark.parametrize(("rules", "expected"), WARNINGS.values(), ids=WARNINGS.keys())
def test_rules_that_may_be_mistakes_cause_warnings(rules: list[str], expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text("backend: {type: empty}\npolicy:\n" + "".join(f"  - {rule}\n" for rule in rules))
    assert [line.removeprefix(f"{path}:") for line in read_config(str(path), {})[1]] == expected
