"""The program: its exit codes and messages, and that the daemon tells what was written."""

import subprocess
import sys
from pathlib import Path

import pytest

from fingerd.daemon import cli as daemon
from fingerd.plans import cli
from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, wait_until
from tests.plans.conftest import PLAN, Run, left_behind

TOLD_SECONDS = 1.5  # a second, and what a slow machine needs to ask


def test_the_configuration_is_the_daemon_s() -> None:
    assert cli.DEFAULT_CONFIG == daemon.DEFAULT_CONFIG


def test_what_was_written_is_told_within_a_second(run: Run, config: Path, start: Start) -> None:
    server = start(config.read_text())

    def tells(name: str, text: bytes) -> None:
        wait_until(lambda: text in server.ask(f"{name}\r\n".encode()), TOLD_SECONDS)

    for name in ("zoe", "quill"):
        assert run("--as", name, "set", given=f"{name} is back\r\n".encode()).returncode == 0
        tells(name, f"\r\n{name} is back\r\n".encode())
        assert run("--as", name, "hide").returncode == 0
        tells(name, b"No such user\r\n")
        assert run("--as", name, "unhide").returncode == 0
        tells(name, f"\r\n{name} is back\r\n".encode())
        assert run("--as", name, "clear").returncode == 0
        tells(name, b"No Plan")
    assert run("--as", "zoe", "put", "project", "A teapot").returncode == 0
    tells("zoe", b"Project: A teapot\r\n")
    assert run("--as", "zoe", "remove", "project").returncode == 0
    wait_until(lambda: b"Project" not in server.ask(b"zoe\r\n"), TOLD_SECONDS)


def test_a_plan_is_read_from_a_file_or_standard_input(run: Run, people: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"from a file\r\n")
    for words, given, stored in (
        (("set", str(tmp_path / "new")), b"not read", b"from a file\n"),
        (("set",), b"\xef\xbb\xbffrom a pipe", b"from a pipe"),
        (("set", "-"), b"a dash\n", b"a dash\n"),
        (("set", "/dev/stdin"), b"by name\n", b"by name\n"),
    ):
        assert run("--as", "zoe", *words, given=given).returncode == 0
        shown = run("--as", "zoe", "show")
        assert (shown.returncode, shown.stdout, shown.stderr) == (0, stored, b"")
    assert left_behind(people) == []


def test_endless_input_is_not_read_to_its_end(run: Run, config: Path) -> None:
    done = run("--as", "zoe", "set", "/dev/zero")
    assert (done.returncode, done.stderr) == (
        65,
        b"fingerd-plan: plan: longer than the 65536 bytes that the daemon reads\n",
    )
    with subprocess.Popen(["cat", "/dev/zero"], stdout=subprocess.PIPE) as endless:
        command = [*PLAN, "-c", str(config), "--as", "zoe", "set"]
        code = subprocess.run(
            command, stdin=endless.stdout, capture_output=True, timeout=TIMEOUT, check=False
        ).returncode
        endless.kill()
    assert code == 65


def test_preview_is_what_a_stranger_is_told_and_what_others_are(
    run: Run, config: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with config.open("a") as file:
        file.write(
            "policy: [{from: local, show: everything}, {from: 198.51.100.1, deny: true}, {from: any, show: minimal}]\n"
        )
    (config.parent / "people" / "zoe" / "home_phone").write_text("555\n")
    for client in ("192.0.2.1", "127.0.0.1", "unix", "198.51.100.1"):
        options = () if client == "192.0.2.1" else ("--from", client)
        for name in ("zoe", "quill"):
            assert daemon.main(["-c", str(config), "--query", name, "--from", client]) == 0
            told = capfdbinary.readouterr().out
            assert cli.main(["-c", str(config), "--as", name, "preview", *options]) == 0
            assert capfdbinary.readouterr().out == told
            assert (b"555" in told) == (client in ("127.0.0.1", "unix") and name == "zoe")
    run("--as", "zoe", "hide")
    assert run("--as", "zoe", "preview").stdout == b"No such user\r\n"
    assert run("--as", "zoe", "preview", "--from", "nowhere").returncode == 64


FAILING = {
    "no command": ((), 64, "the following arguments are required: COMMAND"),
    "an unknown command": (("publish",), 64, "invalid choice: 'publish'"),
    "a command that is not there": (("save",), 64, "invalid choice: 'save'"),
    "serve without a section plan": (("serve",), 78, "plan: required, but not given"),
    "token without an action": (("token",), 64, "required: ACTION"),
    "token without a label": (("token", "add", "zoe"), 64, "required: LABEL"),
    "too few words": (("put", "project"), 64, "required: TEXT"),
    "too many words": (("put", "project", "a", "teapot"), 64, "unrecognized arguments: teapot"),
    "an unknown field": (("--as", "zoe", "put", "projects", "x"), 64, "no field projects (did you mean project?)"),
    "a path for a field": (("--as", "zoe", "put", "../plan", "x"), 64, "there is no field ../plan"),
    "nofinger as a field": (("--as", "zoe", "put", "nofinger", "x"), 64, "there is no field nofinger"),
    "an empty name": (("--as", "", "show"), 64, "'' cannot be a person"),
    "a name that is a path": (("--as", "../people/zoe", "show"), 64, "cannot be a person"),
    "a name that hides": (("--as", ".zoe", "show"), 64, "cannot be a person"),
    "a name that is an option": (("--as", "-zoe", "show"), 64, "expected one argument"),
    "a name with a dash": (("--as=-zoe", "show"), 77, "there is no -zoe in "),
    "an unknown person": (("--as", "nobody", "set"), 77, "only the administrator can change that"),
    "escape sequences in a name": (("--as", "\x1b[2J", "show"), 77, "there is no \\x1b[2J in "),
    "a file that is missing": (("--as", "zoe", "set", "/nowhere/at/all"), 64, "/all cannot be read: No such"),
    "a directory": (("--as", "zoe", "set", "/"), 64, "/ cannot be read: Is a directory"),
    "a control character": (("--as", "zoe", "put", "project", "a\atea"), 65, "project: line 1, column 2: control"),
    "a text that is not UTF-8": (("--as", "zoe", "put", "project", "\udcff"), 65, "line 1, column 1: not UTF-8 text"),
    "no configuration": (("-c", "/nowhere", "--as", "zoe", "show"), 78, "/nowhere: cannot be read: No such file"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "code", "message"), FAILING.values(), ids=FAILING)
def test_a_failure_has_its_exit_code_and_changes_nothing(
    words: tuple[str, ...], code: int, message: str, people: Path, config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in people.rglob("*") if path.is_file()}
    try:
        ended = cli.main(["-c", str(config), *words])
    except SystemExit as error:
        ended = int(error.code or 0)
    printed = capfd.readouterr()
    assert (ended, printed.out) == (code, "")
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert {path: path.read_bytes() for path in people.rglob("*") if path.is_file()} == before


def test_a_text_that_begins_with_a_dash_is_put_after_two(run: Run, people: Path) -> None:
    assert run("--as", "zoe", "put", "project", "--", "-x").returncode == 0
    assert (people / "zoe" / "project").read_text() == "-x\n"


def test_output_that_cannot_be_written_is_74(config: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [*PLAN, "-c", str(config), "--as", "zoe", "show"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (
        74,
        b"fingerd-plan: cannot write to standard output: No space left on device\n",
    )


def test_a_terminal_gets_no_control_characters(people: Path, config: Path) -> None:
    (people / "zoe" / "plan").write_bytes(b"\x1b]0;title\a \xff\xc2\x9b31m\n")
    command = " ".join([*PLAN, "-c", str(config), "--as", "zoe", "show"])
    shown = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, check=True).stdout
    assert shown == "?]0;title? \ufffd?31m\r\n".encode()


@pytest.mark.root
def test_without_a_login_of_its_own_a_user_has_to_say_whose(config: Path) -> None:
    code = "import os, sys; from fingerd.plans.cli import main; os.setuid(61335); sys.exit(main())"
    command = [sys.executable, "-c", code, "-c", str(config), "show"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "uid 61335 has no login: --as NAME" in done.stderr) == (64, True)
