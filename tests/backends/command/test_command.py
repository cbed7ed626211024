"""``type: command`` with real programs: their arguments and environment, failures, deadlines and limits."""

import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerd.backends import Lookup
from fingerd.backends.command import Command
from fingerd.config import system_options as host
from fingerd.errors import BackendError, OptionError
from fingerd.people import Person
from fingerd.testing import HOSTILE_NAMES
from tests.helpers.daemons import ROOT, let_everybody_in, wait_until
from tests.helpers.requirements import need


def find(backend: Command, username: str = "alice", seconds: float = 10) -> str | None:
    people = backend.find(Lookup(username, False, "192.0.2.1", time.monotonic() + seconds))
    return people[0].text if people else None


def script(text: str, **options: Any) -> Command:
    return Command(argv=("sh", "-c", text, "sh", "{user}"), **options)


def failure(backend: Command, seconds: float = 10) -> str:
    with pytest.raises(BackendError) as caught:
        find(backend, seconds=seconds)
    return str(caught.value)


def test_output_is_the_answer_and_none_is_an_unknown_user() -> None:
    assert find(script('echo "$# $1"'), "a b;c") == "1 a b;c\n"
    assert find(script("true")) is None


def test_a_name_may_be_part_of_an_argument_where_that_is_asked_for() -> None:
    argv = ("echo", "--user={user}", "{user}")
    backend = Command(argv=argv, user_in_arguments=True)
    assert find(backend, "$(id)") == "--user=$(id) $(id)\n"
    (warning,) = backend.warnings()
    assert warning.startswith("user_in_arguments: the client chooses a part of argument 1 of argv")
    assert list(Command(argv=("echo", "{user}"), user_in_arguments=True).warnings()) == []


@pytest.mark.parametrize("argument", ["--user={user}", "{user}.txt", "/srv/{user}", "{client}{user}", "{user}{user}"])
@pytest.mark.parametrize("option", ["argv", "list_argv"])
def test_a_name_within_an_argument_is_a_configuration_error(option: str, argument: str) -> None:
    options: dict[str, Any] = {"argv": ("true",), option: ("echo", "{user}", argument)}
    with pytest.raises(OptionError) as caught:
        Command(**options)
    assert caught.value.keys == (option,)
    assert str(caught.value) == (
        "{user} is only a part of argument 2: make it an argument of its own, or remove it; "
        "the program finds the name in the variable FINGER_USER (or set user_in_arguments: true)"
    )
    Command(**options, user_in_arguments=True)


def test_a_nul_character_is_a_configuration_error() -> None:
    with pytest.raises(ValueError, match="an argument contains a NUL character"):
        Command(("echo", "a\0b"))
    with pytest.raises(OptionError, match="contains a NUL character"):
        Command(("echo",), env=MappingProxyType({"A": "a\0b"}))


def test_a_name_that_begins_with_a_dash_runs_nothing(tmp_path: Path) -> None:
    assert find(Command(argv=("touch", str(tmp_path / "ran"), "{user}")), "-l") is None
    assert not (tmp_path / "ran").exists()


def test_a_relative_path_begins_in_the_daemon_s_first_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_base", str(tmp_path))
    (tmp_path / "bin").symlink_to("/bin")
    backend = Command(argv=("bin/echo", "{user}"), list_argv=("bin/echo", "all"))
    assert not list(backend.missing_requirements(Path("/")))
    assert find(backend) == "alice\n"
    listed = backend.list_users(Lookup("", False, "192.0.2.1", time.monotonic() + 10))
    assert [person.text for person in listed or ()] == ["all\n"]
    (tmp_path / "bin").unlink()
    assert failure(backend).startswith(f"command {tmp_path}/bin/echo: [Errno 2] No such file or directory")


def test_output_that_is_not_utf_8_is_windows_1252() -> None:
    assert find(script(r"printf 'caf\351\n'")) == "café\n"
    assert find(script(r"printf 'it\222s \223q\224 \200 \201\215\217\220\235\n'")) == "it’s “q” € ?????\n"


def test_each_failure_has_its_cause() -> None:
    assert failure(script("echo one >&2; echo two >&2; exit 3")) == "command sh: exit status 3: one two"
    assert failure(script("exit 1")) == "command sh: exit status 1"
    assert failure(script("echo answer; exit 1")) == "command sh: exit status 1"
    assert failure(script("kill -SEGV $$")) == "command sh: killed by SIGSEGV"
    assert failure(script("kill -40 $$")) == "command sh: killed by signal 40"
    assert failure(Command(argv=("/nowhere/program",))).endswith("No such file or directory: '/nowhere/program'")
    assert failure(Command(argv=("/etc/passwd",))).startswith("command /etc/passwd: [Errno 13] Permission denied")


def test_a_long_standard_error_is_cut() -> None:
    assert len(failure(script("seq 100000 >&2; exit 1"))) < 1100


def test_a_program_that_exceeds_its_timeout_is_killed_with_its_children(tmp_path: Path) -> None:
    begun = time.monotonic()
    backend = script(f"echo $$ > {tmp_path}/pid; sleep 600 & trap '' TERM; sleep 601; echo late", timeout=0.3)
    assert failure(backend) == "command sh: not done in time"
    assert time.monotonic() - begun < 3
    group = int((tmp_path / "pid").read_text())
    wait_until(lambda: not alive(group))


def alive(group: int) -> bool:
    """Whether a process of the group is still running."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def test_the_deadline_of_the_query_limits_the_timeout() -> None:
    begun = time.monotonic()
    assert failure(script("sleep 600"), seconds=0.2) == "command sh: not done in time"
    assert time.monotonic() - begun < 3


def test_a_program_that_closes_its_output_and_hangs_is_killed() -> None:
    assert failure(script("exec >&- 2>&-; exec sleep 600", timeout=0.3)) == "command sh: not done in time"


def test_long_output_is_cut_at_a_line_and_marked() -> None:
    answer = find(script("yes line", output_bytes=1002))
    assert answer == "line\n" * 200 + "[answer cut]\n"


def test_a_program_has_no_input_and_little_of_the_daemon_s_environment(monkeypatch: pytest.MonkeyPatch) -> None:
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
        "FINGER_USER",
        "FINGER_CLIENT",
        "FINGER_VERBOSE",
    }


def test_a_program_inherits_no_descriptor() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    seen = find(script("ls /proc/self/fd | wc -l"))
    os.close(reader)
    os.close(writer)
    assert seen is not None
    assert int(seen) <= 4


def test_the_list_is_the_output_of_another_program() -> None:
    ask = Lookup("", False, "192.0.2.1", time.monotonic() + 5)
    assert Command(argv=("true",)).list_users(ask) is None
    people = Command(argv=("true",), list_argv=("echo", "all of us")).list_users(ask)
    assert people is not None
    assert [(person.login, person.text) for person in people] == [("", "all of us\n")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"argv": ()}, "names no program"),
        ({"argv": ("",)}, "names no program"),
        ({"argv": ("ls",), "list_argv": ()}, "names no program"),
        ({"argv": ("finger {user}",)}, r'must be a list of arguments, as \[finger, "{user}"\]'),
        ({"argv": ("{user}",)}, "{user} may not choose the program"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(options: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        Command(**options)  # type: ignore[arg-type]
    assert caught.value.keys == (list(options)[-1],)


def test_a_missing_program_is_reported_at_start_up(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "there"
    program.touch(0o755)
    root = Path("/")
    assert list(Command(argv=("sh",), list_argv=(str(program),)).missing_requirements(root)) == []
    assert list(Command(argv=("no-such-program",)).missing_requirements(root)) == [
        "there is no program no-such-program"
    ]
    assert list(Command(argv=("/bin/there",)).missing_requirements(tmp_path)) == []
    assert list(Command(argv=("sh",)).missing_requirements(tmp_path)) == [f"there is no program sh in {tmp_path}"]


@pytest.mark.parametrize("limit", range(93, 101))
def test_no_character_is_cut_in_two(limit: int) -> None:
    answer = find(script("yes é | tr -d '\\n'", output_bytes=limit))
    assert answer is not None
    assert set(answer.partition("\n")[0]) == {"é"}


def test_a_program_ends_although_a_child_still_holds_its_output() -> None:
    begun = time.monotonic()
    assert find(script("sleep 600 & echo done")) == "done\n"
    assert time.monotonic() - begun < 3


def test_closing_the_backend_kills_running_programs(tmp_path: Path) -> None:
    backend = script(f"echo $$ > {tmp_path}/pid; sleep 600")
    thread = threading.Thread(target=lambda: failures.append(failure(backend)))
    failures: list[str] = []
    thread.start()
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    backend.close()
    thread.join(5)
    assert failures == ["command sh: killed by SIGKILL"]
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


# The client, and the environment


def test_client_and_verbose_are_placeholders_and_variables() -> None:
    argv = ("sh", "-c", 'printf "%s|" "$@" "$FINGER_USER" "$FINGER_CLIENT" "$FINGER_VERBOSE"', "sh")
    arguments = (*argv, "-v{verbose}", "{client}", "a{user}b", "{other}")
    backend = Command(arguments, list_argv=(*argv, "{user}"), user_in_arguments=True)
    deadline = time.monotonic() + 10
    (person,) = backend.find(Lookup("{client}", True, "2001:db8::1", deadline))
    assert person.text == "-v1|2001:db8::1|a{client}b|{other}|{client}|2001:db8::1|1|"
    listed = backend.list_users(Lookup("", False, "unix", deadline))
    assert listed is not None
    assert [person.text for person in listed] == ["||unix|0|"]


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=50))
def test_any_name_is_one_argument(name: str) -> None:
    seen = find(Command(argv=("sh", "-c", 'printf "%s %s %s" "$#" "$1" "$FINGER_USER"', "sh", "{user}")), name)
    assert seen == (None if name.startswith("-") else f"1 {name} {name}")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_one_argument_with_limits_too(name: str) -> None:
    seen = find(Command(argv=("printf", "%s|", "{user}"), cpu_seconds=5), name)
    assert seen == (None if name.startswith("-") else f"{name}|")


def test_variables_may_be_added_and_are_not_in_the_repr() -> None:
    env = MappingProxyType({"TOKEN": "s3cret", "LC_ALL": "C", "PATH": "/bin"})
    backend = Command(argv=("sh", "-c", 'echo "$TOKEN $LC_ALL $PATH"'), env=env)
    assert find(backend) == "s3cret C /bin\n"
    assert "s3cret" not in repr(backend)
    assert list(Command(argv=("sh",), env=MappingProxyType({"PATH": "/nowhere"})).missing_requirements(Path("/")))


@pytest.mark.parametrize("name", ["", "A=B", "1A", "A\0", "FINGER_USER"])
def test_an_invalid_or_reserved_variable_is_refused(name: str) -> None:
    with pytest.raises(OptionError) as caught:
        Command(argv=("true",), env={name: "x"})
    assert caught.value.keys == ("env", name)


def test_the_client_may_not_choose_the_program() -> None:
    with pytest.raises(ValueError, match=r"^\{client\} may not choose the program$"):
        Command(argv=("/srv/{client}",))


def test_no_program_is_run_for_other_names(tmp_path: Path) -> None:
    backend = script(f'echo "$1" | tee -a {tmp_path}/ran', names=("alice", "bob"))
    assert [find(backend, name) for name in ("alice", "carol", "Alice", "bob")] == ["alice\n", None, None, "bob\n"]
    assert (tmp_path / "ran").read_text() == "alice\nbob\n"


# JSON


def says(document: object, **options: Any) -> Command:
    fields: Mapping[str, str] = {"login": "id", "name": "name"}
    return Command(argv=("echo", json.dumps(document)), **{"fields": fields, **options})


def test_json_output_is_people() -> None:
    ask = Lookup("alice", False, "192.0.2.1", time.monotonic() + 10)
    assert says({"id": "alice", "name": "Alice"}).find(ask) == (Person("alice", name="Alice", plan=""),)
    assert [person.login for person in says({"all": [{"id": "bob"}, {}]}, people="all").find(ask)] == ["alice", "bob"]
    assert says(None).find(ask) == says([]).find(ask) == ()
    assert Command(argv=("true",), fields={"name": "name"}).find(ask) == ()
    assert Command(argv=("echo",), fields={"name": "name"}).find(ask) == ()


def test_a_json_list_leaves_out_people_without_login() -> None:
    ask = Lookup("", False, "192.0.2.1", time.monotonic() + 10)
    listed = json.dumps({"all": [{"id": "bob"}, {"name": "nobody"}, {"id": "alice"}]})
    people = says({}, list_argv=("echo", listed), list_people="all").list_users(ask)
    assert people is not None
    assert [person.login for person in people] == ["bob", "alice"]
    assert list(says({}, list_argv=("true",)).list_users(ask) or "?") == []


def test_invalid_json_output_is_a_failure() -> None:
    assert failure(says("alice")) == "command echo: neither an object nor a list of objects"
    assert failure(says({}, people="all")) == "command echo: has no all"
    assert failure(says({"name": "x" * 100}, output_bytes=50)) == "command echo: longer than output_bytes"
    assert failure(Command(argv=("echo", "alice"), fields={"name": "a"})).startswith("command echo: not JSON: ")


# Limits


def test_a_program_that_exceeds_its_cpu_time_is_killed() -> None:
    begun = time.monotonic()
    busy = script("trap '' TERM; while :; do :; done", cpu_seconds=1)
    assert failure(busy, seconds=60) == "command sh: killed by SIGXCPU"
    assert time.monotonic() - begun < 50


def test_a_program_that_exceeds_its_memory_fails() -> None:
    backend = script("head -c 500000000 /dev/zero | tail -n 1 | wc -c; echo done", memory_bytes=100 << 20)
    assert find(backend) == "0\ndone\n"
    assert find(script("echo done", memory_bytes=100 << 20)) == "done\n"


def test_a_name_cannot_change_the_limits() -> None:
    backend = script('echo "$0 $*"; ulimit -t; ulimit -v; ulimit -c; ulimit -n', cpu_seconds=7, memory_bytes=200 << 20)
    assert find(backend, "--cpu=99") is None
    assert find(backend, "a --nproc=5") == "sh a --nproc=5\n7\n204800\n0\n1024\n"


def test_a_missing_program_fails_with_limits_too() -> None:
    cause = failure(Command(argv=("/nowhere/program", "{user}"), cpu_seconds=1))
    assert cause.startswith("command /nowhere/program: exit status ")
    assert cause.endswith("failed to execute /nowhere/program: No such file or directory")


def test_a_missing_prlimit_is_reported_at_start_up(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "there").touch(0o755)
    wanted = f"there is no program prlimit in {tmp_path}, which sets the limits"
    assert list(Command(argv=("/bin/there",), processes=9).missing_requirements(tmp_path)) == [wanted]
    assert list(Command(argv=("/bin/there",)).missing_requirements(tmp_path)) == []
    assert list(Command(argv=("sh",), cpu_seconds=1).missing_requirements(Path("/"))) == []


FORKING = """import os, resource, sys, time
from fingerd.backends import Lookup
from fingerd.backends.command import Command
from fingerd.errors import BackendError
bomb = 'echo $$ > "$1"; b() { b | b & }; b; sleep 600'
backend = Command(argv=("sh", "-c", bomb, "sh", "{user}"), timeout=1, processes=25, cpu_seconds=2)
uid = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NPROC, (40, 40))
os.setgroups([]), os.setgid(uid), os.setuid(uid)
try:
    backend.find(Lookup(sys.argv[1], False, "unix", time.monotonic() + 60))
except BackendError as error:
    print(error)
"""


@pytest.mark.root
def test_a_fork_bomb_is_bounded_and_killed(tmp_path: Path) -> None:
    # As a user without other processes, since they are counted by user; and with a low limit.
    let_everybody_in(tmp_path)
    tmp_path.chmod(0o777)
    (tmp_path / "bomb.py").write_text(FORKING)
    uid = 1_000_000_000 + os.getpid()
    done = subprocess.run(
        [sys.executable, str(tmp_path / "bomb.py"), str(tmp_path / "pid"), str(uid)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("command sh: ")
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


# The inner shell leads its own session, and leaves a child in it before the outer one prints.
ESCAPING = 'echo "$1$(setsid sh -c "sleep 600 >/dev/null & echo , escaped")"'


@pytest.mark.root
def test_a_process_namespace_ends_children_that_left_the_process_group(tmp_path: Path) -> None:
    need("namespaces")
    name = f"escaping{os.getpid()}"
    backend = Command(
        argv=("unshare", "--pid", "--fork", "--kill-child", "--", "sh", "-c", ESCAPING, "sh", "{user}"),
        env=MappingProxyType({"MARK": name}),
    )
    assert find(backend, name) == f"{name}, escaped\n"
    wait_until(lambda: not marked(name))


def marked(name: str) -> list[Path]:
    """Return the processes with this variable MARK."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"MARK={name}\0".encode() in environment.read_bytes():
                found.append(environment)
    return found


def test_a_program_that_is_started_while_the_backend_closes_is_killed() -> None:
    backend = script("sleep 600")
    backend.close()
    assert failure(backend) == "command sh: killed by SIGKILL"


def refuse_pidfds(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pidfd_open", refuse)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM], ids=["ENOSYS", "EPERM"])
def test_programs_run_where_the_system_refuses_pidfds(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_pidfds(monkeypatch, number)
    assert find(script("echo one; exec >&- 2>&-; sleep 0.1")) == "one\n"
    assert find(script("true")) is None
    assert failure(script("exec >&- 2>&-; sleep 0.1; exit 3")) == "command sh: exit status 3"
    assert find(script("sleep 600 & echo child")) == "child\n"
    assert failure(script("sleep 600", timeout=0.3)) == "command sh: not done in time"
    assert find(script("yes", output_bytes=1000)) is not None


LOST = """
import signal, sys, time
from fingerd.backends import Lookup
from fingerd.backends.command import Command
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for text in ("echo x", "echo x; exec >&- 2>&-; sleep 0.1", "exec >&- 2>&-", "exit 3", "sleep 0.1; exit 3"):
    try:
        print(Command(argv=("sh", "-c", text)).find(Lookup("a", False, "unix", time.monotonic() + 10)))
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_a_lost_exit_status_is_a_failure() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["BackendError command sh: exit status unknown"] * 5
