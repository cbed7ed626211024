"""The client that a balancer names counts, for policy, limits and log; and nobody else may name one."""

import contextlib
import json
import re
import signal
import socket
import struct
import time
from pathlib import Path

import pytest

from fingerd.protocol.reply import LIST_DENIED, SERVICE_DENIED, TOO_MANY_QUERIES
from tests.helpers.daemons import TIMEOUT, Daemon, ask, hear, serving, wait_until
from tests.helpers.proxy import LOCAL, PROXY, UNIX_STREAM, addresses, binary, line, packed
from tests.proxied.conftest import PROXIED, STATIC, Behind, exchange, outcome_of

BALANCER, STRANGER = "127.0.0.1", "127.0.0.9"
OWN = {"UNKNOWN": b"PROXY UNKNOWN\r\n", "LOCAL": binary(LOCAL, 0x11, addresses("192.0.2.7"))}
UNIX = binary(PROXY, UNIX_STREAM, b"\0" * 216)
POLICY = """
policy:
  - {from: 192.0.2.66, deny: silently}
  - {from: 192.0.2.67, deny: true}
  - {from: [192.0.2.0/24, "2001:db8::/32"], show: minimal}
  - {from: local, list: true}
"""


def test_the_rule_is_that_of_the_named_client(behind: Behind) -> None:
    daemon = behind(POLICY)
    for client, heard in (
        ("192.0.2.7", b"Zoe Quill\r\n"),
        ("::ffff:192.0.2.7", b"Zoe Quill\r\n"),
        ("2001:db8::7", b"Zoe Quill\r\n"),
        ("192.0.2.67", f"{SERVICE_DENIED}\r\n".encode()),
        ("203.0.113.1", f"{SERVICE_DENIED}\r\n".encode()),  # no rule
    ):
        for header in (line(client), packed(client)):
            answer = exchange(daemon, header + b"zoe\r\n")
            assert answer.endswith(heard)
            assert b"Plan" not in answer
            outcome = "denied" if b"denied" in heard else "answered"
            assert outcome_of(daemon) == (client.removeprefix("::ffff:"), outcome, BALANCER)


def test_a_client_that_is_denied_silently_is_closed_before_it_asks(behind: Behind) -> None:
    daemon = behind(POLICY)
    for rest in (b"", b"zo", b"zoe\r\n"):
        with socket.create_connection(daemon.address, TIMEOUT) as client:
            client.sendall(line("192.0.2.66") + rest)
            with contextlib.suppress(ConnectionResetError):
                assert hear(client) == b""
        assert outcome_of(daemon) == ("192.0.2.66", "denied", BALANCER)


@pytest.mark.parametrize("header", OWN.values(), ids=OWN)
def test_a_balancer_that_names_nobody_is_the_client_but_never_local(behind: Behind, header: bytes) -> None:
    daemon = behind("policy: [{from: local, list: true}, {from: 127.0.0.1/32, users_per_query: 9}]\n")
    assert exchange(daemon, header + b"\r\n") == f"{LIST_DENIED}\r\n".encode()
    assert outcome_of(daemon) == (BALANCER, "refused", BALANCER)
    assert exchange(daemon, header + b"zoe zoe\r\n").count(b"Zoe Quill") == 1  # under the rule for its address
    assert b"Zoe Quill" in exchange(daemon, line("127.0.0.1") + b"\r\n")  # a client on this host


@pytest.mark.parametrize("policy", ["{from: local}", "{from: 192.0.2.0/24}, {from: local}", "{from: 127.0.0.2}"])
def test_a_balancer_that_only_local_would_admit_is_denied(behind: Behind, policy: str) -> None:
    daemon = behind(f"policy: [{policy}]\n")
    for header in OWN.values():
        assert exchange(daemon, header + b"zoe\r\n") == f"{SERVICE_DENIED}\r\n".encode()


def test_all_others_are_denied_whatever_they_send(behind: Behind) -> None:
    daemon = behind("policy: [{from: any, list: true}]\n")
    for sent in (line("192.0.2.7") + b"zoe\r\n", packed("192.0.2.7") + b"zoe\r\n", b"zoe\r\n", b"", OWN["LOCAL"]):
        assert exchange(daemon, sent, source=STRANGER) == b""
        assert outcome_of(daemon) == (STRANGER, "denied", "")


def test_per_client_counts_the_named_clients_once_they_are_named(behind: Behind) -> None:
    daemon = behind("limits: {per_client: 2, read_seconds: 5m}\n")
    with contextlib.ExitStack() as clients:

        def connect(sent: bytes) -> socket.socket:
            client = clients.enter_context(socket.create_connection(daemon.address, TIMEOUT))
            client.sendall(sent)
            return client

        unnamed = [connect(b"PROXY ") for _ in range(20)]
        first, second = connect(line("192.0.2.7")), connect(packed("192.0.2.7") + b"zo")
        wait_until(lambda: exchange(daemon, line("192.0.2.7") + b"zoe\r\n") == b"")  # both are counted
        third = connect(line("192.0.2.7"))  # closed before it asks
        with contextlib.suppress(ConnectionResetError):
            assert hear(third) == b""
        assert b"Zoe" in exchange(daemon, line("192.0.2.8") + b"zoe\r\n")
        first.sendall(b"zoe\r\n")
        second.sendall(b"e\r\n")
        assert b"Zoe" in hear(first)
        assert b"Zoe" in hear(second)
        first.close()
        second.close()
        wait_until(lambda: b"Zoe" in exchange(daemon, packed("192.0.2.7") + b"zoe\r\n"))
        # An IPv6 /64 is one client.
        networks = [connect(packed(f"2001:db8::{number}")) for number in (1, 2)]
        wait_until(lambda: exchange(daemon, line("2001:db8::3") + b"zoe\r\n") == b"")
        # The balancer is counted where it is the client itself.
        own = [connect(OWN["LOCAL"]), connect(OWN["UNKNOWN"])]
        wait_until(lambda: exchange(daemon, OWN["LOCAL"] + b"zoe\r\n") == b"")
        assert exchange(daemon, line("192.0.2.8") + b"zoe\r\n")  # while all of these are open
        for client in (*unnamed, *networks, *own):
            client.close()
    assert daemon.stop() == 0
    limited = [each for each in daemon.log if "outcome=limited" in each]
    assert {re.sub(".*client=([^ ]*) .*", r"\1", each) for each in limited} == {"192.0.2.7", "2001:db8::3", BALANCER}


def test_the_rate_is_that_of_the_named_client(behind: Behind) -> None:
    daemon = behind("limits: {rate: 2}\n")
    limited = f"{TOO_MANY_QUERIES}\r\n".encode()
    heard = [exchange(daemon, line("192.0.2.7") + b"zoe\r\n") == limited for _ in range(3)]
    assert heard == [False, False, True]
    assert exchange(daemon, packed("192.0.2.7") + b"zoe\r\n") == limited
    assert exchange(daemon, packed("192.0.2.8") + b"zoe\r\n") != limited
    heard = [exchange(daemon, packed(f"2001:db8::{number}") + b"zoe\r\n") == limited for number in range(3)]
    assert heard == [False, False, True]


def test_the_address_of_a_handler_is_that_of_the_client(behind: Behind) -> None:
    """As a library, with the hooks of socketserver."""
    seen: list[tuple[str, int]] = []
    with serving(PROXIED + STATIC) as server:
        verify = server.verify_request

        def verify_request(request: object, client_address: tuple[str, int]) -> bool:
            seen.append(client_address)
            return client_address[0] != "192.0.2.66" and verify(request, client_address)  # type: ignore[arg-type]

        server.verify_request = verify_request  # type: ignore[method-assign]
        address = server.socket.getsockname()
        assert b"Zoe" in ask(address, packed("192.0.2.7", port=4711) + b"zoe\r\n")
        assert seen.pop() == ("192.0.2.7", 4711)
        assert not seen  # the balancer is not asked for
        assert ask(address, line("192.0.2.66")) == b""
        assert b"Zoe" in ask(address, OWN["LOCAL"] + b"zoe\r\n")
        assert [client for client, _ in seen] == ["192.0.2.66", BALANCER]


@pytest.mark.parametrize(("listed", "policy"), [("[unix]", "uid"), ("[127.0.0.1]", "")])
def test_a_unix_socket_may_be_a_balancer_s(behind: Behind, tmp_path: Path, listed: str, policy: str) -> None:
    path = tmp_path / "s"
    daemon = behind(POLICY, f'listen: {{unix: {path}, mode: "600", proxies: {listed}}}\n')

    def say(sent: bytes) -> bytes:
        try:
            return ask(str(path), sent)
        except (ConnectionResetError, BrokenPipeError):
            return b""

    if not policy:
        assert say(line("192.0.2.7") + b"zoe\r\n") == b""
        assert outcome_of(daemon) == ("unix", "denied", "")
        return
    assert say(line("192.0.2.7") + b"zoe\r\n").endswith(b"Zoe Quill\r\n")
    assert outcome_of(daemon) == ("192.0.2.7", "answered", "unix")
    assert say(b"zoe\r\n") == b""
    assert outcome_of(daemon) == ("unix", "proxy-error", "")
    assert say(OWN["LOCAL"] + b"\r\n") == f"{SERVICE_DENIED}\r\n".encode()
    assert outcome_of(daemon) == ("unix", "denied", "unix")
    for header, client in ((UNIX, "unix"), (line("127.0.0.1"), "127.0.0.1")):  # who is on this host
        assert b"Zoe Quill" in say(header + b"\r\n")
        assert outcome_of(daemon) == (client, "answered", "unix")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("detail", ["network", "none", "full"])
def test_no_header_tells_the_log_more_of_a_client_than_it_may_have(behind: Behind, detail: str, form: str) -> None:
    daemon = behind(f"log: {{addresses: {detail}, format: {form}}}\n")
    whole = line("198.51.100.7")
    with socket.create_connection(daemon.address, TIMEOUT) as client:
        client.sendall(whole[:-9])
        time.sleep(0.1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange(daemon, whole[:-9], hang_up=True)
    exchange(daemon, whole.replace(b" 79", b" 790000"))
    with socket.create_connection(daemon.address, TIMEOUT) as client:
        client.sendall(whole[:-9])
        assert daemon.stop() == 0
    found = [each for each in daemon.log if "client" in each and "bytes" in each]
    assert len(found) == 4
    assert sum("proxy-error" in each for each in found) == 3
    assert all(("198.51.100.7" in each) is (detail == "full") for each in found)


def test_the_log_may_shorten_the_balancer_as_well(behind: Behind) -> None:
    for detail, client, via in (
        ("network", "192.0.2.0/24", "127.0.0.0/24"),
        ("none", "-", "-"),
        ("full", "192.0.2.7", BALANCER),
    ):
        for form in ("text", "json"):
            daemon = behind(f"log: {{addresses: {detail}, format: {form}}}\n")
            exchange(daemon, line("192.0.2.7") + b"zoe\r\n")
            if form == "text":
                assert outcome_of(daemon) == (client, "answered", via)
                exchange(daemon, b"zoe\r\n")
                assert outcome_of(daemon) == (via, "proxy-error", "")
            else:
                found = json.loads(daemon.logged('"client"'))
                assert list(found) == ["time", "client", "query", "outcome", "bytes", "ms", "via"]
                assert (found["client"], found["via"]) == (client, via)
                exchange(daemon, b"zoe\r\n")
                assert "via" not in json.loads(daemon.logged('"client"'))


def ports(daemon: Daemon) -> list[tuple[str, int]]:
    """The addresses on which it listens."""
    return [("127.0.0.1", int(port)) for port in re.findall(r":(\d+)\b", daemon.listening)]


def test_listeners_with_and_without_proxies_stand_beside_each_other(behind: Behind, tmp_path: Path) -> None:
    lines = [
        '"127.0.0.1:0"',
        '{address: "127.0.0.1:0", proxies: [127.0.0.1]}',
        '{address: "127.0.0.1:0", proxies: [127.0.0.8/29]}',
        f"{{unix: {tmp_path}/s}}",
        '{address: "127.0.0.1:0"}',
    ]
    daemon = behind(POLICY, f"listen: [{', '.join(lines)}]\n")
    plain, first, second, also_plain = ports(daemon)
    for address in (plain, also_plain):
        assert b"Zoe" in ask(address, b"\r\n")
        assert ask(address, line("192.0.2.7") + b"zoe\r\n") == b"No such user\r\n"
    for address, source, stranger in ((first, "127.0.0.1", STRANGER), (second, STRANGER, "127.0.0.1")):
        assert b"Zoe Quill\r\n" in ask(address, line("192.0.2.7") + b"zoe\r\n", source=source)
        with contextlib.suppress(ConnectionResetError):
            assert ask(address, line("192.0.2.7") + b"zoe\r\n", source=stranger) == b""
    assert b"Zoe" in ask(f"{tmp_path}/s", b"\r\n")


def test_a_reload_keeps_the_proxies_and_changes_the_rest(behind: Behind) -> None:
    daemon = behind(POLICY)

    def reload(old: str, new: str) -> None:
        text = daemon.config.read_text()
        assert old in text
        daemon.config.write_text(text.replace(old, new))
        daemon.process.send_signal(signal.SIGHUP)

    with socket.create_connection(daemon.address, TIMEOUT) as begun, daemon.connect() as named:
        begun.sendall(b"PROXY TCP4 192")
        named.sendall(line("192.0.2.7") + b"zo")
        wait_until(lambda: b"Zoe" in exchange(daemon, line("192.0.2.7") + b"zoe\r\n"))
        reload("proxies: [127.0.0.1]", "proxies: [127.0.0.9]")
        daemon.logged("listen has changed: a restart is needed")
        daemon.logged("configuration reloaded")
        assert b"Zoe" in exchange(daemon, line("192.0.2.7") + b"zoe\r\n")
        assert exchange(daemon, line("192.0.2.7") + b"zoe\r\n", source="127.0.0.9") == b""
        reload("192.0.2.67", "192.0.2.7")
        daemon.logged("configuration reloaded")
        begun.sendall(b".0.2.7 192.0.2.1 1 79\r\nzoe\r\n")
        named.sendall(b"e\r\n")
        assert hear(begun) == hear(named) == f"{SERVICE_DENIED}\r\n".encode()


@pytest.mark.parametrize("backend", ["hold", "drop", "discard"])
def test_backends_that_answer_nothing_log_the_named_client(behind: Behind, backend: str) -> None:
    daemon = behind("limits: {read_seconds: 1}\n", backend=f"backend: {{type: {backend}}}\n")
    for sent in (line("192.0.2.7") + b"zoe\r\n", packed("192.0.2.7")):
        assert exchange(daemon, sent) == b""
        outcome = "timeout" if (backend, sent) == ("discard", packed("192.0.2.7")) else "dropped"
        assert outcome_of(daemon) == ("192.0.2.7", outcome, BALANCER)
    assert exchange(daemon, b"zoe\r\n") == b""
    assert outcome_of(daemon) == (BALANCER, "proxy-error", "")
    assert exchange(daemon, packed("192.0.2.7"), hang_up=True) == b""
    assert outcome_of(daemon)[1] in ("hung-up", "dropped")
    assert exchange(daemon, b"", hang_up=True) == b""
    assert outcome_of(daemon) == (BALANCER, "hung-up", "")


def test_what_is_not_named_yet_makes_room_and_ends_with_the_daemon(behind: Behind) -> None:
    daemon = behind("limits: {connections: 3, read_seconds: 5m}\n")
    with contextlib.ExitStack() as clients:
        opened = [clients.enter_context(socket.create_connection(daemon.address, TIMEOUT)) for _ in range(3)]
        for client, sent in zip(opened, (b"PROXY ", line("192.0.2.7"), b""), strict=True):
            client.sendall(sent)
        assert b"Zoe" in exchange(daemon, line("192.0.2.8") + b"zoe\r\n")
        assert outcome_of(daemon)[1] == "dropped"
        assert daemon.stop() == 0
    outcomes = [each for each in daemon.log if "outcome=dropped" in each]
    assert len(outcomes) == 3
    assert any("client=192.0.2.7 " in each and f"via={BALANCER}" in each for each in outcomes)
