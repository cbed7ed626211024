"""The dispatcher: shares of the worker pool, deadlines of answers, and queries that share one look-up."""

import contextlib
import math
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network
from typing import Any

import pytest

from fingerd import FingerServer
from fingerd.backends import Backend, Lookup
from fingerd.errors import BackendError
from fingerd.people import Person
from fingerd.protocol.reply import INTERNAL_ERROR
from fingerd.ruip.policy import DEFAULT_RULE, Rule
from fingerd.server.connection import State
from fingerd.server.dispatcher import QUICK_PEOPLE
from tests.helpers.daemons import TIMEOUT, ask, hear, running, wait_until
from tests.unit.server.support import BUSY, Config, Gate, connect_from, make_connection


def test_one_client_has_at_most_a_quarter_of_the_workers() -> None:
    gate = Gate()
    with running(FingerServer(Config(gate, threads=8))) as server, contextlib.ExitStack() as clients:
        greedy = [connect_from("127.0.0.2", server, clients) for _ in range(6)]
        for client in greedy:
            client.sendall(b"slow\r\n")
        wait_until(lambda: gate.waiting == 2)
        other = connect_from("127.0.0.3", server, clients)
        other.sendall(b"quick\r\n")
        assert hear(other) == b"at last\r\n"
        assert gate.waiting == 2
        gate.open.set()
        assert [hear(client) for client in greedy] == [b"at last\r\n"] * 6


def test_clients_of_blocked_queries_are_answered_busy_and_late_answers_are_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    with running(FingerServer(Config(gate, threads=4, answer_seconds=0.4, drain_seconds=5))) as server:
        begun = time.monotonic()
        with contextlib.ExitStack() as clients:
            stuck = [connect_from(f"127.0.0.{number}", server, clients) for number in range(2, 9)]
            for client in stuck:
                client.sendall(b"slow\r\n")
            assert [hear(client) for client in stuck] == [BUSY] * 7
        assert time.monotonic() - begun < 2
        assert gate.waiting == 4  # all workers were blocked, and the other queries were never begun
        gate.open.set()
        assert ask(server.socket.getsockname(), b"quick\r\n") == b"at last\r\n"
        assert gate.waiting == 4
    assert "Traceback" not in caplog.text


def test_deadlines_are_checked_while_workers_take_requests_out() -> None:
    server = FingerServer(Config(Gate()))
    dispatcher, before = server._dispatcher, sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(50):
            requests = [make_connection(State.ANSWERING, math.inf) for _ in range(2000)]
            dispatcher._in_flight.update(dict.fromkeys(requests))
            worker = threading.Thread(target=lambda taken=requests: [dispatcher.claim(request) for request in taken])
            worker.start()
            while worker.is_alive():
                dispatcher.expire(0)  # RuntimeError where it iterates over a dictionary that changes
            worker.join()
    finally:
        sys.setswitchinterval(before)
        server.server_close()


class Slow(Backend):
    """Blocks in each look-up of ``slow`` until it is opened; each answer says how many look-ups there were.

    Answers may be repeated. The first look-ups may fail.
    """

    repeatable_seconds = math.inf

    def __init__(self, failures: int = 0) -> None:
        self.open = threading.Event()
        self.asked: list[str] = []
        self.failures = failures

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The person, when it is open."""
        self.asked.append(lookup.username)
        call = len(self.asked)
        if lookup.username == "slow":
            self.open.wait(TIMEOUT)
        if call <= self.failures:
            raise BackendError("broken")
        return (Person(lookup.username, f"call {call}"),)


class Observed(FingerServer):
    """Counts the requests that were dispatched."""

    dispatched = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        super().process_request(request, client_address)
        self.dispatched += 1


Send = Callable[..., socket.socket]


@contextlib.contextmanager
def sending(server: Observed) -> Any:
    """A function that sends a query from an address, and returns when it was dispatched."""
    with running(server), contextlib.ExitStack() as clients:

        def send(address: str, query: bytes = b"slow\r\n") -> socket.socket:
            expected = server.dispatched + 1
            client = connect_from(address, server, clients)
            client.sendall(query)
            wait_until(lambda: server.dispatched == expected)
            return client

        yield send


def test_clients_that_ask_for_the_same_name_share_one_look_up() -> None:
    backend = Slow()
    with sending(Observed(Config(backend, threads=4))) as send:
        clients = [send(f"127.0.0.{number}") for number in range(2, 12)]
        backend.open.set()
        assert {hear(client) for client in clients} == {b"call 1\r\n"}
        assert hear(send("127.0.0.2")) == b"call 1\r\n"  # remembered
    assert backend.asked == ["slow"]


def test_other_names_and_forms_are_looked_up_meanwhile() -> None:
    backend = Slow()
    with sending(Observed(Config(backend, threads=8))) as send:
        first = send("127.0.0.2")
        assert hear(send("127.0.0.3", b"bob\r\n")) == b"call 2\r\n"
        verbose = send("127.0.0.4", b"/W slow\r\n")
        wait_until(lambda: backend.asked == ["slow", "bob", "slow"])
        backend.open.set()
        assert [hear(first), hear(verbose)] == [b"call 1\r\n", b"call 3\r\n"]


def test_those_who_share_a_look_up_that_failed_are_looked_up_again() -> None:
    backend = Slow(failures=1)
    with sending(Observed(Config(backend, threads=4))) as send:
        clients = [send(f"127.0.0.{number}") for number in range(2, 8)]
        backend.open.set()
        first, *others = map(hear, clients)
        assert first == f"{INTERNAL_ERROR}\r\n".encode()
        assert set(others) == {b"call 2\r\n"}  # which they share in turn
    assert backend.asked == ["slow", "slow"]


def test_each_look_up_that_fails_is_the_failure_of_one_client() -> None:
    backend = Slow(failures=3)
    with sending(Observed(Config(backend, threads=4))) as send:
        clients = [send(f"127.0.0.{number}") for number in range(2, 7)]
        backend.open.set()
        failure = f"{INTERNAL_ERROR}\r\n".encode()
        assert [hear(client) for client in clients] == [failure] * 3 + [b"call 4\r\n"] * 2
    assert backend.asked == ["slow"] * 4


def test_a_look_up_that_is_deferred_for_its_client_s_share_holds_up_no_other_client() -> None:
    backend = Slow()
    with sending(Observed(Config(backend, threads=4))) as send:  # one for each client
        first = send("127.0.0.2")
        deferred = send("127.0.0.2", b"bob\r\n")
        assert hear(send("127.0.0.3", b"bob\r\n")) == b"call 2\r\n"
        assert backend.asked == ["slow", "bob"]
        backend.open.set()
        assert hear(first) == b"call 1\r\n"
        assert hear(deferred).startswith(b"call ")


def test_clients_that_share_a_late_look_up_are_answered_busy_and_its_answer_is_remembered() -> None:
    backend = Slow()
    with sending(Observed(Config(backend, threads=4, answer_seconds=0.3))) as send:
        clients = [send(f"127.0.0.{number}") for number in range(2, 5)]
        assert [hear(client) for client in clients] == [BUSY] * 3
        backend.open.set()
        wait_until(lambda: hear(send("127.0.0.9")) == b"call 1\r\n")
    assert backend.asked == ["slow"]


def test_a_look_up_is_not_shared_beyond_a_reload() -> None:
    old, new = Slow(), Slow()
    new.open.set()
    server = Observed(Config(old, threads=4))
    with sending(server) as send:
        first = send("127.0.0.2")
        wait_until(lambda: old.asked)
        server.reload(Config(new, threads=4))
        assert hear(send("127.0.0.3")) == b"call 1\r\n"
        assert new.asked == ["slow"]
        old.open.set()
        assert hear(first) == b"call 1\r\n"


class ForClient(Slow):
    """Answers by the client's address."""

    depends_on_client = True

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The person, whose text is the client."""
        self.asked.append(lookup.client)
        return (Person(lookup.username, lookup.client),)


def test_an_answer_that_depends_on_the_client_is_given_to_no_other_client() -> None:
    backend = ForClient()
    with running(FingerServer(Config(backend))) as server, contextlib.ExitStack() as clients:
        for address in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
            client = connect_from(address, server, clients)
            client.sendall(b"alice\r\n")
            assert hear(client) == f"{address}\r\n".encode()
    assert backend.asked == ["127.0.0.2", "127.0.0.3", "127.0.0.2"]


class Hung(Slow):
    """Blocks in every look-up, and no answer may be repeated."""

    repeatable_seconds = 0.0

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The person, when it is open."""
        self.asked.append(lookup.username)
        self.open.wait(TIMEOUT)
        return (Person(lookup.username, "at last"),)


@pytest.mark.parametrize("kind", [Slow, Hung])
def test_nothing_stays_of_queries_whose_clients_were_told_busy(kind: type[Slow]) -> None:
    """Whether they waited for a thread, for other queries of their client, or for the look-up of another."""
    backend = kind()
    server = Observed(Config(backend, threads=8, answer_seconds=0.5, per_client=1000))
    with sending(server) as send:
        pool, active = server._dispatcher.waiting, server.active
        stuck = [send(f"127.0.0.{number}", b"slow\r\n") for number in range(2, 14) for _ in range(5)]
        assert {hear(client) for client in stuck} == {BUSY}
        begun = len(backend.asked)
        assert 1 <= begun <= 8
        wait_until(lambda: active.queries == begun)
        assert not pool._queued
        assert not pool._deferred
        assert sum(map(len, active.flights.values())) == 0
        assert not server._dispatcher._in_flight
        backend.open.set()
        wait_until(lambda: active.queries == 0)
        assert not active.flights
        assert hear(send("127.0.0.2", b"bob\r\n"))
        wait_until(lambda: not pool._in_progress)


class Many(Backend):
    """Knows so many people, never blocks, and keeps the name of the thread that asks."""

    blocking = False
    searches_names = True

    def __init__(self, people_count: int) -> None:
        self.count = people_count
        self.threads: list[str] = []

    @property
    def people_count(self) -> int:
        """As many as it was made for."""
        return self.count

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Somebody."""
        self.threads.append(threading.current_thread().name)
        return (Person(lookup.username, name="Alice"),)

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """One of them is enough."""
        return iter(self.find(lookup))


LISTED = Rule(from_=("any",), list=True)
SEARCHED = Rule(from_=("any",), match="name", users_per_query=3)
AMBIGUOUS = Rule(from_=("any",), match="unique")


@pytest.mark.parametrize(
    ("rule", "query", "goes_through_people"),
    [
        (LISTED, b"\r\n", True),
        (LISTED, b"/W\r\n", True),
        (LISTED, b"alice\r\n", False),
        (SEARCHED, b"alice\r\n", True),
        (SEARCHED, b"alice bob\r\n", True),
        (SEARCHED, b"\r\n", False),  # a refusal
        (AMBIGUOUS, b"alice\r\n", True),
        (DEFAULT_RULE, b"alice\r\n", False),
        (LISTED, b"@localhost\r\n", True),
        (SEARCHED, b"alice@localhost\r\n", True),
        (SEARCHED, b"@localhost\r\n", False),
        (DEFAULT_RULE, b"alice@localhost\r\n", False),
        (DEFAULT_RULE, b"alice@other@localhost\r\n", False),
    ],
)
@pytest.mark.parametrize("count", [0, QUICK_PEOPLE, QUICK_PEOPLE + 1])
def test_a_list_of_many_people_or_a_search_among_them_is_left_to_a_worker(
    rule: Rule, query: bytes, goes_through_people: bool, count: int
) -> None:
    backend = Many(count)
    config = Config(backend)
    config.policy = (rule,)
    with running(FingerServer(config)) as server:
        assert ask(server.socket.getsockname(), query)
        assert not server._dispatcher.waiting._threads
    on_worker = goes_through_people and count > QUICK_PEOPLE
    assert [name == "worker" for name in backend.threads] in ([on_worker], [on_worker] * 2, [])


def test_the_loop_s_thread_goes_on_while_a_search_takes_long() -> None:
    class Endless(Many):
        open = threading.Event()

        def find(self, lookup: Lookup) -> Sequence[Person]:
            if lookup.username == "slow":
                self.open.wait(TIMEOUT)
            return super().find(lookup)

    config = Config(Endless(1000))
    config.policy = (
        Rule(from_=(ip_network("127.0.0.2"),), match="name"),
        Rule(from_=(ip_network("127.0.0.3"),), match="name"),
        DEFAULT_RULE,
    )
    with running(FingerServer(config)) as server, contextlib.ExitStack() as clients:
        stuck = [connect_from("127.0.0.2", server, clients) for _ in range(5)]
        for client in stuck:
            client.sendall(b"slow\r\n")
        other = connect_from("127.0.0.3", server, clients)
        other.sendall(b"alice\r\n")
        for _ in range(3):
            assert ask(server.socket.getsockname(), b"alice\r\n", source="127.0.0.4")
        Endless.open.set()
        assert hear(other)
        assert all(hear(client) for client in stuck)


@pytest.mark.parametrize("users", [1, 5])
def test_an_answer_is_remembered_by_what_the_query_means(users: int) -> None:
    backend = Slow()
    backend.open.set()
    config = Config(backend)
    config.policy = (Rule(from_=("any",), users_per_query=users),)
    spellings = [b"a b\r\n", b" a b \n", b"a b", b"a  b\r\n", b"a\tb\r\n", b"a \t b\r\n"]
    verbose = [b"/W a b\r\n", b"/w a b\r\n", b"a b /W\r\n", b"/W /W a b /w\r\n"]
    with running(FingerServer(config)) as server:
        for query in (*spellings, *verbose):
            assert ask(server.socket.getsockname(), query, hang_up=True)
    assert len(backend.asked) == (4 if users > 1 else 5)
    assert len(set(backend.asked)) == (2 if users > 1 else 4)


def test_an_answer_to_a_query_with_a_name_of_this_host_is_remembered_for_each_rule() -> None:
    backend = Slow()
    backend.open.set()
    config = Config(backend)
    config.policy = (Rule(from_=(ip_network("127.0.0.2"),)), DEFAULT_RULE)
    with running(FingerServer(config)) as server:
        for source in ("127.0.0.2", "127.0.0.3"):
            answers = {ask(server.socket.getsockname(), b"a@localhost\r\n", source=source) for _ in range(3)}
            assert len(answers) == 1
            assert ask(server.socket.getsockname(), b"a\r\n", source=source) not in answers  # another query
    assert len(backend.asked) == 4


class Searched(Gate):
    """A Gate that can be searched by name."""

    searches_names = True


@pytest.mark.parametrize("is_answered", [True, False])
def test_the_server_reports_when_lists_and_searches_begin_and_end(is_answered: bool) -> None:
    """Look-ups by login, which mostly wait, are none of them; those whose clients are told "busy" end, too."""
    gate, reports = Searched(), list[bool]()
    config = Config(gate, threads=8, answer_seconds=TIMEOUT if is_answered else 0.3)
    config.policy = (Rule(from_=(ip_network("127.0.0.2"),), match="name"), DEFAULT_RULE)
    server = FingerServer(config)
    server.on_long_work = reports.append
    with running(server), contextlib.ExitStack() as clients:
        lookup = connect_from("127.0.0.3", server, clients)
        lookup.sendall(b"slow\r\n")
        wait_until(lambda: gate.waiting == 1)
        assert not reports
        searches = [connect_from("127.0.0.2", server, clients) for _ in range(4)]
        for client in searches:
            client.sendall(b"slow\r\n")
        wait_until(lambda: gate.waiting == 3)  # two of one client are answered at once, and two wait
        assert reports == [True]
        if not is_answered:
            assert {hear(client) for client in searches} == {BUSY}
        gate.open.set()
        if is_answered:
            assert {hear(client) for client in searches} == {b"at last\r\n"}
        wait_until(lambda: reports == [True, False])
