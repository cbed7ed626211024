"""``type: scenario``: scenarios of pyfingerd, the state of people at each time, and all errors in a file."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import peers
from fingerd.backends import Lookup, scenario
from fingerd.backends.scenario import Scenario
from fingerd.errors import ConfigError, OptionError
from fingerd.people import LastLogin, Person, Session
from fingerd.settings import load_config
from tests.conftest import Start
from tests.helpers.daemons import EXAMPLES

HOUR, DAY = 3600.0, 86_400.0
LIGHTHOUSE = EXAMPLES / "scenario.toml"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a scenario of actions: each a time, a type, a login, and other keys."""

    def write(*actions: str) -> Path:
        path = tmp_path / "scenario.toml"
        tables = []
        for action in actions:
            when, kind, *others = action.split(maxsplit=3)
            login = f'login = "{others[0]}"\n' if others else ""
            tables.append(f'[["{when}"]]\ntype = "{kind}"\n{login}{"".join(others[1:])}\n')
        path.write_text("\n".join(tables))
        return path

    return write


def at(path: Path, seconds: float) -> Scenario:
    """The scenario, started so many seconds ago."""
    return Scenario(str(path), time.time() - seconds)


def ask(name: str, by_name: bool = False) -> Lookup:
    return Lookup(name, False, "192.0.2.7", time.monotonic() + 10, by_name)


def person(path: Path, login: str, seconds: float) -> Person | None:
    people = at(path, seconds).find(ask(login))
    return people[0] if people else None


def listed(path: Path, seconds: float) -> list[str]:
    return [person.login for person in at(path, seconds).list_users(ask(""))]


def idle(path: Path, login: str, seconds: float) -> list[int]:
    """The idle seconds of each session."""
    found = person(path, login, seconds)
    assert found
    return [round(session.idle or 0) for session in found.sessions or ()]


# Actions


def test_a_person_exists_from_creation_to_deletion(write: Write) -> None:
    path = write("-1d create ann", "10s create bob", "20s delete ann", "30s create ann name='Ann Again'")
    assert person(path, "ann", -DAY - 1) is None
    assert [bool(person(path, "ann", seconds)) for seconds in (-1, 15, 25)] == [True, True, False]
    assert [bool(person(path, "bob", seconds)) for seconds in (5, 15)] == [False, True]
    again = person(path, "ann", 35)
    assert again == Person("ann", name="Ann Again", plan="", sessions=(), last_login=LastLogin(None))


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_file(write: Write, charset: str) -> None:
    path = write("-1d create ann name='Ann Ängström'")
    path.write_bytes(path.read_text().encode(charset))
    assert (found := person(path, "ann", 1))
    assert found.name == "Ann Ängström"


def test_texts_can_be_updated_and_removed(write: Write, tmp_path: Path) -> None:
    (tmp_path / "plan.txt").write_bytes("Zoë: 日本\n".encode())
    path = write(
        "0s create ann name='Ann'\noffice='7'\nhome='/h'\nshell='/s'\nplan='plan.txt'\nfavourite='tea'",
        "10s update ann office='8'\nname=false",
        "20s update ann plan=false",
    )
    assert person(path, "ann", 5) == Person(
        "ann",
        name="Ann",
        office="7",
        directory="/h",
        shell="/s",
        plan="Zoë: 日本\n",
        sessions=(),
        last_login=LastLogin(None),
    )
    changed, without = person(path, "ann", 15), person(path, "ann", 25)
    assert changed
    assert without
    assert (changed.name, changed.office, changed.shell, changed.plan) == ("", "8", "/s", "Zoë: 日本\n")
    assert (without.plan, without.office) == ("", "8")


def test_sessions_are_referred_to_by_name_or_are_the_latest_one(write: Write) -> None:
    path = write(
        "0s create ann",
        "1s login ann line='a'",
        "2s login ann line='b'\nsession='named'\nhost='h.example.org'",
        "3s login ann line='c'",
        "4s logout ann",
        "5s idle ann session='named'",
        "6s idle ann",
        "7s idle ann",
        "100s active ann",
        "200s logout ann session='named'",
        "300s logout ann",
    )
    start = time.time() - 50
    found = Scenario(str(path), start).find(ask("ann"))[0]
    assert found.sessions is not None
    assert [(session.terminal, session.host) for session in found.sessions] == [("a", ""), ("b", "h.example.org")]
    assert [round((session.since or 0) - start) for session in found.sessions] == [1, 2]
    assert found.last_login
    assert found.last_login.terminal == "c"
    assert [idle(path, "ann", seconds) for seconds in (4.2, 50.2, 150.2, 250.2)] == [[0, 0], [44, 45], [0, 145], [0]]
    over = person(path, "ann", 310)
    assert over
    assert (over.sessions, over.last_login) == (
        (),
        LastLogin(pytest.approx(time.time() - 307, abs=1), "c"),  # type: ignore[arg-type]
    )


def test_the_list_has_the_people_who_are_logged_in(write: Write) -> None:
    path = write("0s create ann", "0s create bob", "1s login bob", "2s login ann", "3s logout bob")
    assert [listed(path, seconds) for seconds in (0.5, 1.5, 2.5, 3.5)] == [[], ["bob"], ["ann", "bob"], ["ann"]]


def test_full_names_match_as_they_are_at_that_time(write: Write) -> None:
    path = write("0s create ann name='Ann Archer'", "0s create archer", "10s update ann name='Ann Baker'")
    found = [[person.login for person in at(path, 5).find(ask("archer", by_name))] for by_name in (False, True)]
    assert found == [["archer"], ["archer", "ann"]]
    assert [person.login for person in at(path, 15).find(ask("ARCHER", True))] == []


@pytest.mark.parametrize(
    ("ending", "later"),
    [("", True), ("40s freeze", True), ("40s interrupt", True), ("40s stop", None), ("40s repeat", True)],
)
def test_a_scenario_ends_as_its_ending_says(ending: str, later: bool | None, write: Write) -> None:
    path = write("0s create ann", "20s login ann", *([ending] if ending else []), "60s delete ann")
    frozen = not ending.endswith("repeat")
    assert listed(path, 30.5) == ["ann"]
    assert bool(person(path, "ann", 1030.5)) is (ending != "" and bool(later))
    if ending:
        assert listed(path, 1005.5) == (["ann"] if frozen and later else [])  # 5.5 seconds after the 25th repetition
        assert listed(path, 1025.5) == (["ann"] if later else [])
        assert idle(path, "ann", 1030.5) == [0] if later else listed(path, 1030.5) == []


def test_the_earliest_end_counts_and_without_one_the_last_state_stays(write: Write) -> None:
    path = write("0s create ann", "30s stop", "20s freeze", "25s delete ann")
    assert person(path, "ann", 100)
    assert person(write("0s create ann"), "ann", 1e6)
    assert listed(write(), 5) == []
    assert person(write("-20s stop", "-30s create ann"), "ann", 5) is None


def test_times_of_all_units_and_actions_in_any_order(write: Write) -> None:
    path = write("1w1j1d1h1m1s login ann", "-1w2h create ann", "1w2d1h62s logout ann", "60s idle bob", "1m create bob")
    path.write_text(path.read_text().replace('"60s"', '"61s"') + '[[59s]]\ntype = "create"\nlogin = "zoe"\n')
    with pytest.raises(OptionError, match="bob has no session at that time"):
        at(path, 0)
    path = write("1w1j1d1h1m1s login ann", "-1w2h create ann", "1w2d1h62s logout ann")
    assert [listed(path, 9 * DAY + HOUR + seconds) for seconds in (60.5, 61.5, 62.5)] == [[], ["ann"], []]


def test_without_a_start_it_starts_with_the_process_and_a_reload_does_not_restart_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenario, "PROCESS_START", time.time() - HOUR)
    path = write("0s create ann", "1w login ann")
    assert [person.login for person in Scenario(str(path)).find(ask("ann"))] == ["ann"]
    assert Scenario(str(path))._position(time.time()) == pytest.approx(HOUR, abs=60)


def test_a_login_that_no_query_can_contain_is_a_warning(write: Write) -> None:
    path = write("0s create ann", "0s create a@b")
    assert list(Scenario(str(path)).warnings()) == ["no query can ask for a user called 'a@b'"]


def test_a_long_scenario_is_read_in_one_pass(tmp_path: Path) -> None:
    """With one pass for each of 20,000 times this would take minutes."""
    path = tmp_path / "scenario.toml"
    tables = (f'[["{number}s"]]\ntype = "create"\nlogin = "user{number}"\n' for number in range(20_000))
    path.write_text("".join(tables) + '[["20000s"]]\ntype = "crete"\n')
    with pytest.raises(OptionError, match=r"scenario\.toml:60001: \[\[20000s\]\]: unknown action crete"):
        Scenario(str(path))


# Errors in a file

WRONG = {
    "no file": (None, "scenario.toml: No such file or directory"),
    "not TOML": ('[["0s"]]\ntype = create\n', "scenario.toml:2:8: Invalid value"),
    "not UTF-8": ("\udcff", "scenario.toml: 'utf-8' codec"),
    "not a time": ('[["5x"]]\ntype = "stop"\n', "scenario.toml: '5x' is not a time such as 1d3h2m or -5s"),
    "too long a time": ('[["9999w"]]\ntype = "stop"\n', "scenario.toml: '9999w' is not a time"),
    "a table": ('[5s]\ntype = "stop"\n', "scenario.toml: [5s] must be written [[5s]]"),
    "a value": ("5s = [1]\n", "scenario.toml: [5s] must be written [[5s]]"),
    "no type": ('[["5s"]]\nlogin = "a"\n', "scenario.toml:1: [[5s]]: type is required, but not given"),
    "another type": ('[["5s"]]\ntype = "crete"\n', "unknown action crete (did you mean create?)"),
    "no such type": ('[["5s"]]\ntype = "zzz"\n', "unknown action zzz (known: create, update, delete, login"),
    "a type that is not a string": ('[["5s"]]\ntype = ["stop"]\n', "scenario.toml:1: [[5s]]: type must be a string"),
    "no login": ('[["5s"]]\ntype = "login"\n', "scenario.toml:1: [[5s]]: login is required, but not given"),
    "a number": ('[["5s"]]\ntype = "create"\nlogin = "a"\noffice = 7\n', "[[5s]]: office must be a string"),
    "a removal in create": ('[["5s"]]\ntype = "create"\nlogin = "a"\nname = false\n', "[[5s]]: name must be a string"),
    "a line": ('[["5s"]]\ntype = "login"\nlogin = "a"\nline = 7\n', "[[5s]]: line must be a string"),
    "no plan": ('[["5s"]]\ntype = "create"\nlogin = "a"\nplan = "x"\n', "[[5s]]: plan: there is no file "),
    "a directory": ('[["5s"]]\ntype = "create"\nlogin = "a"\nplan = "."\n', "is not a regular file"),
    "a user twice": (
        '[[5s]]\ntype="create"\nlogin="a"\n\n[[5s]]\ntype="create"\nlogin="a"\n',
        ":5: [[5s]]: the user a exists already",
    ),
    "an unknown user": ('[[5s]]\ntype = "update"\nlogin = "a"\n', ":1: [[5s]]: the user a does not exist at that time"),
    "repeat at the start": ('[[0s]]\ntype = "repeat"\n', ":1: [[0s]]: repeat must come after the start"),
    "a session twice": (
        '[[0s]]\ntype="create"\nlogin="a"\n[[1s]]\ntype="login"\nlogin="a"\nsession="s"\n'
        '[[2s]]\ntype="login"\nlogin="a"\nsession="s"\n',
        ":8: [[2s]]: a has a session s already",
    ),
    "no session": (
        '[[0s]]\ntype="create"\nlogin="a"\n[[1s]]\ntype="logout"\nlogin="a"\nsession="s"\n',
        ":4: [[1s]]: a has no session s at that time",
    ),
    "a heading in a string": (
        "[[5s]]\ntype = 'no'\nname='''\n[[5s]]\n'''\n",
        "scenario.toml: [[5s]]: unknown action no",
    ),
}


@pytest.mark.parametrize(("text", "problem"), WRONG.values(), ids=WRONG)
def test_an_error_in_the_file_is_an_error_of_the_option_with_the_line(
    text: str | None, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.toml"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OptionError) as caught:
        Scenario(str(path))
    assert problem in str(caught.value)
    assert caught.value.keys == ("file",)


def test_actions_after_the_end_need_not_be_possible_but_must_be_valid(write: Write) -> None:
    assert person(write("0s create ann", "5s freeze", "6s delete bob"), "ann", 7)
    with pytest.raises(OptionError, match="unknown action nothing"):
        at(write("0s create ann", "5s freeze", "6s nothing bob"), 0)


@pytest.mark.parametrize(
    ("start", "seconds"),
    [
        ("2026-01-01T00:00:00Z", 1767225600.0),
        ("2026-01-01T01:00:00+01:00", 1767225600.0),
        ("'2026-01-01 00:00Z'", 1767225600.0),
    ],
)
def test_the_start_is_a_date_and_time(start: str, seconds: float, write: Write, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: scenario, file: {write()}, start: {start}}}\n")
    assert load_config(str(path)).backend == Scenario(str(write()), seconds)
    path.write_text(f"backend:\n  type: scenario\n  file: {write()}\n  start: yesterday\n")
    with pytest.raises(ConfigError, match=r"yaml:4:10: backend.start: must be a date and time, as 2026-12-24"):
        load_config(str(path))


def test_a_daemon_plays_a_scenario(start: Start, write: Write) -> None:
    path = write("-1h create ann name='Ann Archer'", "-1h login ann line='tty1'", "-10m idle ann", "1h stop")
    daemon = start(
        f'listen: "127.0.0.1:0"\nbackend: {{type: scenario, file: {path}}}\npolicy: [{{from: any, list: true}}]\n'
    )
    row = daemon.ask(b"\r\n").decode().splitlines()[1]
    assert row.split()[:5] == ["ann", "Ann", "Archer", "tty1", "10"]
    assert b"idle 10" in daemon.ask(b"ann\r\n")
    assert daemon.ask(b"an\r\n") == b"No such user\r\n"


# Comparison with pyfingerd

ORACLE = """\
import json, logging, sys
from datetime import datetime, timedelta, timezone
from pyfingerd.fiction import FingerScenario, FingerScenarioInterface

logging.disable(logging.CRITICAL)
for elapsed in map(float, sys.argv[2:]):
    play = FingerScenarioInterface(
        FingerScenario.load(sys.argv[1]), datetime.now().astimezone() - timedelta(seconds=elapsed)
    )
    try:
        play.update()
    except SystemExit:
        print("null")
        continue

    def since(moment):
        return round((moment.replace(tzinfo=timezone.utc) - play._laststart).total_seconds())

    print(json.dumps({
        login: {
            **{atom: getattr(user, atom) or "" for atom in ("name", "office", "home", "shell", "plan")},
            "last": user.last_login and since(user.last_login),
            "sessions": [
                [one.line or "", one.host or "", since(one.start), since(one.last_idle_event) if one.is_idle else None]
                for one in user.unnamed_sessions
            ],
        }
        for login, user in play._users.items()
    }))
"""


def ours(path: Path, seconds: float, logins: list[str]) -> dict[str, Any]:
    """The same of our backend; times are seconds after the start of the current repetition."""
    now = time.time()
    backend = Scenario(str(path), now - seconds)
    position = backend._position(now)
    assert position is not None
    start = now - position
    found = {}
    for login in logins:
        for person in backend.find(ask(login)):
            found[login] = {
                "name": person.name,
                "office": person.office,
                "home": person.directory,
                "shell": person.shell,
                "plan": person.plan,
                "last": person.last_login and person.last_login.when and round(person.last_login.when - start),
                "sessions": [_session(session, now, start) for session in person.sessions or ()],
            }
    return found


def _session(session: Session, now: float, start: float) -> list[Any]:
    idle_since = round(now - session.idle - start) if session.idle else None
    return [session.terminal, session.host, round((session.since or 0) - start), idle_since]


@pytest.fixture(scope="module")
def pyfingerd() -> Path:
    """A Python with pyfingerd."""
    try:
        return peers.pyfingerd()[0]
    except peers.UnavailableError as error:
        pytest.skip(f"needs pyfingerd, which pip fetches: {error}")


SCENARIOS = {
    "lighthouse": (LIGHTHOUSE.read_text(), [-40 * DAY, -25 * DAY, -19.5 * DAY, *(n * HOUR / 2 for n in range(60))]),
    "stopping": (
        "[[-1w2d]]\ntype='create'\nlogin='a'\nname='A'\n[[3s]]\ntype='login'\nlogin='a'\nline='l'\n"
        "[[2m]]\ntype='update'\nlogin='a'\nname=false\nshell='s'\n[[5m]]\ntype='stop'\n[[4m]]\ntype='idle'\nlogin='a'\n",
        [0, 100, 200, 290, 310, 1e6],
    ),
    "frozen": (
        "[[5s]]\ntype='create'\nlogin='a'\n[[6s]]\ntype='create'\nlogin='b'\nhome='h'\n[[7s]]\ntype='login'\nlogin='b'\n"
        "[[7s]]\ntype='login'\nlogin='b'\nhost='h'\n[[8s]]\ntype='idle'\nlogin='b'\n[[9s]]\ntype='logout'\nlogin='b'\n"
        "[[1j]]\ntype='delete'\nlogin='a'\n[[2d]]\ntype='interrupt'\n[[3d]]\ntype='delete'\nlogin='b'\n",
        [0, 5, 6, 7, 8, 9, DAY, 2 * DAY, 30 * DAY],
    ),
}


@pytest.mark.parametrize(("text", "times"), SCENARIOS.values(), ids=SCENARIOS)
def test_it_gives_the_states_that_pyfingerd_gives(
    text: str, times: list[float], pyfingerd: Path, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    (tmp_path / "scenario").symlink_to(EXAMPLES / "scenario")
    between = [time + 0.45 for time in times]  # no action is close to them
    command = [str(pyfingerd), "-c", ORACLE, str(path), *map(str, between)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for elapsed, line in zip(between, done.stdout.splitlines(), strict=True):
        theirs = json.loads(line)
        if theirs is None:
            assert at(path, elapsed)._position(time.time()) is None
        else:
            assert ours(path, elapsed, [*theirs, "a", "b", "wren", "gull", "stranger"]) == theirs, elapsed
