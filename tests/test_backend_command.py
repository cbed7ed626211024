"""``type: command``, with real programs: what they may be given, and what becomes of those that misbehave."""

import os
import threading
import time
from pathlib import Path

import pytest

from fingerd import host
from fingerd.backends import Ask
from fingerd.backends.command import Command
from fingerd.errors import BackendError
from tests.daemons import eventually


def find(backend: Command, username: str = "alice", seconds: float = 10) -> str | None:
    people = backend.find(Ask(username, False, "192.0.2.1", time.monotonic() + seconds))
    return people[0].text if people else None


def script(text: str, **options: float) -> Command:
    return Command(argv=("sh", "-c", text, "sh", "{user}"), **options)  # type: ignore[arg-type]


def failure(backend: Command, seconds: float = 10) -> str:
    with pytest.raises(BackendError) as caught:
        find(backend, seconds=seconds)
    return str(caught.value)


def test_output_is_the_answer_and_none_is_an_unknown_user() -> None:
    assert find(script('echo "$# $1"'), "a b;c") == "1 a b;c\n"
    assert find(script("true")) is None


def test_a_name_may_stand_inside_of_an_argument() -> None:
    assert find(Command(argv=("echo", "--user={user}", "{user}")), "$(id)") == "--user=$(id) $(id)\n"


def test_a_name_that_begins_with_a_dash_runs_nothing(tmp_path: Path) -> None:
    assert find(Command(argv=("touch", str(tmp_path / "ran"), "{user}")), "-l") is None
    assert not (tmp_path / "ran").exists()


def test_a_program_may_be_named_from_where_the_daemon_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_started_in", str(tmp_path))
    (tmp_path / "bin").symlink_to("/bin")
    backend = Command(argv=("bin/echo", "{user}"), list_argv=("bin/echo", "all"))
    assert backend.argv[0] == str(tmp_path / "bin/echo")
    assert not list(backend.missing(Path("/")))
    assert find(backend) == "alice\n"


def test_output_that_is_not_utf_8_is_latin_1() -> None:
    assert find(script(r"printf 'caf\351\n'")) == "café\n"


def test_every_failure_tells_its_cause() -> None:
    assert failure(script("echo one >&2; echo two >&2; exit 3")) == "command sh: exit status 3: one two"
    assert failure(script("exit 1")) == "command sh: exit status 1"
    assert failure(script("echo answer; exit 1")) == "command sh: exit status 1"
    assert failure(script("kill -SEGV $$")) == "command sh: ended by SIGSEGV"
    assert failure(Command(argv=("/nowhere/program",))).endswith("No such file or directory: '/nowhere/program'")
    assert failure(Command(argv=("/etc/passwd",))).startswith("command /etc/passwd: [Errno 13] Permission denied")


def test_a_long_complaint_is_cut() -> None:
    assert len(failure(script("seq 100000 >&2; exit 1"))) < 1100


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    begun = time.monotonic()
    backend = script(f"echo $$ > {tmp_path}/pid; sleep 600 & trap '' TERM; sleep 601; echo late", timeout=0.3)
    assert failure(backend) == "command sh: not done in time"
    assert time.monotonic() - begun < 3
    group = int((tmp_path / "pid").read_text())
    eventually(lambda: not alive(group))


def alive(group: int) -> bool:
    """Whether anybody of the process group still runs."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def test_what_is_left_of_the_query_s_time_is_all_that_a_program_gets() -> None:
    begun = time.monotonic()
    assert failure(script("sleep 600"), seconds=0.2) == "command sh: not done in time"
    assert time.monotonic() - begun < 3


def test_a_program_that_closes_its_output_and_hangs_is_ended() -> None:
    assert failure(script("exec >&- 2>&-; exec sleep 600", timeout=0.3)) == "command sh: not done in time"


def test_a_flood_is_cut_at_a_line_and_says_so() -> None:
    answer = find(script("yes line", output_bytes=1002))
    assert answer == "line\n" * 200 + "[answer cut]\n"


def test_a_program_reads_nothing_and_sees_little_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    assert find(Command(argv=("cat",))) is None
    seen = find(Command(argv=("env",)))
    assert seen is not None
    assert {line.partition("=")[0] for line in seen.splitlines()} <= {
        "PATH",
        "LC_ALL",
        "TZ",
        "TMPDIR",
        "PWD",
        "SHLVL",
        "_",
    }


def test_no_descriptor_of_ours_reaches_a_program() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    seen = find(script("ls /proc/self/fd | wc -l"))
    os.close(reader)
    os.close(writer)
    assert seen is not None
    assert int(seen) <= 4


def test_the_list_is_another_program_s() -> None:
    ask = Ask("", False, "192.0.2.1", time.monotonic() + 5)
    assert Command(argv=("true",)).listed(ask) is None
    people = Command(argv=("true",), list_argv=("echo", "all of us")).listed(ask)
    assert people is not None
    assert [(person.login, person.text) for person in people] == [("", "all of us\n")]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"argv": ()}, "a program is needed"),
        ({"argv": ("",)}, "a program is needed"),
        ({"argv": ("ls",), "list_argv": ()}, "a program is needed"),
        ({"argv": ("finger {user}",)}, r"argv is a list: \[finger, {user}\]"),
        ({"argv": ("{user}",)}, "a user's name may not choose the program"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, tuple[str, ...]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Command(**options)  # type: ignore[arg-type]


def test_a_program_that_is_missing_is_noticed_before_anybody_asks(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "there"
    program.touch(0o755)
    root = Path("/")
    assert list(Command(argv=("sh",), list_argv=(str(program),)).missing(root)) == []
    assert list(Command(argv=("no-such-program",)).missing(root)) == ["there is no program no-such-program"]
    assert list(Command(argv=("/bin/there",)).missing(tmp_path)) == []
    assert list(Command(argv=("sh",)).missing(tmp_path)) == [f"there is no program sh in {tmp_path}"]


@pytest.mark.parametrize("limit", range(93, 101))
def test_a_cut_halves_no_character(limit: int) -> None:
    answer = find(script("yes é | tr -d '\\n'", output_bytes=limit))
    assert answer is not None
    assert set(answer.partition("\n")[0]) == {"é"}


def test_a_program_is_over_when_it_ends_whoever_holds_its_output() -> None:
    begun = time.monotonic()
    assert find(script("sleep 600 & echo done")) == "done\n"
    assert time.monotonic() - begun < 3


def test_running_programs_end_with_the_backend(tmp_path: Path) -> None:
    backend = script(f"echo $$ > {tmp_path}/pid; sleep 600")
    thread = threading.Thread(target=lambda: failures.append(failure(backend)))
    failures: list[str] = []
    thread.start()
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    backend.close()
    thread.join(5)
    assert failures == ["command sh: ended by SIGKILL"]
    eventually(lambda: not alive(int((tmp_path / "pid").read_text())))
