"""``type: files``: a directory of people with any content; most tests query a real daemon that runs as nobody."""

import math
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fingerd.backends import Lookup
from fingerd.backends.files import ABSENT, Files
from fingerd.errors import BackendError
from fingerd.people import MAX_MATCHES, TEXT_ATOMS
from fingerd.settings import read_config
from fingerd.testing import make_lookup
from tests.conftest import Start
from tests.helpers.daemons import FINGERD, Daemon, let_everybody_in, status, wait_until
from tests.helpers.requirements import need, needs

NOBODY = 65534
SECRET = "not to be published"
LIMIT = 64 << 10  # bytes of each file that are read

UNKNOWN = b"No such user\r\n"
DENIED = b"Finger online user list denied\r\n"
FAILED = b"Internal error in server\r\n"


def record(login: str = "ann", plan: bytes = b"No Plan.\r\n", name: str = "") -> bytes:
    """The short form of a person with a login, a name and a plan."""
    return f"{f'Login name: {login}':<40}In real life: {name or login}\r\n".encode() + plan


def with_plan(text: bytes) -> bytes:
    return record(plan=b"Plan:\r\n" + text)


def config(directory: Path) -> str:
    """People in the directory, with a policy for several client addresses."""
    return f"""
listen: "127.0.0.1:0"
backend: {{type: files, folder: {directory}}}
policy:
  - {{from: 127.0.0.1}}
  - {{from: 127.0.0.2, show: everything, list: true, match: name}}
  - {{from: 127.0.0.3, show: minimal, list: true, match: unique}}
"""


MEMBER = "127.0.0.2"
# Answers with the time are not remembered, so that each query sees the files as they are.
TIME = 'reply: {header: "{time}"}\n'


class FreshDaemon(Daemon):
    """A daemon with TIME in its configuration, whose answers are returned without the time."""

    def ask(self, query: bytes, source: str = "") -> bytes:
        """Its answer to a client, which may have another loopback address as its source."""
        time, _, answer = super().ask(query, source).partition(b"\r\n")
        assert time.startswith(b"20")
        return answer


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that runs as nobody if started by root; its people are in the directory of its configuration."""
    directory = tmp_path_factory.mktemp("files")
    let_everybody_in(directory)
    path = directory / "fingerd.yaml"
    path.write_text(config(directory / "people") + TIME)
    daemon = FreshDaemon(path, *(("--uid", "nobody") if os.getuid() == 0 else ()))
    yield daemon
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "Traceback" in line or "ERROR" in line]


@pytest.fixture
def people(daemon: Daemon) -> Iterator[Path]:
    """The daemon's directory of people, empty at first, beside a directory ``outside`` with files to protect."""
    arguments = daemon.process.args
    assert isinstance(arguments, list)
    directory = Path(arguments[arguments.index("-c") + 1]).parent
    for name in ("people", "outside"):
        (directory / name).mkdir()
    for name in ("plan", "name", "plan.txt"):
        (directory / "outside" / name).write_text(SECRET)
    yield directory / "people"
    for path in directory.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


# The atoms of a person

ATOMS = {atom: f"the {atom}" for atom in TEXT_ATOMS} | {"links": "me https://ann.example/"}


def make(directory: Path, /, **texts: str) -> Path:
    """Make a person's directory with a file for each of these atoms."""
    directory.mkdir(exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text)
    return directory


def test_a_text_file_is_a_plan(daemon: Daemon, people: Path) -> None:
    (people / "ann.txt").write_text("Gone sailing.\n  Back soon.\n")
    assert daemon.ask(b"ann\r\n") == with_plan(b"Gone sailing.\r\n  Back soon.\r\n")
    assert daemon.ask(b"bob\r\n") == UNKNOWN


def test_a_directory_has_a_file_for_each_atom(daemon: Daemon, people: Path) -> None:
    make(people / "ann", **{atom: f"{text}\n" for atom, text in ATOMS.items()})
    assert daemon.ask(b"/W ann\r\n", MEMBER).decode().split("\r\n") == [
        "Login name: ann                         In real life: the name",
        "Office: the office, the office_phone    Home phone: the home_phone",
        "Directory: the directory                Shell: the shell",
        "Job: the job",
        "Pronouns: the pronouns                  Timezone: the timezone",
        "Project: the project",
        "Plan:",
        "the plan",
        "Links:",
        "me https://ann.example/",
        "PGP key:",
        "the pgpkey",
        "Public key:",
        "the pubkey",
        "",
    ]


@pytest.mark.parametrize("atom", TEXT_ATOMS)
def test_each_atom_may_be_the_only_one(daemon: Daemon, people: Path, atom: str) -> None:
    make(people / "ann", **{atom: f"{ATOMS[atom]}\n"})
    assert ATOMS[atom].encode() in daemon.ask(b"/W ann\r\n", MEMBER)


def test_an_empty_directory_is_a_person_without_atoms(daemon: Daemon, people: Path) -> None:
    make(people / "ann")
    assert daemon.ask(b"ann\r\n") == record()
    assert daemon.ask(b"ann\r\n", "127.0.0.3") == b"In real life: ann\r\n"


def test_a_directory_takes_precedence_over_a_text_file(daemon: Daemon, people: Path) -> None:
    make(people / "ann", plan="of the directory")
    (people / "ann.txt").write_text("of the file")
    assert daemon.ask(b"ann\r\n") == with_plan(b"of the directory\r\n")
    assert daemon.ask(b"\r\n", MEMBER).count(b"ann") == 2  # login and name, once


def test_spaces_around_an_atom_of_one_line_are_stripped_and_those_of_a_plan_are_kept(
    daemon: Daemon, people: Path
) -> None:
    make(people / "ann", name="  Ann Example \n\n", plan="   moved in\n", office="12\nHill\n")
    assert daemon.ask(b"ann\r\n") == (
        b"Login name: ann                         In real life: Ann Example\r\nOffice: 12 Hill\r\n"
        b"Plan:\r\n   moved in\r\n"
    )


def test_logins_of_any_script_are_found(daemon: Daemon, people: Path) -> None:
    for name in ("Zoë", "日本", "a b", "-l", "*", "ann.example", "%41", "{user}", "~root"):
        (people / f"{name}.txt").write_text(f"I am {name}")
        assert daemon.ask(f"{name}\r\n".encode()).endswith(f"I am {name}\r\n".encode())


def test_a_person_is_found_by_full_name_where_the_policy_matches_names(daemon: Daemon, people: Path) -> None:
    make(people / "ann", name="Ann Example")
    make(people / "bob", name="Bob Example")
    make(people / "example", name="Carol")
    hidden = make(people / "dora", name="Dora Example", nofinger="")
    headers = [line for line in daemon.ask(b"example\r\n", MEMBER).split(b"\r\n") if b"real life" in line]
    assert [line.split(b": ")[-1] for line in headers] == [b"Carol", b"Ann Example", b"Bob Example"]
    assert daemon.ask(b"example\r\n", "127.0.0.3") == b"In real life: Carol\r\n"
    assert daemon.ask(b"Example\r\n", "127.0.0.3") == b"Ambiguous name, ask for a login\r\n"
    assert daemon.ask(b"bob example\r\n", "127.0.0.3") == b"In real life: Bob Example\r\n"
    assert daemon.ask(b"Dora\r\n", MEMBER) == UNKNOWN
    assert daemon.ask(b"Example\r\n") == UNKNOWN
    (hidden / "nofinger").unlink()
    assert b"Dora Example" in daemon.ask(b"Dora\r\n", MEMBER)


def test_the_list_is_sorted_by_login_and_has_the_atoms_that_fit_into_a_row(daemon: Daemon, people: Path) -> None:
    make(people / "bob", **{atom: f"{text}\n" for atom, text in ATOMS.items()})
    (people / "ann.txt").write_text("a plan")
    make(people / "carol", nofinger="", name="Carol")
    (make(people / "dotted", name="Dotted", plan="here") / ".nofinger").touch()
    assert daemon.ask(b"dotted\r\n", MEMBER) == daemon.ask(b"dotted\r\n") == UNKNOWN
    (people / "dora").write_text("not a person: no .txt")
    (people / ".hidden.txt").write_text("hidden")
    make(people / ".trash", name="hidden")
    assert daemon.ask(b"\r\n", MEMBER).decode().split("\r\n") == [
        "Login    Name                  Office                 Phone  Job",
        "ann      ann",
        "bob      the name              the office  the office_phone  the job",
        "",
    ]
    assert daemon.ask(b"\r\n", "127.0.0.3") == b"Name\r\nann\r\nthe name\r\n"
    assert daemon.ask(b"\r\n") == DENIED


def test_an_empty_list(daemon: Daemon, people: Path) -> None:
    assert daemon.ask(b"\r\n", MEMBER) == b"No one logged on.\r\n"


# Changes


def test_a_change_is_seen_within_a_second(start: Start, tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "ann.txt").write_text("first")
    daemon = start(config(tmp_path / "people"))
    assert daemon.ask(b"ann\r\n") == with_plan(b"first\r\n")
    (tmp_path / "people" / "ann.txt").write_text("second")
    wait_until(lambda: daemon.ask(b"ann\r\n") == with_plan(b"second\r\n"))


def test_the_next_query_sees_every_change(daemon: Daemon, people: Path) -> None:
    assert daemon.ask(b"ann\r\n") == UNKNOWN
    ann = make(people / "ann", plan="first")
    assert daemon.ask(b"ann\r\n") == with_plan(b"first\r\n")
    (ann / "plan").write_text("second")
    assert daemon.ask(b"ann\r\n") == with_plan(b"second\r\n")
    replacement = people.parent / "outside" / "new"
    replacement.write_text("third")
    replacement.rename(ann / "plan")
    assert daemon.ask(b"ann\r\n") == with_plan(b"third\r\n")
    (ann / "name").write_text("Ann Example")
    assert b"Ann Example" in daemon.ask(b"\r\n", MEMBER)
    (ann / "plan").unlink()
    assert daemon.ask(b"ann\r\n") == record(name="Ann Example")
    (ann / "nofinger").touch()
    assert daemon.ask(b"ann\r\n") == UNKNOWN
    assert daemon.ask(b"\r\n", MEMBER) == b"No one logged on.\r\n"
    (ann / "nofinger").unlink()
    assert daemon.ask(b"ann\r\n") == record(name="Ann Example")
    shutil.rmtree(ann)
    assert daemon.ask(b"ann\r\n") == UNKNOWN
    (people / "ann.txt").write_text("a file now")
    assert daemon.ask(b"ann\r\n") == with_plan(b"a file now\r\n")


def test_a_missing_directory_is_a_logged_failure_until_it_is_back(daemon: Daemon, people: Path) -> None:
    make(people / "ann", plan="here")
    assert daemon.ask(b"ann\r\n") == with_plan(b"here\r\n")
    before = len(daemon.log)
    moved = people.parent / "outside" / "people"
    people.rename(moved)
    for line, source in ((b"ann\r\n", ""), (b"\r\n", MEMBER), (b"..\r\n", "")):
        assert daemon.ask(line, source) == FAILED
        warning = daemon.logged("backend failed")
        assert warning.endswith(
            f" WARNING fingerd.ruip.ruip: backend failed: files {people}: there is no such directory"
        )
        daemon.logged("outcome=error")
    people.write_text("a file in its place")
    assert daemon.ask(b"ann\r\n") == FAILED
    daemon.logged("outcome=error")
    people.unlink()
    moved.rename(people)
    assert daemon.ask(b"ann\r\n") == with_plan(b"here\r\n")
    daemon.logged("outcome=answered")
    assert len([line for line in daemon.log[before:] if "there is no such directory" in line]) == 4


@pytest.mark.root
def test_a_directory_without_read_permission_is_a_failure(daemon: Daemon, people: Path) -> None:
    make(people / "ann", plan="here")
    people.chmod(0o700)
    assert daemon.ask(b"ann\r\n") == FAILED
    assert daemon.logged("backend failed").endswith(f"backend failed: files {people}: Permission denied")
    people.chmod(0o755)
    assert daemon.ask(b"ann\r\n") == with_plan(b"here\r\n")


# Hidden people

HIDDEN: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.touch(),
    "a file without read permission": lambda path: path.touch(0),
    "a directory": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to("/etc/hostname"),
    "a broken link": lambda path: path.symlink_to("/nowhere"),
    "a FIFO": os.mkfifo,
}

QUERIES = [b"ann\r\n", b"/W ann\r\n", b"Ann\r\n", b"Ann Example\r\n", b"ann/plan\r\n", b"ann/name\r\n", b"\r\n"]


@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN.keys())
def test_hidden_people_cannot_be_distinguished_from_absent_ones(
    daemon: Daemon, people: Path, hide: Callable[[Path], object]
) -> None:
    make(people / "bob", name="Bob")
    sources = ("127.0.0.1", MEMBER, "127.0.0.3")
    absent = [daemon.ask(line, source) for line in QUERIES for source in sources]
    hide(make(people / "ann", name="Ann Example", plan="here") / "nofinger")
    (people / "ann.txt").write_text("and here")
    assert [daemon.ask(line, source) for line in QUERIES for source in sources] == absent


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o700, 0o600, 0o744, 0o000], ids=oct)
def test_a_person_whose_directory_cannot_be_searched_is_hidden(daemon: Daemon, people: Path, mode: int) -> None:
    make(people / "ann", name="Ann Example", plan="here").chmod(mode)
    assert daemon.ask(b"ann\r\n") == UNKNOWN
    assert daemon.ask(b"Ann\r\n", MEMBER) == UNKNOWN
    assert daemon.ask(b"\r\n", MEMBER) == b"No one logged on.\r\n"


def closed(mode: int) -> Callable[[Path], object]:
    return lambda path: make(path, name="Name", plan="plan").chmod(mode)


def text_file(make_file: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: make_file(path.with_name(f"{path.name}.txt"))


def hidden(hide: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: hide(make(path, name="Name", plan="plan") / "nofinger")


UNKNOWN_PEOPLE: dict[str, Callable[[Path], object]] = {
    "absent": lambda path: None,
    **{f"hidden by {kind}": hidden(hide) for kind, hide in HIDDEN.items()},
    "hidden by .nofinger": lambda path: make(path, name="Name", plan="plan", **{".nofinger": ""}),
    **{f"a directory of mode {mode:o}": closed(mode) for mode in (0o700, 0o600, 0o744, 0o711, 0o000)},
    "a link to a directory": lambda path: path.symlink_to("/etc"),
    "a broken link": lambda path: path.symlink_to("/nowhere"),
    "a file in the place of the directory": lambda path: path.write_text("text"),
    "a FIFO in the place of the directory": os.mkfifo,
    "a text file that is a link": text_file(lambda path: path.symlink_to("/etc/passwd")),
    "a text file that is a FIFO": text_file(os.mkfifo),
    "a text file that is a directory": text_file(lambda path: path.mkdir()),
    "a text file that nobody may read": text_file(lambda path: path.touch(0)),
    "a hidden directory and a text file": lambda path: (
        hidden(lambda nofinger: nofinger.touch())(path),
        path.with_name(f"{path.name}.txt").write_text("text"),
    ),
}


def nfd(login: str) -> str:
    return unicodedata.normalize("NFD", login)


def in_spellings(*make_entries: Callable[[Path], object]) -> Callable[[Path], object]:
    """Makes an entry for each spelling of the name: NFC first."""
    return lambda path: [
        make_entry(path.with_name(name))
        for make_entry, name in zip(
            make_entries, (path.name, nfd(path.name), path.name.replace("é", "e\u0301")), strict=False
        )
    ]


SHOWN = partial(make, name="Name", plan="plan")
SHOWN_FILE = text_file(lambda path: path.write_text("plan"))
TOUCHED = hidden(lambda nofinger: nofinger.touch())

UNKNOWN_IN_UNICODE: dict[str, Callable[[Path], object]] = {
    **UNKNOWN_PEOPLE,
    **{f"{kind}, in NFD": in_spellings(lambda path: None, hide) for kind, hide in UNKNOWN_PEOPLE.items()},
    "hidden in both spellings": in_spellings(TOUCHED, TOUCHED),
    "hidden in the second spelling": in_spellings(SHOWN, TOUCHED),
    "a text file that is hidden in the second spelling": in_spellings(SHOWN_FILE, TOUCHED),
    "hidden in the first spelling": in_spellings(TOUCHED, SHOWN),
    "hidden in the first spelling, and a text file": in_spellings(TOUCHED, SHOWN_FILE),
    "closed in the second spelling": in_spellings(SHOWN, closed(0o600)),
    "refused in both spellings": in_spellings(*2 * (text_file(os.mkfifo),)),
    "three spellings": in_spellings(SHOWN, SHOWN, SHOWN),
}


@pytest.mark.root
@needs("strace", "ptrace")
def test_all_unknown_people_cost_the_same_system_calls_in_any_spelling(start: Start, tmp_path: Path) -> None:
    logins = {f"éẹ̀{number}": kind for number, kind in enumerate(UNKNOWN_IN_UNICODE)}
    assert all(unicodedata.is_normalized("NFC", login) for login in logins)
    people = tmp_path / "people"
    people.mkdir()
    let_everybody_in(people)
    for login, kind in logins.items():
        UNKNOWN_IN_UNICODE[kind](people / login)
    daemon = start(
        config(people) + "process: {user: nobody}\nlimits: {threads: 1}\n", inside=traced(tmp_path / "calls")
    )
    lines = [line for login in logins for line in (nfd(login), f"/W {login}")]
    for line in lines:  # the first one of a login may write a line to the log
        assert daemon.ask(f"{line}\r\n".encode()) == UNKNOWN, line
    daemon.stop()
    lookups = next(filter(None, (list(split(trace, people)) for trace in tmp_path.glob("calls.*"))))  # of one thread
    assert len(lookups) == len(lines)
    found = {kind: sorted(names_of(calls)) for kind, calls in zip(logins.values(), lookups[1::2], strict=True)}
    assert {kind: names for kind, names in found.items() if names != found["absent"]} == {}


def test_a_name_with_two_spellings_is_logged_once(people: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "fingerd")
    in_spellings(SHOWN, SHOWN)(people / "éẹ̀")
    backend = Files(str(people))
    for _ in range(3):
        assert len(backend.find(Lookup("éẹ̀", False, "unix", math.inf))) == 1
        assert len(list(backend.list_users(Lookup("", False, "unix", math.inf)))) == 1
    assert caplog.messages == [f"files: in {people}: 2 spellings of the one name éẹ̀"]


@pytest.mark.root
@needs("strace", "ptrace")
def test_all_unknown_people_cost_the_same_system_calls(start: Start, tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    let_everybody_in(people)
    daemon = start(config(people) + "process: {user: nobody}\n", inside=traced(tmp_path / "calls"))
    logins = {f"user{number}": kind for number, kind in enumerate(UNKNOWN_PEOPLE)}
    for login, kind in logins.items():
        UNKNOWN_PEOPLE[kind](people / login)
    for login in logins:
        for line in (login, f"/W {login}"):  # the first one may write a line to the log
            assert daemon.ask(f"{line}\r\n".encode()) == UNKNOWN
    daemon.stop()
    lookups = calls_of_lookups(tmp_path.glob("calls.*"), people)
    found = {kind: sorted(lookups[login][-1]) for login, kind in logins.items()}  # their order takes no time
    assert {kind: names for kind, names in found.items() if names != found["absent"]} == {}
    assert found["absent"].count("openat") == 3


def traced(calls: Path) -> tuple[str, ...]:
    """The command that traces the system calls of another one into files of this name, one for each thread."""
    which = "trace=%file,read,close,fstat,dup,fcntl,getdents64,lseek,write"
    return ("strace", "-D", "-ff", "-qq", "-o", str(calls), "-e", which)


def calls_of_lookups(traces: Iterable[Path], people: Path) -> dict[str, list[list[str]]]:
    """The names of the system calls of each lookup, by login."""
    lookups: dict[str, list[list[str]]] = {}
    for trace in traces:
        for calls in split(trace, people):
            lookups.setdefault(calls[0].split('"')[1], []).append(names_of(calls))
    return lookups


def split(trace: Path, people: Path) -> Iterator[list[str]]:
    """The system calls of each lookup of this thread: from opening the directory to closing it."""
    for part in trace.read_text().split(f'openat(AT_FDCWD, "{people}"')[1:]:
        opened, *calls = part.splitlines()
        closing = f"close({opened.rpartition(' ')[2]})"
        end = [call.startswith(closing) for call in calls].index(True)
        yield calls[:end]


def names_of(calls: Iterable[str]) -> list[str]:
    return [call.partition("(")[0] for call in calls]


@pytest.mark.root
def test_each_refused_entry_is_logged_once_until_the_reason_changes(start: Start, tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    let_everybody_in(people)
    daemon = start(config(people) + TIME + "process: {user: nobody}\n")
    closed(0o000)(people / "closed")
    (people / "linker.txt").symlink_to("/etc/shadow")
    os.mkfifo(make(people / "piper", name="Piper") / "plan")
    for source in ("127.0.0.1", MEMBER, "127.0.0.3"):
        for line in (b"closed\r\n", b"linker\r\n", b"/W linker\r\n", b"piper\r\n", b"Piper\r\n", b"\r\n"):
            daemon.ask(line, source)
    (people / "linker.txt").unlink()
    (people / "linker.txt").mkdir()
    for _ in range(3):
        daemon.ask(b"linker\r\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    daemon.ask(b"linker\r\n")
    daemon.stop()
    refusals = [line.partition(" files: in ")[2] for line in daemon.log if " files: in " in line]
    assert refusals == [
        f"{people}: closed: Permission denied",
        f"{people}: linker.txt: is a symbolic link",
        f"{people}/piper: plan: is not a regular file",
        f"{people}: linker.txt: is not a regular file",
        f"{people}: linker.txt: is not a regular file",
    ]


def test_the_number_of_logged_refusals_is_limited(
    people: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fingerd.backends.files.MAX_REFUSALS", 3)
    caplog.set_level("INFO", "fingerd")
    backend = Files(str(people))
    for number in range(10):
        (people / f"user{number}.txt").symlink_to("/etc/passwd")
        assert not backend.find(Lookup(f"user{number}", False, "unix", math.inf))
    assert len(caplog.messages) == 4
    assert caplog.messages[-1] == "files: further refused entries are not logged until the next reload"


# Plans as attacks, or from other systems

REFUSED = b""  # the file counts as missing


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def containing(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def link_to_another_person(path: Path) -> None:
    (path.parent / "other").write_text(SECRET)
    path.symlink_to("other")


def link_to_the_outside(path: Path) -> None:
    outside = next(parent for parent in path.parents if (parent / "outside").is_dir()) / "outside" / "plan"
    assert outside.read_text() == SECRET
    path.symlink_to(outside)


def sparse_gigabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


def unix_socket(path: Path) -> None:
    """Bind by a path that is short enough for a socket address."""
    directory = os.open(path.parent, os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def device(path: Path) -> None:
    need("devices")
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero


def unreadable(path: Path) -> None:
    path.write_text(SECRET)
    path.chmod(0)


def owned_by_another_user(path: Path) -> None:
    path.write_text("mine")
    os.chown(path, 12345, 12345)


def hard_link_to_another_person(path: Path) -> None:
    """A hard link cannot be recognised as one."""
    (path.parent / "other").write_text("of two names")
    os.link(path.parent / "other", path)


ROOT = pytest.mark.root
CUT = b"[answer cut]\r\n"

# How the file is made, and the answer.
PLANS = {
    # not regular files
    "a FIFO": (os.mkfifo, REFUSED),
    "a socket": (unix_socket, REFUSED),
    "a directory": (lambda path: path.mkdir(), REFUSED),
    "a link to /etc/shadow": (link_to("/etc/shadow"), REFUSED),
    "a link to /etc/passwd, which is world-readable": (link_to("/etc/passwd"), REFUSED),
    "a link out of the directory": (link_to_the_outside, REFUSED),
    "a link to another person's file": (link_to_another_person, REFUSED),
    "a link to the daemon's environment": (link_to("/proc/self/environ"), REFUSED),
    "a link to the daemon's configuration": (link_to("../../fingerd.yaml"), REFUSED),
    "a broken link": (link_to("/nowhere"), REFUSED),
    "a link to itself": (lambda path: path.symlink_to(path.name), REFUSED),
    # ownership
    "a hard link": (hard_link_to_another_person, with_plan(b"of two names\r\n")),
    # contents
    "an empty file": (containing(b""), record()),
    "spaces": (containing(b" \r\n\t\n"), record()),
    "no newline at the end": (containing(b"one\ntwo"), with_plan(b"one\r\ntwo\r\n")),
    "DOS line endings": (containing(b"one\r\ntwo\r\n"), with_plan(b"one\r\ntwo\r\n")),
    "CR only": (containing(b"one\rtwo\r"), with_plan(b"one\r\ntwo\r\n")),
    "NUL bytes": (containing(b"a\0b\0\n"), with_plan(b"a?b?\r\n")),
    "escape codes": (containing(b"\x1b[2J\x1b]0;root@host\x07hi\n"), with_plan(b"?[2J?]0;root@host?hi\r\n")),
    "C1 in UTF-8": (containing("\x9b2J\x85\x9d0;x\x9c\n".encode()), with_plan(b"?2J??0;x?\r\n")),
    "C1 as bytes": (containing(b"\x9b2J\n"), with_plan("›2J\r\n".encode())),
    "windows-1252": (containing(b"it\x92s \x93q\x94 \x80\n"), with_plan("it’s “q” €\r\n".encode())),
    "undefined in windows-1252": (containing(b"a \x81\x8d\x8f\x90\x9d\n"), with_plan(b"a ?????\r\n")),
    "DEL, BS and BEL": (containing(b"a\x7fb\x08\x08c\x07\n"), with_plan(b"a?b??c?\r\n")),
    "telnet commands": (containing(b"\xff\xf4\xff\xfd\x06\n"), with_plan("ÿôÿý?\r\n".encode())),
    "form feeds": (containing(b"one\x0ctwo\x0b\n"), with_plan(b"one?two\r\n")),
    "a tab": (containing(b"\tmoved in\n"), with_plan(b"\tmoved in\r\n")),
    "UTF-8": (containing("Grüße 日本 😀\n".encode()), with_plan("Grüße 日本 😀\r\n".encode())),
    "UTF-8 with a BOM": (containing(b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe\n"), with_plan("Grüße\r\n".encode())),
    "UTF-16 with a BOM": (containing("Grüße\r\n日本\r\n".encode("utf-16")), with_plan("Grüße\r\n日本\r\n".encode())),
    "UTF-16, big-endian": (containing(b"\xfe\xff" + "Grüße".encode("utf-16-be")), with_plan("Grüße\r\n".encode())),
    "truncated UTF-16": (containing(b"\xff\xfea"), with_plan("ÿþa\r\n".encode())),
    "Latin-1": (containing("Grüße\n".encode("latin-1")), with_plan("Grüße\r\n".encode())),
    "lone surrogates": (containing(b"a\xed\xa0\x80b\n"), with_plan("aí\xa0€b\r\n".encode())),
    "placeholders and shell syntax": (containing(b"{user} {0.__class__} %s %n $(id) `id` $EXEC /bin/id\n"), with_plan(
        b"{user} {0.__class__} %s %n $(id) `id` $EXEC /bin/id\r\n"
    )),
    "a line of the daemon's own replies": (containing(b"No such user\n"), with_plan(b"No such user\r\n")),
    "an over-long line": (containing(b"x" * 200_000), with_plan(b"x" * LIMIT + b"\r\n" + CUT)),
    "an over-long line of wide characters": (
        containing(b"x" + "日".encode() * 50_000),
        with_plan(b"x" + "日".encode() * ((LIMIT - 1) // 3) + b"\r\n" + CUT),
    ),
    "an over-long line of UTF-16": (
        containing("日".encode("utf-16") + "😀".encode("utf-16-le") * 50_000),
        with_plan(("日" + "😀" * ((LIMIT - 4) // 4)).encode() + b"\r\n" + CUT),
    ),
    "an over-long line with a BOM": (
        containing(b"\xef\xbb\xbf" + b"x" * 200_000),
        with_plan(b"x" * (LIMIT - 3) + b"\r\n" + CUT),
    ),
    "a sparse gigabyte": (sparse_gigabyte, with_plan(b"?" * LIMIT + b"\r\n" + CUT)),
    "thousands of lines": (
        containing(b"line\n" * 5000),
        with_plan(b"line\r\n" * 50 + b"[more with /W]\r\n"),
    ),
    "thousands of empty lines and one": (
        containing(b"\n" * 5000 + b"end"),
        with_plan(b"\r\n" * 50 + b"[more with /W]\r\n"),
    ),
}  # fmt: skip
PLANS_OF_ROOT = {
    "a device": (device, REFUSED),
    "a file without read permission": (unreadable, REFUSED),
    "a file of another owner": (owned_by_another_user, with_plan(b"mine\r\n")),
}
CASES = [
    *(pytest.param(*case, id=name) for name, case in PLANS.items()),
    *(pytest.param(*case, id=name, marks=ROOT) for name, case in PLANS_OF_ROOT.items()),
]


@pytest.mark.parametrize(("make_plan", "expected"), CASES)
def test_only_the_text_of_a_plan_is_sent(
    daemon: Daemon, people: Path, make_plan: Callable[[Path], object], expected: bytes
) -> None:
    (people / "ann").mkdir()
    make_plan(people / "ann" / "plan")
    assert daemon.ask(b"ann\r\n") == (expected or record())
    make_plan(people / "bob.txt")
    assert daemon.ask(b"bob\r\n") == (expected.replace(b"ann", b"bob") or UNKNOWN)
    for line in (b"/W ann\r\n", b"/W bob\r\n", b"\r\n"):
        answer = daemon.ask(line, MEMBER)
        assert SECRET.encode() not in answer
        assert b"root:" not in answer


@pytest.mark.parametrize("atom", ["name", "office", "pgpkey"])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside/plan", "../bob/plan"])
def test_no_atom_follows_a_link(daemon: Daemon, people: Path, atom: str, target: str) -> None:
    make(people / "bob", plan=SECRET)
    (make(people / "ann") / atom).symlink_to(target)
    assert daemon.ask(b"/W ann\r\n", MEMBER) == record()
    assert daemon.ask(b"\r\n", MEMBER) == b"Login    Name\r\nann      ann\r\nbob      bob\r\n"


def test_the_long_form_has_the_whole_plan(daemon: Daemon, people: Path) -> None:
    make(people / "ann", plan="line\n" * 5000)
    assert daemon.ask(b"/W ann\r\n") == with_plan(b"line\r\n" * 5000)


def test_a_huge_plan_costs_neither_memory_nor_time(daemon: Daemon, people: Path) -> None:
    sparse_gigabyte(make(people / "ann") / "plan")
    daemon.ask(b"ann\r\n")
    peak = int(status(daemon.process.pid, "VmHWM")[0])  # KiB
    start = time.monotonic()
    for _ in range(20):
        assert daemon.ask(b"/W ann\r\n").endswith(CUT)
    assert time.monotonic() - start < 2
    assert int(status(daemon.process.pid, "VmHWM")[0]) - peak < 8192


def test_refused_files_are_logged(daemon: Daemon, people: Path) -> None:
    os.mkfifo(make(people / "piper") / "plan")
    daemon.ask(b"piper\r\n")
    logged = daemon.logged("piper: ")
    assert logged.endswith(f" INFO fingerd.backends.files: files: in {people}/piper: plan: is not a regular file")
    (people / "linker.txt").symlink_to("/etc/shadow")
    daemon.ask(b"linker\r\n")
    assert daemon.logged("linker.txt").endswith(f" files: in {people}: linker.txt: is a symbolic link")


def test_a_plan_that_is_swapped_for_links_leaks_nothing_else(daemon: Daemon, people: Path) -> None:
    ann = make(people / "ann", plan="mine")
    swapping = threading.Event()

    def swap() -> None:
        while not swapping.is_set():
            for number, put in enumerate((link_to("../../outside/plan"), link_to("/etc/passwd"), containing(b"mine"))):
                put(ann / f"new{number}")
                (ann / f"new{number}").rename(ann / "plan")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        answers = {daemon.ask(b"ann\r\n") for _ in range(400)}
    finally:
        swapping.set()
        thread.join()
    assert answers <= {with_plan(b"mine\r\n"), record()}
    assert daemon.ask(b"ann\r\n") == with_plan(b"mine\r\n")


def test_a_directory_that_is_swapped_for_links_leaks_nothing_else(daemon: Daemon, people: Path) -> None:
    make(people / "ann", plan="mine")
    swapping = threading.Event()

    def swap() -> None:
        while not swapping.is_set():
            (people / "ann").rename(people / ".ann")
            (people / "ann").symlink_to("../outside")
            (people / "ann").unlink()
            (people / ".ann").rename(people / "ann")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        answers = {daemon.ask(b"ann\r\n") for _ in range(400)}
    finally:
        swapping.set()
        thread.join()
    assert answers <= {with_plan(b"mine\r\n"), record(), UNKNOWN}
    assert daemon.ask(b"ann\r\n") == with_plan(b"mine\r\n")


@pytest.mark.parametrize("target", ["../outside", "/", "bob", "/proc/self"])
def test_a_link_to_a_directory_is_not_a_person(daemon: Daemon, people: Path, target: str) -> None:
    make(people / "bob", plan="mine")
    (people / "ann").symlink_to(target)
    assert daemon.ask(b"ann\r\n") == UNKNOWN
    assert daemon.ask(b"\r\n", MEMBER) == b"Login    Name\r\nbob      bob\r\n"


# Names as attacks

PATHS = {
    "the directory itself": ".",
    "the parent directory": "..",
    "a path out": "../outside/plan",
    "a path out, without the suffix": "../outside/plan.txt",
    "a directory outside": "../outside",
    "out and back": "../people/ann",
    "an absolute path": "/etc/passwd",
    "a hidden file": ".hidden",
    "a file in a directory": "group/ann",
    "a person's atom": "ann/plan",
    "a directory with a slash": "ann/",
    "nofinger": "nofinger",
    "with the suffix": "quill.txt",
    "backslashes": "..\\outside\\plan",
    "percent signs": "%2e%2e%2foutside",
    "a pattern": "qu*",
    "a question mark": "quil?",
    "braces": "{ann,quill}",
    "a home directory": "~root",
    "another case": "ANN",
    "an option": "-l",
    "zero": "0",
    "search": "search.**",
    "300 characters": "a" * 300,
    "255 characters, which are valid for a directory but not with .txt": "a" * 255,
    "1000 characters": "a" * 1000,
    "many slashes": "/" * 500,
    "two users": "ann quill",
    "another Unicode normal form": "a\u0301nn",
    "a right-to-left override": "\u202eann",
}
MALFORMED = {"NUL": b"ann\0", "NUL before the suffix": b"quill\0.txt", "a form feed": b"ann\x0cquill"}


@pytest.mark.parametrize("name", PATHS.values(), ids=PATHS.keys())
def test_a_name_is_only_a_key_of_the_directory(daemon: Daemon, people: Path, name: str) -> None:
    make(people / "ann", plan="mine")
    (people / "quill.txt").write_text("mine")
    (people / ".hidden.txt").write_text(SECRET)
    (make(people / "group") / "ann.txt").write_text(SECRET)
    for source in ("127.0.0.1", MEMBER, "127.0.0.3"):
        assert daemon.ask(f"{name}\r\n".encode(), source) == UNKNOWN


@pytest.mark.parametrize("name", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_name_with_control_characters_is_malformed(daemon: Daemon, people: Path, name: bytes) -> None:
    make(people / "ann", plan="mine")
    assert daemon.ask(name + b"\r\n") == b"Malformed query\r\n"


def test_a_name_that_cannot_be_queried_is_not_listed(daemon: Daemon, people: Path) -> None:
    (people / "a\nb.txt").write_text("two lines")
    make(people / "c\x1b[2Jd", name="Escaped")
    os.mkdir(os.fsencode(people) + b"/\xff")
    make(people / "eve\tcarol")
    assert daemon.ask(b"\r\n", MEMBER).splitlines() == [
        b"Login     Name",
        b"eve carol eve carol",
    ]


def test_a_file_with_the_suffix_twice_is_a_login_with_a_dot(daemon: Daemon, people: Path) -> None:
    (people / "x.txt.txt").write_text("mine")
    make(people / "y.txt", plan="mine")
    assert daemon.ask(b"x.txt\r\n") == record("x.txt", b"Plan:\r\nmine\r\n")
    assert daemon.ask(b"y.txt\r\n").endswith(b"mine\r\n")
    assert daemon.ask(b"x\r\n") == daemon.ask(b"y\r\n") == UNKNOWN


# In this process

LOOKUP = Lookup("ann", False, "unix", math.inf)


def test_file_bytes_limits_each_file(tmp_path: Path) -> None:
    (tmp_path / "ann.txt").write_text("line\n" * 100)
    (person,) = Files(str(tmp_path), 12).find(LOOKUP)
    assert person.plan == "line\nline\n[answer cut]\n"
    (person,) = Files(str(tmp_path), 500).find(LOOKUP)
    assert person.plan == "line\n" * 100


def test_lookups_leak_no_descriptor(tmp_path: Path) -> None:
    make(tmp_path / "ann", name="Ann Example", plan="here")
    make(tmp_path / "bob", nofinger="")
    os.mkfifo(make(tmp_path / "carol") / "plan")
    (tmp_path / "dora.txt").symlink_to("/etc/passwd")
    backend = Files(str(tmp_path))
    before = os.listdir("/proc/self/fd")
    for name in ("ann", "bob", "carol", "dora", "nobody", "Example", "../x", "a" * 300):
        for by_name in (False, True):
            backend.find(Lookup(name, False, "unix", time.monotonic() + 10, by_name))
    list(backend.list_users(LOOKUP))
    next(backend.list_users(LOOKUP))
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("spare", [0, 1, 2])
def test_running_out_of_descriptors_is_a_failure_and_not_an_unknown_user(tmp_path: Path, spare: int) -> None:
    make(tmp_path / "ann", plan="here")
    backend = Files(str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, limits[1]))
    try:
        while True:
            try:
                taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        for _ in range(spare):
            os.close(taken.pop())
        with pytest.raises(BackendError, match=r"files .*Too many open files"):
            backend.find(LOOKUP)
        with pytest.raises(BackendError, match=r"files .*Too many open files"):
            list(backend.list_users(LOOKUP))
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert backend.find(LOOKUP)


def test_a_missing_directory_is_a_warning_and_in_a_chroot_an_error(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: files, folder: {tmp_path}/none}}\n")
    assert read_config(str(path), {})[1] == (f"{path}:1:10: backend: there is no directory {tmp_path}/none",)
    (tmp_path / "chroot" / "people").mkdir(parents=True)
    path.write_text(f"backend: {{type: files, folder: /people}}\nprocess: {{chroot: {tmp_path}/chroot}}\n")
    assert read_config(str(path), {})[1] == ()
    (tmp_path / "chroot" / "people").rmdir()
    done = subprocess.run([*FINGERD, "--check", "-c", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        78,
        f"{path}:1:10: backend: there is no directory {tmp_path}/chroot/people\n",
    )


@pytest.mark.root
def test_people_of_any_charset_are_found_in_a_chroot(start: Start, tmp_path: Path) -> None:
    people = tmp_path / "chroot" / "people"
    people.mkdir(parents=True)
    (people / "ann.txt").write_bytes("Grüße".encode("utf-16"))
    make(people / "Zoë", name="日本 😀", office="12 Hill")
    let_everybody_in(people)
    daemon = start(
        config(Path("/people")) + f"process: {{chroot: {tmp_path}/chroot, user: nobody}}\nreply: {{charset: latin-1}}\n"
    )
    assert daemon.ask(b"ann\r\n").endswith("Grüße\r\n".encode("latin-1"))
    assert daemon.ask(b"\r\n", MEMBER).splitlines()[1:] == [
        "Zoë      ?? ?                  12 Hill".encode("latin-1"),
        b"ann      ann",
    ]


def test_a_name_search_keeps_to_the_deadline_and_to_max_matches(tmp_path: Path) -> None:
    for number in range(MAX_MATCHES + 5):
        make(tmp_path / f"user{number}", name="Ann Example", plan="here")
    backend = Files(str(tmp_path))
    assert len(backend.find(Lookup("example", False, "unix", time.monotonic() + 60, True))) == MAX_MATCHES
    with pytest.raises(BackendError, match=r"not searched in time$"):
        backend.find(Lookup("example", False, "unix", time.monotonic(), True))


@pytest.mark.parametrize("name", ["ann", "quill", "nobody", "zo\u00eb"])
def test_no_descriptor_stays_open_for_an_unknown_person(tmp_path: Path, name: str) -> None:
    """Not even where the folder has an entry of the name that is looked up only for the time that it takes."""
    (tmp_path / ABSENT).mkdir()
    make(tmp_path / "ann", plan="mine", nofinger="")
    make(tmp_path / "zo\u00eb", plan="mine", nofinger="")
    backend = Files(str(tmp_path))
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert backend.find(make_lookup(name)) == []
    assert sorted(os.listdir("/proc/self/fd")) == before
