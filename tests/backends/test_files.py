"""``type: files``: a folder of people, whatever lies in it; most of it asked of a real daemon that is nobody."""

import math
import os
import resource
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fingerd.backends import Lookup
from fingerd.backends.files import NAMESAKES, Files
from fingerd.errors import BackendError
from fingerd.people import TEXT_ATOMS
from fingerd.settings import read_config
from tests.conftest import Start
from tests.helpers.daemons import FINGERD, Daemon, let_everybody_in, status
from tests.helpers.requirements import need

NOBODY = 65534
SECRET = "for nobody's eyes"
LIMIT = 64 << 10  # bytes that are told of each file

UNKNOWN = b"No such user\r\n"
DENIED = b"Finger online user list denied\r\n"
INVALID = b"Internal error in server\r\n"


def record(login: str = "ann", plan: bytes = b"No Plan.\r\n", name: str = "") -> bytes:
    """The short form of somebody of whom no more is known."""
    return f"{f'Login name: {login}':<40}In real life: {name or login}\r\n".encode() + plan


def planned(text: bytes) -> bytes:
    return record(plan=b"Plan:\r\n" + text)


def config(folder: Path) -> str:
    """People in the folder, for clients at several addresses."""
    return f"""
listen: "127.0.0.1:0"
backend: {{type: files, folder: {folder}}}
policy:
  - {{from: 127.0.0.1}}
  - {{from: 127.0.0.2, show: everything, list: true, match: name}}
  - {{from: 127.0.0.3, show: minimal, list: true, match: unique}}
"""


MEMBER = "127.0.0.2"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that is nobody, where it can become that; its people lie beside its configuration."""
    folder = tmp_path_factory.mktemp("files")
    let_everybody_in(folder)
    path = folder / "fingerd.yaml"
    path.write_text(config(folder / "people"))
    daemon = Daemon(path, *(("--uid", "nobody") if os.getuid() == 0 else ()))
    yield daemon
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "Traceback" in line or "ERROR" in line]


@pytest.fixture
def people(daemon: Daemon) -> Iterator[Path]:
    """The daemon's folder of people, empty at first, with files outside of it that are nobody's business."""
    arguments = daemon.process.args
    assert isinstance(arguments, list)
    folder = Path(arguments[arguments.index("-c") + 1]).parent
    for name in ("people", "outside"):
        (folder / name).mkdir()
    for name in ("plan", "name", "plan.txt"):
        (folder / "outside" / name).write_text(SECRET)
    yield folder / "people"
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


# What a person is

ATOMS = {atom: f"the {atom}" for atom in TEXT_ATOMS}


def make(folder: Path, **texts: str) -> Path:
    """Somebody with a file for each of these atoms."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def test_a_text_file_is_a_plan(daemon: Daemon, people: Path) -> None:
    (people / "ann.txt").write_text("Gone sailing.\n  Back soon.\n")
    assert daemon.ask(b"ann\r\n") == planned(b"Gone sailing.\r\n  Back soon.\r\n")
    assert daemon.ask(b"bob\r\n") == UNKNOWN


def test_a_folder_has_a_file_for_each_atom(daemon: Daemon, people: Path) -> None:
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
        "PGP key:",
        "the pgpkey",
        "Public key:",
        "the pubkey",
        "",
    ]


@pytest.mark.parametrize("atom", TEXT_ATOMS)
def test_each_atom_may_be_all_that_there_is(daemon: Daemon, people: Path, atom: str) -> None:
    make(people / "ann", **{atom: f"{ATOMS[atom]}\n"})
    assert ATOMS[atom].encode() in daemon.ask(b"/W ann\r\n", MEMBER)


def test_an_empty_folder_is_somebody_of_whom_nothing_is_written(daemon: Daemon, people: Path) -> None:
    make(people / "ann")
    assert daemon.ask(b"ann\r\n") == record()
    assert daemon.ask(b"ann\r\n", "127.0.0.3") == b"In real life: ann\r\n"


def test_a_folder_comes_before_a_text_file(daemon: Daemon, people: Path) -> None:
    make(people / "ann", plan="of the folder")
    (people / "ann.txt").write_text("of the file")
    assert daemon.ask(b"ann\r\n") == planned(b"of the folder\r\n")
    assert daemon.ask(b"\r\n", MEMBER).count(b"ann") == 2  # login and name, once


def test_an_atom_of_one_line_has_no_blanks_around_it_and_a_plan_keeps_its_own(daemon: Daemon, people: Path) -> None:
    make(people / "ann", name="  Ann Example \n\n", plan="   moved in\n", office="12\nHill\n")
    assert daemon.ask(b"ann\r\n") == (
        b"Login name: ann                         In real life: Ann Example\r\nOffice: 12 Hill\r\n"
        b"Plan:\r\n   moved in\r\n"
    )


def test_names_of_any_script_are_names(daemon: Daemon, people: Path) -> None:
    for name in ("Zoë", "日本", "a b", "-l", "*", "ann.example", "%41", "{user}", "~root"):
        (people / f"{name}.txt").write_text(f"I am {name}")
        assert daemon.ask(f"{name}\r\n".encode()).endswith(f"I am {name}\r\n".encode())


def test_a_person_is_found_by_the_name_too_where_that_counts(daemon: Daemon, people: Path) -> None:
    make(people / "ann", name="Ann Example")
    make(people / "bob", name="Bob Example")
    make(people / "example", name="Carol")
    hidden = make(people / "dora", name="Dora Example", nofinger="")
    told = [line for line in daemon.ask(b"example\r\n", MEMBER).split(b"\r\n") if b"real life" in line]
    assert [line.split(b": ")[-1] for line in told] == [b"Carol", b"Ann Example", b"Bob Example"]
    assert daemon.ask(b"example\r\n", "127.0.0.3") == b"In real life: Carol\r\n"
    assert daemon.ask(b"Example\r\n", "127.0.0.3") == b"Ambiguous name, ask for a login\r\n"
    assert daemon.ask(b"bob example\r\n", "127.0.0.3") == b"In real life: Bob Example\r\n"
    assert daemon.ask(b"Dora\r\n", MEMBER) == UNKNOWN
    assert daemon.ask(b"Example\r\n") == UNKNOWN
    (hidden / "nofinger").unlink()
    assert b"Dora Example" in daemon.ask(b"Dora\r\n", MEMBER)


def test_the_list_tells_everybody_in_order_with_what_fits_into_a_row(daemon: Daemon, people: Path) -> None:
    make(people / "bob", **{atom: f"{text}\n" for atom, text in ATOMS.items()})
    (people / "ann.txt").write_text("a plan")
    make(people / "carol", nofinger="", name="Carol")
    (people / "dora").write_text("no person: a file of another name")
    (people / ".hidden.txt").write_text("hidden")
    make(people / ".trash", name="hidden")
    assert daemon.ask(b"\r\n", MEMBER).decode().split("\r\n") == [
        "Login       Name                       Office                Job",
        "ann      ann",
        "bob      the name              the office  the office_phone  the job",
        "",
    ]
    assert daemon.ask(b"\r\n", "127.0.0.3") == b"   Name\r\nann\r\nthe name\r\n"
    assert daemon.ask(b"\r\n") == DENIED


def test_a_list_of_nobody(daemon: Daemon, people: Path) -> None:
    assert daemon.ask(b"\r\n", MEMBER) == b"No one logged on.\r\n"


# What changes is seen by the next query


def test_every_change_is_seen_by_the_next_query(daemon: Daemon, people: Path) -> None:
    assert daemon.ask(b"ann\r\n") == UNKNOWN
    ann = make(people / "ann", plan="first")
    assert daemon.ask(b"ann\r\n") == planned(b"first\r\n")
    (ann / "plan").write_text("second")
    assert daemon.ask(b"ann\r\n") == planned(b"second\r\n")
    replacement = people.parent / "outside" / "new"
    replacement.write_text("third")
    replacement.rename(ann / "plan")
    assert daemon.ask(b"ann\r\n") == planned(b"third\r\n")
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
    assert daemon.ask(b"ann\r\n") == planned(b"a file now\r\n")


def test_a_folder_that_is_gone_is_a_failure_of_which_the_log_tells_until_it_is_back(
    daemon: Daemon, people: Path
) -> None:
    make(people / "ann", plan="here")
    assert daemon.ask(b"ann\r\n") == planned(b"here\r\n")
    before = len(daemon.log)
    away = people.parent / "outside" / "people"
    people.rename(away)
    for line, source in ((b"ann\r\n", ""), (b"\r\n", MEMBER), (b"..\r\n", "")):
        assert daemon.ask(line, source) == INVALID
        warning = daemon.logged("backend failed")
        assert warning.endswith(f" WARNING fingerd.ruip.ruip: backend failed: files {people}: there is no such folder")
        daemon.logged("outcome=error")
    people.write_text("a file in its place")
    assert daemon.ask(b"ann\r\n") == INVALID
    daemon.logged("outcome=error")
    people.unlink()
    away.rename(people)
    assert daemon.ask(b"ann\r\n") == planned(b"here\r\n")
    daemon.logged("outcome=answered")
    assert len([line for line in daemon.log[before:] if "there is no such folder" in line]) == 4


@pytest.mark.root
def test_a_folder_that_may_not_be_read_is_a_failure(daemon: Daemon, people: Path) -> None:
    make(people / "ann", plan="here")
    people.chmod(0o700)
    assert daemon.ask(b"ann\r\n") == INVALID
    assert daemon.logged("backend failed").endswith(f"backend failed: files {people}: Permission denied")
    people.chmod(0o755)
    assert daemon.ask(b"ann\r\n") == planned(b"here\r\n")


# Who is hidden

HIDDEN: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.touch(),
    "an empty file that may not be read": lambda path: path.touch(0),
    "a folder": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to("/etc/hostname"),
    "a link to nowhere": lambda path: path.symlink_to("/nowhere"),
    "a pipe": os.mkfifo,
}

ASKED = [b"ann\r\n", b"/W ann\r\n", b"Ann\r\n", b"Ann Example\r\n", b"ann/plan\r\n", b"ann/name\r\n", b"\r\n"]


@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN.keys())
def test_hidden_people_are_told_apart_from_absent_ones_by_nothing(
    daemon: Daemon, people: Path, hide: Callable[[Path], object]
) -> None:
    make(people / "bob", name="Bob")
    sources = ("127.0.0.1", MEMBER, "127.0.0.3")
    absent = [daemon.ask(line, source) for line in ASKED for source in sources]
    hide(make(people / "ann", name="Ann Example", plan="here") / "nofinger")
    (people / "ann.txt").write_text("and here")
    assert [daemon.ask(line, source) for line in ASKED for source in sources] == absent


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o700, 0o600, 0o744, 0o000], ids=oct)
def test_who_cannot_be_asked_whether_they_want_to_be_told_is_hidden(daemon: Daemon, people: Path, mode: int) -> None:
    make(people / "ann", name="Ann Example", plan="here").chmod(mode)
    assert daemon.ask(b"ann\r\n") == UNKNOWN
    assert daemon.ask(b"Ann\r\n", MEMBER) == UNKNOWN
    assert daemon.ask(b"\r\n", MEMBER) == b"No one logged on.\r\n"


# Plans that mean harm, or were made by another system

REFUSED = b""  # where the file is, nothing is


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def holding(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def at_another_person_s(path: Path) -> None:
    (path.parent / "other").write_text(SECRET)
    path.symlink_to("other")


def at_a_file_outside(path: Path) -> None:
    outside = next(parent for parent in path.parents if (parent / "outside").is_dir()) / "outside" / "plan"
    assert outside.read_text() == SECRET
    path.symlink_to(outside)


def of_a_gigabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


def as_a_socket(path: Path) -> None:
    """With a way in that is short enough for a socket's name."""
    folder = os.open(path.parent, os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def as_a_device(path: Path) -> None:
    need("devices")
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero


def unreadable(path: Path) -> None:
    path.write_text(SECRET)
    path.chmod(0)


def of_another_owner(path: Path) -> None:
    path.write_text("mine")
    os.chown(path, 12345, 12345)


def as_a_link_to_a_name_of_another(path: Path) -> None:
    """The same file under two names is no link that could be seen."""
    (path.parent / "other").write_text("of two names")
    os.link(path.parent / "other", path)


ROOT = pytest.mark.root
CUT = b"[answer cut]\r\n"

# How the file is made, and what is told of it.
PLANS = {
    # what is no file
    "a pipe": (os.mkfifo, REFUSED),
    "a socket": (as_a_socket, REFUSED),
    "a folder": (lambda path: path.mkdir(), REFUSED),
    "a link to /etc/shadow": (link_to("/etc/shadow"), REFUSED),
    "a link to /etc/passwd, which anybody may read": (link_to("/etc/passwd"), REFUSED),
    "a link out of the folder": (at_a_file_outside, REFUSED),
    "a link to another person's file": (at_another_person_s, REFUSED),
    "a link to what the daemon is": (link_to("/proc/self/environ"), REFUSED),
    "a link to what the daemon's configuration is": (link_to("../../fingerd.yaml"), REFUSED),
    "a link to nowhere": (link_to("/nowhere"), REFUSED),
    "a link to itself": (lambda path: path.symlink_to(path.name), REFUSED),
    # whose file it is
    "two names of one file": (as_a_link_to_a_name_of_another, planned(b"of two names\r\n")),
    # what it holds
    "nothing": (holding(b""), record()),
    "blanks": (holding(b" \r\n\t\n"), record()),
    "no newline at the end": (holding(b"one\ntwo"), planned(b"one\r\ntwo\r\n")),
    "DOS line ends": (holding(b"one\r\ntwo\r\n"), planned(b"one\r\ntwo\r\n")),
    "CR only": (holding(b"one\rtwo\r"), planned(b"one\r\ntwo\r\n")),
    "NUL bytes": (holding(b"a\0b\0\n"), planned(b"a?b?\r\n")),
    "escape codes": (holding(b"\x1b[2J\x1b]0;root@host\x07hi\n"), planned(b"?[2J?]0;root@host?hi\r\n")),
    "C1 in UTF-8": (holding("\x9b2J\x85\x9d0;x\x9c\n".encode()), planned(b"?2J??0;x?\r\n")),
    "C1 as bytes": (holding(b"\x9b2J\n"), planned(b"?2J\r\n")),
    "DEL, backspaces and bells": (holding(b"a\x7fb\x08\x08c\x07\n"), planned(b"a?b??c?\r\n")),
    "telnet commands": (holding(b"\xff\xf4\xff\xfd\x06\n"), planned("ÿôÿý?\r\n".encode())),
    "form feeds": (holding(b"one\x0ctwo\x0b\n"), planned(b"one?two\r\n")),
    "a tab": (holding(b"\tmoved in\n"), planned(b"\tmoved in\r\n")),
    "UTF-8": (holding("Grüße 日本 😀\n".encode()), planned("Grüße 日本 😀\r\n".encode())),
    "UTF-8 with a BOM": (holding(b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe\n"), planned("Grüße\r\n".encode())),
    "UTF-16 with a BOM": (holding("Grüße\r\n日本\r\n".encode("utf-16")), planned("Grüße\r\n日本\r\n".encode())),
    "UTF-16, the other way round": (holding(b"\xfe\xff" + "Grüße".encode("utf-16-be")), planned("Grüße\r\n".encode())),
    "half of UTF-16": (holding(b"\xff\xfea"), planned("ÿþa\r\n".encode())),
    "Latin-1": (holding("Grüße\n".encode("latin-1")), planned("Grüße\r\n".encode())),
    "lone surrogates": (holding(b"a\xed\xa0\x80b\n"), planned("aí\xa0?b\r\n".encode())),
    "formats": (holding(b"{user} {0.__class__} %s %n $(id) `id` $EXEC /bin/id\n"), planned(
        b"{user} {0.__class__} %s %n $(id) `id` $EXEC /bin/id\r\n"
    )),
    "a line of its own answer": (holding(b"No such user\n"), planned(b"No such user\r\n")),
    "an over-long line": (holding(b"x" * 200_000), planned(b"x" * LIMIT + b"\r\n" + CUT)),
    "an over-long line of long characters": (
        holding(b"x" + "日".encode() * 50_000),
        planned(b"x" + "日".encode() * ((LIMIT - 1) // 3) + b"\r\n" + CUT),
    ),
    "an over-long line of UTF-16": (
        holding("日".encode("utf-16") + "😀".encode("utf-16-le") * 50_000),
        planned(("日" + "😀" * ((LIMIT - 4) // 4)).encode() + b"\r\n" + CUT),
    ),
    "an over-long line with a BOM": (
        holding(b"\xef\xbb\xbf" + b"x" * 200_000),
        planned(b"x" * (LIMIT - 3) + b"\r\n" + CUT),
    ),
    "a gigabyte of nothing": (of_a_gigabyte, planned(b"?" * LIMIT + b"\r\n" + CUT)),
    "thousands of lines": (
        holding(b"line\n" * 5000),
        planned(b"line\r\n" * 50 + b"[more with /W]\r\n"),
    ),
    "thousands of empty lines and one": (
        holding(b"\n" * 5000 + b"end"),
        planned(b"\r\n" * 50 + b"[more with /W]\r\n"),
    ),
}  # fmt: skip
PLANS_OF_ROOT = {
    "a device": (as_a_device, REFUSED),
    "a file that may not be read": (unreadable, REFUSED),
    "a file of another owner": (of_another_owner, planned(b"mine\r\n")),
}
CASES = [
    *(pytest.param(*case, id=name) for name, case in PLANS.items()),
    *(pytest.param(*case, id=name, marks=ROOT) for name, case in PLANS_OF_ROOT.items()),
]


@pytest.mark.parametrize(("make_plan", "told"), CASES)
def test_nothing_but_the_text_of_a_plan_is_told(
    daemon: Daemon, people: Path, make_plan: Callable[[Path], object], told: bytes
) -> None:
    (people / "ann").mkdir()
    make_plan(people / "ann" / "plan")
    assert daemon.ask(b"ann\r\n") == (told or record())
    make_plan(people / "bob.txt")
    assert daemon.ask(b"bob\r\n") == (told.replace(b"ann", b"bob") or UNKNOWN)
    for line in (b"/W ann\r\n", b"/W bob\r\n", b"\r\n"):
        answer = daemon.ask(line, MEMBER)
        assert SECRET.encode() not in answer
        assert b"root:" not in answer


@pytest.mark.parametrize("atom", ["name", "office", "pgpkey"])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside/plan", "../bob/plan"])
def test_no_atom_is_read_through_a_link(daemon: Daemon, people: Path, atom: str, target: str) -> None:
    make(people / "bob", plan=SECRET)
    (make(people / "ann") / atom).symlink_to(target)
    assert daemon.ask(b"/W ann\r\n", MEMBER) == record()
    assert daemon.ask(b"\r\n", MEMBER) == b"Login       Name\r\nann      ann\r\nbob      bob\r\n"


def test_a_long_plan_is_told_in_the_long_form(daemon: Daemon, people: Path) -> None:
    make(people / "ann", plan="line\n" * 5000)
    assert daemon.ask(b"/W ann\r\n") == planned(b"line\r\n" * 5000)


def test_a_plan_without_end_costs_no_memory_and_no_time(daemon: Daemon, people: Path) -> None:
    of_a_gigabyte(make(people / "ann") / "plan")
    daemon.ask(b"ann\r\n")
    peak = int(status(daemon.process.pid, "VmHWM")[0])  # KiB
    begun = time.monotonic()
    for _ in range(20):
        assert daemon.ask(b"/W ann\r\n").endswith(CUT)
    assert time.monotonic() - begun < 2
    assert int(status(daemon.process.pid, "VmHWM")[0]) - peak < 8192


def test_what_is_not_read_is_told_to_the_log(daemon: Daemon, people: Path) -> None:
    os.mkfifo(make(people / "piper") / "plan")
    daemon.ask(b"piper\r\n")
    logged = daemon.logged("piper: ")
    assert logged.endswith(f" INFO fingerd.backends.files: files: in {people}/piper: plan: is not a regular file")
    (people / "linker.txt").symlink_to("/etc/shadow")
    daemon.ask(b"linker\r\n")
    assert daemon.logged("linker.txt").endswith(f" files: in {people}: linker.txt: is a symbolic link")


def test_a_plan_that_is_swapped_for_a_link_all_the_time_is_told_or_not_but_nothing_else(
    daemon: Daemon, people: Path
) -> None:
    ann = make(people / "ann", plan="mine")
    swapping = threading.Event()

    def swap() -> None:
        while not swapping.is_set():
            for number, put in enumerate((link_to("../../outside/plan"), link_to("/etc/passwd"), holding(b"mine"))):
                put(ann / f"new{number}")
                (ann / f"new{number}").rename(ann / "plan")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        answers = {daemon.ask(b"ann\r\n") for _ in range(400)}
    finally:
        swapping.set()
        thread.join()
    assert answers <= {planned(b"mine\r\n"), record()}
    assert daemon.ask(b"ann\r\n") == planned(b"mine\r\n")


def test_a_folder_that_is_swapped_for_a_link_all_the_time_is_told_or_not_but_nothing_else(
    daemon: Daemon, people: Path
) -> None:
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
    assert answers <= {planned(b"mine\r\n"), record(), UNKNOWN}
    assert daemon.ask(b"ann\r\n") == planned(b"mine\r\n")


@pytest.mark.parametrize("target", ["../outside", "/", "bob", "/proc/self"])
def test_somebody_who_is_a_link_to_a_folder_is_nobody(daemon: Daemon, people: Path, target: str) -> None:
    make(people / "bob", plan="mine")
    (people / "ann").symlink_to(target)
    assert daemon.ask(b"ann\r\n") == UNKNOWN
    assert daemon.ask(b"\r\n", MEMBER) == b"Login       Name\r\nbob      bob\r\n"


# Names that mean harm

PATHS = {
    "the folder itself": ".",
    "the folder above": "..",
    "a way out": "../outside/plan",
    "a way out, with the ending left to us": "../outside/plan.txt",
    "a folder outside": "../outside",
    "out and back": "../people/ann",
    "an absolute path": "/etc/passwd",
    "a hidden file": ".hidden",
    "a file in a folder": "group/ann",
    "an atom of somebody": "ann/plan",
    "a folder with a slash": "ann/",
    "the mark of who is hidden": "nofinger",
    "with its ending": "quill.txt",
    "slashes of another kind": "..\\outside\\plan",
    "percent signs": "%2e%2e%2foutside",
    "a pattern": "qu*",
    "a question mark": "quil?",
    "braces": "{ann,quill}",
    "a home": "~root",
    "another case": "ANN",
    "an option": "-l",
    "zero": "0",
    "search": "search.**",
    "300 characters": "a" * 300,
    "255 characters, which may be a folder but no file": "a" * 255,
    "1000 characters": "a" * 1000,
    "many slashes": "/" * 500,
    "another user with it": "ann quill",
    "another way to write it": "a\u0301nn",
    "a direction": "\u202eann",
}
MALFORMED = {"NUL": b"ann\0", "NUL in front of the ending": b"quill\0.txt", "a newline": b"ann\rquill"}


@pytest.mark.parametrize("name", PATHS.values(), ids=PATHS.keys())
def test_a_name_is_a_key_of_the_folder_and_nothing_else(daemon: Daemon, people: Path, name: str) -> None:
    make(people / "ann", plan="mine")
    (people / "quill.txt").write_text("mine")
    (people / ".hidden.txt").write_text(SECRET)
    (make(people / "group") / "ann.txt").write_text(SECRET)
    for source in ("127.0.0.1", MEMBER, "127.0.0.3"):
        assert daemon.ask(f"{name}\r\n".encode(), source) == UNKNOWN


@pytest.mark.parametrize("name", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_name_with_control_characters_is_no_query(daemon: Daemon, people: Path, name: bytes) -> None:
    make(people / "ann", plan="mine")
    assert daemon.ask(name + b"\r\n") == b"Malformed query\r\n"


def test_a_name_that_no_query_can_ask_for_is_not_in_the_list(daemon: Daemon, people: Path) -> None:
    (people / "a\nb.txt").write_text("two lines")
    make(people / "c\x1b[2Jd", name="Escaped")
    os.mkdir(os.fsencode(people) + b"/\xff")
    make(people / "eve\tcarol")
    assert daemon.ask(b"\r\n", MEMBER).splitlines() == [
        b"Login        Name",
        b"eve carol eve carol",
    ]


def test_a_file_whose_name_has_the_ending_twice_is_somebody_with_a_dot(daemon: Daemon, people: Path) -> None:
    (people / "x.txt.txt").write_text("mine")
    make(people / "y.txt", plan="mine")
    assert daemon.ask(b"x.txt\r\n") == record("x.txt", b"Plan:\r\nmine\r\n")
    assert daemon.ask(b"y.txt\r\n").endswith(b"mine\r\n")
    assert daemon.ask(b"x\r\n") == daemon.ask(b"y\r\n") == UNKNOWN


# In this process

HERE = Lookup("ann", False, "unix", math.inf)


def test_a_file_may_be_longer_where_the_configuration_says_so(tmp_path: Path) -> None:
    (tmp_path / "ann.txt").write_text("line\n" * 100)
    (person,) = Files(str(tmp_path), 12).find(HERE)
    assert person.plan == "line\nline\n[answer cut]\n"
    (person,) = Files(str(tmp_path), 500).find(HERE)
    assert person.plan == "line\n" * 100


def test_asking_leaves_no_descriptor_open(tmp_path: Path) -> None:
    make(tmp_path / "ann", name="Ann Example", plan="here")
    make(tmp_path / "bob", nofinger="")
    os.mkfifo(make(tmp_path / "carol") / "plan")
    (tmp_path / "dora.txt").symlink_to("/etc/passwd")
    backend = Files(str(tmp_path))
    before = os.listdir("/proc/self/fd")
    for name in ("ann", "bob", "carol", "dora", "nobody", "Example", "../x", "a" * 300):
        for by_name in (False, True):
            backend.find(Lookup(name, False, "unix", time.monotonic() + 10, by_name))
    list(backend.list_users(HERE))
    next(backend.list_users(HERE))
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("spare", [0, 1, 2])
def test_a_host_without_descriptors_is_a_failure_and_nobody_is_said_to_be_unknown(tmp_path: Path, spare: int) -> None:
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
            backend.find(HERE)
        with pytest.raises(BackendError, match=r"files .*Too many open files"):
            list(backend.list_users(HERE))
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert backend.find(HERE)


def test_a_folder_that_is_missing_is_a_warning_and_in_a_jail_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: files, folder: {tmp_path}/none}}\n")
    assert read_config(str(path), {})[1] == (f"{path}:1:10: backend: there is no folder {tmp_path}/none",)
    (tmp_path / "jail" / "people").mkdir(parents=True)
    path.write_text(f"backend: {{type: files, folder: /people}}\nprocess: {{chroot: {tmp_path}/jail}}\n")
    assert read_config(str(path), {})[1] == ()
    (tmp_path / "jail" / "people").rmdir()
    done = subprocess.run([*FINGERD, "--check", "-c", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (78, f"{path}:1:10: backend: there is no folder {tmp_path}/jail/people\n")


@pytest.mark.root
def test_in_a_jail_people_of_any_charset_are_told(start: Start, tmp_path: Path) -> None:
    people = tmp_path / "jail" / "people"
    people.mkdir(parents=True)
    (people / "ann.txt").write_bytes("Grüße".encode("utf-16"))
    make(people / "Zoë", name="日本 😀", office="12 Hill")
    let_everybody_in(people)
    daemon = start(
        config(Path("/people")) + f"process: {{chroot: {tmp_path}/jail, user: nobody}}\nreply: {{charset: latin-1}}\n"
    )
    assert daemon.ask(b"ann\r\n").endswith("Grüße\r\n".encode("latin-1"))
    assert daemon.ask(b"\r\n", MEMBER).splitlines()[1:] == [
        "Zoë      ?? ?               12 Hill".encode("latin-1"),
        b"ann      ann",
    ]


def test_a_search_ends_in_time_and_with_a_bounded_number_of_people(tmp_path: Path) -> None:
    for number in range(NAMESAKES + 5):
        make(tmp_path / f"user{number}", name="Ann Example", plan="here")
    backend = Files(str(tmp_path))
    assert len(backend.find(Lookup("example", False, "unix", time.monotonic() + 60, True))) == NAMESAKES
    with pytest.raises(BackendError, match=r"not searched in time$"):
        backend.find(Lookup("example", False, "unix", time.monotonic(), True))
