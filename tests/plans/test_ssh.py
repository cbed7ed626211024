"""A forced command of sshd: what its client may ask for, and that nothing else comes of it."""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.plans.errors import UsageError
from fingerd.plans.forced import ALLOWED, MAX_COMMAND, VARIABLE, split
from tests.helpers.daemons import ROOT, TIMEOUT
from tests.helpers.machines import AccountsHost
from tests.helpers.requirements import find, need
from tests.plans.conftest import Done, Run, let_users_run_python

Ssh = Callable[..., Done]


@pytest.fixture
def ssh(run: Run) -> Run:
    """Runs what sshd runs, for a command of its client."""

    def ssh(command: str, given: bytes = b"", **environment: str):  # type: ignore[no-untyped-def]
        return run("--as", "zoe", "ssh", given=given, **{VARIABLE: command}, **environment)

    return ssh


def test_each_allowed_command_does_what_it_does_elsewhere(ssh: Run, people: Path) -> None:
    plan = people / "zoe" / "plan"
    assert ssh("set", b"by ssh\r\n").returncode == 0
    assert plan.read_bytes() == b"by ssh\n"
    assert ssh("show").stdout == b"by ssh\n"
    assert ssh("put project 'A  teapot'").returncode == 0
    assert ssh("show project").stdout == b"A  teapot\n"
    assert ssh("preview").stdout.endswith(b"Project: A  teapot\r\nPlan:\r\nby ssh\r\n")
    assert ssh("remove project").returncode == 0
    assert ssh("hide").returncode == 0
    assert ssh("preview").stdout == b"No such user\r\n"
    assert ssh("unhide").returncode == 0
    assert ssh("clear").returncode == 0
    assert not plan.exists()
    assert ALLOWED.keys() == {"set", "clear", "show", "put", "remove", "hide", "unhide", "preview"}


REFUSED = {
    "nothing": "",
    "blanks": " \t\n ",
    "a shell": "sh",
    "a shell's command": "sh -c id",
    "an editor": "edit",
    "itself": "ssh",
    "a server": "serve",
    "tokens": "token add zoe laptop",
    "a program of sshd": "internal-sftp",
    "a copy": "scp -t .",
    "an empty word": "''",
    "another case": "SET",
    "a file": "set /etc/passwd",
    "a file by its name": "set -",
    "an option before": "--as quill show",
    "a configuration": "-c /tmp/other.yaml show",
    "an option after": "show --as quill",
    "an option of preview": "preview --from 127.0.0.1",
    "help": "show --help",
    "a path for a field": "show ../quill.txt",
    "nothing to put": "put project",
    "too many words": "put project a teapot",
    "a second command": "clear; id",
    "a second command without a blank": "clear;id",
    "a second command in a line": "clear\nid",
    "a pipe": "show | cat",
    "to a file": "show > /tmp/fingerd-plan-test",
    "in the background": "clear &",
    "a variable": "$SHELL",
    "a program in a word": "$(id)",
    "an open quote": "put project 'a teapot",
    "an open escape": "show \\",
    "a NUL is none": "show \x01",
}


@pytest.mark.parametrize("command", REFUSED.values(), ids=REFUSED)
def test_everything_else_is_a_usage_error(command: str, ssh: Run, people: Path) -> None:
    before = {path: path.read_bytes() for path in people.rglob("*") if path.is_file()}
    done = ssh(command, b"new\n")
    assert (done.returncode, done.stdout) == (64, b"")
    assert done.stderr.startswith(b"fingerd-plan: ")
    assert b"Traceback" not in done.stderr
    assert done.stderr[:-1].decode().isprintable()
    assert {path: path.read_bytes() for path in people.rglob("*") if path.is_file()} == before


TEXTS = ["$(id)", "`id`", "a; rm -rf /", "$HOME", "~", "*", "a && b", "> /tmp/x", "'", '"', "\\", "-x", "--", "# no"]
TEXTS += ["\u00eb \u2192", "a\nb", "|/bin/sh", "{a,b}", "!!"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_one_word_and_nothing_in_it_is_expanded(text: str, ssh: Run, people: Path) -> None:
    assert ssh(f"put project {shlex.quote(text)}").returncode == 0
    assert (people / "zoe" / "project").read_text() == f"{text}\n"


def test_a_command_of_any_size_is_taken_as_words_or_refused() -> None:
    assert split("put project " + "x" * 60_000)[2] == "x" * 60_000
    for command in ("x" * (MAX_COMMAND + 1), "put project " + "x" * (1 << 20), "'" * (1 << 20)):
        with pytest.raises(UsageError, match="too long"):
            split(command)
    with pytest.raises(UsageError):
        split("'" * 99_999)


@given(st.lists(st.text(max_size=50), min_size=1, max_size=5))
def test_quoted_words_are_taken_as_they_are(words: list[str]) -> None:
    assert split(shlex.join(words)) == words


@given(st.text())
def test_any_command_is_split_or_refused(command: str) -> None:
    try:
        assert split(command)
    except UsageError:
        return


def test_a_text_that_is_too_long_is_65(ssh: Run) -> None:
    assert ssh("put project " + "x" * 70_000).returncode == 65


def test_the_environment_of_the_client_chooses_nothing(ssh: Run, people: Path, tmp_path: Path) -> None:
    (tmp_path / "editor").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "editor").chmod(0o755)
    editors = dict.fromkeys(("VISUAL", "EDITOR", "PAGER", "SHELL"), str(tmp_path / "editor"))
    assert ssh("edit", **editors).returncode == 64
    assert ssh("set", b"new\n", **editors, USER="quill", LOGNAME="quill", HOME="/nowhere").returncode == 0
    assert (people / "zoe" / "plan").read_text() == "new\n"
    assert not (tmp_path / "started").exists()


# A real sshd, with an account that owns a directory of people

PEOPLE = "/var/lib/fingerd/people"
HOME = "/var/lib/fingerd-plan"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    """Runs ssh(1) with zoe's key on a host whose sshd lets that key change zoe's entry, and no other."""
    need("ssh", "sshd")
    host = AccountsHost(tmp_path_factory.mktemp("host"))
    let_users_run_python(host)
    host.run("useradd", "--system", "--home-dir", HOME, "--shell", "/bin/sh", "--password", "*", "fingerd-plan")
    host.run("install", "-d", "-o", "fingerd-plan", PEOPLE, f"{PEOPLE}/zoe", f"{PEOPLE}/bob")
    host.write(f"{PEOPLE}/bob/plan", "bob's\n", "fingerd-plan")
    host.write("/etc/fingerd.yaml", f"backend: {{type: files, folder: {PEOPLE}}}\n")
    for key in ("host", "zoe"):
        host.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"/etc/ssh/test-{key}")
    forced = f"env PYTHONPATH={ROOT} {sys.executable} -m fingerd.plans --as zoe ssh"
    key = host.path("/etc/ssh/test-zoe.pub").read_text()
    host.write(f"{HOME}/.ssh/authorized_keys", f'restrict,command="{forced}" {key}')
    lines = "Port 2222\nListenAddress 127.0.0.1\nHostKey /etc/ssh/test-host\nPermitUserEnvironment yes\nAcceptEnv *\n"
    host.write("/etc/ssh/test-config", f"{lines}Subsystem sftp internal-sftp\nPidFile none\n")
    host.run("install", "-d", "-m", "755", "/run/sshd")
    server = subprocess.Popen([*host.inside, str(find("sshd")), "-D", "-e", "-f", "/etc/ssh/test-config"], stderr=-1)
    try:
        assert server.stderr
        assert b"Server listening" in server.stderr.readline()

        def ssh(*command: str, given: bytes = b"", options: tuple[str, ...] = (), stdin: int | None = None) -> Done:
            fixed = [
                "-F",
                "none",
                "-p",
                "2222",
                "-i",
                "/etc/ssh/test-zoe",
                "-o",
                "BatchMode=yes",
                "-o",
                "LogLevel=ERROR",
            ]
            fixed += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
            words = [*host.inside, "ssh", *fixed, *options, "--", "fingerd-plan@127.0.0.1", *command]
            with tempfile.TemporaryFile() as file:
                file.write(given)
                file.seek(0)
                return subprocess.run(
                    words, stdin=stdin or file, capture_output=True, timeout=TIMEOUT, check=False, cwd="/"
                )

        ssh.host = host  # type: ignore[attr-defined]
        yield ssh
    finally:
        server.terminate()
        server.communicate()
        host.close()


@pytest.mark.root
def test_a_key_changes_the_entry_of_its_person_and_gives_nothing_else(client: Ssh) -> None:
    host: AccountsHost = client.host  # type: ignore[attr-defined]
    done = client("set", given=b"by ssh\r\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    path = host.path(f"{PEOPLE}/zoe/plan")
    assert (path.read_bytes(), path.stat().st_uid) == (b"by ssh\n", host.uid("fingerd-plan"))
    assert client("show").stdout == b"by ssh\n"
    assert client("put project 'A teapot'").returncode == 0
    assert client("preview").stdout.endswith(b"Project: A teapot\r\nPlan:\r\nby ssh\r\n")
    for command in (
        (),
        ("id",),
        ("sh", "-c", "id"),
        ("--as bob set",),
        ("set /etc/passwd",),
        ("clear; id",),
        ("edit",),
    ):
        done = client(*command, given=b"x")
        assert (done.returncode, done.stdout) == (64, b""), command
    with open("/dev/zero", "rb") as endless:
        assert client("set", stdin=endless.fileno()).returncode == 65
    assert path.read_bytes() == b"by ssh\n"
    assert host.path(f"{PEOPLE}/bob/plan").read_text() == "bob's\n"


@pytest.mark.root
def test_other_services_of_ssh_and_the_environment_are_of_no_use(client: Ssh) -> None:
    for options in (("-s",), ("-tt",), ("-A",), ("-R", "7000:127.0.0.1:22")):
        done = client("sftp", options=options)
        assert done.returncode in (64, 255), options
        assert b"uid=" not in done.stdout
    for name, value in (("EDITOR", "id"), ("PYTHONSTARTUP", "/etc/passwd"), ("SSH_ORIGINAL_COMMAND", "clear")):
        done = client("show", options=("-o", f"SetEnv={name}={value}"))
        assert (done.returncode, done.stdout) == (0, b"by ssh\n")
