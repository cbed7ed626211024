"""The option `listen` with `proxies`: its forms, what is wrong with it, and sockets that systemd passes."""

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingerd import load_config
from fingerd.errors import ConfigError
from fingerd.net.addresses import Network, parse_network
from fingerd.server.listeners import InheritedSocket, ListenAddress, TcpAddress, UnixAddress
from fingerd.settings import read_config
from tests.daemon.conftest import run
from tests.helpers.daemons import FINGERD, TIMEOUT, ask, wait_until
from tests.helpers.proxy import line

EMPTY = "backend: {type: empty}\n"
STATIC = "backend: {type: static, users: {zoe: Happy and well}}\n"
NET = parse_network("192.0.2.0/24")
HTTP = 'http: {listen: "127.0.0.1:0"}\n'


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(parse_network, texts))


FORMS: dict[str, tuple[str, tuple[ListenAddress, ...]]] = {
    "an address": ('{address: ":79", proxies: [192.0.2.0/24]}', (TcpAddress("", 79, (NET,)),)),
    "one proxy": ('{address: ":79", proxies: 192.0.2.0/24}', (TcpAddress("", 79, (NET,)),)),
    "without quotes": ("\n  address: :79\n  proxies: [192.0.2.0/24]", (TcpAddress("", 79, (NET,)),)),
    "an address alone": ('{address: "192.0.2.1:79"}', (TcpAddress("192.0.2.1", 79),)),
    "several proxies": (
        '{address: "[::]:79", proxies: [192.0.2.1, "2001:db8::/32", "::ffff:198.51.100.1", unix]}',
        (TcpAddress("::", 79, (*networks("192.0.2.1", "2001:db8::/32", "198.51.100.1"), "unix")),),
    ),
    "a unix socket": (
        '{unix: /s, mode: "0660", proxies: [unix]}',
        (UnixAddress("/s", 0o660, None, None, ("unix",)),),
    ),
    "a unix socket as an address": ('{address: "unix:/s", proxies: [unix]}', (UnixAddress("/s", proxies=("unix",)),)),
    "a socket of systemd": ("{systemd: lb, proxies: [192.0.2.0/24]}", (InheritedSocket("systemd", "lb", (NET,)),)),
    "a socket of systemd without proxies": ("{systemd: lb}", (InheritedSocket("systemd", "lb"),)),
    "a list": (
        '[":79", {address: ":7979", proxies: [192.0.2.0/24]}, "unix:/s", {systemd: lb, proxies: [unix]}]',
        (
            TcpAddress("", 79),
            TcpAddress("", 7979, (NET,)),
            UnixAddress("/s"),
            InheritedSocket("systemd", "lb", ("unix",)),
        ),
    ),
    "all of systemd's": (
        "[systemd, {systemd: lb, proxies: [192.0.2.0/24]}]",
        (InheritedSocket("systemd"), InheritedSocket("systemd", "lb", (NET,))),
    ),
}


@pytest.mark.parametrize(("text", "addresses"), FORMS.values(), ids=FORMS)
def test_an_address_may_name_its_proxies(text: str, addresses: tuple[ListenAddress, ...], tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"{EMPTY}listen: {text}\n")
    assert load_config(str(path)).listen == addresses


EMPTY_LIST = "is empty: name the balancers, or remove the option"
SECTION = "is an option of the section, for all of its addresses"
ERRORS = {
    "no proxies": ('listen: {address: ":79", proxies: []}', 35, f"listen.proxies: {EMPTY_LIST}"),
    "proxies that are nothing": ('listen: {address: ":79", proxies: }', 34, "listen.proxies: is empty: give a value"),
    "a host name": (
        'listen: {address: ":79", proxies: [lb.example]}',
        36,
        "listen.proxies[0]: 'lb.example' is not an address, a network or unix",
    ),
    "local": (
        'listen: [":80", {address: ":79", proxies: local}]',
        43,
        "listen[1].proxies: 'local' is not an address, a network or unix",
    ),
    "host bits": (
        'listen: {address: ":79", proxies: 192.0.2.7/24}',
        35,
        "listen.proxies: 192.0.2.7/24 has host bits set (did you mean 192.0.2.0/24?)",
    ),
    "no address": ("listen: {proxies: [unix]}", 9, "listen: is no address: it needs address, unix or"),
    "an address and a socket": (
        'listen: {address: ":79", unix: /s}',
        26,
        "listen.unix: unknown option",
    ),
    "a misspelt option": (
        'listen: {address: ":79", proxy: [unix]}',
        26,
        "listen.proxy: unknown option (did you mean proxies?)",
    ),
    "no port": ('listen: {address: "192.0.2.7", proxies: [unix]}', 19, 'listen.address: must be "host:port", ":port"'),
    "a number": ("listen: {address: 79, proxies: [unix]}", 19, 'listen.address: must be "host:port"'),
    "inetd": ("listen: {address: inetd, proxies: [unix]}", 19, "listen.address: must be an address; a socket from"),
    "systemd": ("listen: {address: systemd, proxies: [unix]}", 19, "listen.address: must be an address; a socket from"),
    "systemd without a name": ('listen: {systemd: "", proxies: [unix]}', 19, "listen.systemd: is empty: give the"),
    "a mode without a path": ('listen: {address: ":79", mode: "660"}', 26, "listen.mode: unknown option"),
    "a socket of systemd twice": (
        "listen: [{systemd: a, proxies: [unix]}, {systemd: a}]",
        9,
        "listen: has a socket from systemd twice",
    ),
    "inetd among others": (
        "listen: [inetd, {systemd: a, proxies: [unix]}]",
        9,
        "listen: inetd cannot be combined with other addresses",
    ),
    "systemd among addresses": (
        'listen: [systemd, {address: ":79", proxies: [unix]}]',
        9,
        "listen: systemd cannot be combined with other addresses",
    ),
    "an address of http": (
        'http: {listen: {address: ":79", proxies: [unix]}}',
        33,
        f"http.listen.proxies: {SECTION}",
    ),
    "an address of http in a list": (
        "http: {listen: [{unix: /s, proxies: [unix]}]}",
        28,
        f"http.listen[0].proxies: {SECTION}",
    ),
    "a socket of both": (
        "http: {listen: {systemd: a}}\nlisten: {systemd: a}",
        9,
        "listen: has a socket from systemd twice",
    ),
}


@pytest.mark.parametrize(("text", "column", "problem"), ERRORS.values(), ids=ERRORS)
def test_what_is_wrong_with_an_address_has_its_place(text: str, column: int, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"{EMPTY}{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    (found,) = caught.value.problems
    assert found.startswith(f"{path}:{2 + text.count(chr(10))}:")
    assert found.partition(": ")[2].startswith(problem)
    assert int(found.split(":")[2]) == column


WARNINGS = {
    "an open unix socket": ("{unix: /s, proxies: [unix]}", "unix:/s: every local user can connect, and proxies lets"),
    "a unix socket with a mode": ('{unix: /s, mode: "660", proxies: [unix]}', ""),
    "a unix socket for networks": ("{unix: /s, proxies: [192.0.2.1]}", "unix:/s: all clients of a unix socket are"),
    "an address for unix sockets": ('{address: ":79", proxies: [unix]}', ":79: all clients are denied: none of them"),
    "an address": ('{address: ":79", proxies: [192.0.2.1, unix]}', ""),
    "a socket of systemd": ("{systemd: lb, proxies: [192.0.2.1]}", ""),
}


@pytest.mark.parametrize(("text", "warning"), WARNINGS.values(), ids=WARNINGS)
def test_check_warns_of_proxies_that_cannot_be_meant(text: str, warning: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f'{EMPTY}listen: ["192.0.2.7:79", {text}]\n')
    warnings = [each.partition(": listen: ")[2] for each in read_config(str(path), {})[1]]
    assert len(warnings) == bool(warning)
    assert all(each.startswith(warning) for each in warnings)


def test_check_and_query_know_the_form(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f'{STATIC}listen: [":79", {{address: "127.0.0.1:7979", proxies: [192.0.2.0/24]}}]\n')
    done = run("-c", str(path), "--check")
    assert (done.returncode, done.stdout) == (0, f"{path}: no problem found\n")
    done = run("-c", str(path), "--query", "zoe", "--from", "192.0.2.7")
    assert (done.returncode, done.stdout) == (0, "Happy and well\n")


# Sockets that systemd passes


@contextlib.contextmanager
def activated(config: Path, text: str, **sockets: socket.socket) -> Iterator["subprocess.Popen[str]"]:
    """A daemon to which these sockets are passed, by their names."""
    config.write_text(f"{STATIC}log: {{to: {config.parent}/log}}\n{text}\n")
    shell = "".join(f"exec {3 + number}<&{each.fileno()}; " for number, each in enumerate(sockets.values()))
    shell += f"LISTEN_PID=$$ exec {' '.join(FINGERD)} -n -c {config}"
    variables = {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
    with subprocess.Popen(
        ["bash", "-c", shell],
        pass_fds=[each.fileno() for each in sockets.values()],
        env=os.environ | variables,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def gets(address: tuple[str, int], sent: bytes) -> bytes:
    try:
        return ask(address, sent)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("rest", ["", "replaced", "systemd"])
def test_a_named_socket_expects_the_header_and_others_do_not(tmp_path: Path, rest: str) -> None:
    proxied = "{systemd: lb, proxies: [127.0.0.1]}"
    with contextlib.ExitStack() as stack:
        balanced, plain = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        sockets = {"lb": balanced, **({"finger": plain} if rest else {})}
        listen = f"[systemd, {proxied}]" if rest == "systemd" else f'["127.0.0.1:0", {proxied}]'
        process = stack.enter_context(activated(tmp_path / "fingerd.yaml", f"listen: {listen}", **sockets))
        assert gets(balanced.getsockname(), line("192.0.2.7") + b"zoe\r\n") == b"Happy and well\r\n"
        assert gets(balanced.getsockname(), b"zoe\r\n") == b""
        log = tmp_path / "log"
        wait_until(lambda: "outcome=proxy-error" in log.read_text())
        if rest:
            address = plain.getsockname()
        else:
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text())
            assert found
            address = "127.0.0.1", int(found[1])
        assert gets(address, b"zoe\r\n") == b"Happy and well\r\n"
        process.terminate()
        assert process.wait(TIMEOUT) == 0


OTHERS = {"http": "http: {listen: {systemd: page}}", "plan": "plan: {listen: {systemd: page}, tokens: /tokens}"}


@pytest.mark.parametrize("section", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("listen", ["{systemd: lb, proxies: [127.0.0.1]}", '"127.0.0.1:0"'], ids=["a name", "none"])
def test_a_socket_that_another_section_names_is_not_finger_s(tmp_path: Path, section: str, listen: str) -> None:
    with contextlib.ExitStack() as stack:
        balanced, other = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        sockets = {"page": other, **({"lb": balanced} if "lb" in listen else {})}
        process = stack.enter_context(activated(tmp_path / "fingerd.yaml", f"listen: {listen}\n{section}", **sockets))
        log = tmp_path / "log"
        wait_until(lambda: log.exists() and "listening on" in log.read_text())
        if "lb" in sockets:
            assert gets(balanced.getsockname(), line("192.0.2.7") + b"zoe\r\n") == b"Happy and well\r\n"
        else:
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text())
            assert found
            assert gets(("127.0.0.1", int(found[1])), b"zoe\r\n") == b"Happy and well\r\n"
        if section == OTHERS["http"]:
            assert gets(other.getsockname(), b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        else:
            assert f":{other.getsockname()[1]}" not in log.read_text()
        process.terminate()
        assert process.wait(TIMEOUT) == 0


REFUSED = {
    "an address with proxies would be replaced": (
        '{address: "127.0.0.1:0", proxies: [127.0.0.1]}',
        "fingerd: listen: sockets that were passed would replace an address with proxies: name them,",
    ),
    "none is left for a name": (
        "{systemd: lb, proxies: [127.0.0.1]}",
        "fingerd: listen does not name the socket finger, which was passed",
    ),
    "the name is another": (
        '[":0", {systemd: lb, proxies: [127.0.0.1]}]',
        "fingerd: listen is systemd lb, but no socket was passed to this process",
    ),
}


@pytest.mark.parametrize(("listen", "message"), REFUSED.values(), ids=REFUSED)
def test_a_passed_socket_is_never_taken_for_a_balancer_s_by_guess(tmp_path: Path, listen: str, message: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as passed,
        activated(tmp_path / "fingerd.yaml", f"listen: {listen}", finger=passed) as process,
    ):
        _, errors = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 78
        assert errors.splitlines()[-1].startswith(message)
