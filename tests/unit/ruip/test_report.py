"""Records and lists: RFC 1288's own examples byte for byte, every other form, and properties of any person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcwidth

from fingerd.backends import Backend, Lookup
from fingerd.people import ATOMS, LastLogin, Mail, Person, Session
from fingerd.protocol.reply import CRLF, cut_reply, encode_reply
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.presets import PRESETS
from fingerd.ruip.report import LIST_ATOMS, SHORT_PLAN_LINES, format_list, format_people, join_blocks
from fingerd.ruip.ruip import AnswerContext, ReplyOptions, Ruip
from fingerd.ruip.times import date_text, idle_time, idle_words, when_column
from fingerd.text import one_line
from tests.unit.ruip.conftest import DAY, HOUR, MINUTE, NOW, WINTER, at

pytestmark = pytest.mark.usefixtures("rutgers_time")

MONDAY = at(7, 23, 15, 56)  # shortly after the last login of ELBERETH


@dataclass(frozen=True)
class Known(Backend):
    """Some people; every name finds all of them."""

    blocking: ClassVar[bool] = False
    people: tuple[Person, ...]

    def find(self, lookup: Lookup) -> Sequence[Person]:
        return self.people

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        return iter(self.people)


def reply(
    line: bytes,
    people: Sequence[Person],
    *show: str,
    now: float = NOW,
    reply_bytes: int = 1 << 30,
    options: ReplyOptions = ReplyOptions(),
) -> bytes:
    """The answer about these people to a client that may see these atoms."""
    rule = Rule(from_=("any",), list=True, match="name", show=show or ("everything",))
    ruip = Ruip(Known(tuple(people)), Policy((rule,)), options, 1024, reply_bytes)
    return ruip.answer_line(line, AnswerContext("192.0.2.7", 20.0, now)).reply


def on_the_wire(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


# 4.1: elbereth.rutgers.edu, its headings moved over their columns, and one for the telephone

ELBERETH = """\
Login    Name                  TTY Idle When       Office         Phone
rinehart Mark J. Rinehart      p0  1:11 Mon 12:15  019 Hill       x3166
greenfie Stephen J. Greenfiel  p1       Mon 15:46  542 Hill       x3074
rapatel  Rocky - Rakesh Patel  p3    4d Thu 00:58  028 Hill       x2287
pleasant Mel Pleasant          p4    3d Thu 21:32  019 Hill    908-932-
dphillip Dave Phillips         p5  021: Sun 18:24  265 Hill       x3792
dmk      David Katinsky        p6    2d Thu 14:11  028 Hill       x2492
cherniss Cary Cherniss         p7    5  Mon 15:42  127 Psychol    x2008
harnaga  Doug Harnaga          p8  2:01 Mon 10:15  055 Hill       x2351
brisco   Thomas P. Brisco      pe  2:09 Mon 13:37  h055           x2351
laidlaw  Angus Laidlaw         q0  1:55 Mon 11:26  E313C       648-5592
cje      Chris Jarocha-Ernst   q1    8  Mon 13:43  259 Hill       x2413
"""

ONLINE = (
    ("rinehart", "Mark J. Rinehart", "p0", 71 * MINUTE, at(7, 23, 12, 15), "019 Hill", "x3166"),
    ("greenfie", "Stephen J. Greenfiel", "p1", 12.0, at(7, 23, 15, 46), "542 Hill", "x3074"),
    ("rapatel", "Rocky - Rakesh Patel", "p3", 4.4 * DAY, at(7, 19, 0, 58), "028 Hill", "x2287"),
    ("pleasant", "Mel Pleasant", "p4", 3.7 * DAY, at(7, 19, 21, 32), "019 Hill", "908-932-"),
    ("dphillip", "Dave Phillips", "p5", 21.5 * HOUR, at(7, 22, 18, 24), "265 Hill", "x3792"),
    ("dmk", "David Katinsky", "p6", 2 * DAY, at(7, 19, 14, 11), "028 Hill", "x2492"),
    ("cherniss", "Cary Cherniss", "p7", 5 * MINUTE, at(7, 23, 15, 42), "127 Psychol", "x2008"),
    ("harnaga", "Doug Harnaga", "p8", 121 * MINUTE, at(7, 23, 10, 15), "055 Hill", "x2351"),
    ("brisco", "Thomas P. Brisco", "pe", 129 * MINUTE, at(7, 23, 13, 37), "h055", "x2351"),
    ("laidlaw", "Angus Laidlaw", "q0", 115 * MINUTE, at(7, 23, 11, 26), "E313C", "648-5592"),
    ("cje", "Chris Jarocha-Ernst", "q1", 8 * MINUTE + 59, at(7, 23, 13, 43), "259 Hill", "x2413"),
)


def test_rfc_1288_4_1_null_command_line() -> None:
    people = [
        Person(login, name=name, office=office, office_phone=phone, sessions=(Session(tty, "", since, idle),))
        for login, name, tty, idle, since, office, phone in ONLINE
    ]
    assert reply(b"\r\n", people, "standard", now=MONDAY) == on_the_wire(ELBERETH)


def test_links_are_in_the_long_form_alone() -> None:
    text = "profile\nme https://ann.example/\nme javascript:alert(1)\nself https://a.example/ann text/html\n"
    ann = Person("ann", name="Ann", links=text)
    assert b"ann.example" not in reply(b"ann\r\n", [ann])
    long_form = reply(b"/W ann\r\n", [ann])
    assert long_form.endswith(b"\r\nLinks:\r\nme https://ann.example/\r\nself https://a.example/ann text/html\r\n")
    assert b"Links" not in reply(b"/W ann\r\n", [Person("ann", links="profile\nnothing\n")])
    assert b"Links" not in reply(b"/W ann\r\n", [ann], "office")


# 4.2: dimacs.rutgers.edu; times have their zone besides

PIRMANN = """\
Login name: pirmann                     In real life: David Pirmann
Office: 016 Hill, x2443                 Home phone: 989-8482
Directory: /dimacs/u1/pirmann           Shell: /bin/tcsh
Last login Sat Jun 23 10:47 (EDT) on ttyp0 from romulus.rutgers.
No unread mail
Project:
Plan:
                      Work Schedule, Summer 1990
                 Rutgers LCSR Operations, 908-932-2443

                        Monday       5pm - 12am
                        Tuesday      5pm - 12am
                        Wednesday    9am -  5pm
                        Thursday     9am -  5pm
                        Saturday     9am -  5pm

                           larf larf hoo hoo
"""

DIMACS = Person(
    "pirmann",
    name="David Pirmann",
    office="016 Hill",
    office_phone="x2443",
    home_phone="989-8482",
    directory="/dimacs/u1/pirmann",
    shell="/bin/tcsh",
    sessions=(),
    last_login=LastLogin(at(6, 23, 10, 47), "ttyp0", "romulus.rutgers."),
    mail=Mail(),
    project="\n",
    plan=PIRMANN.partition("Plan:\n")[2],
)


def test_rfc_1288_4_2_name_specified() -> None:
    assert reply(b"/W pirmann\r\n", [DIMACS]) == on_the_wire(PIRMANN)


# 4.3: elbereth.rutgers.edu again

RON = """\
Login name: spinner                     In real life: Ron Spinner
Office: Ops Cubby,    x2443             Home phone: 463-7358
Directory: /u1/spinner                  Shell: /bin/tcsh
Last login Mon May  7 16:38 (EDT) on ttyq7
Plan:
            ught i
          ca      n
        m           a
       '      ...     t
      I      .   .     i
             !         m
      !       !       e
       p       !pool
        l
         e
          H

Login name: surak                       In real life: Ron Surak
Office: 000 OMB Dou,    x9256
Directory: /u2/surak                    Shell: /bin/tcsh
Last login Fri Jul 27 09:55 (EDT) on ttyq3
No Plan.

Login name: etter                       In real life: Ron Etter
Directory: /u2/etter                    Shell: /bin/tcsh
Never logged in.
No Plan.
"""

SPINNER = Person(
    "spinner",
    name="Ron Spinner",
    office="Ops Cubby",
    office_phone="   x2443",
    home_phone="463-7358",
    directory="/u1/spinner",
    shell="/bin/tcsh",
    last_login=LastLogin(at(5, 7, 16, 38), "ttyq7"),
    plan=RON.partition("Plan:\n")[2].partition("\n\n")[0] + "\n",
)
SURAK = Person(
    "surak",
    name="Ron Surak",
    office="000 OMB Dou",
    office_phone="   x9256",
    directory="/u2/surak",
    shell="/bin/tcsh",
    last_login=LastLogin(at(7, 27, 9, 55), "ttyq3"),
    plan="",
)
ETTER = Person("etter", name="Ron Etter", directory="/u2/etter", shell="/bin/tcsh", last_login=LastLogin(None), plan="")


def test_rfc_1288_4_3_ambiguous_name_specified() -> None:
    assert reply(b"/W ron\r\n", [SPINNER, SURAK, ETTER]) == on_the_wire(RON)


# Records

ANN = Person("ann", name="Ann Example")
HEAD = "Login name: ann                         In real life: Ann Example\n"
SINCE = at(7, 30, 9, 15)
LONG = "".join(f"line {number}\n" for number in range(1, 52))  # one line more than the short form shows
CUT = "".join(f"line {number}\n" for number in range(1, 51)) + "[more with /W]\n"
KEYS = "PGP key:\n-----BEGIN\nkey\n-----END\nPublic key:\nssh-ed25519 AAAA ann@host\n"


def both(person: Person, text: str) -> tuple[Person, str, str]:
    """A person whose short and long form are the same."""
    return person, text, text


# The person, the short form, and the long form.
RECORDS: dict[str, tuple[Person, str, str]] = {
    "login and name": (ANN, HEAD, HEAD),
    "no name": both(Person("ann"), "Login name: ann                         In real life: ann\n"),
    "name alone": both(Person("", name="Ann Example"), "In real life: Ann Example\n"),
    "office without a phone": both(replace(ANN, office="12 Hill"), HEAD + "Office: 12 Hill\n"),
    "phone without an office": both(replace(ANN, office_phone="x1"), HEAD + "Office: x1\n"),
    "home phone alone": both(replace(ANN, home_phone="555"), HEAD + "Home phone: 555\n"),
    "spaces only": both(replace(ANN, office=" ", office_phone="\t", job="\n"), HEAD),
    "job": both(replace(ANN, job="potter"), HEAD + "Job: potter\n"),
    "pronouns and time zone": both(
        replace(ANN, pronouns="she/her", timezone="Europe/Lisbon"),
        HEAD + "Pronouns: she/her                       Timezone: Europe/Lisbon\n",
    ),
    "directory and shell are in the long form only": (
        replace(ANN, directory="/home/ann", shell="/bin/sh"),
        HEAD,
        HEAD + "Directory: /home/ann                    Shell: /bin/sh\n",
    ),
    "every line of two columns": (
        replace(ANN, office="12 Hill", directory="/home/ann", job="potter", pronouns="she/her"),
        HEAD + "Office: 12 Hill\nJob: potter\nPronouns: she/her\n",
        HEAD + "Office: 12 Hill\nDirectory: /home/ann\nJob: potter\nPronouns: she/her\n",
    ),
    "shell alone": (replace(ANN, shell="/bin/sh"), HEAD, HEAD + "Shell: /bin/sh\n"),
    "a long login moves the name to the right": both(
        replace(ANN, login="a-login-that-is-longer-than-its-column"),
        "Login name: a-login-that-is-longer-than-its-column In real life: Ann Example\n",
    ),
    "a login that just fits": both(replace(ANN, login="a" * 27), f"Login name: {'a' * 27} In real life: Ann Example\n"),
    # sessions
    "logged in": both(
        replace(ANN, sessions=(Session("tty1", "", SINCE, 5 * MINUTE),)),
        HEAD + "On since Mon Jul 30 09:15 (EDT) on tty1, idle 5 minutes\n",
    ),
    "logged in from another host, not idle": both(
        replace(ANN, sessions=(Session("pts/3", "host.example.org", SINCE, 10.0),)),
        HEAD + "On since Mon Jul 30 09:15 (EDT) on pts/3 from host.example.org\n",
    ),
    "logged in, start unknown": both(
        replace(ANN, sessions=(Session("tty1", "192.0.2.7", None, 2 * DAY),)),
        HEAD + "Logged in on tty1 from 192.0.2.7, idle 2 days\n",
    ),
    "logged in, idle time unknown": both(
        replace(ANN, sessions=(Session("tty1", "", SINCE),)), HEAD + "On since Mon Jul 30 09:15 (EDT) on tty1\n"
    ),
    "logged in, everything else unknown": both(replace(ANN, sessions=(Session(""),)), HEAD + "Logged in\n"),
    "logged in more than once": both(
        replace(ANN, sessions=(Session("tty1", "", SINCE), Session("tty2", "", at(1, 1, 8, 0, 1989, WINTER)))),
        HEAD + "On since Mon Jul 30 09:15 (EDT) on tty1\nOn since Sun Jan  1 08:00 1989 (EST) on tty2\n",
    ),
    "a session replaces the last login": both(
        replace(ANN, sessions=(Session("tty1"),), last_login=LastLogin(SINCE)), HEAD + "Logged in on tty1\n"
    ),
    "not logged in": both(replace(ANN, sessions=()), HEAD + "Not logged in.\n"),
    "sessions unknown": both(replace(ANN, sessions=None), HEAD),
    "last login": both(
        replace(ANN, sessions=(), last_login=LastLogin(SINCE, "tty1")),
        HEAD + "Last login Mon Jul 30 09:15 (EDT) on tty1\n",
    ),
    "last login long ago": both(
        replace(ANN, last_login=LastLogin(at(6, 2, 8, 0, 1987), "", "host")),
        HEAD + "Last login Tue Jun  2 08:00 1987 (EDT) from host\n",
    ),
    "last login never": both(replace(ANN, sessions=(), last_login=LastLogin(None)), HEAD + "Never logged in.\n"),
    # mail
    "an empty mailbox": (replace(ANN, mail=Mail()), HEAD, HEAD + "No unread mail\n"),
    "an empty mailbox that was read": (replace(ANN, mail=Mail(None, SINCE)), HEAD, HEAD + "No unread mail\n"),
    "mail that was read": (
        replace(ANN, mail=Mail(at(7, 29, 8, 0), SINCE)),
        HEAD,
        HEAD + "Mail last read Mon Jul 30 09:15 (EDT)\n",
    ),
    "mail that was read when it came": (
        replace(ANN, mail=Mail(SINCE, SINCE)),
        HEAD,
        HEAD + "Mail last read Mon Jul 30 09:15 (EDT)\n",
    ),
    "new mail": (
        replace(ANN, mail=Mail(SINCE, at(7, 29, 8, 0))),
        HEAD,
        HEAD + "New mail received Mon Jul 30 09:15 (EDT), unread since Sun Jul 29 08:00 (EDT)\n",
    ),
    "mail that was never read": (
        replace(ANN, mail=Mail(SINCE)),
        HEAD,
        HEAD + "New mail received Mon Jul 30 09:15 (EDT)\n",
    ),
    # project and plan
    "a project of one line": both(replace(ANN, project="pots\n"), HEAD + "Project: pots\n"),
    "a project of several lines": both(replace(ANN, project="pots\npans\n"), HEAD + "Project:\npots\npans\n"),
    "an indented project": both(replace(ANN, project="  pots\n"), HEAD + "Project:   pots\n"),
    "a project of line ends only": both(replace(ANN, project="\r\n\n"), HEAD + "Project:\n"),
    "a project of spaces only": both(replace(ANN, project=" \t\n"), HEAD + "Project:\n"),
    "no project": both(replace(ANN, project=""), HEAD),
    "a plan": both(replace(ANN, plan="  More\n\npots\n"), HEAD + "Plan:\n  More\n\npots\n"),
    "a plan without a line end": both(replace(ANN, plan="More pots"), HEAD + "Plan:\nMore pots\n"),
    "a plan with empty lines at its end": both(replace(ANN, plan="More pots\n\n \n\n"), HEAD + "Plan:\nMore pots\n"),
    "an empty plan": both(replace(ANN, plan=""), HEAD + "No Plan.\n"),
    "a plan of spaces only": both(replace(ANN, plan=" \n\t\n"), HEAD + "No Plan.\n"),
    "plan unknown": both(replace(ANN, plan=None), HEAD),
    "a plan of as many lines as the short form shows": both(
        replace(ANN, plan=LONG.removesuffix("line 51\n")), HEAD + "Plan:\n" + CUT.removesuffix("[more with /W]\n")
    ),
    "a longer plan": (replace(ANN, plan=LONG), HEAD + "Plan:\n" + CUT, HEAD + "Plan:\n" + LONG),
    "a longer plan with other line ends": (
        replace(ANN, plan=LONG.replace("\n", "\r\n")),
        HEAD + "Plan:\n" + CUT,
        HEAD + "Plan:\n" + LONG,
    ),
    "keys are in the long form only": (
        replace(ANN, pgpkey="-----BEGIN\nkey\n-----END\n", pubkey="ssh-ed25519 AAAA ann@host\n"),
        HEAD,
        HEAD + KEYS,
    ),
    "keys of spaces only": (replace(ANN, pgpkey=" \n", pubkey="\n"), HEAD, HEAD),
    # control characters
    "control characters": both(
        replace(ANN, office="\x1b]0;x\x07", job="\x9b2J\x7f", plan="\x1b[2J\x00\nb\x85c"),
        HEAD + "Office: ?]0;x?\nJob: ?2J?\nPlan:\n?[2J?\nb?c\n",
    ),
    "control characters only, which str.strip() removes": both(
        Person("ann", name="\x1f", office="\x1c", office_phone="\x1d", job="\x1e"),
        "Login name: ann                         In real life: ann\nOffice: ?, ?\nJob: ?\n",
    ),
    "a line end in every atom that is one line": both(
        Person(
            "a\nnn",
            name="Ann\r\nExample",
            office="12\vHill",
            office_phone="x\f1",
            home_phone="5\x855",
            job="pot\u2028ter",
            pronouns="she\u2029her",
            timezone="U\tC",
            sessions=(Session("t\nty", "h\rost"),),
        ),
        "Login name: a nn                        In real life: Ann  Example\n"
        "Office: 12 Hill, x 1                    Home phone: 5 5\n"
        "Job: pot ter\n"
        "Pronouns: she her                       Timezone: U C\n"
        "Logged in on t ty from h ost\n",
    ),
    "a text is unchanged": both(Person("ann", "Hello\n  there\n"), "Hello\n  there\n"),
}


@pytest.mark.parametrize(("person", "short", "full"), RECORDS.values(), ids=RECORDS.keys())
def test_a_record_shows_the_known_atoms(person: Person, short: str, full: str) -> None:
    assert reply(b"ann\r\n", [person]) == on_the_wire(short)
    assert reply(b"/W ann\r\n", [person]) == on_the_wire(full)


SEVERAL = {
    "one": ((Person("a", "x"),), "x"),
    "one with a line end": ((Person("a", "x\n"),), "x\n"),
    "two": ((Person("a", "x\n"), Person("b", "y")), "x\n\ny\n"),
    "a text and a record": ((Person("a", "x"), Person("b", name="B")), "x\n\nLogin name: b                           "
    "In real life: B\n"),
}  # fmt: skip


@pytest.mark.parametrize(("people", "text"), SEVERAL.values(), ids=SEVERAL.keys())
def test_records_are_separated_by_empty_lines(people: tuple[Person, ...], text: str) -> None:
    assert format_people(people, NOW, False, 1000) == text


def test_blocks_are_separated_by_empty_lines() -> None:
    assert join_blocks(["a", "b\n", "c\nd\n"]) == "a\n\nb\n\nc\nd\n"


# Lists

NO_SESSIONS_KNOWN = Person("ann", name="Ann Example")

LISTS: dict[str, tuple[tuple[Person, ...], str]] = {
    "no one": ((), "No one logged on.\n"),
    "a login with a text": ((Person("bob", "x"),), "Login    Name\nbob      bob\n"),
    "a text is unchanged": ((Person("", "Here:\n bob\r\n"),), "Here:\n bob\n"),
    "rows before texts": (
        (Person("", "Here:\n"), Person("bob", "")),
        "Login    Name\nbob      bob\nHere:\n",
    ),
    "login and name": ((NO_SESSIONS_KNOWN,), "Login    Name\nann      Ann Example\n"),
    "not logged in": ((replace(ANN, sessions=()),), "Login    Name\nann      Ann Example\n"),
    "a row for each session": (
        (replace(ANN, sessions=(Session("p0"), Session("p1"))), Person("bob", sessions=())),
        "Login    Name                  TTY\n"
        "ann      Ann Example           p0\n"
        "ann      Ann Example           p1\n"
        "bob      bob\n",
    ),
    "every column of a session, and the job": (
        (replace(ANN, sessions=(Session("p0", "host.example.org", SINCE, 3 * HOUR),), job="potter"),),
        "Login    Name                  TTY Idle When       Where             Job\n"
        "ann      Ann Example           p0  3:00 Mon 09:15  host.example.org  potter\n",
    ),
    "a session whose start is unknown": (
        (replace(ANN, sessions=(Session("p0", "", None, 5 * MINUTE),)),),
        "Login    Name                  TTY Idle\nann      Ann Example           p0    5\n",
    ),
    "a session long ago": (
        (replace(ANN, sessions=(Session("p0", "", at(1, 3, 8, 0, 1988, WINTER)),)),),
        "Login    Name                  TTY When\nann      Ann Example           p0  Jan 1988\n",
    ),
    "idle for years, and for minutes": (
        (replace(ANN, sessions=(Session("p0", idle=1096 * DAY), Session("p1", idle=5 * MINUTE)), job="potter"),),
        "Login    Name                  TTY  Idle  Job\n"
        "ann      Ann Example           p0  1096d  potter\n"
        "ann      Ann Example           p1     5   potter\n",
    ),
    "columns narrower than their minimum": (
        (replace(ANN, sessions=(Session("p0", "h", at(1, 3, 8, 0, 1988, WINTER)),), office="h", job="potter"),),
        "Login    Name                  TTY When       Where             Office       Job\n"
        "ann      Ann Example           p0  Jan 1988   h                 h            potter\n",
    ),
    "office without a phone": (
        (replace(ANN, office="12 Hill"),),
        "Login    Name                  Office\nann      Ann Example           12 Hill\n",
    ),
    "phone without an office": (
        (replace(ANN, office_phone="x1"),),
        "Login    Name                    Phone\nann      Ann Example                x1\n",
    ),
    "an atom that only one person has": (
        (ANN, Person("bob", name="Bob", job="miller")),
        "Login    Name                  Job\nann      Ann Example\nbob      Bob                   miller\n",
    ),
    "a long login": (
        (Person("a-very-long-username", name="Ann"), Person("bob", name="Bob")),
        "Login                Name\na-very-long-username Ann\nbob                  Bob\n",
    ),
    "a long name": (
        (replace(ANN, name="Ann Example of the Long Names", job="potter"), Person("bob", job="miller")),
        "Login    Name                           Job\n"
        "ann      Ann Example of the Long Names  potter\n"
        "bob      bob                            miller\n",
    ),
    "a login wider than the widest column": (
        (Person("a" * 50, name="Ann"), Person("bob", name="Bob")),
        f"{'Login':<48} Name\n{'a' * 50} Ann\n{'bob':<48} Bob\n",
    ),
    "controls and line ends": (
        (Person("a\nnn", name="Ann\x1b[2J\r\nExample", office="\x9b\u2028", sessions=(Session("p\t0"),)),),
        "Login    Name                  TTY  Office\na nn     Ann?[2J  Example      p 0  ?\n",
    ),
}


@pytest.mark.parametrize(("people", "text"), LISTS.values(), ids=LISTS.keys())
def test_a_list_has_a_row_for_each_session_and_no_empty_column(people: tuple[Person, ...], text: str) -> None:
    assert reply(b"\r\n", people) == on_the_wire(text)


@pytest.mark.parametrize(
    ("max_characters", "number"), [(0, 1), (5, 1), (6, 2), (34, 2), (35, 3), (40, 3), (41, 4), (42, 5), (10_000, 9)]
)
def test_a_list_stops_when_it_exceeds_its_limit(max_characters: int, number: int) -> None:
    people = iter([Person("a", name="bcde"), Person("", "x" * 29), Person("a", name="bcde"), *[Person("", "x")] * 6])
    format_list(people, NOW, max_characters)
    assert 9 - len(list(people)) == number


@pytest.mark.parametrize(("max_characters", "number"), [(0, 1), (4, 1), (5, 2), (34, 2), (35, 3), (36, 4), (10_000, 9)])
def test_records_stop_when_they_exceed_their_limit(max_characters: int, number: int) -> None:
    people = iter([Person("a", "x" * 5), Person("a", "x" * 30), *[Person("a", "x")] * 7])
    format_people(people, NOW, False, max_characters)
    assert 9 - len(list(people)) == number


# Names of many scripts, with the terminal columns that they take
NAMES = {
    "ASCII": ("Ann", 3),
    "Latin": ("Zoë Grüß", 8),
    "combining accents": ("Zoe\u0308 Gru\u0308ß", 8),
    "Chinese": ("王小明", 6),
    "Japanese": ("山田 たろう", 11),
    "half-width Japanese": ("ﾔﾏﾀﾞ", 4),
    "full-width Latin": ("\uff21\uff4e\uff4e", 6),
    "Korean": ("김철수", 6),
    "Hebrew": ("דוד", 3),
    "Arabic": ("أحمد", 4),
    "Devanagari without a vowel sign": ("रमन", 3),
    "Cyrillic": ("Иван", 4),
    "emoji": ("😀 Ann", 6),
    "a zero-width character": ("A\u200bnn", 3),
    "zero-width characters only": ("\u200b", 0),
}


def test_a_session_that_accepts_no_messages_is_marked() -> None:
    ann = Person("ann", sessions=(Session("tty1", messages=False), Session("tty2")))
    assert (
        format_people([ann], NOW, False, 1000) == "Login name: ann\nLogged in on tty1 (messages off)\nLogged in on tty2"
    )
    assert [row.split()[2] for row in format_list([ann], NOW, 1000).splitlines()[1:]] == ["*tty1", "tty2"]


def test_a_later_last_login_that_ended_is_shown_after_an_open_session() -> None:
    lasts = Session("tty1", since=NOW - DAY)
    for last, is_shown in (
        (LastLogin(NOW - HOUR, "tty2"), True),
        (LastLogin(NOW - HOUR, "tty1"), False),  # the open session, by another clock
        (LastLogin(NOW - 2 * DAY, "tty2"), False),
        (LastLogin(NOW - DAY + 10, "tty2"), False),  # the open session, by another terminal name and clock
        (LastLogin(NOW - DAY + 10.5, "tty2"), True),
        (LastLogin(None), False),
    ):
        record = format_people([Person("ann", sessions=(lasts,), last_login=last)], NOW, False, 1000)
        assert ("Last login" in record) == is_shown


@pytest.mark.parametrize("timestamp", [-1e18, -1e11, 0.0, 1e12, 1e18])
def test_a_time_outside_of_the_calendar_is_formatted(timestamp: float) -> None:
    ann = Person("ann", sessions=(Session("tty1", since=timestamp, idle=1e18),), mail=Mail(timestamp))
    assert "On since" in format_people([ann, Person("bob", last_login=LastLogin(timestamp))], NOW, True, 1000)
    assert "tty1" in format_list([ann], NOW, 1000)


@pytest.mark.parametrize(("name", "columns"), NAMES.values(), ids=NAMES.keys())
def test_the_column_after_a_name_of_any_script_is_aligned(name: str, columns: int) -> None:
    person = Person(name, name=name, sessions=(Session("p0"),), pronouns=name, timezone="UTC")
    listed = reply(b"\r\n", [person, Person("bob", sessions=(Session("p1"),))]).decode().splitlines()
    padding = max(8 - columns, 0)
    first = max(columns, 8)
    assert listed[1] == f"{name}{' ' * padding} {name}{' ' * (20 - columns)}  p0"
    assert listed[2] == f"{'bob':<{first}} {'bob':<20}  p1"
    record = reply(b"x\r\n", [person]).decode().splitlines()
    assert record[0] == f"Login name: {name}{' ' * (28 - columns)}In real life: {name}"
    assert record[1] == f"Pronouns: {name}{' ' * (30 - columns)}Timezone: UTC"


FULL = Person("", name="Ann", office="12 Hill", office_phone="x1", job="potter")
FULL_SESSION = Session("p0", "host", SINCE, 71 * MINUTE)
HEADINGS = {
    "Login": "in its place",
    "TTY": "p0",
    "Idle": "1:11",
    "When": "Mon 09:15",
    "Where": "host",
    "Office": "12 Hill",
    "Phone": "x1",
    "Job": "potter",
}


def on_screen(line: str) -> str:
    """The line with one character for each column that it takes on a terminal."""
    return "".join((character + "." * (wcwidth(character) - 1))[: wcwidth(character)] for character in line)


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "ascii"])
@pytest.mark.parametrize("name", [*(name for name, _ in NAMES.values()), "e\u0301" * 24, "日" * 24, "日" * 23 + "x"])
def test_each_heading_stands_over_its_column(name: str, charset: Literal["utf-8", "latin-1", "ascii"]) -> None:
    """For names of up to 48 columns, in any script and any charset."""
    ann = replace(FULL, login="in its place", name=name, sessions=(FULL_SESSION,))
    bob = replace(FULL, login="bob", sessions=(Session("console", "a-host.example.org", SINCE, 1096 * DAY),))
    answer = reply(b"\r\n", [ann, bob], options=ReplyOptions(charset)).decode(charset)
    heading, row, _ = map(on_screen, answer.splitlines())
    assert heading.split() == ["Login", "Name", *list(HEADINGS)[1:]]
    shown = on_screen(name.encode(charset, "replace").decode(charset))
    for word, cell in (HEADINGS | {"Name": shown}).items():
        end = heading.index(word) + len(word)
        start = end - len(cell) if word in ("Idle", "Phone") else heading.index(word)
        assert row[start : start + len(cell)] == cell, word


def test_the_first_heading_is_the_first_column_that_is_shown() -> None:
    people = [replace(FULL, login="ann", sessions=(FULL_SESSION,))]
    for show, heading in {
        ("name",): "Name",
        ("name", "login"): "Login    Name",
        ("name", "office"): "Name                  Office",
        ("name", "office_phone"): "Name                    Phone",
        ("name", "sessions"): "Name                  TTY Idle When       Where",
    }.items():
        assert reply(b"\r\n", people, *show).decode().splitlines()[0] == heading


@pytest.mark.parametrize("charset", ["latin-1", "ascii"])
def test_the_second_column_of_a_record_is_aligned_in_any_charset(charset: Literal["latin-1", "ascii"]) -> None:
    for name, _ in NAMES.values():
        person = Person(name, name="N", office=name, home_phone="1")
        record = reply(b"x\r\n", [person], options=ReplyOptions(charset)).decode(charset).splitlines()
        assert [line.index(label) for line, label in zip(record, ("In real", "Home"), strict=True)] == [40, 40]


# Properties of any person

PIECES = [
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\v",
    "\x1b[2J",
    "\x1f",
    "\x9b",
    "\x85",
    "\u2028",
    "日",
    "e\u0301",
    "😀",
    " ",
    "x",
    "Ann",
]
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=30),  # lone surrogates too
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
)
LONG_TEXTS = st.one_of(TEXTS, st.lists(TEXTS, max_size=80).map("\n".join))
TIMESTAMPS = st.integers(0, 4_000_000_000).map(float)
SESSIONS = st.builds(Session, TEXTS, TEXTS, st.none() | TIMESTAMPS, st.none() | st.floats(0, 1e9), st.booleans())
PEOPLE = st.builds(
    Person,
    login=TEXTS.filter(bool),
    name=TEXTS,
    office=TEXTS,
    office_phone=TEXTS,
    home_phone=TEXTS,
    job=TEXTS,
    directory=TEXTS,
    shell=TEXTS,
    sessions=st.none() | st.lists(SESSIONS, max_size=3).map(tuple),
    last_login=st.none() | st.builds(LastLogin, st.none() | TIMESTAMPS, TEXTS, TEXTS),
    mail=st.none() | st.builds(Mail, st.none() | TIMESTAMPS, st.none() | TIMESTAMPS),
    forward=TEXTS,
    project=LONG_TEXTS,
    plan=st.none() | LONG_TEXTS,
    pgpkey=LONG_TEXTS,
    pubkey=LONG_TEXTS,
    pronouns=TEXTS,
    timezone=TEXTS,
    links=LONG_TEXTS,
)
TEXT_PEOPLE = st.builds(Person, st.just("ann"), LONG_TEXTS)
SHOWN = st.lists(st.sampled_from([*PRESETS, *ATOMS]), min_size=1, max_size=6).map(tuple)
LINES_OF_USERS = st.sampled_from([b"ann\r\n", b"/W ann\r\n"])


@settings(deadline=None)
@given(PEOPLE, SHOWN, LINES_OF_USERS)
def test_a_record_shows_at_least_what_the_list_shows(person: Person, show: tuple[str, ...], line: bytes) -> None:
    """RFC 1288 2.5.2, for any person and any policy."""
    shown = person.redacted_to(Rule(from_=("any",), show=show).atoms & LIST_ATOMS)
    cells = [shown.login, shown.name or shown.login, shown.office, shown.office_phone, shown.job]
    cells += [cell for session in shown.sessions or () for cell in (session.terminal, session.host)]
    listed, record = (reply(query, [person], *show) for query in (b"\r\n", line))
    for cell in cells:
        text = encode_reply(one_line(cell).strip()).removesuffix(CRLF)
        assert text in listed
        assert text in record
    for session in shown.sessions or ():
        if session.since is not None:
            assert when_column(session.since, NOW).encode() in listed
            assert f"On since {date_text(session.since, NOW)}".encode() in record
        if session.idle is not None and session.idle >= MINUTE:
            assert idle_time(session.idle).encode() in listed
            silent = "" if session.messages else " (messages off)"
            assert f", idle {idle_words(session.idle)}{silent}\r\n".encode() in record


@settings(deadline=None)
@given(st.lists(PEOPLE, max_size=3), SHOWN, st.sampled_from([b"\r\n", b"ann\r\n", b"/W ann\r\n"]))
def test_every_line_of_an_answer_is_clean_and_ends_in_crlf(
    people: list[Person], show: tuple[str, ...], line: bytes
) -> None:
    answer = reply(line, people, *show)
    assert answer.endswith(CRLF)
    for text in answer.decode().split("\r\n"):
        assert not any((character < " " and character != "\t") or "\x7f" <= character <= "\x9f" for character in text)


@settings(deadline=None)
@given(st.lists(PEOPLE | TEXT_PEOPLE, min_size=1, max_size=3), LINES_OF_USERS, st.integers(64, 1500))
def test_an_answer_that_is_too_long_is_the_beginning_of_the_whole_one(
    people: list[Person], line: bytes, reply_bytes: int
) -> None:
    assert reply(line, people, reply_bytes=reply_bytes) == cut_reply(reply(line, people), reply_bytes)


@settings(deadline=None)
@given(PEOPLE, LINES_OF_USERS)
def test_a_record_loses_no_printable_text(person: Person, line: bytes) -> None:
    answer = _ink(reply(line, [person]).decode())
    texts = [person.login, person.name, person.office, person.office_phone, person.home_phone]
    texts += [person.job, person.pronouns, person.timezone, person.project]
    texts += [text for session in person.sessions or () for text in (session.terminal, session.host)]
    if person.last_login and person.last_login.when is not None and not person.sessions:
        texts += [person.last_login.terminal, person.last_login.host]
    plan = (person.plan or "").rstrip()
    if line.startswith(b"/W"):
        texts += [person.directory, person.shell, person.forward, person.pgpkey, person.pubkey, plan]
    else:
        texts.append("\n".join(plan.splitlines()[:SHORT_PLAN_LINES]))
    for text in texts:
        assert _ink(text) in answer


@settings(deadline=None)
@given(PEOPLE)
def test_a_list_loses_no_printable_text(person: Person) -> None:
    answer = _ink(reply(b"\r\n", [person]).decode())
    for text in (person.login, person.name, person.office, person.office_phone, person.job):
        assert _ink(text) in answer


def _ink(text: str) -> str:
    """The visible characters of a text, without ``?``, which replaces those that cannot be printed."""
    return "".join(character for character in text if character.isprintable() and character not in " ?")


# A person with a distinct word in every atom
MARKED = {
    "login": "m-login",
    "name": "m-name",
    "office": "m-office",
    "office_phone": "m-ophone",
    "home_phone": "m-hphone",
    "job": "m-job",
    "directory": "m-directory",
    "shell": "m-shell",
    "sessions": (Session("m-terminal", "m-host", NOW, 5 * MINUTE),),
    "last_login": LastLogin(SINCE, "m-last-terminal", "m-last-host"),
    "mail": Mail(NOW, SINCE),
    "forward": "m-forward",
    "project": "m-project",
    "plan": "m-plan",
    "pgpkey": "m-pgpkey",
    "pubkey": "m-pubkey",
    "pronouns": "m-pronouns",
    "timezone": "m-timezone",
    "links": "m-rel https://links.example/ text/html",
}
WORDS = {atom: (text,) for atom, text in MARKED.items() if isinstance(text, str)} | {
    "sessions": ("m-terminal", "m-host", "Jul 30 12:00 (EDT) on", "idle"),
    "last_login": ("m-last-terminal", "m-last-host", "Last login", "Never"),
    "mail": ("mail",),
}


@settings(deadline=None)
@given(
    SHOWN,
    st.sampled_from([b"\r\n", b"ann\r\n", b"/W ann\r\n"]),
    st.sampled_from([MARKED["sessions"], (), None]),
)
def test_hidden_atoms_are_never_shown(show: tuple[str, ...], line: bytes, sessions: object) -> None:
    answer = reply(line, [Person(**{**MARKED, "sessions": sessions})], *show).decode()  # type: ignore[arg-type]
    for atom in set(ATOMS) - Rule(from_=("any",), show=show).atoms:
        for word in WORDS[atom]:
            assert word not in answer


@pytest.mark.parametrize("atom", ATOMS)
def test_every_shown_atom_is_in_the_long_form(atom: str) -> None:
    person = Person(**{**MARKED, **({"sessions": ()} if atom == "last_login" else {})})  # type: ignore[arg-type]
    answer = reply(b"/W ann\r\n", [person], atom).decode()
    for word in WORDS[atom]:
        assert word in answer or word == "Never"
