"""Real accounts: files at home and published ones, whose files are whose, and what the daemon tells of them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons import EXAMPLES, ROOT, Daemon, wait_until
from tests.helpers.machines import AccountsHost
from tests.plans.conftest import PLAN, Done, Runner, let_users_run_python

pytestmark = pytest.mark.root

TOLD_SECONDS = 1.5
PLANS = "/var/lib/fingerd/plans"
POLICY = "policy: [{from: any, show: everything}]\n"

Run = Callable[..., Done]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccountsHost]:
    """A host with ann and bob, whose homes are open, and cleo and dora, whose homes are closed."""
    host = AccountsHost(tmp_path_factory.mktemp("host"))
    let_users_run_python(host)
    for login in ("ann", "bob"):
        host.add(login)
    for login in ("cleo", "dora"):
        host.add(login).chmod(0o700)
    host.write("/etc/fingerd.yaml", f'listen: "127.0.0.1:0"\nbackend: {{type: system, plans: {PLANS}}}\n{POLICY}')
    host.write("/etc/homes.yaml", f'listen: "127.0.0.1:0"\nbackend: {{type: system}}\n{POLICY}')
    scripts = EXAMPLES / "plans"
    host.run(str(scripts / "make-plan-folders"))
    for login in ("ann", "bob"):  # whose homes are enough
        host.run("rmdir", f"{PLANS}/{login}")
    yield host
    host.close()


@pytest.fixture(scope="module")
def run(machine: AccountsHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs fingerd-plan as a user of the host."""
    runner = Runner(tmp_path_factory.mktemp("runner"), machine.inside)

    def run(login: str, *words: str, given: bytes = b"", config: str = "/etc/fingerd.yaml") -> Done:
        return runner.run("-c", config, *words, given=given, login=login)

    yield run
    runner.close()


@pytest.fixture(scope="module")
def daemon(machine: AccountsHost) -> Iterator[Daemon]:
    """The daemon of that host, which is another user."""
    become = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--", "env", f"PYTHONPATH={ROOT}")
    daemon = Daemon(Path("/etc/fingerd.yaml"), inside=(*machine.inside, *become))
    yield daemon
    daemon.stop()


@pytest.fixture
def tells(daemon: Daemon, machine: AccountsHost) -> Callable[[str, str], None]:
    """Waits until the daemon tells this of a person, for a second."""
    script = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
    script += "s.sendall(sys.argv[2].encode() + b'\\r\\n'); sys.stdout.write(s.makefile(newline='').read())"

    def told(login: str) -> str:
        return machine.run(PLAN[0], "-I", "-c", script, str(daemon.address[1]), f"/W {login}")

    def tells(login: str, text: str) -> None:
        wait_until(lambda: text in told(login), TOLD_SECONDS * 2)

    return tells


FIELDS = ("plan", "project", "pronouns", "pgpkey", "pubkey")


@pytest.mark.parametrize(("login", "folder", "dot"), [("ann", "/home/ann", "."), ("cleo", f"{PLANS}/cleo", "")])
def test_a_user_changes_what_is_told(
    login: str, folder: str, dot: str, run: Run, machine: AccountsHost, tells: Callable[[str, str], None]
) -> None:
    for field in FIELDS:
        done = run(login, "put", field, f"the {field} of {login}")
        assert (done.returncode, done.stderr) == (0, b"")
        path = machine.path(f"{folder}/{dot}{field}")
        assert (path.read_text(), path.stat().st_mode & 0o777) == (f"the {field} of {login}\n", 0o644)
        assert path.stat().st_uid == machine.uid(login)
    tells(login, f"the pubkey of {login}")
    assert run(login, "show", "project").stdout == f"the project of {login}\n".encode()
    assert run(login, "hide").returncode == 0
    tells(login, "No such user")
    assert run(login, "unhide").returncode == 0
    tells(login, f"the plan of {login}")
    assert run(login, "clear").returncode == 0
    tells(login, "No Plan.")
    for field in FIELDS:
        assert run(login, "remove", field).returncode == 0
    assert [
        path.name for path in machine.path(folder).iterdir() if path.name.lstrip(".") in (*FIELDS, "nofinger")
    ] == []


def test_published_files_count_before_those_at_home_and_both_are_cleared(
    run: Run, machine: AccountsHost, tells: Callable[[str, str], None]
) -> None:
    machine.write("/home/cleo/.plan", "at home\n", "cleo")
    machine.write("/home/cleo/.nofinger", "", "cleo")
    assert run("cleo", "show").stdout == b"at home\n"
    assert run("cleo", "set", given=b"published\n").returncode == 0
    assert run("cleo", "show").stdout == b"published\n"
    assert run("cleo", "unhide").returncode == 0
    tells("cleo", "published")
    assert run("cleo", "clear").returncode == 0
    assert run("cleo", "show").stdout == b""
    assert not machine.path("/home/cleo/.plan").exists()


def test_root_writes_for_a_user_and_the_file_is_the_user_s(
    run: Run, machine: AccountsHost, tells: Callable[[str, str], None]
) -> None:
    for login, path in (("bob", "/home/bob/.plan"), ("dora", f"{PLANS}/dora/plan")):
        assert run("root", "--as", login, "set", given=f"by root for {login}\n".encode()).returncode == 0
        assert machine.path(path).stat().st_uid == machine.uid(login)
        tells(login, f"by root for {login}")
        assert run(login, "set", given=b"by me\n").returncode == 0
        tells(login, "by me")


def test_a_user_cannot_change_what_is_told_of_another(run: Run, machine: AccountsHost) -> None:
    machine.write("/home/bob/.plan", "bob's\n", "bob")
    machine.path("/home/bob").chmod(0o777)
    for words in (("set",), ("clear",), ("hide",), ("put", "project", "x"), ("show",), ("edit",)):
        done = run("ann", "--as", "bob", *words, given=b"by ann\n")
        assert (done.returncode, done.stdout) == (77, b"")
        assert done.stderr == b"fingerd-plan: only bob and root can change the entry of bob\n"
    assert machine.path("/home/bob/.plan").read_text() == "bob's\n"
    machine.path("/home/bob").chmod(0o755)


@pytest.mark.parametrize("name", ["root", "nobody", "daemon", "no-such-account", "+"])
def test_accounts_that_are_never_shown_are_absent(name: str, run: Run) -> None:
    done = run("root", "--as", name, "set", given=b"x")
    assert (done.returncode, done.stderr.decode()) == (
        77,
        f"fingerd-plan: there is no account {name} that the finger daemon shows\n",
    )


def test_a_link_at_home_is_named(run: Run, machine: AccountsHost) -> None:
    """The daemon follows it to a file of the user; a change would replace the link, and leave the file as it is."""
    machine.write("/home/ann/dotfiles/plan", "linked\n", "ann")
    machine.path("/home/ann/.plan").symlink_to("dotfiles/plan")
    for words in (("set",), ("clear",), ("show",), ("edit",)):
        done = run("ann", *words, given=b"x")
        assert (done.returncode, done.stderr) == (
            77,
            b"fingerd-plan: /home/ann/.plan is a symbolic link to dotfiles/plan\n",
        )
    assert machine.path("/home/ann/dotfiles/plan").read_text() == "linked\n"
    machine.path("/home/ann/.plan").unlink()


def test_a_program_for_mail_cannot_be_put_into_a_home(run: Run, machine: AccountsHost) -> None:
    for words in (("put", "forward", "|/bin/sh"), ("remove", "forward")):
        done = run("ann", *words)
        assert (done.returncode, b"/home/ann/.forward is the mail system's too" in done.stderr) == (77, True)
    assert not machine.path("/home/ann/.forward").exists()
    assert run("dora", "put", "forward", "dora@example.org").returncode == 0
    assert machine.path(f"{PLANS}/dora/forward").read_text() == "dora@example.org\n"
    assert not machine.path("/home/dora/.forward").exists()


def test_a_closed_home_is_warned_of(run: Run, machine: AccountsHost) -> None:
    warning = (
        "fingerd-plan: warning: other users, and so the finger daemon, may not enter /home/dora: it knows no dora "
        "(chmod o+x /home/dora lets them)\n"
    )
    for words in (("set",), ("put", "project", "x"), ("preview",)):
        done = run("dora", *words, given=b"at home\n", config="/etc/homes.yaml")
        assert (done.returncode, done.stderr.decode()) == (0, warning)
    assert run("dora", "set", given=b"published\n").stderr == b""


def test_another_user_s_directory_among_the_published_is_refused(run: Run, machine: AccountsHost) -> None:
    machine.run("install", "-d", "-o", "bob", f"{PLANS}/ann")
    done = run("ann", "set", given=b"x")
    assert (done.returncode, done.stderr.decode()) == (
        77,
        f"fingerd-plan: {PLANS}/ann belongs to uid {machine.uid('bob')}, and not to ann\n",
    )
    machine.run("rmdir", f"{PLANS}/ann")


def test_a_published_file_is_a_plan_that_its_user_may_not_replace(run: Run, machine: AccountsHost) -> None:
    machine.write(f"{PLANS}/bob", "published\n", "bob")
    assert run("bob", "show").stdout == b"published\n"
    done = run("bob", "set", given=b"x")
    assert (done.returncode, done.stderr.decode()) == (
        77,
        f"fingerd-plan: cannot write {PLANS}/bob: Permission denied\n",
    )
    assert run("root", "--as", "bob", "set", given=b"by root\n").returncode == 0
    assert run("bob", "show").stdout == b"by root\n"
    machine.path(f"{PLANS}/bob").unlink()


def test_a_later_account_gets_its_directory_when_it_logs_in(run: Run, machine: AccountsHost) -> None:
    """By the line of docs/plans.md, in the file of su(1) instead of that of all logins."""
    (line,) = re.findall(r"^    (session .*pam_exec.*)$", (ROOT / "docs" / "plans.md").read_text(), re.MULTILINE)
    program = "/usr/local/sbin/make-plan-folders"
    assert program in line
    machine.write("/var/make-plan-folders", (EXAMPLES / "plans" / "make-plan-folders").read_bytes(), mode=0o755)
    with machine.path("/etc/pam.d/su").open("a") as file:
        file.write(f"{line.replace(program, '/var/make-plan-folders')}\n")
    machine.add("eve").chmod(0o700)
    machine.add("fred")
    machine.run("su", "eve", "-c", "true")
    folder = machine.path(f"{PLANS}/eve")
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (machine.uid("eve"), 0o755)
    assert not machine.path(f"{PLANS}/fred").exists()
    assert run("eve", "set", given=b"later\n").returncode == 0
    assert (folder / "plan").read_text() == "later\n"
