"""``type: system`` on hosts with real accounts and sessions, compared with Debian's finger daemon."""

import os
import pwd
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fingerd.backends import Lookup
from fingerd.backends.system import System
from fingerd.backends.system.accounts import Accounts
from fingerd.backends.system.facts import warn_once
from fingerd.backends.system.last_logins import RECORD
from fingerd.backends.system.mail_spool import mail_of, missing_mail
from fingerd.people import Mail
from tests.conftest import Start
from tests.helpers.daemons import EXAMPLES, FINGERD, Daemon, ask, let_everybody_in, wait_until
from tests.helpers.finger_facts import compare
from tests.helpers.machines import AccountsHost, UnavailableError
from tests.helpers.requirements import need, needs

EVERYTHING = "policy: [{from: any, list: true, show: everything}]"
LATER = time.monotonic() + 3600
MINUTE, HOUR, DAY = 60, 3600, 86400

Serve = Callable[..., "Server"]


class Server:
    """fingerd as nobody on a host with accounts; it also listens on a unix socket."""

    def __init__(self, daemon: Daemon, socket: Path) -> None:
        self.daemon = daemon
        self._socket = str(socket)

    def ask(self, query: str) -> str:
        return ask(self._socket, f"{query}\r\n".encode()).decode().replace("\r\n", "\n")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[AccountsHost]:
    host = AccountsHost(tmp_path / "host")
    yield host
    host.close()


@pytest.fixture
def serve(host: AccountsHost, start: Start, tmp_path: Path) -> Serve:
    let_everybody_in(tmp_path)

    def serve(options: str = "", policy: str = EVERYTHING, user: str = "nobody") -> Server:
        socket = tmp_path / "socket"
        daemon = start(
            f'listen: ["unix:{socket}", "127.0.0.1:79"]\nbackend: {{type: system{options and ", "}{options}}}\n'
            f"{policy}\nprocess: {{user: {user}}}\nlog: {{to: stderr}}\n",
            inside=host.inside,
        )
        return Server(daemon, socket)

    return serve


def formatted(when: float) -> str:
    """A time as both daemons write it, without year and zone."""
    local = time.localtime(when)
    return f"{time.strftime('%a %b', local)} {local.tm_mday:2} {time.strftime('%H:%M', local)}"


def write_lastlog(host: AccountsHost, login: str, when: float, terminal: str, client: str) -> None:
    with open(host.path("/var/log/lastlog"), "r+b") as file:
        file.seek(host.uid(login) * RECORD.size)
        file.write(RECORD.pack(int(when), terminal.encode(), client.encode()))


@pytest.fixture
def populated(host: AccountsHost) -> AccountsHost:
    """A host with different users: Ann has two sessions, Bob and Cid have logged out, Dot never logged in."""
    now = time.time()
    home = host.add("ann", "Ann Example,Room 7,555 12,555 34", "--shell", "/bin/bash")
    for name in ("plan", "project", "pgpkey"):
        host.write(f"/home/ann/.{name}", f"text: Ann's {name}\ntext: and more of it\n", "ann")
    host.write("/home/ann/.forward", "ann@elsewhere.example\n", "ann")
    mail = host.write("/var/mail/ann", "From somebody\n", "ann", 0o600)
    os.utime(mail, (now - 3 * DAY, now - 2 * HOUR))
    first, second = host.login("ann", "client.example.org"), host.login("ann")
    host.path(f"/dev/{first.terminal}").chmod(0o620)
    os.utime(host.path(f"/dev/{first.terminal}"), (now - 71 * MINUTE - 5, now))
    os.utime(host.path(f"/dev/{second.terminal}"), (now - 3 * DAY - 5, now))
    host.backdate_logins(4 * DAY)
    host.add("bob", "Bob & Builder,,,", "--shell", "/bin/sh")
    host.write("/home/bob/.plan", "text: no end of line", "bob")
    mail = host.write("/var/mail/bob", "From somebody\n", "bob", 0o600)
    os.utime(mail, (now - 2 * HOUR, now - 3 * DAY))
    write_lastlog(host, "bob", now - 5 * DAY, "pts/9", "192.0.2.7")
    host.add("cid", "")
    write_lastlog(host, "cid", now - 400 * DAY, "tty1", "")
    host.write("/home/cid/.plan", "", "cid")
    host.add("dot", "*Dot,,555 56")
    host.write("/var/mail/dot", "", "dot", 0o600)
    assert home.stat().st_mode & 0o777 == 0o755
    return host


def debians(host: AccountsHost, query: str) -> str:
    need("systemd-socket-activate")
    try:
        return host.in_fingerd(f"{query}\r\n".encode())
    except UnavailableError as error:
        pytest.skip(f"Debian's fingerd is not available: {error}")


@pytest.mark.root
def test_the_answer_has_every_fact_of_debians(populated: AccountsHost, serve: Serve) -> None:
    server = serve()
    for login in ("ann", "bob", "cid", "dot"):
        compare(debians(populated, f"/W {login}"), server.ask(f"/W {login}"))
    ann = server.ask("/W ann")
    assert re.search(r" on pts/0 from client\.example\.org, idle 1 hour 11 minutes$", ann, re.MULTILINE)
    assert re.search(r" on pts/1, idle 3 days \(messages off\)$", ann, re.MULTILINE)
    mail = {login: "mail" in server.ask(f"/W {login}").lower() for login in ("cid", "dot")}
    assert mail == {"cid": False, "dot": True}  # of whom only the second has a mailbox, which is empty


@pytest.mark.root
def test_the_list_has_a_row_for_each_session_like_debians(populated: AccountsHost, serve: Serve) -> None:
    server = serve()
    theirs, ours = debians(populated, ""), server.ask("")
    print(f"--- Debian's in.fingerd\n{theirs}--- ours\n{ours}")
    rows = theirs.splitlines()[1:]
    assert len(rows) == 2
    for row, our_row in zip(sorted(rows), sorted(ours.splitlines()[1:], reverse=True), strict=True):
        terminal = row.split()[3].lstrip("*")
        assert our_row.split()[:3] == ["ann", "Ann", "Example"]
        assert our_row.split()[3].lstrip("*") == terminal
        assert ("*" in row) == ("*" in our_row)
        assert ("client.example.org" in row) == ("client.example.org" in our_row)
        assert ("1:11" if terminal == "pts/0" else "3d") in our_row
        assert "Room 7" in our_row  # theirs has it only for a session without a remote host


@pytest.mark.root
def test_an_idle_time_is_never_longer_than_the_session(populated: AccountsHost, serve: Serve) -> None:
    """Debian's tells one of 56 years, and one of three days in a session of fifty minutes."""
    server = serve()
    os.utime(populated.path("/dev/pts/0"), (0, time.time()))
    populated.backdate_logins(50 * MINUTE - 4 * DAY)
    answer = server.ask("ann")
    assert re.search(r" on pts/0 from client\.example\.org$", answer, re.MULTILINE)
    assert re.search(r" on pts/1, idle 5[01] minutes \(", answer)
    heading, *rows = server.ask("").splitlines()
    assert sorted(row[heading.index("Idle") :][:4].strip() for row in rows) in (["", "50"], ["", "51"])


@pytest.mark.root
@needs("namespaces", "ip", "finger")
def test_the_finger_client_gets_what_it_shows_locally(populated: AccountsHost, serve: Serve) -> None:
    serve()
    for login in ("ann", "bob", "cid", "dot"):
        remote = populated.run("finger", "-l", f"{login}@localhost").replace("\r", "")
        compare(populated.run("finger", login), remote)
        short = populated.run("finger", f"{login}@localhost").replace("\r", "")
        assert [line for line in short.splitlines()[1:] if line not in remote] == []
        assert "Directory" not in short
    assert (
        populated.run("finger", "@localhost").count("Ann Example") == populated.run("finger").count("Ann Example") == 2
    )


@pytest.mark.root
def test_the_standard_policy_hides_what_it_should(populated: AccountsHost, serve: Serve) -> None:
    answer = serve(policy="policy: [{from: any, list: true}]").ask("/W ann")
    for hidden in ("/home/ann", "/bin/bash", "555 34", "Mail", "elsewhere.example"):
        assert hidden not in answer
    for fact in ("Ann Example", "Room 7", "On since", "Ann's plan", "Ann's project", "Ann's pgpkey"):
        assert fact in answer


@pytest.mark.root
def test_a_list_without_sessions_has_each_user_once(populated: AccountsHost, serve: Serve) -> None:
    answer = serve(policy="policy: [{from: any, list: true, show: [name, login]}]").ask("")
    assert answer == "Login    Name\nann      Ann Example\n"


@pytest.mark.root
def test_pubkey_and_pronouns(populated: AccountsHost, serve: Serve) -> None:
    populated.write("/home/ann/.pubkey", "ssh-ed25519 AAAA ann\n", "ann")
    populated.write("/home/ann/.pronouns", "she/her\n", "ann")
    answer = serve().ask("/W ann")
    assert "Pronouns: she/her\n" in answer
    assert "Public key:\nssh-ed25519 AAAA ann\n" in answer


@pytest.mark.root
def test_published_links_are_in_the_long_form(populated: AccountsHost, serve: Serve) -> None:
    populated.write("/run/plans/ann/links", "profile\nme https://ann.example/\nme javascript:x\n", "ann")
    server = serve("plans: /run/plans")
    assert "Links:\nme https://ann.example/\nPGP" in server.ask("/W ann")
    assert "ann.example" not in server.ask("ann")


@pytest.mark.root
def test_hidden_people_cannot_be_distinguished_from_absent_ones(host: AccountsHost, serve: Serve) -> None:
    for login in ("shy", "closed"):
        host.add(login, "Hidden Person")
        host.write(f"/home/{login}/.plan", "a plan", login)
    host.write("/home/shy/.nofinger", "", "shy")
    host.path("/home/closed").chmod(0o700)
    host.add("service", "Hidden Person", "--system")
    host.add("open", "Visible Person")
    for login in ("shy", "closed", "service", "open"):
        host.login(login)
    server = serve(policy="policy: [{from: any, list: true, show: everything, match: name}]")
    for query in ("shy", "closed", "service", "root", "nobody", "absent", "hidden", "hidden person", "HIDDEN"):
        assert server.ask(query) == server.ask(f"/W {query}") == "No such user\n", query
    assert "Visible Person" in server.ask("person")
    assert server.ask("person").count("Login name:") == 1
    assert "Hidden" not in server.ask("")
    assert re.findall(r"^\w+ ", server.ask(""), re.MULTILINE) == ["Login ", "open "]
    logged = [server.daemon.logged(f'query="{login}"') for login in ("shy", "closed", "service", "root", "absent")]
    assert {line.partition("outcome=")[2].partition(" ms=")[0] for line in logged} == {"unknown bytes=14"}


@pytest.mark.root
def test_a_missing_home_hides_because_it_may_have_a_nofinger(host: AccountsHost, serve: Serve) -> None:
    host.add("ann", "Ann")
    host.add("none", "None")
    host.run("usermod", "--home", "/nonexistent", "none")
    server = serve()
    assert "In real life: Ann" in server.ask("ann")
    host.path("/home/ann").rename(host.path("/home/elsewhere"))
    wait_until(lambda: server.ask("ann") == "No such user\n")
    assert "In real life: None" in server.ask("none")


def test_a_hidden_person_costs_the_same_system_calls_as_an_absent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwd = tmp_path / "passwd"
    logins = ["shy", "low", "far_shy", "far_low", "absent"]
    homes = {login: tmp_path / login for login in logins[:4]}
    for home in homes.values():
        home.mkdir()
        (home / ".nofinger").touch()
    uids = {login: 500 if "low" in login else 5000 for login in homes}
    gecos = "Some Body"
    passwd.write_text("".join(f"{login}:x:{uids[login]}:1:{gecos}:{homes[login]}:\n" for login in ("shy", "low")))
    calls: list[str] = []

    def directory(login: str) -> pwd.struct_passwd:
        calls.append("getpwnam")
        if not login.startswith("far") or login not in homes:
            raise KeyError(login)
        return pwd.struct_passwd((login, "x", uids[login], 1, gecos, str(homes[login]), ""))

    monkeypatch.setattr(pwd, "getpwnam", directory)
    backend = System()
    backend._sources.accounts = Accounts(1000, (), str(passwd))
    backend.find(Lookup("first", False, "unix", LATER))  # reads passwd

    def counted(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counting(*args: object, **kwargs: object) -> object:
            calls.append(name)
            return call(*args, **kwargs)

        return counting

    def cost(login: str) -> list[str]:
        calls.clear()
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "stat", "fstat", "close"):
                patch.setattr(os, name, counted(name, getattr(os, name)))
            assert backend.find(Lookup(login, True, "unix", LATER)) == []
        return sorted(call for call in calls if call != "stat")

    costs = {login: cost(login) for login in logins}
    assert costs == dict.fromkeys(logins, costs["absent"])
    assert costs["absent"].count("getpwnam") == costs["absent"].count("open") == 1


@pytest.mark.root
def test_min_uid_and_also(host: AccountsHost, serve: Serve) -> None:
    host.add("ann", "Ann")
    host.add("postmaster", "The Postmaster", "--system")
    server = serve("min_uid: 5000, also: [postmaster]")
    assert server.ask("ann") == "No such user\n"
    assert "The Postmaster" in server.ask("postmaster")


@pytest.mark.root
@pytest.mark.parametrize("user", ["nobody", "root"])
def test_plans_as_attacks_leak_nothing(host: AccountsHost, serve: Serve, user: str) -> None:
    home = host.add("eve", "Eve")
    host.add("ann", "Ann")
    secret = host.write("/home/ann/secret", "text of another user", "ann")
    server = serve(user=user)
    attacks: dict[str, Callable[[Path], None]] = {
        "link": lambda path: path.symlink_to("/etc/shadow"),
        "link to another user's file": lambda path: path.symlink_to("/home/ann/secret"),
        "hard link to another user's file": lambda path: path.hardlink_to(secret),
        "fifo": os.mkfifo,
        "device": lambda path: os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5)),
        "directory": Path.mkdir,
    }
    for attack in attacks.values():
        for name in (".plan", ".project", ".pgpkey", ".forward"):
            attack(home / name)
        answer = server.ask("/W eve")
        assert "In real life: Eve" in answer
        assert "No Plan." in answer
        assert not re.search("root:|text of another user|Project|forwarded", answer)
        for name in (".plan", ".project", ".pgpkey", ".forward"):
            (home / name).rmdir() if (home / name).is_dir() else (home / name).unlink()


@pytest.mark.root
def test_passwd_lines_that_crashed_other_daemons(host: AccountsHost, serve: Serve) -> None:
    host.add("ann", "Ann Example")
    host.add("empty", "")
    long = "x" * 32
    host.add(long, "Long Name")
    passwd = host.path("/etc/passwd")
    lines = ["over:x:3001:100:" + "O" * 3000 + ":/nonexistent:", "commas:x:3002:100:,,,,,,,:/:/bin/sh"]
    data = passwd.read_bytes() + "".join(f"{line}\n" for line in lines).encode()
    data += b"latin:x:3003:100:Zo\xeb:/nonexistent:/bin/sh\n+@operator\n+\n+nis:::::\n"  # a netgroup line: #547014
    passwd.write_bytes(data)
    host.login(long, "client.example.org")
    host.login("empty")
    server = serve(policy="policy: [{from: any, list: true, show: everything, match: name}]")
    for login in ("+@operator", "+", "@operator", "+nis", "nis"):
        assert server.ask(login) in ("No such user\n", "Finger forwarding service denied\n", "Malformed query\n")
    assert "Login name: empty" in server.ask("empty")
    assert "In real life: empty" in server.ask("empty")
    assert server.ask("over").count("O") >= 1024
    assert "Login name: commas" in server.ask("commas")
    assert "In real life: Zoë" in server.ask("zoë")
    assert "In real life: Ann Example" in server.ask("example")
    answer = server.ask(long)
    assert f"Login name: {long}" in answer
    assert " on pts/0 from client.example.org" in answer  # its login fills the whole field in utmp
    rows = server.ask("").splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["empty", long]


@pytest.mark.root
def test_sessions_without_a_terminal_or_a_process(host: AccountsHost, serve: Serve) -> None:
    host.add("ann", "Ann")
    gone = host.login("ann", "client")
    utmp = host.run("utmpdump", "/run/utmp").splitlines()[1:]
    pid = f"{os.getpid():05}"
    when = "[0.0.0.0        ] [2026-01-05T12:00:00,000000+00:00]"
    x11 = f"[7] [{pid}] [:0  ] [ann     ] [:0          ] [:0                  ] {when}"
    no_device = f"[7] [{pid}] [/99 ] [ann     ] [pts/99      ] [tmux(7).%0          ] {when}"
    server = serve()
    host.write_utmp(*utmp, x11, no_device)
    answer = server.ask("/W ann")
    assert re.findall(r"\) on (\S+)( from \S+?)?(?:, idle .*)?( \(messages off\))?$", answer, re.MULTILINE) == [
        (gone.terminal, " from client", " (messages off)"),
        (":0", "", " (messages off)"),
        ("pts/99", " from tmux(7).%0", ""),
    ]
    gone.hang_up()  # login(1) leaves the utmp record to init
    wait_until(lambda: server.ask("ann").count("On since") == 2)
    assert f"Last login {formatted(time.time())[:10]}" in server.ask("ann")  # newer than an open session
    assert server.ask("").count("ann ") == 2


@pytest.mark.root
def test_a_host_without_sessions_refuses_the_list_and_shows_accounts(host: AccountsHost, serve: Serve) -> None:
    host.add("ann", "Ann")
    for path in ("/run/utmp", "/var/log/lastlog"):
        host.path(path).unlink()
    host.path("/var/mail").rmdir()
    server = serve()
    for what in (
        "sessions and the user list are unavailable: there is neither /run/utmp nor systemd-logind at /run/dbus/",
        "last logins are unavailable: there is none of /var/log/lastlog",
        "mail is unavailable: there is no directory /var/mail",
    ):
        assert sum(what in line for line in server.daemon.log) == 1
    assert server.ask("") == "Finger online user list denied\n"
    answer = server.ask("/W ann")
    assert "In real life: Ann" in answer
    assert not re.search("logged|login \\w{3} |mail", answer)


@pytest.mark.root
def test_disabled_sources_are_not_reported_as_missing(host: AccountsHost, serve: Serve) -> None:
    host.add("ann", "Ann")
    host.write("/home/ann/.plan", "a plan", "ann")
    host.write("/home/ann/.nofinger", "", "ann")
    for path in ("/run/utmp", "/var/log/lastlog"):
        host.path(path).unlink()
    server = serve("homes: false, mail: null, sessions: false, last_login: false")
    assert server.ask("ann") == "Login name: ann                         In real life: Ann\n"
    assert server.ask("") == "Finger online user list denied\n"
    server.daemon.stop()
    assert not [line for line in server.daemon.log if "WARNING" in line]


def test_a_chroot_must_contain_the_enabled_sources(tmp_path: Path) -> None:
    config = tmp_path / "fingerd.yaml"
    chroot = tmp_path / "chroot"
    (chroot / "etc").mkdir(parents=True)

    def messages(options: str) -> list[str]:
        config.write_text(f"backend: {{type: system, {options}}}\nprocess: {{chroot: {chroot}}}\n")
        done = subprocess.run([*FINGERD, "--check", "-c", config], capture_output=True, text=True, check=False)
        assert done.returncode == (78 if done.stderr else 0)
        return [line.split(": ", 2)[2] for line in done.stderr.splitlines()]

    assert {message.partition(": ")[0] for message in messages("plans: /plans")} == {
        f"there is no file {chroot}/etc/passwd",
        f"there is no directory {chroot}/plans",
        f"there is no directory {chroot}/home",
        "last logins are unavailable",
        "mail is unavailable",
        "sessions and the user list are unavailable",
    }
    (chroot / "etc/passwd").touch()
    assert messages("homes: false, mail: null, sessions: false, last_login: false") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("also: [nobody]", "backend.also: the account 'nobody' is never shown"),
        ("min_uid: -1", "backend.min_uid: must be from 0 to"),
        ("plans: no", "backend.plans: YAML reads this as"),
        ("homes: maybe", "backend.homes: must be true or false"),
        ("minuid: 5", "backend.minuid: unknown option (did you mean min_uid?)"),
    ],
)
def test_bad_options(tmp_path: Path, options: str, message: str) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text(f"backend: {{type: system, {options}}}\n")
    done = subprocess.run([*FINGERD, "--check", "-c", config], capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert message in done.stderr


@pytest.mark.root
def test_the_example_and_its_programs(host: AccountsHost, start: Start, tmp_path: Path) -> None:
    plans = "/var/lib/fingerd/plans"
    host.add("ann", "Ann Example")
    host.add("bob", "Bob Example")
    for login in ("ann", "bob"):
        host.path(f"/home/{login}").chmod(0o700)
    for name in ("make-plan-folders", "publish-plan"):
        host.write(f"/run/{name}", (EXAMPLES / "plans" / name).read_text(), mode=0o755)
    host.run("/run/make-plan-folders", plans)
    as_ann = ("setpriv", "--reuid=ann", "--regid=ann", "--clear-groups", "env", "HOME=/home/ann")
    publish = (*as_ann, "/run/publish-plan", plans)
    config = (EXAMPLES / "system.yaml").read_text()
    socket = tmp_path / "socket"
    daemon = start(re.sub(r"(?m)^listen:.*", f'listen: "unix:{socket}"', config), inside=host.inside)
    server = Server(daemon, socket)
    assert server.ask("ann") == server.ask("absent") == "No such user\n"
    host.write("/home/ann/.plan", "Published plan\n", "ann", 0o600)
    host.write("/home/ann/.project", "Published project\n", "ann", 0o600)
    host.run(*publish)
    wait_until(lambda: "In real life: Ann Example" in server.ask("ann"))
    answer = server.ask("ann")
    assert "Plan:\nPublished plan\n" in answer
    assert "Project: Published project" in answer
    assert server.ask("bob") == "No such user\n"
    host.path("/home/ann/.nofinger").symlink_to("/dev/null")
    host.run(*publish)
    wait_until(lambda: server.ask("ann") == "No such user\n")
    host.path("/home/ann/.nofinger").unlink()
    host.run(*publish)
    wait_until(lambda: "Published plan" in server.ask("ann"))
    host.path("/home/ann/.plan").unlink()
    host.path("/home/ann/.project").unlink()
    host.run(*publish)
    wait_until(lambda: server.ask("ann") == "No such user\n")
    host.run("/run/make-plan-folders", plans)  # a second run, for new accounts


def test_mail_times_are_those_of_the_spool(tmp_path: Path) -> None:
    spool = str(tmp_path)
    box = tmp_path / "ann"
    assert mail_of("ann", spool) is None  # its mail may be elsewhere
    box.touch()
    assert mail_of("ann", spool) == Mail()
    box.write_text("From somebody\n")
    os.utime(box, (1000.9, 2000.2))
    assert mail_of("ann", spool) == Mail(2000.0, 1000.0)
    os.utime(box, (0, 2000.2))
    assert mail_of("ann", spool) == Mail(2000.0, None)
    os.utime(box, (0, 0))
    assert mail_of("ann", spool) is None
    assert mail_of("ann", str(tmp_path / "absent")) is None
    (tmp_path / "link").symlink_to("/etc/shadow")
    (tmp_path / "directory").mkdir()
    for login in ("link", "directory", "..", ".", "a/b", ""):
        assert mail_of(login, spool) is None, login
    assert mail_of("a" * 300, spool) is None  # a name too long for a file
    assert list(missing_mail("/absent", tmp_path)) == [f"mail is unavailable: there is no directory {tmp_path}/absent"]


def test_concurrent_lookups() -> None:
    warn_once.cache_clear()
    backend = System(min_uid=0, homes=False)
    found: list[object] = []

    def work() -> None:
        for _ in range(20):
            found.append(
                [person.directory for person in backend.find(Lookup("root", False, "unix", LATER, by_name=True))]
            )
            found.append([person.login for person in backend.find(Lookup("no such login", False, "unix", LATER))])
            backend.list_users(Lookup("", False, "unix", LATER))

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    backend.close()
    assert len(found) == 1280
    assert {str(each) for each in found} == {"['/root']", "[]"}


def test_lookups_import_nothing() -> None:
    code = """if True:
        import sys, time
        from fingerd.backends import Lookup, load_type
        LATER = time.monotonic() + 60
        system = load_type("system")(min_uid=0, homes=True)
        class Refuse:
            def find_spec(self, name, *_):
                sys.exit(f"late import of {name}")
        sys.meta_path.insert(0, Refuse())
        for name in ("root", "Zo\\u00eb", "nobody"):
            list(system.find(Lookup(name, False, "unix", LATER, by_name=True)))
        system.list_users(Lookup("", False, "unix", LATER))
        system.close()
        del sys.meta_path[0]
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "late import" not in done.stderr


@pytest.mark.root
def test_a_login_of_a_domain_is_asked_for_with_its_domain(host: AccountsHost, serve: Serve) -> None:
    """As realmd and sssd make them: carol@example.org."""
    with host.path("/etc/passwd").open("a") as passwd:
        passwd.write("carol@example.org:x:1501:1501:Carol Domain:/nonexistent:/bin/sh\n")
    host.add("dave", "Dave Local")
    server = serve(policy=f"{EVERYTHING}\nhosts: [example.org]")
    assert "In real life: Carol Domain" in server.ask("carol@example.org")
    assert "In real life: Carol Domain" in server.ask("carol@example.org@localhost")
    assert "In real life: Dave Local" in server.ask("dave@example.org")
    assert server.ask("carol") == server.ask("carol@localhost") == "No such user\n"
    assert server.ask("carol@example.com") == "Finger forwarding service denied\n"


@pytest.mark.root
def test_a_plan_may_be_a_link_into_the_person_s_own_files(host: AccountsHost, serve: Serve) -> None:
    host.add("ann", "Ann Example")
    host.add("bob", "Bob Example")
    host.write("/home/ann/dotfiles/plan", "From my repository\n", "ann")
    host.run("ln", "-s", "dotfiles/plan", "/home/ann/.plan")
    host.run("ln", "-s", "/home/ann/dotfiles/plan", "/home/bob/.plan")
    host.run("ln", "-s", "/etc/passwd", "/home/bob/.project")
    server = serve()
    assert "Plan:\nFrom my repository\n" in server.ask("ann")
    assert server.ask("bob").endswith("No Plan.\n")
    assert "Project" not in server.ask("bob")
    host.write("/home/bob/nofinger", "", "bob")
    wait_until(lambda: server.ask("bob") == "No such user\n")
