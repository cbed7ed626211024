"""What the section `http` needs at the start: options, libraries, sockets from systemd, and nothing in a chroot."""

import configparser
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fingerd import load_config
from fingerd.errors import ConfigError
from fingerd.settings import read_config
from tests.conftest import Start
from tests.daemon.conftest import run
from tests.helpers.daemons import FINGERD, ROOT, TIMEOUT, Daemon, ask, let_everybody_in, wait_until
from tests.helpers.http import get
from tests.helpers.requirements import needs

STATIC = "backend: {type: static, users: {zoe: {name: Zoe Quill, plan: Reading, links: profile}, bob: Fine}}\n"
ALL = "policy: [{from: any, list: true}]\n"
FREE = 'listen: "127.0.0.1:0"\n'
HTTP = 'http: {listen: "127.0.0.1:0"}\n'


def check(folder: Path, config: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What ``--check`` says of a configuration."""
    path = folder / "fingerd.yaml"
    path.write_text(config)
    command = [*FINGERD, "-c", str(path), "--check"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env={**os.environ, **environment}
    )


ERRORS = {
    "hold": ("backend: {type: hold}\n" + HTTP, "http: has nothing to show: the backend answers no queries"),
    "drop": ("backend: {type: drop}\n" + HTTP, "http: has nothing to show"),
    "discard": ("backend: {type: discard}\n" + HTTP, "http: has nothing to show"),
    "no address": (STATIC + "http: {}\n", "http.listen: required, but not given"),
    "an empty list": (STATIC + "http: {listen: []}\n", "http.listen: is empty: name an address"),
    "inetd": (STATIC + "http: {listen: inetd}\n", "http.listen: must be addresses; a socket from systemd has a name"),
    "systemd": (STATIC + "http: {listen: systemd}\n", "http.listen: must be addresses; a socket from systemd has"),
    "systemd among others": (STATIC + 'http: {listen: [":8079", systemd]}\n', "http.listen: must be addresses"),
    "systemd without a name": (STATIC + 'http: {listen: {systemd: ""}}\n', "http.listen: must be addresses"),
    "a name twice": (STATIC + "http: {listen: [{systemd: a}, {systemd: a}]}\n", "http.listen: has a socket from"),
    "inetd for Finger": (f"listen: inetd\n{STATIC}{HTTP}", "http: cannot be served by processes that inetd starts"),
    "domains alone": (
        STATIC + 'http: {listen: ":8079", domains: [example.org]}\n',
        "http.domains: needs base_url: WebFinger tells where a page is",
    ),
    **{
        f"base_url {url}": (STATIC + f'http: {{listen: ":8079", base_url: "{url}"}}\n', "http.base_url: must")
        for url in (
            "",
            "people.example.org",
            "//people.example.org",
            "ftp://people.example.org",
            "javascript:alert(1)",
            "https://",
            "https:///~zoe",
            "https://people.example.org/people",
            "https://people.example.org/?a",
            "https://people.example.org/#a",
            "https://zoe@people.example.org",
            "https://zoe:secret@people.example.org",
            "https://people.example.org:0",
            "https://people.example.org:99999",
            "https://people.example.org:x",
            "https://[::1",
            "https://people example.org",
            "https://people.example.org\\r\\nX: y",
            'https://people.example.org\\"',
            "https://<people>",
        )
    },
    **{
        f"domain {name}": (
            STATIC + f'http: {{listen: ":8079", base_url: "https://a.example", domains: ["{name}"]}}\n',
            "http.domains: ",
        )
        for name in ("", "example.org:80", "a b", "@example.org", "https://example.org", "192.0.2.7")
    },
    **{
        f"proxy {name}": (STATIC + f'http: {{listen: ":8079", proxies: ["{name}"]}}\n', "http.proxies: ")
        for name in ("", "any", "local", "proxy.example.org", "192.0.2.7/8", "192.0.2.0/33", "unix:/run/nginx")
    },
    "an unknown option": (STATIC + 'http: {listen: ":8079", prox: []}\n', "http.prox: unknown option"),
    "a rule's http": (STATIC + "policy: [{from: any, http: maybe}]\n", "policy.http: must be"),
}


@pytest.mark.parametrize(("config", "problem"), ERRORS.values(), ids=ERRORS)
def test_what_is_no_configuration_of_http(config: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(config)
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    (found,) = caught.value.problems
    assert re.match(rf"{path}:\d+:\d+: {re.escape(problem)}", re.sub(r"\[\d\]", "", found))


def test_check_prints_all_problems_of_the_section(tmp_path: Path) -> None:
    checked = check(tmp_path, f"{STATIC}http: {{listen: [], base_url: /, proxies: [any]}}\n")
    assert checked.returncode == 78
    assert [line.split(": ")[1] for line in checked.stderr.splitlines()] == ["http.base_url", "http.proxies[0]"]


LOCAL_WARNING = "http.listen: a reverse proxy on this host would make all its clients local"
LOCAL = "policy: [{from: local, list: true}]\n"


@pytest.mark.parametrize("rule", ["local", "127.0.0.1", "127.0.0.0/8", '"::1"', '["192.0.2.0/24", "127.0.0.9"]'])
@pytest.mark.parametrize(
    "listen",
    ["127.0.0.1:8079", "127.1:80", "localhost:8079", "LOCALHOST.:8079", "[::1]:8079", "[0:0::1]:80", "unix:/run/http"],
)
def test_check_warns_of_a_proxy_that_would_make_all_local(listen: str, rule: str, tmp_path: Path) -> None:
    warnings = warnings_of(f'{STATIC}http: {{listen: [":80", "{listen}"]}}\npolicy: [{{from: {rule}}}]\n', tmp_path)
    assert any(LOCAL_WARNING in warning for warning in warnings)


def warnings_of(config: str, folder: Path) -> tuple[str, ...]:
    path = folder / "fingerd.yaml"
    path.write_text(config)
    return read_config(str(path), {})[1]


@pytest.mark.parametrize(
    ("http", "policy"),
    [
        ('listen: "127.0.0.1:8079", proxies: [127.0.0.1]', LOCAL),
        ('listen: "192.0.2.1:8079"', LOCAL),
        ('listen: "local.example:8079"', LOCAL),
        ('listen: "127.0.0.1:8079"', "policy: [{from: any}]\n"),
        ('listen: "127.0.0.1:8079"', "policy: [{from: 10.0.0.0/8}]\n"),
        ("listen: {systemd: people}", LOCAL),
    ],
)
def test_check_does_not_warn_of_another(http: str, policy: str, tmp_path: Path) -> None:
    warnings = warnings_of(f"{STATIC}http: {{{http}}}\n{policy}", tmp_path)
    assert not any(LOCAL_WARNING in warning for warning in warnings)


def test_check_prints_the_warning(tmp_path: Path) -> None:
    checked = check(tmp_path, STATIC + HTTP + LOCAL)
    assert checked.returncode == 0
    assert LOCAL_WARNING in checked.stderr


# The libraries.


@pytest.mark.parametrize("library", ["h11", "jinja2", "markupsafe"])
def test_a_missing_library_is_named_with_its_packages(library: str, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    error = f"raise ModuleNotFoundError(\"No module named '{library}'\", name='{library}')\n"
    (hidden / f"{library}.py").write_text(error)
    path = os.pathsep.join(filter(None, (str(hidden), os.environ.get("PYTHONPATH"))))
    checked = check(tmp_path, STATIC + HTTP, PYTHONPATH=path)
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    names = re.findall(r"^[\w-]+", config["options.extras_require"]["http"], re.MULTILINE)
    hint = f"(pip install {' '.join(names)}, or apt install python3-h11 python3-jinja2)"
    assert checked.returncode == 78
    assert f"http: needs something that is not installed: {library} {hint}\n" in checked.stderr
    assert check(tmp_path, STATIC, PYTHONPATH=path).returncode == 0


def imported(log: str) -> set[str]:
    """The packages that a process has imported, by ``-X importtime``."""
    return {name.partition(".")[0] for name in re.findall(r"^import time: .*\| +(\S+)$", log, re.MULTILINE)}


@pytest.mark.parametrize("http", ["", HTTP], ids=["without", "with"])
@pytest.mark.parametrize("option", ["--check", "--query=zoe", "-n"])
def test_the_libraries_are_imported_only_with_the_section(option: str, http: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(FREE + STATIC + http)
    command = [sys.executable, "-X", "importtime", "-m", "fingerd", "-c", str(path), option]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "listening on" in line:
                address = "127.0.0.1", int(re.findall(r" 127.0.0.1:(\d+)", line)[0])
                assert b"Zoe" in ask(address, b"zoe\r\n")
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    found = imported("".join(lines))
    assert "yaml" in found
    assert {"h11", "jinja2", "markupsafe"} & found == ({"h11", "jinja2", "markupsafe"} if http else set())


# Sockets from systemd.

ACTIVATE = """
import os, socket, sys
for number, (kind, _, path) in enumerate(address.partition(":") for address in sys.argv[2].split()):
    listener = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
    listener.bind(path if kind == "unix" else ("127.0.0.1", 0))
    listener.listen()
    os.dup2(listener.fileno(), 50 + number)
for other in range(number + 1):
    os.dup2(50 + other, 3 + other)
    os.close(50 + other)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(number + 1), "LISTEN_FDNAMES": sys.argv[1]}
os.execvp(sys.argv[3], sys.argv[3:])
"""


def activated(names: str, addresses: str) -> tuple[str, ...]:
    """The command that passes these listening sockets to the command after it."""
    return sys.executable, "-c", ACTIVATE, names, addresses


def listens(daemon: Daemon) -> Sequence[str]:
    return daemon.listening.split(", ")


def address_of(listener: str) -> tuple[str, int]:
    return "127.0.0.1", int(listener.rpartition(":")[2])


def test_finger_gets_the_sockets_that_http_does_not_name(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "http"
    http = "http: {listen: [{systemd: people}, {systemd: local}]}\n"
    config = f"listen: systemd\n{http}{STATIC}"
    names = "people:fingerd.socket:local:fingerd.socket:people"
    daemon = start(config, inside=activated(names, f"tcp: tcp: unix:{path} tcp: tcp:"))
    *finger, first, second, third = listens(daemon)
    assert len(finger) == 2
    for listener in finger:
        assert b"Zoe" in ask(address_of(listener), b"zoe\r\n")
    for listener in (first, second):
        assert get(address_of(listener), "/~zoe").status == 200
    assert third == f"unix:{path}"
    assert get(str(path), "/~zoe").status == 200


def test_where_all_sockets_are_of_http_finger_listens_by_itself(start: Start) -> None:
    config = f"{FREE}http: {{listen: {{systemd: people}}}}\n{STATIC}"
    daemon = start(config, inside=activated("people", "tcp:"))
    finger, http = listens(daemon)
    assert b"Zoe" in ask(address_of(finger), b"zoe\r\n")
    assert get(address_of(http), "/~zoe").status == 200


def test_without_a_section_all_sockets_are_finger_s_whatever_their_names(start: Start) -> None:
    daemon = start(f"listen: systemd\n{STATIC}", inside=activated("people:other", "tcp: tcp:"))
    assert len(listens(daemon)) == 2
    for listener in listens(daemon):
        assert b"Zoe" in ask(address_of(listener), b"zoe\r\n")


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (f"{FREE}http: {{listen: {{systemd: other}}}}\n", "people"),
        ("listen: systemd\nhttp: {listen: {systemd: other}}\n", "people"),
        ("listen: systemd\nhttp: {listen: {systemd: people}}\n", "people"),  # none is left for Finger
        (f"{FREE}http: {{listen: {{systemd: people}}}}\n", None),
    ],
)
def test_a_socket_that_systemd_does_not_pass_is_78(config: str, names: str | None, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(config + STATIC)
    command = [*(activated(names, "tcp:") if names else ()), *FINGERD, "-n", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 78
    assert "no socket was passed to this process" in done.stderr
    assert "Traceback" not in done.stderr


def is_listening(path: str) -> bool:
    """Whether a client of the unix socket is accepted; it has sent nothing when it closes."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


@needs("systemd-socket-activate")
def test_the_program_of_systemd_passes_a_name(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "activated"
    inside = ("systemd-socket-activate", "-l", str(path), "--fdname=people", f"--setenv=PYTHONPATH={ROOT}")
    # It starts the daemon when the first client is there.
    config = tmp_path / "fingerd.yaml"
    config.write_text(f"{FREE}http: {{listen: {{systemd: people}}}}\n{STATIC}")
    with subprocess.Popen([*inside, *FINGERD, "-n", "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_listening(str(path)))
            assert get(str(path), "/~zoe").status == 200
        finally:
            process.terminate()


# A chroot.

TARGETS = {
    "/": 200,
    "/~zoe": 200,
    "/~bob": 200,
    "/~zoe/json": 200,
    "/~zoe/text": 200,
    "/~zoe/feed": 200,
    "/list/json": 200,
    "/list/text": 200,
    "/feed": 200,
    "/style.css": 200,
    "/robots.txt": 200,
    "/.well-known/webfinger?resource=acct:zoe@example.org": 200,
    "/?q=zo%e9": 303,
    "/~nobody": 404,
    "/~%FF%E9@example.org": 404,
    "/~xn--a@b%C3%BC.example": 404,
    "/~%00": 400,
    "/~%zz": 400,
}


@pytest.mark.root
def test_pages_need_nothing_of_an_empty_chroot(start: Start, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    let_everybody_in(tmp_path)
    http = 'http: {listen: "127.0.0.1:0", base_url: "https://people.example.org", domains: [example.org]}\n'
    # What measures coverage would write into the chroot at the end.
    measures = [option for name in os.environ if name.startswith("COVERAGE") for option in ("-u", name)]
    config = f"{FREE}{http}{STATIC}{ALL}process: {{chroot: {root}, user: nobody}}\n"
    daemon = start(config, inside=("env", *measures))
    address = address_of(listens(daemon)[-1])
    for target, status in TARGETS.items():
        for method in ("GET", "HEAD"):
            assert get(address, target, method).status == status, target
    assert get(address, "/", "POST").status == 405
    assert get(address, "/", Accept="application/json;q=0.5", If_None_Match='"x"').status == 200
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "Traceback" in line or "internal error" in line]
    assert list(root.iterdir()) == []


def test_a_busy_address_is_69(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "fingerd.yaml").write_text(f'{FREE}{STATIC}http: {{listen: "127.0.0.1:{port}"}}\n')
        done = run("-n", "-c", str(tmp_path / "fingerd.yaml"))
    assert done.returncode == 69
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.fixture
def daemon_with_http(start: Start) -> Daemon:
    return start(FREE + HTTP + STATIC)


def test_a_section_that_a_reload_adds_needs_a_restart(start: Start) -> None:
    daemon = start(FREE + STATIC)
    daemon.config.write_text(FREE + HTTP + STATIC)
    for _ in range(2):
        daemon.process.send_signal(signal.SIGHUP)
        daemon.logged("http has changed: a restart is needed")
        daemon.logged("configuration reloaded")
        assert b"Zoe" in daemon.ask(b"zoe\r\n")
