"""What a balancer sends before the line, whole, in pieces and malformed."""

import contextlib
import select
import signal
import socket
import time

import pytest

from fingerd.log.format import quote_query
from fingerd.protocol.reply import MALFORMED_QUERY, NO_SUCH_USER, QUERY_TOO_LONG
from tests.helpers.daemons import TIMEOUT, Daemon, descriptors, hear, status, wait_until
from tests.helpers.proxy import LOCAL, PROXY, SIGNATURE, TCP4, TCP6, UNIX_STREAM, addresses, binary, line, packed
from tests.proxied.conftest import Behind, exchange, fields, outcome_of

BALANCER = "127.0.0.1"
READ_SECONDS = 1.0
SHORT = f"limits: {{read_seconds: {READ_SECONDS}}}\n"

HEADERS = {
    "version 1": (line("192.0.2.7"), "192.0.2.7"),
    "version 1, IPv6": (line("2001:db8::7"), "2001:db8::7"),
    "version 1, IPv4-mapped": (line("::ffff:192.0.2.7"), "192.0.2.7"),
    "version 1, UNKNOWN": (b"PROXY UNKNOWN\r\n", BALANCER),
    "version 1, 107 bytes": (b"PROXY UNKNOWN".ljust(105, b"x").replace(b"x", b" ", 1) + b"\r\n", BALANCER),
    "version 2": (packed("192.0.2.7"), "192.0.2.7"),
    "version 2, IPv6": (packed("2001:db8::7"), "2001:db8::7"),
    "version 2, IPv4-mapped": (packed("::ffff:192.0.2.7"), "192.0.2.7"),
    "version 2 with TLVs": (packed("192.0.2.7", b"\x02\x00\x03a.b" + b"\x03\0\x04abcd"), "192.0.2.7"),
    "version 2 of 2 KiB": (packed("192.0.2.7", b"\x04\x07\xe1".ljust(2048 - 28, b"\n")), "192.0.2.7"),
    "version 2, a unix socket": (binary(PROXY, UNIX_STREAM, b"/x".ljust(216, b"\0")), "unix"),
    "LOCAL": (binary(LOCAL, 0), BALANCER),
    "LOCAL with addresses": (binary(LOCAL, TCP4, addresses("192.0.2.7")), BALANCER),
    "UNSPEC": (binary(PROXY, 0), BALANCER),
    "UDP": (binary(PROXY, 0x12, addresses("192.0.2.7")), BALANCER),
}


@pytest.mark.parametrize(("header", "client"), HEADERS.values(), ids=HEADERS)
def test_the_client_is_whom_the_header_names(shared: Daemon, header: bytes, client: str) -> None:
    answer = exchange(shared, header + b"zoe\r\n")
    assert answer.startswith(f"for {client}\r\n".encode())
    assert b"Zoe Quill" in answer
    assert fields(shared.logged("client=")) == {
        "client": client,
        "query": '"zoe"',
        "outcome": "answered",
        "via": BALANCER,
    }
    for ending in (b"zoe\n", b"zoe\r", b"zoe\r\0more"):
        assert exchange(shared, header + ending) == answer
    assert exchange(shared, header + b"zoe", hang_up=True) == answer
    for _ in range(4):
        assert outcome_of(shared) == (client, "answered", BALANCER)


@pytest.mark.parametrize("header", [line("192.0.2.7"), packed("192.0.2.7", b"\x04\0\x01\n")], ids=["line", "binary"])
def test_it_may_come_in_any_number_of_packets(behind: Behind, header: bytes) -> None:
    daemon = behind()
    whole = header + b"zoe\r\n"
    places = [[end] for end in range(1, len(whole))] + [list(range(1, len(whole)))]
    for ends in places:
        with socket.create_connection(daemon.address, TIMEOUT) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for begin, end in zip([0, *ends], [*ends, len(whole)], strict=True):
                client.sendall(whole[begin:end])
                select.select([], [], [], 0)
            assert b"Zoe Quill" in hear(client)
    assert daemon.stop() == 0
    lines = [fields(each) for each in daemon.log if "client=" in each]
    assert len(lines) == len(places)
    assert {(each["client"], each["query"], each["outcome"]) for each in lines} == {("192.0.2.7", '"zoe"', "answered")}


@pytest.mark.parametrize("header", [line("192.0.2.7"), packed("192.0.2.7", b"\x04\0\x01\n")], ids=["line", "binary"])
def test_one_that_ends_early_is_an_error_at_every_byte(behind: Behind, header: bytes) -> None:
    daemon = behind()
    for size in range(1, len(header)):
        assert exchange(daemon, header[:size], hang_up=True) == b""
    assert exchange(daemon, header, hang_up=True) == b""
    assert daemon.stop() == 0
    *early, last = [fields(each) for each in daemon.log if "client=" in each]
    assert [each["query"] for each in early] == [quote_query(header[:size]) for size in range(1, len(header))]
    assert {(each["client"], each["outcome"], each["via"]) for each in early} == {(BALANCER, "proxy-error", "")}
    assert (last["client"], last["outcome"], last["via"]) == ("192.0.2.7", "hung-up", BALANCER)


BROKEN = {
    "none": b"zoe\r\n",
    "none, and HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "none, and TLS": b"\x16\x03\x01\x02\0\x01\0",
    "the query before it": b"zoe\r\n" + line("192.0.2.7"),
    "108 bytes": b"PROXY UNKNOWN".ljust(106) + b"\r\n",
    "a line without end": b"PROXY UNKNOWN".ljust(107),
    "a line feed alone": line("192.0.2.7").replace(b"\r", b""),
    "another family": b"PROXY TCP4 2001:db8::7 2001:db8::1 1 79\r\n",
    "UDP": line("192.0.2.7").replace(b"TCP", b"UDP"),
    "a host name": b"PROXY TCP4 localhost localhost 1 79\r\n",
    "a zone": b"PROXY TCP6 fe80::1%lo fe80::2 1 79\r\n",
    "port 65536": line("192.0.2.7", port=65536),
    "version 1 in binary": SIGNATURE + b"\x11\x11\0\x0c" + addresses("192.0.2.7"),
    "command 2": binary(2, TCP4, addresses("192.0.2.7")),
    "family 4": binary(PROXY, 0x41, addresses("192.0.2.7")),
    "protocol 3": binary(PROXY, 0x13, addresses("192.0.2.7")),
    "IPv4 as IPv6": binary(PROXY, TCP6, addresses("192.0.2.7")),
    "no addresses": binary(PROXY, TCP4),
    "a length of 65535": binary(PROXY, TCP4, addresses("192.0.2.7"), 65535),
    "65535 bytes": packed("192.0.2.7", b"\0" * (65535 - 12)),
    "one byte more than 2 KiB": packed("192.0.2.7", b"\0" * (2048 - 27)),
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_a_malformed_one_is_closed_at_once_without_a_word(shared: Daemon, sent: bytes) -> None:
    with socket.create_connection(shared.address, TIMEOUT) as client:  # which does not hang up
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            client.sendall(sent)
            assert hear(client) == b""
        assert outcome_of(shared) == (BALANCER, "proxy-error", "")


def test_a_connection_with_nothing_sent_is_hung_up(shared: Daemon) -> None:
    assert exchange(shared, b"", hang_up=True) == b""
    assert outcome_of(shared) == (BALANCER, "hung-up", "")


SECOND = (
    (line("192.0.2.66"), NO_SUCH_USER),
    (b"PROXY UNKNOWN\r\n", NO_SUCH_USER),
    (packed("192.0.2.66"), ""),
    (binary(LOCAL, 0), ""),
    (b"x" + packed("192.0.2.66")[4:12] + b"\r\n", MALFORMED_QUERY),
)


@pytest.mark.parametrize("first", [line("192.0.2.7"), packed("192.0.2.7")], ids=["after version 1", "after version 2"])
def test_a_second_header_is_only_a_query(behind: Behind, first: bytes) -> None:
    """That of version 2 begins with an empty line, which asks for the list; and the client stays who it is."""
    daemon = behind("policy: [{from: 192.0.2.7, list: true}, {from: any, deny: true}]\n")
    for second, answer in SECOND:
        heard = exchange(daemon, first + second + b"zoe\r\n")
        assert heard == f"{answer}\r\n".encode() if answer else b"Zoe Quill" in heard
        assert outcome_of(daemon)[::2] == ("192.0.2.7", BALANCER)


def test_the_line_may_be_as_long_as_without_a_header(behind: Behind) -> None:
    daemon = behind("limits: {query_bytes: 100}\n")
    for header in (line("192.0.2.7"), packed("192.0.2.7", b"\0" * 1900)):
        for split in (False, True):
            for size, words in ((100, NO_SUCH_USER), (101, QUERY_TOO_LONG), (3000, QUERY_TOO_LONG)):
                for ending in (b"\r\n", b""):
                    if not ending and size == 100:
                        continue
                    with socket.create_connection(daemon.address, TIMEOUT) as client:
                        client.sendall(header if split else header + b"a" * size + ending)
                        if split:
                            client.sendall(b"a" * size + ending)
                        if not ending and size == 101:
                            client.sendall(b"aa")  # as many bytes as a query and its end have
                        assert hear(client) == f"{words}\r\n".encode()


def test_what_is_no_header_in_time_is_none(behind: Behind) -> None:
    """An empty query is the beginning of a header, too."""
    daemon = behind(SHORT)
    clients = []
    begun = time.monotonic()
    for sent in (b"\r\n", b"\r\n\r\n\0", line("192.0.2.7")[:-1], packed("192.0.2.7")[:-1]):
        clients.append(socket.create_connection(daemon.address, TIMEOUT))
        clients[-1].sendall(sent)
    for client in clients:
        with client, contextlib.suppress(ConnectionResetError):
            assert hear(client) == b""
        assert outcome_of(daemon) == (BALANCER, "proxy-error", "")
    assert READ_SECONDS * 0.9 < time.monotonic() - begun < READ_SECONDS * 8


LATE = {
    "a long header": packed("192.0.2.7", b"\0" * 600) + b"zoe\r\n",
    "a long query": packed("192.0.2.7") + b"x" * 900 + b"\r\n",
    "both": packed("192.0.2.7", b"\0" * 440) + b"x" * 900 + b"\r\n",
}


@pytest.mark.parametrize("sent", LATE.values(), ids=LATE)
def test_a_client_that_had_asked_is_answered_after_a_stall(behind: Behind, sent: bytes) -> None:
    """The process is stopped for longer than read_seconds, while most of the header and the query come."""
    daemon = behind(SHORT)
    held = descriptors(daemon.process.pid)
    with socket.create_connection(daemon.address, TIMEOUT) as client:
        client.sendall(sent[:1])
        wait_until(lambda: descriptors(daemon.process.pid) > held)
        daemon.process.send_signal(signal.SIGSTOP)
        client.sendall(sent[1:])
        time.sleep(READ_SECONDS * 1.5)
        daemon.process.send_signal(signal.SIGCONT)
        assert hear(client)
    assert outcome_of(daemon)[::2] == ("192.0.2.7", BALANCER)


def test_header_and_line_together_have_read_seconds(behind: Behind) -> None:
    daemon = behind(SHORT)
    whole = line("192.0.2.7") + b"zoe"
    begun = time.monotonic()
    clients = {name: socket.create_connection(daemon.address, TIMEOUT) for name in ("silent", "begun", "named", "drip")}
    try:
        clients["begun"].sendall(whole[:10])
        clients["named"].sendall(whole)
        for byte in whole * 20:
            try:
                clients["drip"].sendall(bytes((byte,)))
                if select.select([clients["drip"]], [], [], 0.05)[0]:
                    break
            except OSError:
                break
        for client in clients.values():
            with contextlib.suppress(ConnectionResetError):
                assert hear(client) == b""
    finally:
        for client in clients.values():
            client.close()
    assert time.monotonic() - begun < READ_SECONDS * 8
    found = sorted(outcome_of(daemon) for _ in clients)
    assert found.count(("192.0.2.7", "timeout", BALANCER)) >= 1
    assert found.count((BALANCER, "timeout", "")) == 1  # nothing was sent
    assert (BALANCER, "proxy-error", "") in found


def test_headers_that_do_not_end_take_bounded_memory(behind: Behind) -> None:
    daemon = behind("limits: {per_client: 1}\n")
    pid = daemon.process.pid
    before, held = int(status(pid, "VmRSS")[0]), descriptors(pid)
    header = packed("192.0.2.7", b"\0" * (2048 - 28))[:-1]
    clients = [socket.create_connection(daemon.address, TIMEOUT) for _ in range(300)]
    try:
        for client in clients:
            client.sendall(header)
        wait_until(lambda: descriptors(pid) >= held + len(clients))
        assert exchange(daemon, line("192.0.2.9") + b"zoe\r\n")  # by then the others have been read
        assert int(status(pid, "VmRSS")[0]) - before < 300 * 8
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(b"\0" + b"zoe\r\n" + b"\0" * 100_000)
        assert b"Zoe" in exchange(daemon, line("192.0.2.8") + b"zoe\r\n")
        assert int(status(pid, "VmRSS")[0]) - before < 300 * 16  # KiB
    finally:
        for client in clients:
            client.close()
