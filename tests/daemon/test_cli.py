"""The command line: its output and its exit codes."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fingerd import __version__
from fingerd.daemon.cli import main, parser
from fingerd.http.options import Http
from fingerd.server.listeners import TcpAddress
from fingerd.settings import load_config
from tests.helpers.daemons import FINGERD, ROOT, let_everybody_in

CONFIG = """
backend: {type: static, users: {alice: "Happy\\nand well", Zoë: bäh}}
policy:
  - {from: 192.0.2.0/24, deny: true}
  - {from: local, list: true}
  - {from: any}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fingerd.yaml"
    path.write_text(CONFIG)
    return path


QUERIES = {
    "a user": (("alice",), b"Happy\r\nand well\r\n"),
    "UTF-8": (("Zoë",), "bäh\r\n".encode()),
    "two lines, the second ignored": (("alice\r\nbob",), b"Happy\r\nand well\r\n"),
    "verbose": (("/W alice",), b"Happy\r\nand well\r\n"),
    "unknown": (("bob",), b"No such user\r\n"),
    "the list for a local client": (
        ("",),
        "Login    Name\r\nalice    alice\r\nZoë      Zoë\r\n".encode(),
    ),
    "the list for a remote client": (("", "--from", "203.0.113.9"), b"Finger online user list denied\r\n"),
    "the list for a client of a unix socket": (("", "--from", "unix"), None),
    "a denied network": (("alice", "--from", "::ffff:192.0.2.7"), b"Finger service denied\r\n"),
    "forwarding": (("alice@example.org",), b"Finger forwarding service denied\r\n"),
    "malformed": (("a\x01",), b"Malformed query\r\n"),
    "too long": (("a" * 2000,), b"Query too long\r\n"),
}


@pytest.mark.parametrize(("arguments", "printed"), QUERIES.values(), ids=QUERIES)
def test_query_prints_the_answer_to_a_client(
    config: Path, arguments: tuple[str, ...], printed: bytes | None, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["-c", str(config), "--query", *arguments]) == 0
    assert capfdbinary.readouterr().out == (
        printed if printed is not None else QUERIES["the list for a local client"][1]
    )


def test_error_messages_contain_no_control_characters(config: Path) -> None:
    odd = config.rename(config.with_name("\x1b]0;owned\x07.yaml"))
    for arguments in (["--\x1b]0;owned\x07"], ["-c", str(odd), "--check"], ["-c", f"{odd}.not", "--check"]):
        done = subprocess.run([*FINGERD, *arguments], capture_output=True, check=False)
        assert rb"\x1b]0;owned\x07" in done.stdout + done.stderr
        assert set(done.stdout + done.stderr) <= {10, *range(32, 127)}


def test_query_prints_a_backend_failure_to_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text('backend: {type: command, argv: [sh, -c, "echo the cause >&2; exit 4"]}\n')
    done = subprocess.run([*FINGERD, "-c", str(path), "--query", "x"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"Internal error in server\r\n")
    assert done.stderr == b"fingerd: backend failed: command sh: exit status 4: the cause\n"


def test_check_prints_every_problem_and_warning_and_binds_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text('listen: ":79"\nbackend: {type: command, argv: [no-such-program]}\nlimits: {threads: 3}\n')
    assert main(["-c", str(path), "--check"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"warning: {path}:2:10: backend: there is no program no-such-program\n"
    assert printed.out == f"{path}: valid, with warnings\n"
    path.write_text("backend: {type: empty}\nlisten: 79\nlimits: {thread: 3}\n")
    assert main(["-c", str(path), "--check"]) == 78
    assert capsys.readouterr().err == (
        f'{path}:2:9: listen: must be "host:port", ":port", "[ipv6]:port", "unix:/path", systemd or inetd'
        ' (did you mean ":79"?)\n'
        f"{path}:3:10: limits.thread: unknown option (did you mean threads?)\n"
    )
    path.write_text("backend: {type: empty}\n")
    assert main(["-c", str(path), "--check"]) == 0
    assert capsys.readouterr().out == f"{path}: no problem found\n"


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fingerd {__version__}\n"
    text = parser().format_help()
    options = "-c --config -n --nodaemon --pidfile --rundir --chroot --umask --uid --gid -l --logfile --syslog --prefix"
    for option in f"{options} --check --query --from --reload --backends --version".split():
        assert option in text


def test_the_default_path_of_the_configuration() -> None:
    assert parser().parse_args([]).config == "/etc/fingerd.yaml"


def test_it_can_be_run_as_a_module_and_as_a_command() -> None:
    for command in (FINGERD, (str(Path(sys.executable).parent / "fingerd"),)):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"fingerd {__version__}\n"


def test_an_internal_error_is_70_and_logs_a_traceback(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fingerd.daemon.cli.read_config", None)
    assert main(["-c", str(config), "--check"]) == 70


def test_the_shipped_configuration_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(ROOT / "etc" / "fingerd.yaml"), "--check"]) == 0
    assert capsys.readouterr().err == ""


def test_the_section_http_of_the_shipped_configuration_has_the_defaults(tmp_path: Path) -> None:
    text = (ROOT / "etc" / "fingerd.yaml").read_text()
    (section,) = re.findall(r"^# http:.*\n(?:#  .*\n)+", text, re.MULTILINE)
    path = tmp_path / "fingerd.yaml"
    path.write_text(text.replace(section, re.sub("^# ?", "", section, flags=re.MULTILINE)))
    found = load_config(str(path)).http
    assert found == Http((TcpAddress("127.0.0.1", 8079),))
    options = re.findall(r"^#   (\w+):", section, re.MULTILINE)
    assert options == [field.name for field in dataclasses.fields(Http)]


def run(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*FINGERD, *options], capture_output=True, text=True, check=False)


@pytest.fixture
def config_for_nobody(tmp_path: Path) -> Path:
    """A configuration with process.user nobody and a directory of people that only root can read."""
    let_everybody_in(tmp_path)
    directory = tmp_path / "closed" / "people"
    directory.mkdir(parents=True)
    (directory / "moshez.txt").write_text("Happy and well\n")
    directory.chmod(0o700)
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: files, folder: {directory}}}\nprocess: {{user: nobody}}\n")
    return path


@pytest.mark.root
def test_query_run_by_root_drops_privileges_first(config_for_nobody: Path) -> None:
    closed = run("-c", str(config_for_nobody), "--query", "moshez")
    assert (closed.returncode, closed.stdout) == (0, "Internal error in server\n")
    assert closed.stderr.startswith("fingerd: backend failed: files ")
    assert "Happy and well\n" in run("-c", str(config_for_nobody), "--uid", "root", "--query", "moshez").stdout
    program = config_for_nobody.with_name("program.yaml")
    program.write_text("backend: {type: command, argv: [id]}\nprocess: {user: nobody, group: daemon}\n")
    assert run("-c", str(program), "--query", "x").stdout.startswith("uid=65534(nobody) gid=1(daemon) groups=1(daemon)")


@pytest.mark.root
def test_check_run_by_root_warns_of_what_the_configured_user_cannot_read(config_for_nobody: Path) -> None:
    config = config_for_nobody
    directory = config.parent / "closed" / "people"
    first = f"{config}:1:10: backend: "

    def warnings() -> list[str]:
        done = run("-c", str(config_for_nobody), "--check")
        assert (done.returncode, done.stdout) == (0, f"{config}: valid, with warnings\n")
        return done.stderr.splitlines()

    assert warnings() == [f"warning: {first}the directory {directory} is not readable by uid 65534 (as user nobody)"]
    directory.parent.chmod(0o700)
    assert warnings() == [f"warning: {first}{directory}: Permission denied (as user nobody)"]
    config.chmod(0o600)
    reason = "cannot be read: Permission denied (as user nobody: a reload would fail)"
    assert warnings() == [f"warning: {config}: {reason}"]
    done = run("-c", str(config_for_nobody), "--uid", "root", "--check")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{config}: no problem found\n")


def test_from_takes_an_address_or_unix(config: Path) -> None:
    done = run("-c", str(config), "--query", "alice", "--from", "here")
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.endswith("fingerd: --from: here is neither an IP address nor unix\n")
