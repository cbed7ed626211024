"""Starting, reloading and ending: exit codes, warnings, systemd, sockets."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fingerd.daemon.cli import main as check
from tests.helpers.daemons import TIMEOUT, hear, wait_until
from tests.helpers.http import get, parse
from tests.plans.conftest import PLAN, Run
from tests.plans.web.conftest import NEW, StartPlans, configure, new_token


def fails(run: Run) -> tuple[int, str]:
    """The exit code and the message where it cannot start."""
    done = run("serve")
    assert done.stdout == b""
    return done.returncode, done.stderr.decode()


PEOPLE = "backend: {type: files, folder: /srv}\n"
ACCOUNTS = "backend: {type: system}\n"
LISTEN = 'listen: "127.0.0.1:0"'
WRONG = {
    "no section": (PEOPLE, "plan: required, but not given"),
    "accounts": (f"{ACCOUNTS}plan: {{{LISTEN}, tokens: /x}}\n", "serving needs people of type files"),
    "accounts before people": (
        "backend: {type: chain, backends: [{type: system}, {type: files, folder: /srv}]}\n"
        f"plan: {{{LISTEN}, tokens: /x}}\n",
        "serving needs people of type files",
    ),
    "no people": (f"backend: {{type: static, users: {{}}}}\nplan: {{{LISTEN}, tokens: /x}}\n", "type files or system"),
    "no address": (f"{PEOPLE}plan: {{tokens: /x}}\n", "plan.listen: required"),
    "an empty list": (f"{PEOPLE}plan: {{listen: [], tokens: /x}}\n", "plan.listen: is empty"),
    "inetd": (f"{PEOPLE}plan: {{listen: inetd, tokens: /x}}\n", "plan.listen: must be addresses"),
    "nobody": (f"{PEOPLE}plan: {{{LISTEN}}}\n", "plan.tokens: is missing, and so is remote_user"),
    "a user without proxies": (
        f"{PEOPLE}plan: {{{LISTEN}, remote_user: X-User, base_url: 'https://a.example'}}\n",
        "plan.remote_user: needs proxies",
    ),
    "a user without a URL": (f"{PEOPLE}plan: {{{LISTEN}, remote_user: X-User, proxies: unix}}\n", "needs base_url"),
    "no field": (f"{PEOPLE}plan: {{{LISTEN}, remote_user: 'X User', proxies: unix}}\n", "must be the name of a header"),
    "an underscore": (f"{PEOPLE}plan: {{{LISTEN}, remote_user: X_User, proxies: unix}}\n", "must be the name of a"),
    "a field with a meaning": (f"{PEOPLE}plan: {{{LISTEN}, remote_user: Origin, proxies: unix}}\n", "a meaning of its"),
    "a path": (f"{PEOPLE}plan: {{{LISTEN}, tokens: /x, base_url: 'https://a.example/x'}}\n", "must have no path"),
    "another option": (f"{PEOPLE}plan: {{{LISTEN}, token: /x}}\n", "unknown option (did you mean tokens?)"),
    "a directory of tokens": (f"{PEOPLE}plan: {{{LISTEN}, tokens: /tmp}}\n", "/tmp: Is a directory"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_served_is_78(text: str, message: str, config: Path, run: Run) -> None:
    config.write_text(text)
    code, errors = fails(run)
    assert (code, message in errors) == (78, True), errors
    assert "Traceback" not in errors


def test_a_busy_port_is_69(start: StartPlans, people: Path, run: Run) -> None:
    port = start().address[1]
    configure(people.parent, listen=f'"127.0.0.1:{port}"')
    code, errors = fails(run)
    assert (code, f"cannot listen on 127.0.0.1:{port}" in errors) == (69, True)


WARNED = {
    "accounts": (f'{ACCOUNTS}listen: ":0"\nplan: {{{LISTEN}, tokens: /etc/x}}\n', "needs a backend of type files"),
    "a socket for all": (
        f"{PEOPLE}plan: {{listen: 'unix:/run/x', tokens: /etc/x, proxies: unix}}\n",
        "every local user can connect as one of plan.proxies does, and name any client",
    ),
    "a user by loopback": (
        f"{PEOPLE}plan: {{{LISTEN}, remote_user: X-User, proxies: 127.0.0.1, base_url: 'https://a.example'}}\n",
        "and be any person",
    ),
    "tokens that others write": (f"{PEOPLE}plan: {{{LISTEN}, tokens: TOKENS}}\n", "every user may change"),
}


@pytest.mark.parametrize(("text", "message"), WARNED.values(), ids=WARNED)
def test_check_warns(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, tokens = tmp_path / "fingerd.yaml", tmp_path / "tokens"
    tokens.touch()
    tokens.chmod(0o666)
    config.write_text(text.replace("TOKENS", str(tokens)))
    assert check(["--check", "-c", str(config)]) == 0
    assert message in capsys.readouterr().err


SERVED = {
    "tokens that others write": ("", 0o666, "plan.tokens: ", "every user may change"),
    "a user by loopback": (
        "remote_user: X-User, proxies: 127.0.0.1, base_url: 'https://a.example'",
        0o600,
        "plan.listen: ",
        "and be any person",
    ),
}


@pytest.mark.parametrize(("options", "mode", "place", "message"), SERVED.values(), ids=SERVED)
def test_serve_warns_as_check_does(
    options: str, mode: int, place: str, message: str, start: StartPlans, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = base / "tokens"
    tokens.touch()
    tokens.chmod(mode)
    server = start(options)
    (line,) = [line for line in server.log if message in line]
    assert "WARNING" in line
    assert f"{server.config}:" in line
    assert place in line
    assert check(["--check", "-c", str(server.config)]) == 0
    told = [warning for warning in capsys.readouterr().err.splitlines() if message in warning]
    assert len(told) == 1
    assert told[0].partition(f"{server.config}:")[2] == line.partition(f"{server.config}:")[2]


def test_a_reload_warns_of_tokens_that_others_may_write(start: StartPlans, base: Path) -> None:
    (base / "tokens").touch(0o600)
    server = start()
    (base / "tokens").chmod(0o666)
    server.process.send_signal(signal.SIGHUP)
    server.logged("configuration reloaded")
    assert sum("plan.tokens: every user may change" in line for line in server.log) == 1


def test_check_finds_mistakes_and_is_content_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "fingerd.yaml"
    good = f"backend: {{type: files, folder: {tmp_path}}}\nplan: {{{LISTEN}, tokens: /etc/fingerd-plan/tokens}}\n"
    config.write_text(good)
    assert check(["--check", "-c", str(config)]) == 0
    assert "plan" not in capsys.readouterr().err.replace(str(config), "")
    config.write_text(good.replace("tokens:", "remote_user:"))
    assert check(["--check", "-c", str(config)]) == 78
    assert "plan.remote_user: must be the name of a header field" in capsys.readouterr().err


@pytest.mark.root
def test_root_is_one_warning(start: StartPlans, people: Path) -> None:
    server = start()
    assert server.stop() == 0
    assert sum("WARNING" in line for line in server.log) == 1
    assert "running as root" in server.log[0]


def test_hangup_reads_the_configuration_again(start: StartPlans, run: Run, people: Path) -> None:
    server = start()
    token = new_token(run, "zoe")
    assert server.put("zoe", "x" * 5000, token).status == 413
    text = server.config.read_text()
    longer = text.replace("file_bytes: 4KiB", "file_bytes: 16KiB")
    server.config.write_text(longer.replace('"127.0.0.1:0", tokens', '":1", tokens'))
    server.process.send_signal(signal.SIGHUP)
    assert "plan.listen has changed" in server.logged("WARNING fingerd: plan")
    server.logged("configuration reloaded")
    assert server.put("zoe", "x" * 16000, token).status == 204
    for wrong in ("plan: {", text.replace("plan:", "plane:")):
        server.config.write_text(wrong)
        server.process.send_signal(signal.SIGHUP)
        server.logged("not reloaded")
        assert server.put("zoe", "y" * 16000, token).status == 204
    server.config.write_text(text.replace("tokens:", "proxies: 127.0.0.1, tokens:"))
    server.process.send_signal(signal.SIGHUP)
    server.logged("configuration reloaded")
    assert server.put("zoe", NEW, token).status == 400
    assert server.put("zoe", NEW, token, X_Forwarded_For="192.0.2.1").status == 204


def test_a_stop_lets_running_requests_end(start: StartPlans, run: Run, people: Path) -> None:
    server = start()
    token = new_token(run, "zoe")
    client = socket.create_connection(server.address, TIMEOUT)
    body = b"x" * 3000
    head = f"PUT /~zoe/plan HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 3000\r\n\r\n"
    client.sendall(head.encode() + body[:-1])
    wait_until(lambda: server.put("zoe", NEW, token).status == 204)
    server.process.send_signal(signal.SIGTERM)
    client.sendall(body[-1:])
    answer = hear(client)
    client.close()
    assert server.stop() == 0
    assert not answer or parse(answer).status == 204  # it was whole within the moment that is left, or not
    assert (people / "zoe" / "plan").read_bytes() == (body if answer else NEW.encode())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_0(number: int, start: StartPlans) -> None:
    server = start()
    assert server.stop(number) == 0
    assert server.log[-1].endswith("stopped")


def test_systemd_is_told_and_passes_sockets(people: Path, tmp_path: Path, run: Run) -> None:
    config = configure(people.parent, listen="{systemd: plans}")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(TIMEOUT)
    listener = socket.create_server(("127.0.0.1", 0))
    script = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1',"
        " LISTEN_FDNAMES='plans'); os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    )
    command = [sys.executable, "-c", script, str(listener.fileno()), *PLAN[1:], "-c", str(config), "serve"]
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with subprocess.Popen(command, pass_fds=[listener.fileno()], env=environment, stderr=subprocess.PIPE) as process:
        told: list[str] = []
        while told.count("WATCHDOG=1") < 2 or "READY=1" not in told:
            told.append(manager.recv(100).decode())
        assert get(listener.getsockname(), "/~zoe/edit").status == 200
        process.send_signal(signal.SIGHUP)
        while not told[-1].startswith("RELOADING=1\nMONOTONIC_USEC="):
            told.append(manager.recv(100).decode())
        while told[-1] != "READY=1":
            told.append(manager.recv(100).decode())
        process.terminate()
        while told[-1] != "STOPPING=1":
            told.append(manager.recv(100).decode())
        assert process.wait(TIMEOUT) == 0
    listener.close()
    manager.close()


def test_a_unix_socket(start: StartPlans, run: Run, tmp_path: Path, people: Path) -> None:
    path = tmp_path / "socket"
    server = start(listen=f'[{{unix: {path}, mode: "660"}}, "127.0.0.1:0"]')
    assert path.stat().st_mode & 0o777 == 0o660
    assert get(str(path), "/~zoe/edit").status == 200
    server.logged("client=unix query=")
    assert server.stop() == 0
    assert not path.exists()


def test_the_log_is_as_the_configuration_says(start: StartPlans) -> None:
    server = start(rest="log: {format: json, addresses: none}\n")
    assert server.request("GET", "/~zoe/edit").status == 200
    line = server.logged('"query"')
    assert '"client": "-", "query": "GET /~zoe/edit", "outcome": "answered"' in line
    assert line.endswith('"proto": "http", "status": 200}')


def test_the_rate_counts_requests(start: StartPlans, run: Run) -> None:
    server = start(rest="limits: {rate: 3}\n")
    token = new_token(run, "zoe")
    assert [server.put("zoe", NEW, token).status for _ in range(5)] == [204, 204, 204, 429, 429]
    assert server.request("GET", "/style.css").status == 200
