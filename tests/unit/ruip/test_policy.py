"""Who may learn what: the rules, and what addresses mean to them, to the counters and to the log."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from fingerd.backends import Backend, Lookup
from fingerd.config.values import Scalar
from fingerd.daemon.cli import main
from fingerd.errors import ConfigError
from fingerd.net.addresses import anonymized, covers, limit_key, matches, parse_address, parse_source
from fingerd.people import ATOMS, LastLogin, Mail, Person, Session
from fingerd.protocol.reply import AMBIGUOUS_NAME
from fingerd.ruip.policy import ANYONE, NO_RULE, Policy, Rule, read_source
from fingerd.ruip.ruip import Answer, AnswerContext, ReplyOptions, Ruip
from fingerd.settings import load_config, read_config
from tests.conftest import Start
from tests.helpers.daemons import FINGERD

HOME = Rule(from_=(parse_source("192.0.2.0/24"), parse_source("2001:db8::/32")), list=True)
NEIGHBOUR = Rule(from_=(parse_source("192.0.2.7"),), deny="silently")
HERE = Rule(from_=("local",), list=True)
STRANGERS = Rule(from_=("any",), deny=True)

FROM = {
    "any holds IPv4": ("192.0.2.7", "any", True),
    "any holds IPv6": ("2001:db8::7", "any", True),
    "any holds unix": ("unix", "any", True),
    "local holds unix": ("unix", "local", True),
    "local holds loopback": ("127.0.0.1", "local", True),
    "local holds all of loopback": ("127.8.9.10", "local", True),
    "local holds IPv6 loopback": ("::1", "local", True),
    "local holds mapped loopback": ("::ffff:127.0.0.1", "local", True),
    "local holds nobody else": ("192.0.2.7", "local", False),
    "local holds no private network": ("10.0.0.1", "local", False),
    "an address": ("192.0.2.7", "192.0.2.7", True),
    "another address": ("192.0.2.8", "192.0.2.7", False),
    "a network": ("192.0.2.255", "192.0.2.0/24", True),
    "outside of a network": ("192.0.3.0", "192.0.2.0/24", False),
    "a network by its mask": ("192.0.2.9", "192.0.2.0/255.255.255.0", True),
    "a mapped client is IPv4": ("::ffff:192.0.2.7", "192.0.2.0/24", True),
    "a mapped source is IPv4": ("192.0.2.7", "::ffff:192.0.2.7", True),
    "a mapped network is IPv4": ("192.0.2.7", "::ffff:192.0.2.0/120", True),
    "a mapped client is not IPv6": ("::ffff:192.0.2.7", "::/0", False),
    "IPv4 is not in an IPv6 network": ("192.0.2.7", "2001:db8::/32", False),
    "IPv6 is not in an IPv4 network": ("2001:db8::7", "0.0.0.0/0", False),
    "an IPv6 network": ("2001:db8:1::7", "2001:db8::/32", True),
    "however it is spelt": ("2001:db8::7", "2001:0DB8:0::0007", True),
    "a client's zone is ignored": ("fe80::7%eth0", "fe80::/10", True),
    "unix is in no network": ("unix", "127.0.0.0/8", False),
}

NO_SOURCE = {
    "a word": ("localnet", "'localnet' is not an address, a network, any or local"),
    "another case": ("Any", "'Any' is not an address, a network, any or local"),
    "nothing": ("", "'' is not an address, a network, any or local"),
    "a name": ("example.org", "'example.org' is not an address, a network, any or local"),
    "no address": ("300.0.0.1", "'300.0.0.1' is not an address, a network, any or local"),
    "a leading zero": ("010.0.0.1", "'010.0.0.1' is not an address, a network, any or local"),
    "too many bits": ("192.0.2.0/33", "'192.0.2.0/33' is not an address, a network, any or local"),
    "an address inside": (
        "192.0.2.7/24",
        "192.0.2.7/24 has host bits set (did you mean 192.0.2.0/24?)",
    ),
    "an IPv6 address inside": (
        "2001:db8::1/32",
        "2001:db8::1/32 has host bits set (did you mean 2001:db8::/32?)",
    ),
}

WITHIN = {
    "anything is within any": ("192.0.2.7", "any", True),
    "local is within any": ("local", "any", True),
    "any is within any": ("any", "any", True),
    "any is within no network": ("any", "0.0.0.0/0", False),
    "any is not within local": ("any", "local", False),
    "local is within local": ("local", "local", True),
    "local, which is unix too, is within no network": ("local", "127.0.0.0/8", False),
    "loopback is within local": ("127.0.0.1", "local", True),
    "all of loopback is within local": ("127.0.0.0/8", "local", True),
    "more than loopback is not": ("126.0.0.0/7", "local", False),
    "IPv6 loopback is within local": ("::1", "local", True),
    "a private network is not within local": ("10.0.0.0/8", "local", False),
    "a network is within itself": ("192.0.2.0/24", "192.0.2.0/24", True),
    "a network is within a larger one": ("192.0.2.0/25", "192.0.2.0/24", True),
    "a network is not within a smaller one": ("192.0.2.0/24", "192.0.2.0/25", False),
    "a network is not within another": ("192.0.2.0/24", "198.51.100.0/24", False),
    "IPv4 is not within IPv6": ("192.0.2.0/24", "::/0", False),
    "IPv6 is within IPv6": ("2001:db8:1::/48", "2001:db8::/32", True),
    "a mapped network is IPv4": ("::ffff:10.1.0.0/112", "10.0.0.0/8", True),
}

COUNTED = {
    "IPv4": ("192.0.2.7", "192.0.2.7"),
    "mapped": ("::ffff:192.0.2.7", "192.0.2.7"),
    "IPv6": ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    "zone": ("fe80::7%eth0", "fe80::/64"),
    "unix": ("unix", "unix"),
}

SHORTENED = {
    "IPv4": ("192.0.2.7", "192.0.2.0/24"),
    "mapped": ("::ffff:192.0.2.7", "192.0.2.0/24"),
    "IPv6": ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
    "unix": ("unix", "unix"),
}


@pytest.mark.parametrize(("client", "source", "held"), FROM.values(), ids=FROM.keys())
def test_a_source_holds_the_clients_that_it_means(client: str, source: str, held: bool) -> None:
    assert matches(client, parse_source(source)) is held


@pytest.mark.parametrize(("inner", "outer", "held"), WITHIN.values(), ids=WITHIN.keys())
def test_a_source_is_within_another_that_holds_all_of_its_clients(inner: str, outer: str, held: bool) -> None:
    assert covers(parse_source(inner), parse_source(outer)) is held


@pytest.mark.parametrize(("text", "complaint"), NO_SOURCE.values(), ids=NO_SOURCE.keys())
def test_what_is_no_source_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=r"is|has") as caught:
        parse_source(text)
    assert str(caught.value) == complaint


def test_a_source_that_yaml_reads_otherwise_must_be_quoted() -> None:
    with pytest.raises(ValueError, match="quote it"):
        read_source(Scalar("22:30", "a number", False, 1350))
    assert read_source(Scalar("any", "text", False, None)) == "any"


@pytest.mark.parametrize(("client", "name"), COUNTED.values(), ids=COUNTED.keys())
def test_clients_of_one_network_are_counted_as_one(client: str, name: str) -> None:
    assert limit_key(client) == name


@pytest.mark.parametrize(("client", "network"), SHORTENED.values(), ids=SHORTENED.keys())
def test_a_shortened_client_is_its_network(client: str, network: str) -> None:
    assert anonymized(client) == network


def test_an_address_has_one_spelling() -> None:
    assert str(parse_address("2001:0DB8:0:0::1%eth0")) == "2001:db8::1"
    assert str(parse_address("::ffff:192.0.2.7")) == "192.0.2.7"
    with pytest.raises(ValueError, match="example"):
        parse_address("example.org")


def test_the_first_rule_that_holds_a_client_decides() -> None:
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
def test_any_source_of_a_rule_may_hold_the_client(client: str, rule: Rule) -> None:
    policy = Policy((HOME, HERE, STRANGERS))
    assert policy.rule_for(client) is rule
    assert policy.rule_for(client) is rule  # the second time from memory


def test_a_client_whom_no_rule_holds_is_denied_everything() -> None:
    assert Policy((HOME,)).rule_for("198.51.100.1") is NO_RULE
    assert Policy(()).rule_for("unix") is NO_RULE
    assert NO_RULE.deny is True


def test_anyone_may_ask_for_users_but_not_for_the_list_unless_told_otherwise() -> None:
    rule = Policy((ANYONE,)).rule_for("198.51.100.1")
    assert (rule.deny, rule.list, rule.forward) == (False, False, False)


# show: which atoms are told

OFFICE = {"login", "name", "office", "office_phone"}
STANDARD = OFFICE | {"project", "plan", "pronouns", "pgpkey", "sessions", "last_login"}

SHOW: dict[str, tuple[str, set[str]]] = {
    "nothing said": ("{from: any}", STANDARD),
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
    "office among others is the atom": ("{from: any, show: [name, office]}", {"name", "office"}),
}

NO_ATOM = "there is no atom"
NO_SHOW = {
    "a typo": ("show: pln", f"3:23: policy[0].show: {NO_ATOM} pln (did you mean plan?)"),
    "a typo of a preset": ("show: standart", f"3:23: policy[0].show: {NO_ATOM} standart (did you mean standard?)"),
    "a typo in a list": ("show: [name, offise]", f"3:30: policy[0].show[1]: {NO_ATOM} offise (did you mean office?)"),
    "another case": ("show: Plan", f"3:23: policy[0].show: {NO_ATOM} Plan (did you mean plan?)"),
    "with a hyphen": (
        "show: last-login",
        f"3:23: policy[0].show: {NO_ATOM} last-login (did you mean last_login?)",
    ),
    "like nothing else": (
        "show: xyz",
        f"3:23: policy[0].show: {NO_ATOM} xyz (there are minimal, office, standard, everything, login, name, "
        "office_phone, home_phone, job, directory, shell, sessions, last_login, mail, forward, project, plan, pgpkey, "
        "pubkey, pronouns, timezone)",
    ),
    "the text, which is no atom": ("show: text", f"3:23: policy[0].show: {NO_ATOM} text"),
    "no word": ("show: []", "3:23: policy[0].show: is empty: give at least the name"),
    "nothing": ("show:", "3:22: policy[0].show: is empty: give a value or remove the option"),
    "no as a word": (
        "show: no",
        '3:23: policy[0].show: YAML reads no as true or false; to mean the text, quote it: "no"',
    ),
    "a mapping": ("show: {plan: true}", "3:23: policy[0].show: must be text"),
    "a way to match that there is not": (
        "match: names",
        "3:24: policy[0].match: must be login, name or unique (did you mean name?)",
    ),
    "no users at all": ("users_per_query: 0", "3:34: policy[0].users_per_query: must be from 1 to 100"),
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


@pytest.mark.parametrize(("option", "problem"), NO_SHOW.values(), ids=NO_SHOW.keys())
def test_what_is_no_option_of_a_rule_is_a_problem_at_its_place(option: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: empty}}\npolicy:\n  - {{from: any, {option}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    (found,) = (line.removeprefix(f"{path}:") for line in caught.value.problems)
    assert found == problem or (problem.endswith("no atom text") and found.startswith(problem))


NOW = datetime(1990, 6, 24, 12, 0).timestamp()
PIRMANN = Person(
    "pirmann",
    name="David Pirmann",
    office="016 Hill",
    office_phone="x2443",
    home_phone="989-8482",
    directory="/dimacs/u1/pirmann",
    shell="/bin/tcsh",
    sessions=(Session("ttyp0", "romulus.rutgers.", datetime(1990, 6, 23, 10, 47).timestamp(), 300.0),),
    last_login=LastLogin(datetime(1990, 6, 23, 10, 47).timestamp(), "ttyp0"),
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
    """What becomes of the line of a client from outside."""
    return Ruip(backend, policy, ReplyOptions(), 1024, 1 << 18).answer_line(line, AnswerContext("192.0.2.7", 20.0, NOW))


# RFC 1288 3.2.3 asks for these three administrators; 2.5.2 wants the full name of the first two as well.
ADMINISTRATORS = {
    "A, logged in": (
        "[name, office, office_phone, home_phone, sessions, last_login]",
        PIRMANN,
        "In real life: David Pirmann\r\n"
        "Office: 016 Hill, x2443                 Home phone: 989-8482\r\n"
        "On since Sat Jun 23 10:47 on ttyp0 from romulus.rutgers., idle 5\r\n",
    ),
    "A, not logged in": (
        "[name, office, office_phone, home_phone, sessions, last_login]",
        AWAY,
        "In real life: David Pirmann\r\n"
        "Office: 016 Hill, x2443                 Home phone: 989-8482\r\n"
        "Last login Sat Jun 23 10:47 on ttyp0\r\n",
    ),
    "B": ("[name, office, office_phone]", PIRMANN, "In real life: David Pirmann\r\nOffice: 016 Hill, x2443\r\n"),
    "B, to the letter": ("[office, office_phone]", PIRMANN, "Office: 016 Hill, x2443\r\n"),
    "C": ("minimal", PIRMANN, "In real life: David Pirmann\r\n"),
}


@pytest.mark.parametrize(("show", "person", "answer"), ADMINISTRATORS.values(), ids=ADMINISTRATORS.keys())
@pytest.mark.parametrize("line", [b"pirmann\r\n", b"/W pirmann\r\n"], ids=["short", "verbose"])
def test_rfc_1288_3_2_3_administrators_choose_what_is_told(
    line: bytes, show: str, person: Person, answer: str, tmp_path: Path
) -> None:
    policy = policy_of(tmp_path, f"  - {{from: any, show: {show}}}")
    assert asked(line, policy, Dimacs(person)) == Answer("answered", answer.encode())


# match: whom a name may mean, and users_per_query: how many names there may be

RUTGERS = """{type: static, users: {
  mark: {name: Mark J. Rinehart, plan: pots}, rinehart: {name: Ann Rinehart}, mel: {name: "Pleasant, Mel"},
  smith: {name: Mark Smith}, ann: A text.}}"""
MARK, ANN, MEL, SMITH = (
    f"In real life: {name}\r\n" for name in ("Mark J. Rinehart", "Ann Rinehart", "Pleasant, Mel", "Mark Smith")
)
TEXT = "A text.\r\n"
NOBODY, AMBIGUOUS = "No such user\r\n", f"{AMBIGUOUS_NAME}\r\n"

MATCHES = {
    "login: the exact login": ("login", "mark", "answered", MARK),
    "login: no other case": ("login", "Mark", "unknown", NOBODY),
    "login: no part of a name": ("login", "pleasant", "unknown", NOBODY),
    "login: no whole name": ("login", "Mark Smith", "unknown", NOBODY),
    "login: no pattern": ("login", "*", "unknown", NOBODY),
    "name: the login first, and all who are called so": ("name", "mark", "answered", f"{MARK}\r\n{SMITH}"),
    "name: the login first, wherever it stands": ("name", "rinehart", "answered", f"{ANN}\r\n{MARK}"),
    "name: parts of names in any case": ("name", "MARK", "answered", f"{MARK}\r\n{SMITH}"),
    "name: a text and somebody who is called so": ("name", "ann", "answered", f"{TEXT}\r\n{ANN}"),
    "name: one part": ("name", "pleasant", "answered", MEL),
    "name: two parts": ("name", "Mark Smith", "answered", SMITH),
    "name: parts of two names": ("name", "Ann Smith", "unknown", NOBODY),
    "name: half a part": ("name", "plea", "unknown", NOBODY),
    "name: no pattern": ("name", "*", "unknown", NOBODY),
    "unique: the exact login wins": ("unique", "mark", "answered", MARK),
    "unique: the exact login wins over those before it": ("unique", "rinehart", "answered", ANN),
    "unique: one who is called so": ("unique", "pleasant", "answered", MEL),
    "unique: several refuse": ("unique", "Mark", "refused", AMBIGUOUS),
    "unique: a login in another case is none": ("unique", "Rinehart", "refused", AMBIGUOUS),
    "unique: nobody": ("unique", "nobody", "unknown", NOBODY),
}


@pytest.mark.parametrize(("match", "name", "outcome", "answer"), MATCHES.values(), ids=MATCHES.keys())
def test_a_rule_says_whom_a_name_may_mean(match: str, name: str, outcome: str, answer: str, tmp_path: Path) -> None:
    policy = policy_of(tmp_path, f"  - {{from: any, show: minimal, match: {match}}}", RUTGERS)
    backend = load_config(str(tmp_path / "fingerd.yaml")).backend
    assert asked(f"{name}\r\n".encode(), policy, backend) == Answer(outcome, answer.encode())


USERS = {
    "one": ("login", "mark", "answered", MARK),
    "two": ("login", "mark mel", "answered", f"{MARK}\r\n{MEL}"),
    "in their order": ("login", "mel mark ann", "answered", f"{MEL}\r\n{MARK}\r\n{TEXT}"),
    "verbose": ("login", "/W mark mel", "answered", f"{MARK}\r\n{MEL}"),
    "blanks and tabs between": ("login", "mark \t mel", "answered", f"{MARK}\r\n{MEL}"),
    "a blank that is none": ("login", "mark\N{NO-BREAK SPACE}mel", "unknown", NOBODY),
    "an unknown one among them": ("login", "mark nobody mel", "answered", f"{MARK}\r\n{NOBODY}\r\n{MEL}"),
    "an unknown one at first": ("login", "nobody mel", "answered", f"{NOBODY}\r\n{MEL}"),
    "unknown ones alone": ("login", "nobody none", "unknown", f"{NOBODY}\r\n{NOBODY}"),
    "the same twice": ("login", "mel mel", "answered", f"{MEL}\r\n{MEL}"),
    "too many": ("login", "mark mel ann smith", "malformed", "Malformed query\r\n"),
    "too many of one": ("login", "mel mel mel mel", "malformed", "Malformed query\r\n"),
    "by parts of names": ("name", "Smith pleasant", "answered", f"{SMITH}\r\n{MEL}"),
    "an ambiguous one among them": ("unique", "Mark mel", "answered", f"{AMBIGUOUS}\r\n{MEL}"),
    "an ambiguous and an unknown one": ("unique", "Mark nobody", "refused", f"{AMBIGUOUS}\r\n{NOBODY}"),
    "forwarding": ("login", "mark mel@example.org", "refused", "Finger forwarding service denied\r\n"),
    "the list": ("login", "", "refused", "Finger online user list denied\r\n"),
}


@pytest.mark.parametrize(("match", "names", "outcome", "answer"), USERS.values(), ids=USERS.keys())
def test_several_users_are_as_many_queries(match: str, names: str, outcome: str, answer: str, tmp_path: Path) -> None:
    rule = f"  - {{from: any, show: minimal, match: {match}, users_per_query: 3}}"
    policy = policy_of(tmp_path, rule, RUTGERS)
    backend = load_config(str(tmp_path / "fingerd.yaml")).backend
    assert asked(f"{names}\r\n".encode(), policy, backend) == Answer(outcome, answer.encode())


def test_a_name_with_a_blank_is_one_user_unless_the_rule_says_so(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, "  - {from: any}", "{type: static, users: {mark mel: both}}")
    backend = load_config(str(tmp_path / "fingerd.yaml")).backend
    assert asked(b"mark mel\r\n", policy, backend) == Answer("answered", b"both\r\n")


# What --check has doubts about

NEVER = "never comes into play: the rules before it hold all of these clients"
DENIED = "says nothing: the rule denies everything"
NAMELESS = "hides the full name, which RFC 1288 wants in every answer (2.5.2)"


def guessing(match: str) -> str:
    return f"list is refused, but match: {match} lets anyone guess who is there (RFC 1288 3.2.6)"


DOUBTS: dict[str, tuple[list[str], list[str]]] = {
    "none": (["{from: local, list: true, match: name}", "{from: any}"], []),
    "behind any": (["{from: any}", "{from: 192.0.2.0/24}"], [f"4:5: policy[1].from: {NEVER}"]),
    "behind any that denies": (["{from: any, deny: true}", "{from: local}"], [f"4:5: policy[1].from: {NEVER}"]),
    "the same again": (["{from: local}", "{from: local}"], [f"4:5: policy[1].from: {NEVER}"]),
    "a network within a network": (
        ["{from: 10.0.0.0/8}", "{from: 10.1.0.0/16}", "{from: any}"],
        [f"4:5: policy[1].from: {NEVER}"],
    ),
    "an address within a network": (
        ['{from: "2001:db8::/32"}', '{from: "2001:db8::7"}', "{from: any}"],
        [f"4:5: policy[1].from: {NEVER}"],
    ),
    "a network around a network": (["{from: 10.1.0.0/16}", "{from: 10.0.0.0/8}"], []),
    "several within several rules": (
        ["{from: [192.0.2.0/24, local]}", "{from: 198.51.100.0/24}", "{from: [198.51.100.7, 192.0.2.7, 127.0.0.1]}"],
        [f"5:5: policy[2].from: {NEVER}"],
    ),
    "several, of which one is new": (["{from: 192.0.2.0/24}", "{from: [192.0.2.7, 198.51.100.7]}"], []),
    "loopback behind local": (
        ["{from: local}", "{from: [127.0.0.1, '::1', 127.0.0.0/8]}"],
        [f"4:5: policy[1].from: {NEVER}"],
    ),
    "local behind loopback, for unix sockets": (["{from: [127.0.0.0/8, '::1']}", "{from: local}"], []),
    "IPv6 behind IPv4": (["{from: 0.0.0.0/0}", "{from: '::/0'}"], []),
    "no full name": (["{from: any, show: [office, office_phone]}"], [f"3:5: policy[0].show: {NAMELESS}"]),
    "no full name, but nothing else either": (["{from: any, deny: true}"], []),
    "guesses": (["{from: any, match: name}"], [f"3:5: policy[0].match: {guessing('name')}"]),
    "guesses of one": (["{from: any, match: unique}"], [f"3:5: policy[0].match: {guessing('unique')}"]),
    "guesses, where the list is told anyway": (["{from: any, match: unique, list: true}"], []),
    "what is allowed, where everything is denied": (
        ["{from: local, show: plan, deny: true}", "{from: any, match: name, list: true, deny: silently}"],
        [
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
            f"4:5: policy[1].from: {NEVER}",
            f"4:5: policy[1].match: {guessing('unique')}",
        ],
    ),
}


@pytest.mark.parametrize(("rules", "expected"), DOUBTS.values(), ids=DOUBTS.keys())
def test_rules_that_may_not_do_what_is_wanted_are_warned_of(
    rules: list[str], expected: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text("backend: {type: empty}\npolicy:\n" + "".join(f"  - {rule}\n" for rule in rules))
    assert [line.removeprefix(f"{path}:") for line in read_config(str(path), {})[1]] == expected


def test_check_prints_doubts_with_their_places_and_the_configuration_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text("backend: {type: empty}\npolicy:\n  - {from: any, match: name}\n  - from: local\n    show: plan\n")
    done = subprocess.run([*FINGERD, "--check", "-c", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{path}: valid, with warnings\n")
    assert done.stderr.splitlines() == [
        f"warning: {path}:3:5: policy[0].match: {guessing('name')}",
        f"warning: {path}:4:5: policy[1].from: {NEVER}",
        f"warning: {path}:4:5: policy[1].show: {NAMELESS}",
    ]


def test_a_daemon_with_doubts_logs_them_and_serves(start: Start) -> None:
    daemon = start('listen: "127.0.0.1:0"\nbackend: {type: empty}\npolicy: [{from: any, match: name}]\n')
    assert [line for line in daemon.log if line.endswith(guessing("name"))]
    assert daemon.ask(b"mark\r\n") == b"No such user\r\n"


# What --query prints is what a client gets

SHUNNED = "127.0.0.6"
FOR_SOME = f"""
listen: "127.0.0.1:0"
backend: {RUTGERS}
policy:
  - {{from: 127.0.0.2, show: minimal}}
  - {{from: 127.0.0.3, show: everything, list: true, match: name, users_per_query: 2}}
  - {{from: 127.0.0.4, show: office, list: true, match: unique}}
  - {{from: 127.0.0.5, deny: true}}
  - {{from: {SHUNNED}, deny: silently}}
  - {{from: 127.0.0.1, show: [name, plan]}}
"""
LINES = [
    "",
    "/W",
    "mark",
    "/W mark",
    "Mark",
    "mark mel",
    "ann",
    "nobody",
    "mel@example.org",
    "mel@",
    "../mark",
    "a" * 2000,
]


def test_query_prints_byte_for_byte_what_a_client_there_gets(
    start: Start, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    daemon = start(FOR_SOME)
    path = tmp_path / "fingerd.yaml"
    path.write_text(FOR_SOME)
    answers = set()
    for number in range(1, 8):
        for line in LINES:
            source = f"127.0.0.{number}"
            assert main(["-c", str(path), "--query", line, "--from", source]) == 0
            printed = capfdbinary.readouterr().out
            try:
                heard = daemon.ask(f"{line}\r\n".encode(), source)
            except ConnectionError:
                assert source == SHUNNED  # whose line may come when nobody is there any more
                heard = b""
            assert printed == heard, (source, line)
            answers.add(printed)
    assert len(answers) > 15
    assert daemon.ask(b"mark\r\n", "127.0.0.7") == b"Finger service denied\r\n"
