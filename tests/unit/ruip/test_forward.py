"""Forwarding to another RUIP, a server on loopback."""

import contextlib
import errno
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from fingerd.backends.static import Static
from fingerd.errors import ForwardError
from fingerd.net import resolver as lookup
from fingerd.net.stream import connect
from fingerd.protocol.query import Query
from fingerd.ruip.forward import Forwarder
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.ruip import Answer, AnswerContext, ReplyOptions, Ruip
from fingerd.ruip.targets import parse_host_pattern
from tests.helpers.daemons import TIMEOUT, hear, wait_until

DENIED = b"Finger forwarding service denied\r\n"
UNKNOWN = b"No such host\r\n"
UNREACHABLE = b"Host cannot be reached\r\n"
SILENT = b"Host does not answer\r\n"
CUT = b"[answer cut]\r\n"

Answerer = Callable[[socket.socket, bytes], None]


@contextlib.contextmanager
def next_host(answerer: Answerer, family: socket.AddressFamily = socket.AF_INET) -> Iterator[int]:
    """A server on loopback, which passes one client and its line to ``answerer``; yields the port."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        listener.listen()
        listener.settimeout(TIMEOUT)

        def answer() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as client:
                client.settimeout(TIMEOUT)
                line = b""
                while not line.endswith(b"\n"):
                    data = client.recv(1)
                    if not data:
                        return
                    line += data
                answerer(client, line)

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def forward(
    port: int,
    line: bytes,
    *targets: str,
    options: ReplyOptions | None = None,
    limit: int = 1 << 18,
    seconds: float = TIMEOUT,
) -> Answer:
    """The answer to the line, if queries may be forwarded to these targets, at that port."""
    rule = Rule(("any",), forward=tuple(map(parse_host_pattern, targets)) or False)
    users = Static({"alice": "Here"})
    ruip = Ruip(users, Policy([rule]), options or ReplyOptions(), 1024, limit, forwarder=Forwarder(port=port))
    return ruip.answer_line(line, AnswerContext("192.0.2.7", time.monotonic() + seconds, 0.0))


def repeat(client: socket.socket, line: bytes) -> None:
    client.sendall(b"asked <" + line.rstrip(b"\n").replace(b"\r", b"\\r") + b">\n")


ASKED = {
    "a user": (b"bob@127.0.0.1", b"asked <bob\\r>"),
    "the list": (b"@127.0.0.1", b"asked <\\r>"),
    "verbose": (b"/W bob@127.0.0.1", b"asked </W bob\\r>"),
    "verbose at the end": (b"bob@127.0.0.1 /w", b"asked </W bob\\r>"),
    "the verbose list": (b"/W @127.0.0.1", b"asked </W\\r>"),
    "along a route": (b"bob@x.example@y@127.0.0.1", b"asked <bob@x.example@y\\r>"),
    "the list along a route": (b"/W @x@127.0.0.1", b"asked </W @x\\r>"),
    "names with spaces": (b" mark  mel @127.0.0.1 ", b"asked <mark  mel\\r>"),
    "in UTF-8": ("jürgen@127.0.0.1".encode(), "asked <jürgen\\r>".encode()),
    "in windows-1252": (b"j\xfcrgen o\x92brien@127.0.0.1", "asked <jürgen o’brien\\r>".encode()),
    "a route that only the next host can read": (b"bob@x:79@127.0.0.1", b"asked <bob@x:79\\r>"),
}


@pytest.mark.parametrize(("line", "asked"), ASKED.values(), ids=ASKED)
def test_the_right_most_host_is_sent_the_rest(line: bytes, asked: bytes) -> None:
    with next_host(repeat) as port:
        answer = forward(port, line + b"\r\n", "127.0.0.1")
    assert answer == Answer("answered", b"[127.0.0.1]\r\n" + asked + b"\r\n")


def test_queries_are_forwarded_to_names_and_ipv6_addresses() -> None:
    with next_host(repeat) as port:
        answer = forward(port, b"bob@LocalHost\r\n", "localhost", "127.0.0.0/8", "::1")
    assert answer == Answer("answered", b"[localhost]\r\nasked <bob\\r>\r\n")
    with next_host(repeat, socket.AF_INET6) as port:
        answer = forward(port, b"bob@[::1]\r\n", "::1")
    assert answer == Answer("answered", b"[::1]\r\nasked <bob\\r>\r\n")


REFUSED = {
    "no host is allowed": (b"bob@127.0.0.1", ()),
    "another host is allowed": (b"bob@127.0.0.1", ("127.0.0.2", "localhost")),
    "an address by its name": (b"bob@localhost", ("127.0.0.1",)),
    "a name whose address is loopback": (b"bob@localhost", ("localhost", "*", "0.0.0.0/0", "::/0")),
    "an address that is not named explicitly": (b"bob@127.0.0.1", ("*", "0.0.0.0/0")),
    "a port": (b"bob@127.0.0.1:79", ("127.0.0.1", "*")),
    "a loop": (b"bob@127.0.0.1@x@127.0.0.1", ("127.0.0.1",)),
}


@pytest.mark.parametrize(("line", "targets"), REFUSED.values(), ids=REFUSED)
def test_a_target_that_is_not_allowed_is_refused_without_a_connection(line: bytes, targets: tuple[str, ...]) -> None:
    asked: list[bytes] = []
    with next_host(lambda _, line: asked.append(line)) as port:
        assert forward(port, line, *targets) == Answer("refused", DENIED)
    assert asked == []


ROUTES: dict[str, tuple[dict[str, int], int]] = {
    "the default": ({}, 3),
    "one host": ({"forward_hosts": 1}, 1),
    "two hosts": ({"forward_hosts": 2}, 2),
    "as many as may be": ({"forward_hosts": 16}, 16),
}


@pytest.mark.parametrize(("options", "limit"), ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("user", ["bob", "", "/W bob"], ids=["a user", "the list", "verbose"])
def test_a_query_with_more_hosts_than_the_rule_allows_is_refused_without_a_connection(
    user: str, options: dict[str, int], limit: int
) -> None:
    asked: list[bytes] = []
    with next_host(lambda _, line: asked.append(line)) as port:
        rule = Rule(("any",), forward=(parse_host_pattern("127.0.0.1"),), **options)  # type: ignore[arg-type]
        ruip = Ruip(Static({}), Policy([rule]), ReplyOptions(), 1024, 1 << 18, forwarder=Forwarder(port=port))

        def outcome(count: int) -> str:
            route = "".join(f"@h{number}" for number in range(count - 1))
            context = AnswerContext("192.0.2.7", time.monotonic() + TIMEOUT, 0.0)
            return ruip.answer_line(f"{user}{route}@127.0.0.1\r\n".encode(), context).outcome

        for more in (1, 2, 100):
            assert outcome(limit + more) == "refused"
        assert asked == []
        assert outcome(limit) == "answered"
    assert len(asked) == 1


def pieces(*data: bytes) -> Answerer:
    """Sends these pieces and closes."""

    def answerer(client: socket.socket, _: bytes) -> None:
        for piece in data:
            client.sendall(piece)

    return answerer


def reset(client: socket.socket, _: bytes) -> None:
    """Send a part, and reset the connection once that has been received."""
    client.sendall(b"one\r\ntw")
    while client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24:28] != bytes(4):  # tcpi_unacked
        time.sleep(0.01)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def wait(client: socket.socket, _: bytes) -> None:
    """Send nothing until the other side closes."""
    hear(client)


def begin(client: socket.socket, line: bytes) -> None:
    client.sendall(b"one\r\ntw")
    wait(client, line)


HEAD = b"[127.0.0.1]\r\n"
ANSWERS: dict[str, tuple[Answerer, Answer]] = {
    "a text": (pieces(b"one\r\n", b"two\r\n"), Answer("answered", HEAD + b"one\r\ntwo\r\n")),
    "nothing": (pieces(), Answer("answered", HEAD)),
    "lines that end in LF, or in nothing": (pieces(b"one\ntwo"), Answer("answered", HEAD + b"one\r\ntwo\r\n")),
    "lines in pieces": (pieces(b"o", b"ne\r", b"\ntwo", b"\n"), Answer("answered", HEAD + b"one\r\ntwo\r\n")),
    "escape sequences": (
        pieces(b"\x1b]2;x\x07\x9b2J\ta\0\x7f\r\n"),
        Answer("answered", HEAD + "?]2;x?›2J\ta??\r\n".encode()),
    ),
    "C1 in UTF-8": (pieces("a\x9bb\n".encode()), Answer("answered", HEAD + b"a?b\r\n")),
    "windows-1252 after UTF-8": (
        pieces("grün’s\n".encode() + b"gr\xfcn\x92s \x81\n"),
        Answer("answered", HEAD + "grün’s\r\ngrün’s ?\r\n".encode()),
    ),
    "a part, and a reset": (reset, Answer("answered", HEAD + b"one\r\ntw\r\n" + CUT)),
    "a part, and nothing more in time": (begin, Answer("answered", HEAD + b"one\r\ntw\r\n" + CUT)),
    "nothing in time": (wait, Answer("busy", SILENT)),
}


@pytest.mark.parametrize(("answerer", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_the_answer_of_the_next_host_follows_its_name(answerer: Answerer, answer: Answer) -> None:
    with next_host(answerer) as port:
        assert forward(port, b"bob@127.0.0.1", "127.0.0.1", seconds=1) == answer


def test_an_endless_answer_is_cut_at_the_limit() -> None:
    def answerer(client: socket.socket, _: bytes) -> None:
        while True:
            client.sendall(b"x" * 78 + b"\r\n")

    with next_host(answerer) as port:
        outcome, reply, *_ = forward(port, b"bob@127.0.0.1", "127.0.0.1", limit=100_000)
    assert outcome == "answered"
    assert reply == HEAD + (b"x" * 78 + b"\r\n") * 1249 + CUT
    with next_host(pieces(b"one\r\n" * 100)) as port:
        assert forward(port, b"bob@127.0.0.1", "127.0.0.1", limit=8) == Answer("answered", CUT)


def test_header_and_footer_enclose_the_answer_and_a_failure() -> None:
    options = ReplyOptions("ascii", "{user}:", "bye")
    with next_host(pieces("grün\n".encode())) as port:
        answer = forward(port, b"bob@127.0.0.1", "127.0.0.1", options=options)
    assert answer == Answer("answered", b"bob:\r\n" + HEAD + b"gr?n\r\nbye\r\n")
    answer = forward(port, b"bob@127.0.0.1", "127.0.0.1", options=options)
    assert answer == Answer("error", b"bob:\r\n" + UNREACHABLE + b"bye\r\n")


def test_the_answer_of_another_host_is_not_cached() -> None:
    rule = Rule(("any",), forward=(parse_host_pattern("127.0.0.1"),))
    for data in (b"first\n", b"second\n"):
        with next_host(pieces(data)) as port:
            ruip = Ruip(
                Static({"alice": "Here"}), Policy([rule]), ReplyOptions(), 1024, 1 << 18, forwarder=Forwarder(port=port)
            )
            context = AnswerContext("192.0.2.7", time.monotonic() + TIMEOUT, 0.0)
            assert ruip.answer_line(b"bob@127.0.0.1", context).reply == HEAD + data.replace(b"\n", b"\r\n")
        assert ruip.answer_line(b"bob@127.0.0.1", context).reply == UNREACHABLE
        assert ruip.answer_line(b"alice", context).reply == b"Here\r\n"


def test_pieces_are_sent_as_they_arrive_until_the_client_is_gone() -> None:
    sent: list[bytes] = []
    received = threading.Event()

    def answerer(client: socket.socket, _: bytes) -> None:
        client.sendall(b"one\ntw")
        assert received.wait(TIMEOUT)
        client.sendall(b"o\nthree\n")
        wait(client, b"")

    def tell(part: bytes) -> bool:
        sent.append(part)
        received.set()
        return len(sent) < 2

    with next_host(answerer) as port:
        rule = Rule(("any",), forward=(parse_host_pattern("127.0.0.1"),))
        ruip = Ruip(Static({}), Policy([rule]), ReplyOptions(), 1024, 1 << 18, forwarder=Forwarder(port=port))
        context = AnswerContext("192.0.2.7", time.monotonic() + TIMEOUT, 0.0, tell)
        assert ruip.answer_line(b"bob@127.0.0.1", context) == Answer("answered", b"two\r\nthree\r\n")  # not sent
    assert sent == [HEAD + b"one\r\n", b"two\r\nthree\r\n"]


def test_a_failure_and_a_refused_address_are_logged_with_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "fingerd")
    with next_host(repeat) as port:
        pass
    assert forward(port, b"bob@127.0.0.1", "127.0.0.1") == Answer("error", UNREACHABLE)
    assert forward(port, b"bob@localhost", "localhost") == Answer("refused", DENIED)
    assert [record.getMessage() for record in caplog.records] == [
        "forwarding to 127.0.0.1 failed: Connection refused",
        "not forwarded to localhost: its address is ours, or neither public nor named by the rule",
    ]


def failure(host: str, seconds: float = TIMEOUT, client: str = "192.0.2.7") -> ForwardError:
    """The error of forwarding to the host, by a forwarder of its own, as after a reload."""
    asked = Forwarder().ask(Query("", (host,)), ["*"], client, time.monotonic() + seconds)
    with pytest.raises(ForwardError) as caught, asked:
        pass
    return caught.value


def test_lookups_that_never_end_use_a_bounded_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    looked_up: list[object] = []

    def getaddrinfo(*arguments: object, **_: object) -> list[object]:
        looked_up.append(arguments[0])
        assert released.wait(TIMEOUT)
        return []

    monkeypatch.setattr(lookup, "MAX_LOOKUPS", 6)
    monkeypatch.setattr(lookup, "PER_KEY_FRACTION", 3)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"):
        for number in range(3):
            error = failure(f"host{number}", 0.1, client)
            assert (error.outcome, error.reply_text) == ("busy", "Host does not answer")
    assert looked_up == ["host0", "host1"] * 3
    released.set()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "lookup"])
    assert failure("host4", client="192.0.2.1").outcome == "refused", "a name without an address"


def test_a_query_is_forwarded_in_its_own_charset() -> None:
    lines: list[bytes] = []
    with next_host(lambda _, line: lines.append(line)) as port:
        forward(port, b"/w caf\xe9@x@127.0.0.1\r\n", "127.0.0.1")
    with next_host(lambda _, line: lines.append(line)) as port:
        forward(port, "café@127.0.0.1\r\n".encode(), "127.0.0.1")
    assert lines == [b"/W caf\xe9@x\r\n", "café\r\n".encode()]


def test_without_a_thread_for_the_lookup_the_host_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(lookup.MAX_LOOKUPS + 1):
        assert failure("localhost").outcome == "error"


def test_a_host_without_ipv6_connects_to_the_ipv4_address(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket(socket.socket):
        def __init__(self, family: int = -1, kind: int = -1, proto: int = -1, fileno: int | None = None) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, kind, proto, fileno)

    forwarder = Forwarder(is_served=True)
    for own, address in ((False, "2620:fe::1"), (True, "127.0.0.1"), (True, "0.0.0.0"), (False, "9.9.9.9")):
        monkeypatch.setattr(socket, "socket", Socket)
        assert forwarder._is_self(ip_address(address)) is own
        monkeypatch.undo()
    with next_host(repeat) as port:
        monkeypatch.setattr(socket, "socket", Socket)
        endpoints = [(socket.AF_INET6, ("::1", port)), (socket.AF_INET, ("127.0.0.1", port))]
        with connect(endpoints, time.monotonic() + TIMEOUT):
            pass
        monkeypatch.undo()


def test_after_the_deadline_nothing_is_looked_up() -> None:
    assert failure("localhost", -1).outcome == "busy"
