"""Forwarding: how the answers of other hosts pass through. Between real hosts with real names, as far as root can."""

import contextlib
import errno
import itertools
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.backends.static import Static
from fingerd.errors import ForwardError
from fingerd.net import resolver as lookup
from fingerd.net.stream import connect
from fingerd.protocol.query import Query
from fingerd.protocol.reply import cut_reply, encode_reply
from fingerd.ruip.forward import Forwarder
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.relay import Relay
from fingerd.ruip.ruip import Answer, AnswerContext, ReplyOptions, Ruip
from fingerd.ruip.targets import parse_host_pattern
from fingerd.text import read_text
from tests.conftest import Start
from tests.daemon.test_reload import config_of, reload
from tests.helpers.daemons import FINGERD, TIMEOUT, Daemon, Host, ask, hear, let_everybody_in, wait_until
from tests.helpers.requirements import find, needs

DENIED = b"Finger forwarding service denied\r\n"
UNKNOWN = b"No such host\r\n"
UNREACHABLE = b"Host cannot be reached\r\n"
SILENT = b"Host does not answer\r\n"
CUT = b"[answer cut]\r\n"

# How an answer passes through

PIECES = st.lists(
    st.sampled_from(
        [b"a", b"line\r\n", b"\n", b"\r", b"\r\n", b"\xc3\xa9", b"\xc3", b"\xff", b"\x1b[2J", b"\t", "€".encode()]
    )
)


@given(PIECES, st.data(), st.integers(14, 80), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_pieces_are_together_what_the_whole_would_be(
    pieces: list[bytes], data: st.DataObject, limit: int, charset: str
) -> None:
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    relay = Relay(charset, limit)
    told = b"".join(relay.take(whole[start:end]) for start, end in itertools.pairwise([0, *cuts, len(whole)]))
    told += relay.end()
    try:
        text = whole.decode()
    except UnicodeDecodeError:
        text = "".join(read_text(line) for line in whole.splitlines(keepends=True))
    assert told == (cut_reply(encode_reply(text, charset), limit) if whole else b"")


@given(PIECES, st.integers(64, 200))
def test_an_answer_that_breaks_off_says_so_and_keeps_to_the_limit(pieces: list[bytes], limit: int) -> None:
    relay = Relay("utf-8", limit)
    told = b"".join(map(relay.take, pieces)) + relay.end(is_cut=True)
    assert told.endswith(CUT)
    assert len(told) <= limit
    assert not re.search(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]", told)
    told.decode()


def test_half_a_character_where_an_answer_breaks_off_spoils_nothing() -> None:
    relay = Relay("utf-8", 100)
    assert relay.take("grün\r\ngrü".encode()[:-1]) == "grün\r\n".encode()
    assert relay.end(is_cut=True) == b"gr\r\n" + CUT


def test_a_line_goes_out_as_soon_as_it_is_whole_and_there_is_surely_room() -> None:
    relay = Relay("utf-8", 30)
    assert relay.take(b"one\r\ntw") == b"one\r\n"
    assert relay.take(b"o\nthree") == b"two\r\n"
    assert relay.take(b"\r\nfour\n") == b""  # unless the answer is longer, in which case it has to go
    assert not relay.is_full
    assert relay.end() == b"three\r\nfour\r\n"
    relay = Relay("utf-8", 30)
    assert relay.take(b"one\ntwo\nthree\nfour\nfive\nsix\n") == b"one\r\ntwo\r\n"
    assert relay.is_full
    assert relay.end() == CUT


def test_a_line_without_an_end_is_not_gathered_for_ever() -> None:
    relay = Relay("ascii", 100)
    for taken in itertools.count(1):
        assert relay.take(b"x" * 50) == b""
        if relay.is_full:
            break
    assert taken < 10
    assert relay.end() == b"x" * 84 + b"\r\n" + CUT


# What the RUIP makes of the next one, on loopback

Say = Callable[[socket.socket, bytes], None]


@contextlib.contextmanager
def neighbour(say: Say, family: socket.AddressFamily = socket.AF_INET) -> Iterator[int]:
    """The port of somebody on loopback who says this to one client, given its line."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        listener.listen()
        listener.settimeout(TIMEOUT)

        def answer() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as client:
                client.settimeout(TIMEOUT)
                line = b""
                while not line.endswith(b"\n"):
                    heard = client.recv(1)
                    if not heard:
                        return
                    line += heard
                say(client, line)

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def told_by(
    port: int,
    line: bytes,
    *targets: str,
    wording: ReplyOptions | None = None,
    limit: int = 1 << 18,
    seconds: float = TIMEOUT,
) -> Answer:
    """What becomes of the line where queries may go to these targets, at that port."""
    rule = Rule(("any",), forward=tuple(map(parse_host_pattern, targets)) or False)
    users = Static({"alice": "Here"})
    ruip = Ruip(users, Policy([rule]), wording or ReplyOptions(), 1024, limit, forwarder=Forwarder(port=port))
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
    "names with blanks": (b" mark  mel @127.0.0.1 ", b"asked <mark  mel\\r>"),
    "in UTF-8": ("jürgen@127.0.0.1".encode(), "asked <jürgen\\r>".encode()),
    "in Latin-1": ("jürgen@127.0.0.1".encode("latin-1"), "asked <jürgen\\r>".encode()),
    "for what only the next host may know": (b"bob@x:79@127.0.0.1", b"asked <bob@x:79\\r>"),
}


@pytest.mark.parametrize(("line", "asked"), ASKED.values(), ids=ASKED)
def test_the_right_most_host_is_asked_for_the_rest(line: bytes, asked: bytes) -> None:
    with neighbour(repeat) as port:
        answer = told_by(port, line + b"\r\n", "127.0.0.1")
    assert answer == Answer("answered", b"[127.0.0.1]\r\n" + asked + b"\r\n")


def test_a_name_and_an_ipv6_address_can_be_asked() -> None:
    with neighbour(repeat) as port:
        answer = told_by(port, b"bob@LocalHost\r\n", "localhost", "127.0.0.0/8", "::1")
    assert answer == Answer("answered", b"[localhost]\r\nasked <bob\\r>\r\n")
    with neighbour(repeat, socket.AF_INET6) as port:
        answer = told_by(port, b"bob@[::1]\r\n", "::1")
    assert answer == Answer("answered", b"[::1]\r\nasked <bob\\r>\r\n")


REFUSED = {
    "no host is allowed": (b"bob@127.0.0.1", ()),
    "another one is": (b"bob@127.0.0.1", ("127.0.0.2", "localhost")),
    "an address by its name": (b"bob@localhost", ("127.0.0.1",)),
    "a name that stands for loopback": (b"bob@localhost", ("localhost", "*", "0.0.0.0/0", "::/0")),
    "an address that is not named itself": (b"bob@127.0.0.1", ("*", "0.0.0.0/0")),
    "a port": (b"bob@127.0.0.1:79", ("127.0.0.1", "*")),
    "a route that comes back": (b"bob@127.0.0.1@x@127.0.0.1", ("127.0.0.1",)),
}


@pytest.mark.parametrize(("line", "targets"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_allowed_is_refused_and_nobody_is_asked(line: bytes, targets: tuple[str, ...]) -> None:
    asked: list[bytes] = []
    with neighbour(lambda _, line: asked.append(line)) as port:
        assert told_by(port, line, *targets) == Answer("refused", DENIED)
    assert asked == []


def pieces(*said: bytes) -> Say:
    """Somebody who says this and goes."""

    def say(client: socket.socket, _: bytes) -> None:
        for piece in said:
            client.sendall(piece)

    return say


def reset(client: socket.socket, _: bytes) -> None:
    """Begin, and let the connection break once that has been heard."""
    client.sendall(b"one\r\ntw")
    while client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24:28] != bytes(4):  # tcpi_unacked
        time.sleep(0.01)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def wait(client: socket.socket, _: bytes) -> None:
    """Say nothing more until the other side goes."""
    hear(client)


def begin(client: socket.socket, line: bytes) -> None:
    client.sendall(b"one\r\ntw")
    wait(client, line)


HEAD = b"[127.0.0.1]\r\n"
SAID: dict[str, tuple[Say, Answer]] = {
    "a text": (pieces(b"one\r\n", b"two\r\n"), Answer("answered", HEAD + b"one\r\ntwo\r\n")),
    "nothing": (pieces(), Answer("answered", HEAD)),
    "lines that end in LF, or not at all": (pieces(b"one\ntwo"), Answer("answered", HEAD + b"one\r\ntwo\r\n")),
    "lines in pieces": (pieces(b"o", b"ne\r", b"\ntwo", b"\n"), Answer("answered", HEAD + b"one\r\ntwo\r\n")),
    "escape sequences": (pieces(b"\x1b]2;x\x07\x9b2J\ta\0\x7f\r\n"), Answer("answered", HEAD + b"?]2;x??2J\ta??\r\n")),
    "Latin-1 after UTF-8": (
        pieces("grün\n".encode() + "grün\n".encode("latin-1")),
        Answer("answered", HEAD + "grün\r\ngrün\r\n".encode()),
    ),
    "a part, and a reset": (reset, Answer("answered", HEAD + b"one\r\ntw\r\n" + CUT)),
    "a part, and nothing more in time": (begin, Answer("answered", HEAD + b"one\r\ntw\r\n" + CUT)),
    "nothing in time": (wait, Answer("busy", SILENT)),
}


@pytest.mark.parametrize(("say", "answer"), SAID.values(), ids=SAID)
def test_what_the_next_host_says_is_told_under_its_name(say: Say, answer: Answer) -> None:
    with neighbour(say) as port:
        assert told_by(port, b"bob@127.0.0.1", "127.0.0.1", seconds=1) == answer


def test_an_endless_answer_is_cut_at_the_limit() -> None:
    def say(client: socket.socket, _: bytes) -> None:
        while True:
            client.sendall(b"x" * 78 + b"\r\n")

    with neighbour(say) as port:
        outcome, reply = told_by(port, b"bob@127.0.0.1", "127.0.0.1", limit=100_000)
    assert outcome == "answered"
    assert reply == HEAD + (b"x" * 78 + b"\r\n") * 1249 + CUT
    with neighbour(pieces(b"one\r\n" * 100)) as port:
        assert told_by(port, b"bob@127.0.0.1", "127.0.0.1", limit=8) == Answer("answered", CUT)


def test_a_header_and_a_footer_stand_around_all_of_it_and_around_a_failure() -> None:
    wording = ReplyOptions("ascii", "{user}:", "bye")
    with neighbour(pieces("grün\n".encode())) as port:
        answer = told_by(port, b"bob@127.0.0.1", "127.0.0.1", wording=wording)
    assert answer == Answer("answered", b"bob:\r\n" + HEAD + b"gr?n\r\nbye\r\n")
    answer = told_by(port, b"bob@127.0.0.1", "127.0.0.1", wording=wording)
    assert answer == Answer("error", b"bob:\r\n" + UNREACHABLE + b"bye\r\n")


def test_an_answer_to_another_host_s_query_is_not_remembered() -> None:
    rule = Rule(("any",), forward=(parse_host_pattern("127.0.0.1"),))
    for said in (b"first\n", b"second\n"):
        with neighbour(pieces(said)) as port:
            ruip = Ruip(
                Static({"alice": "Here"}), Policy([rule]), ReplyOptions(), 1024, 1 << 18, forwarder=Forwarder(port=port)
            )
            asker = AnswerContext("192.0.2.7", time.monotonic() + TIMEOUT, 0.0)
            assert ruip.answer_line(b"bob@127.0.0.1", asker).reply == HEAD + said.replace(b"\n", b"\r\n")
        assert ruip.answer_line(b"bob@127.0.0.1", asker).reply == UNREACHABLE
        assert ruip.answer_line(b"alice", asker).reply == b"Here\r\n"


def test_pieces_are_told_as_they_come_until_nobody_listens() -> None:
    told: list[bytes] = []
    heard = threading.Event()

    def say(client: socket.socket, _: bytes) -> None:
        client.sendall(b"one\ntw")
        assert heard.wait(TIMEOUT)
        client.sendall(b"o\nthree\n")
        wait(client, b"")

    def tell(part: bytes) -> bool:
        told.append(part)
        heard.set()
        return len(told) < 2

    with neighbour(say) as port:
        rule = Rule(("any",), forward=(parse_host_pattern("127.0.0.1"),))
        ruip = Ruip(Static({}), Policy([rule]), ReplyOptions(), 1024, 1 << 18, forwarder=Forwarder(port=port))
        asker = AnswerContext("192.0.2.7", time.monotonic() + TIMEOUT, 0.0, tell)
        assert ruip.answer_line(b"bob@127.0.0.1", asker) == Answer("answered", b"two\r\nthree\r\n")  # not taken
    assert told == [HEAD + b"one\r\n", b"two\r\nthree\r\n"]


def test_a_failure_is_logged_with_its_cause_and_a_refusal_by_the_address_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "fingerd")
    with neighbour(repeat) as port:
        pass
    assert told_by(port, b"bob@127.0.0.1", "127.0.0.1") == Answer("error", UNREACHABLE)
    assert told_by(port, b"bob@localhost", "localhost") == Answer("refused", DENIED)
    assert [record.getMessage() for record in caplog.records] == [
        "forwarding to 127.0.0.1 failed: Connection refused",
        "not forwarded to localhost: its address is not for others, or ours",
    ]


def test_names_that_take_for_ever_keep_a_bounded_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    looked_up: list[object] = []

    def getaddrinfo(*arguments: object, **_: object) -> list[object]:
        looked_up.append(arguments[0])
        assert released.wait(TIMEOUT)
        return []

    monkeypatch.setattr(lookup, "MAX_LOOKUPS", 6)
    monkeypatch.setattr(lookup, "PER_CLIENT_FRACTION", 3)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"):
        for number in range(3):
            with pytest.raises(ForwardError) as caught:  # as after a reload, each with a forwarder of its own
                Forwarder().ask(Query("", (f"host{number}",)), ["*"], client, time.monotonic() + 0.1)
            assert (caught.value.outcome, caught.value.reply_text) == ("busy", "Host does not answer")
    assert looked_up == ["host0", "host1"] * 3
    released.set()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "lookup"])
    with pytest.raises(ForwardError) as caught:  # of a name without any address
        Forwarder().ask(Query("", ("host4",)), ["*"], "192.0.2.1", time.monotonic() + TIMEOUT)
    assert caught.value.outcome == "refused"


def test_a_query_is_passed_on_in_the_bytes_in_which_it_came() -> None:
    heard: list[bytes] = []
    with neighbour(lambda _, line: heard.append(line)) as port:
        told_by(port, b"/w caf\xe9@x@127.0.0.1\r\n", "127.0.0.1")
    with neighbour(lambda _, line: heard.append(line)) as port:
        told_by(port, "café@127.0.0.1\r\n".encode(), "127.0.0.1")
    assert heard == [b"/W caf\xe9@x\r\n", "café\r\n".encode()]


def test_where_the_system_gives_no_thread_the_host_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    forwarder = Forwarder()
    for _ in range(lookup.MAX_LOOKUPS + 1):
        with pytest.raises(ForwardError) as caught:
            forwarder.ask(Query("", ("localhost",)), ["*"], "192.0.2.7", time.monotonic() + TIMEOUT)
        assert caught.value.outcome == "error"


def test_a_host_without_ipv6_asks_the_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket(socket.socket):
        def __init__(self, family: int = -1, kind: int = -1, proto: int = -1, fileno: int | None = None) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, kind, proto, fileno)

    forwarder = Forwarder(is_served=True)
    for own, address in ((False, "2620:fe::1"), (True, "127.0.0.1"), (True, "0.0.0.0"), (False, "9.9.9.9")):
        monkeypatch.setattr(socket, "socket", Socket)
        assert forwarder._is_us(ip_address(address)) is own
        monkeypatch.undo()
    with neighbour(repeat) as port:
        monkeypatch.setattr(socket, "socket", Socket)
        endpoints = [(socket.AF_INET6, ("::1", port)), (socket.AF_INET, ("127.0.0.1", port))]
        with connect(endpoints, time.monotonic() + TIMEOUT):
            pass
        monkeypatch.undo()


def test_nothing_is_asked_when_there_is_no_time_left() -> None:
    # Its addresses are allowed, since the lookup may be done before the deadline is looked at.
    targets = [parse_host_pattern(text) for text in ("localhost", "127.0.0.0/8", "::1")]
    with pytest.raises(ForwardError) as caught:
        Forwarder().ask(Query("", ("localhost",)), targets, "192.0.2.7", time.monotonic() - 1)
    assert caught.value.outcome == "busy"


# Between hosts

DNSMASQ = find("dnsmasq") or "dnsmasq"

# Somebody at port 79 of each of these addresses, who is bad in a way of their own; and a name server that says nothing.
BAD = """
import socket, struct, threading, time

def gigabyte(client):
    for _ in range(1 << 20):
        client.sendall(b"0123456789abcdef" * 63 + b"0123456789abcd\\r\\n")

def drip(client):
    while True:
        client.sendall(b"drip\\r\\n")
        time.sleep(0.1)

def binary(client):
    client.sendall(bytes(range(256)) + b"\\x1b]0;pwned\\x07\\r\\n")

def silent(client):
    client.recv(1)

def slow(client):
    client.sendall(b"first\\r\\n")
    time.sleep(1)
    client.sendall(b"second\\r\\n")

def long(client):
    for _ in range(3 << 10):
        client.sendall(b"0123456789abcdef" * 63 + b"0123456789abcd\\r\\n")
    client.recv(1)

def serve(listener, say):
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0], say), daemon=True).start()

def answer(client, say):
    try:
        heard = client.recv(4096)
        while heard and not heard.endswith(b"\\n"):
            heard = client.recv(4096)
        if heard:
            say(client)
    except OSError:
        pass
    client.close()

mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
mute.bind(("9.9.9.20", 53))
for number, say in enumerate((gigabyte, drip, binary, silent, slow, long), 11):
    listener = socket.create_server((f"9.9.9.{number}", 79))
    threading.Thread(target=serve, args=(listener, say)).start()
print("ready", flush=True)
"""


NAMES = """
host-record=a.example.org,9.9.9.1,2620:fe::1
host-record=also-a.example.org,9.9.9.1
host-record=b.example.org,9.9.9.2,2620:fe::2
host-record=c.example.org,9.9.9.3,2620:fe::3
host-record=four.example.org,9.9.9.2
host-record=six.example.org,2620:fe::2
host-record=elsewhere.example.com,9.9.9.2
host-record=gigabyte.example.org,9.9.9.11
host-record=drip.example.org,9.9.9.12
host-record=binary.example.org,9.9.9.13
host-record=silent.example.org,9.9.9.14
host-record=slow.example.org,9.9.9.15
host-record=long.example.org,9.9.9.16
address=/search.example.com/9.9.9.2
host-record=closed.example.org,9.9.9.10
host-record=second.example.org,9.9.9.10
host-record=second.example.org,9.9.9.2
host-record=hole.example.org,9.9.7.1
host-record=inner.example.org,10.0.0.2
host-record=both.example.org,10.0.0.2
host-record=both.example.org,9.9.9.2
host-record=loopback.example.org,127.0.0.1,::1
host-record=any.example.org,0.0.0.0,::
host-record=cloud.example.org,169.254.169.254,fe80::1
host-record=mapped.example.org,::ffff:10.0.0.2
host-record=six-to-four.example.org,2002:a00:2::1
host-record=nat64.example.org,64:ff9b::a00:2
host-record=cast.example.org,224.0.0.1,ff02::1
"""


class Net:
    """Hosts that are connected: a, b and c, and d, which has the names, and somebody bad at each other address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self._lines = (folder / "dnsmasq.log").open("wb")
        self.hosts: dict[str, Host] = {}

    def connect(self) -> None:
        """Make the hosts and their networks, and start what runs on d."""
        for name in ("switch", "a", "b", "c", "d"):
            home = self.folder / name
            home.mkdir()
            (home / "resolv.conf").write_text("nameserver 9.9.9.10\nsearch search.example.com\n")
            (home / "hosts").write_text("127.0.0.1 localhost\n")
            host = self.hosts[name] = Host(home)
            for file in ("resolv.conf", "hosts"):
                self._run(host, f"mount --bind {home / file} /etc/{file}")
        switch = self.hosts["switch"]
        self._run(switch, "ip link add name bridge type bridge && ip link set bridge up")
        for number, name in enumerate("abcd", 1):
            host = self.hosts[name]
            pid = host.inside[1].removeprefix("--target=")
            self._run(switch, f"ip link add name to-{name} type veth peer name eth0 netns {pid}")
            self._run(switch, f"ip link set to-{name} up master bridge")
            own = {"d": 10}.get(name, number)
            self._run(host, f"ip address add 9.9.9.{own}/24 dev eth0 && ip address add 10.0.0.{own}/24 dev eth0")
            self._run(host, f"ip address add 2620:fe::{own}/64 dev eth0 nodad && ip link set eth0 up")
        for number in range(11, 21):
            self._run(self.hosts["d"], f"ip address add 9.9.9.{number}/24 dev eth0")
        self._run(self.hosts["a"], "ip route add 9.9.7.0/24 via 9.9.9.10")  # which drops what is not for it
        bad = subprocess.Popen(
            [*self.hosts["d"].inside, sys.executable, "-c", BAD], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        self._started.append(bad)
        assert bad.stdout
        assert bad.stdout.readline() == b"ready\n"
        self.start_names("")

    @staticmethod
    def _run(host: Host, script: str) -> None:
        done = host.run("sh", "-c", script)
        assert done.returncode == 0, (script, done.stderr)

    def start_names(self, more: str) -> None:
        """Serve the names, and these."""
        config = self.folder / "dnsmasq.conf"
        config.write_text(
            f"{NAMES}{more}\nlisten-address=9.9.9.10\nbind-interfaces\nno-resolv\nno-hosts\nlocal=/#/\nuser=root\npid-file=\nlog-queries\n"
        )
        self.dnsmasq = subprocess.Popen(
            [*self.hosts["d"].inside, DNSMASQ, "--keep-in-foreground", "--log-facility=-", f"--conf-file={config}"],
            stdin=subprocess.DEVNULL,
            stderr=self._lines,
        )
        self._started.append(self.dnsmasq)
        wait_until(lambda: b"127.0.0.1" in self._getent("loopback.example.org"))

    def _getent(self, name: str) -> bytes:
        return self.hosts["a"].run("getent", "ahostsv4", name).stdout.encode()

    def rename(self, more: str) -> None:
        """Serve these names too, from now on."""
        self.dnsmasq.terminate()
        self.dnsmasq.wait()
        self.start_names(more)

    def queries(self, name: str) -> int:
        """How often the addresses of this name have been asked for, of each kind."""
        asked = re.findall(rf"query\[(A+)\] {re.escape(name)} ", (self.folder / "dnsmasq.log").read_text())
        assert asked.count("A") == asked.count("AAAA")
        return asked.count("A")

    def close(self) -> None:
        """End it all."""
        for process in self._started:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        for host in self.hosts.values():
            host.close()
        self._lines.close()


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    net = Net(tmp_path_factory.mktemp("net"))
    try:
        net.connect()
        yield net
    finally:
        net.close()


between_hosts = [
    pytest.mark.root,
    needs("namespaces", "ip", "dnsmasq"),
]


def between(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs the hosts."""
    for mark in between_hosts:
        test = mark(test)
    return test


@dataclass
class Asking:
    """A daemon on one of the hosts, which is asked over a unix socket."""

    daemon: Daemon
    path: str

    def __call__(self, query: str) -> bytes:
        return ask(self.path, query.encode() + b"\r\n")

    def outcome(self) -> str:
        """The log's word for the next query."""
        found = re.search("outcome=([a-z-]+)", self.daemon.logged("outcome="))
        assert found
        return found[1]


Daemons = Callable[..., Asking]


@pytest.fixture
def daemons(net: Net, start: Start, tmp_path: Path) -> Daemons:
    """Starts a daemon on a host, on port 79, with these targets."""

    def daemon(name: str, targets: str, more: str = "", listen: str = ":79", **how: tuple[str, ...]) -> Asking:
        path = str(tmp_path / f"{name}.sock")
        config = (
            f'listen: ["{listen}", "unix:{path}"]\n'
            f"backend: {{type: static, users: {{bob: Bob on {name}}}}}\n"
            f"policy: [{{from: any, list: true, forward: {targets}}}]\n{more}"
        )
        return Asking(start(config, inside=(*net.hosts[name].inside, *how.get("inside", ()))), path)

    return daemon


ALL = "['*.example.org']"


@between
def test_a_query_goes_along_a_chain_of_hosts(daemons: Daemons) -> None:
    a, b, c = (daemons(name, ALL) for name in "abc")
    told = b"[b.example.org]\r\n[c.example.org]\r\nBob on c\r\n"
    assert a("bob@c.example.org@b.example.org") == told
    assert [each.outcome() for each in (a, b, c)] == ["answered"] * 3
    assert a("/W @b.example.org") == b"[b.example.org]\r\nLogin       Name\r\nbob      bob\r\n"
    assert a("nobody@b.example.org") == b"[b.example.org]\r\nNo such user\r\n"
    assert a("bob@elsewhere.example.com@c.example.org") == b"[c.example.org]\r\n" + DENIED
    assert a("bob") == b"Bob on a\r\n"


@between
def test_only_hosts_that_the_rule_allows_are_asked(daemons: Daemons, net: Net) -> None:
    a, b = daemons("a", "[b.example.org, 9.9.9.2, '2620:fe::/64']"), daemons("b", "false")
    for host in ("b.example.org", "B.Example.ORG.", "9.9.9.2", "2620:fe::2", "[2620:fe::2]"):
        header = host.lower().rstrip(".").strip("[]")
        assert a(f"bob@{host}") == f"[{header}]\r\nBob on b\r\n".encode()
        assert b.outcome() == "answered"
    for host in (
        *("four.example.org", "six.example.org", "9.9.9.3", "10.0.0.2", "localhost", "127.0.0.1", "b.example.org:79"),
        *("9.9.9.2:79", "[2620:fe::2]:79", "fe80::2%eth0", "0x09.9.9.2", "151587074", "b", "x.b.example.org"),
    ):
        assert a(f"bob@{host}") == DENIED, host
    assert net.queries("four.example.org") == net.queries("x.b.example.org") == 0, "not even looked up"
    assert b("bob@a.example.org") == DENIED


@between
def test_a_name_may_have_ipv4_or_ipv6_addresses_and_one_that_is_dead(daemons: Daemons) -> None:
    a, _ = daemons("a", ALL), daemons("b", "false")
    for host in ("four", "six", "second"):
        assert a(f"bob@{host}.example.org") == f"[{host}.example.org]\r\nBob on b\r\n".encode()


@between
def test_a_name_that_stands_for_an_address_within_is_refused(daemons: Daemons, net: Net) -> None:
    a, b = daemons("a", "['*', 0.0.0.0/0, '::/0']"), daemons("b", "false")
    for host in ("inner", "loopback", "any", "cloud", "mapped", "six-to-four", "nat64", "cast"):
        assert a(f"bob@{host}.example.org") == DENIED, host
        assert a.outcome() == "refused"
    assert net.queries("inner.example.org") >= 1
    assert a("bob@both.example.org") == b"[both.example.org]\r\nBob on b\r\n"
    b.daemon.stop()
    assert len([line for line in b.daemon.log if "client=9.9.9.1 " in line]) == 1
    assert not [line for line in b.daemon.log if "client=10." in line]


@between
def test_a_name_that_stands_for_an_address_within_is_asked_where_the_rule_lists_it(daemons: Daemons) -> None:
    daemons("b", "false")
    for listed in ("10.0.0.2", "10.0.0.0/24", "10.0.0.0/8"):
        a = daemons("a", f"[inner.example.org, mapped.example.org, {listed}]")
        for name in ("inner", "mapped"):
            assert a(f"bob@{name}.example.org") == f"[{name}.example.org]\r\nBob on b\r\n".encode()
        assert a("bob@10.0.0.2") == b"[10.0.0.2]\r\nBob on b\r\n"
        a.daemon.stop()


@between
def test_a_name_is_looked_up_once_for_each_query_and_may_become_another_one_s(daemons: Daemons, net: Net) -> None:
    a, b = daemons("a", ALL), daemons("b", "false")
    net.rename("host-record=moving.example.org,9.9.9.2,0")
    assert a("bob@moving.example.org") == b"[moving.example.org]\r\nBob on b\r\n"
    assert net.queries("moving.example.org") == 1
    net.rename("host-record=moving.example.org,10.0.0.2,0")
    assert a("bob@moving.example.org") == DENIED
    assert net.queries("moving.example.org") == 2
    b.daemon.stop()
    assert not [line for line in b.daemon.log if "client=10." in line]


@between
def test_no_query_comes_back_to_the_host_that_sends_it(daemons: Daemons) -> None:
    own = "['*.example.org', 9.9.9.0/24, 127.0.0.0/8, '::1', '2620:fe::/64', 10.0.0.1, 0.0.0.0]"
    a, b = daemons("a", own), daemons("b", own)
    hosts = (
        "a.example.org",
        "also-a.example.org",
        "9.9.9.1",
        "2620:fe::1",
        "127.0.0.1",
        "127.5.5.5",
        "::1",
        "10.0.0.1",
    )
    for host in (
        *hosts,
        "0.0.0.0",
        "loopback.example.org",
        "a.example.org@also-a.example.org",
        "b.example.org@9.9.9.1",
    ):
        assert a(f"bob@{host}") == DENIED, host
        assert a.outcome() == "refused"
    assert a("bob@a.example.org@b.example.org") == b"[b.example.org]\r\n[a.example.org]\r\nBob on a\r\n"
    assert a("bob@b.example.org@a.example.org@b.example.org") == DENIED
    route = "@also-a.example.org@four.example.org@a.example.org@b.example.org"
    told = b"[b.example.org]\r\n[a.example.org]\r\n[four.example.org]\r\n[also-a.example.org]\r\nBob on a\r\n"
    assert a(f"bob{route}") == told, "a route may go to and fro under other names, but each of them once"
    a.daemon.stop()
    assert not [line for line in a.daemon.log if "client=9.9.9.1 " in line or "client=127." in line], (
        "not asked by itself"
    )
    assert b.outcome() == "answered"


@between
def test_another_server_of_the_same_host_can_be_asked(daemons: Daemons, net: Net, start: Start) -> None:
    start('listen: "127.0.0.1:79"\nbackend: {type: static, users: {bob: The old one}}', inside=net.hosts["a"].inside)
    a = daemons("a", "[127.0.0.1]", listen=":1079")
    assert a("bob@127.0.0.1") == b"[127.0.0.1]\r\nThe old one\r\n"
    assert a("bob@127.0.0.2") == DENIED


DEAD = {
    "a name that there is not": ("nowhere.example.org", UNKNOWN, "unknown"),
    "a port that nobody listens at": ("closed.example.org", UNREACHABLE, "error"),
    "a host that is not there": ("9.9.9.99", UNREACHABLE, "error"),
    "a network to which there is no way": ("8.8.8.8", UNREACHABLE, "error"),
    "a host that is behind a hole": ("hole.example.org", SILENT, "busy"),
    "a host that says nothing": ("silent.example.org", SILENT, "busy"),
}


@between
@pytest.mark.parametrize(("host", "words", "outcome"), DEAD.values(), ids=DEAD)
def test_a_dead_host_gets_words_in_time(daemons: Daemons, host: str, words: bytes, outcome: str) -> None:
    seconds = 5 if outcome == "error" else 2  # the kernel takes three to give up a neighbour
    a = daemons("a", "['*.example.org', 9.9.9.99, 8.8.8.8]", f"limits: {{answer_seconds: {seconds}}}\n")
    assert a(f"bob@{host}") == words
    assert a.outcome() == outcome
    assert a("bob") == b"Bob on a\r\n"
    warned = [line for line in a.daemon.log if "WARNING fingerd.ruip.forward" in line]
    assert len(warned) == (outcome == "error")
    assert all(f"forwarding to {host} failed: " in line for line in warned)


@between
def test_a_name_server_that_says_nothing_hangs_nobody(daemons: Daemons, net: Net) -> None:
    config = net.folder / "a" / "resolv.conf"
    before = config.read_text()
    config.write_text("nameserver 9.9.9.20\n")
    try:
        a = daemons("a", "['*.example.org', 9.9.9.2]", "limits: {answer_seconds: 1, threads: 4}\n")
        daemons("b", "false")
        for _ in range(3):
            assert a("bob@b.example.org") == SILENT
            assert a.outcome() == "busy"
            assert a("bob") == b"Bob on a\r\n"
            assert a("bob@9.9.9.2") == b"[9.9.9.2]\r\nBob on b\r\n"
            assert [a.outcome(), a.outcome()] == ["answered"] * 2
        assert a.daemon.stop() == 0, "who is still being looked up holds no exit"
    finally:
        config.write_text(before)


@between
def test_no_size_and_no_time_of_an_answer_is_without_a_bound(daemons: Daemons) -> None:
    a = daemons("a", ALL, "limits: {answer_seconds: 1.5, reply_bytes: 64KiB}\n")
    said = a("bob@gigabyte.example.org")
    assert len(said) <= 64 << 10
    assert said.startswith(b"[gigabyte.example.org]\r\n0123456789abcdef")
    assert said.endswith(b"abcd\r\n" + CUT)
    assert a.outcome() == "answered"
    said = a("bob@drip.example.org")
    assert re.fullmatch(rb"\[drip.example.org\]\r\n(drip\r\n){2,}\[answer cut\]\r\n", said)
    assert a.outcome() == "answered"


@between
def test_bytes_for_a_terminal_are_masked(daemons: Daemons) -> None:
    a = daemons("a", ALL)
    said = a("bob@binary.example.org").decode()
    assert said.endswith("?]0;pwned?\r\n")
    assert not re.search("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", said)
    assert all(text in said for text in ("ABC", "\t", "éêë"))


@between
def test_an_answer_is_passed_on_as_it_comes(daemons: Daemons, net: Net) -> None:
    a = daemons("a", ALL)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(a.path)
        client.sendall(b"bob@slow.example.org\r\n")
        assert client.recv(4096) == b"[slow.example.org]\r\nfirst\r\n"
        assert hear(client) == b"second\r\n"
    assert "bytes=35" in a.daemon.logged("outcome=answered")


@between
def test_a_part_of_an_answer_is_closed_by_the_words_that_it_is_cut_when_the_daemon_stops(daemons: Daemons) -> None:
    a = daemons("a", ALL, "limits: {drain_seconds: 0.3}\nreply: {footer: 'by {user}'}\n")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(a.path)
        client.sendall(b"bob@drip.example.org\r\n")
        assert client.recv(4096).startswith(b"[drip.example.org]\r\ndrip\r\n")
        a.daemon.process.terminate()
        assert re.fullmatch(rb"(drip\r\n)+\[answer cut\]\r\nby bob\r\n", hear(client))
    assert a.daemon.stop() == 0


@between
def test_what_a_client_does_not_take_at_once_follows_as_soon_as_it_does(daemons: Daemons) -> None:
    a = daemons("a", ALL, "limits: {answer_seconds: 60, reply_bytes: 8MiB}\n")
    whole = len(b"[long.example.org]\r\n") + (3 << 20)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(a.path)
        client.sendall(b"bob@long.example.org\r\n")
        for _ in range(100):
            assert a("bob") == b"Bob on a\r\n"
        said = 0
        while said < whole:  # though the next host says no more, and does not close before we do
            said += len(client.recv(1 << 16))
    assert said == whole


@between
def test_a_client_that_does_not_listen_or_is_gone_holds_nothing_up(daemons: Daemons) -> None:
    a = daemons("a", ALL, "limits: {answer_seconds: 60, reply_bytes: 8MiB}\n")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(a.path)
        client.sendall(b"bob@gigabyte.example.org\r\n")
        for _ in range(100):
            assert a("bob") == b"Bob on a\r\n"
        said = hear(client)
    assert len(said) <= 8 << 20
    assert said.endswith(b"\r\n" + CUT)
    assert len(said) > 8_000_000
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(a.path)
        client.sendall(b"bob@drip.example.org\r\n")
        assert client.recv(10)
    assert "bob@drip" in a.daemon.logged("outcome=hung-up"), "long before answer_seconds are over"


@between
def test_one_client_forwards_by_a_quarter_of_the_threads_only(daemons: Daemons, net: Net) -> None:
    a = daemons("a", "['*.example.org', 9.9.9.2]", "limits: {answer_seconds: 3, threads: 8}\n")
    daemons("b", "false")
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(a.path)
            client.sendall(b"bob@silent.example.org\r\n")
        client_of_b = (
            "import socket; c = socket.create_connection(('9.9.9.1', 79), 10); c.sendall(b'bob@9.9.9.2\\r\\n'); "
        )
        done = net.hosts["c"].run(sys.executable, "-c", f"{client_of_b}print(c.makefile('rb').read())")
        assert done.stdout == "b'[9.9.9.2]\\r\\nBob on b\\r\\n'\n"
        assert a("bob") == b"Bob on a\r\n"


@between
def test_it_works_for_who_gave_root_away_in_a_jail(daemons: Daemons, net: Net, tmp_path: Path) -> None:
    jail = tmp_path / "jail"
    (jail / "etc").mkdir(parents=True)
    shutil.copy(net.folder / "a" / "resolv.conf", jail / "etc")
    let_everybody_in(tmp_path)
    a = daemons("a", ALL, f"process: {{user: nobody, chroot: {jail}}}\n")
    daemons("b", "false")
    assert a("bob@b.example.org") == b"[b.example.org]\r\nBob on b\r\n"
    assert a("bob@nowhere.example.org") == UNKNOWN


@between
def test_query_prints_what_the_next_host_says(daemons: Daemons, net: Net, tmp_path: Path) -> None:
    daemons("b", "false")
    path = tmp_path / "forward.yaml"
    path.write_text(f"backend: {{type: empty}}\npolicy: [{{from: any, forward: {ALL}}}]\n")
    for query, told in {
        "bob@b.example.org": b"[b.example.org]\r\nBob on b\r\n",
        "bob@closed.example.org": UNREACHABLE,
    }.items():
        command = [*net.hosts["a"].inside, *FINGERD, "-c", str(path), "--query", query]
        assert subprocess.run(command, capture_output=True, check=True).stdout == told


@between
def test_a_reload_turns_forwarding_on_and_off(daemons: Daemons) -> None:
    a, _ = daemons("a", "false"), daemons("b", "false")
    said = config_of(a.daemon).read_text()
    for targets, answer in ((ALL, b"[b.example.org]\r\nBob on b\r\n"), ("false", DENIED)):
        assert a("bob@b.example.org") != answer
        reload(a.daemon, said.replace("forward: false", f"forward: {targets}"))
        assert a("bob@b.example.org") == answer
