"""The worker pool: how many threads it has, and how it shares them between clients."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from fingerd import FingerServer
from fingerd.backends import Backend, Lookup
from fingerd.people import Person
from fingerd.server.workers import WorkerPool
from tests.helpers.daemons import TIMEOUT, hear, running, wait_until
from tests.unit.server.support import Config


def call(job: Callable[[], object]) -> object:
    """What the workers of these tests do: their tasks are functions."""
    return job()


def test_the_pool_grows_while_all_threads_are_blocked_up_to_its_maximum() -> None:
    open_ = threading.Event()

    def wait() -> None:
        open_.wait(TIMEOUT)

    pool = WorkerPool(8, call)
    pool.start()
    for client in "abcdefgh":
        pool.submit(client, partial(wait))
    for _ in range(3):
        pool.adjust()
    wait_until(lambda: pool.waiting == 0)
    before = threading.active_count()
    for client in "ijkl":
        pool.submit(client, partial(wait))
    pool.adjust()
    pool.adjust()
    assert threading.active_count() == before
    assert pool.waiting == 4
    open_.set()
    wait_until(lambda: pool.waiting == 0)
    pool.stop()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, LookupError])
def test_a_thread_survives_what_a_job_raises(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise error

    others = set(threading.enumerate())  # of servers that other tests have ended
    pool = WorkerPool(4, call)
    pool.start()
    workers = set(threading.enumerate()) - others
    for _ in range(6):
        pool.submit("a", partial(fail))
    done = threading.Event()
    pool.submit("a", done.set)
    assert done.wait(TIMEOUT)
    assert set(threading.enumerate()) - others == workers
    wait_until(lambda: caplog.text.count("internal error in a worker, please report") == 6)
    pool.stop()
    wait_until(lambda: "worker" not in {thread.name for thread in set(threading.enumerate()) - others})


def test_jobs_beyond_a_client_s_share_are_deferred_until_it_has_a_place() -> None:
    open_ = threading.Event()
    begun: list[str] = []

    def wait(name: str) -> None:
        begun.append(name)
        open_.wait(TIMEOUT)

    pool = WorkerPool(8, call)
    pool.start()
    assert [pool.submit("a", partial(wait, f"a{number}")) for number in range(4)] == [True, True, False, False]
    assert pool.submit("b", partial(begun.append, "b"))
    pool.adjust()  # both threads are blocked
    pool.adjust()
    wait_until(lambda: sorted(begun) == ["a0", "a1", "b"])
    assert pool.waiting == 0  # what is deferred waits for no thread
    open_.set()
    wait_until(lambda: len(begun) == 5)
    assert begun[3:] == ["a2", "a3"]
    wait_until(lambda: pool.submit("a", partial(print)))  # its places are free again
    pool.stop()


@pytest.mark.parametrize(("threads", "share"), [(1, 1), (4, 1), (7, 1), (8, 2), (32, 8)])
def test_one_client_s_share_is_a_quarter_and_at_least_one(threads: int, share: int) -> None:
    pool = WorkerPool(threads, call)  # not started
    assert sum(pool.submit("a", partial(print)) for _ in range(40)) == share
    assert pool.submit("b", partial(print))


def test_a_pool_that_is_resized_has_other_shares_from_then_on() -> None:
    pool = WorkerPool(4, call)
    assert [pool.submit("a", partial(print)) for _ in range(2)] == [True, False]
    pool.resize(12)
    assert [pool.submit("a", partial(print)) for _ in range(3)] == [True, True, False]


def test_a_job_that_fails_frees_its_place() -> None:
    def fail() -> None:
        raise LookupError("a bug")

    done = threading.Event()
    pool = WorkerPool(4, call)
    pool.start()
    assert pool.submit("a", partial(fail))
    pool.submit("a", done.set)
    assert done.wait(TIMEOUT)
    pool.stop()


def test_the_pool_goes_on_where_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = WorkerPool(4, call)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        pool.start()
    assert "can't start new thread: going on with 0 threads" in caplog.text
    done = threading.Event()
    pool.submit("a", done.set)
    pool.adjust()
    assert done.wait(TIMEOUT)
    pool.stop()


def test_the_pool_grows_for_a_backend_that_blocks_for_milliseconds() -> None:
    class Brief(Backend):
        def find(self, lookup: Lookup) -> Sequence[Person]:
            time.sleep(0.002)
            return (Person(lookup.username, "soon"),)

    with running(FingerServer(Config(Brief(), threads=16, per_client=1000))) as server:
        done = threading.Event()

        def work(number: int) -> None:
            while not done.is_set():
                with socket.create_connection(
                    server.socket.getsockname(), TIMEOUT, source_address=(f"127.0.0.{number}", 0)
                ) as client:
                    client.sendall(b"alice\r\n")
                    assert hear(client) == b"soon\r\n"

        clients = [threading.Thread(target=work, args=(number,)) for number in range(2, 26)]
        for client in clients:
            client.start()
        try:
            wait_until(lambda: [thread.name for thread in threading.enumerate()].count("worker") > 4)
        finally:
            done.set()
            for client in clients:
                client.join()


def test_a_task_that_waits_can_be_cancelled_and_frees_its_place() -> None:
    open_, begun = threading.Event(), []

    def wait(name: str) -> None:
        begun.append(name)
        open_.wait(TIMEOUT)

    pool = WorkerPool(1, call)  # one for each client
    pool.start()
    first, second, third, other, last = (partial(wait, name) for name in ("a1", "a2", "a3", "b1", "a4"))
    assert pool.submit("a", first)
    wait_until(lambda: begun == ["a1"])
    assert pool.submit("b", other)
    assert not pool.submit("a", second)
    assert not pool.submit("a", third)
    assert not pool.cancel("a", first)  # a thread has it
    assert pool.cancel("a", second)  # deferred
    assert not pool.cancel("a", second)
    assert pool.waiting == 1
    assert pool.cancel("b", other)  # queued
    assert pool.waiting == 0
    assert pool.submit("b", other)  # its place is free again
    open_.set()
    wait_until(lambda: begun == ["a1", "b1", "a3"])
    assert pool.submit("a", last) in (True, False)
    wait_until(lambda: begun[-1] == "a4")
    assert not pool._in_progress
    assert not pool._deferred
    pool.stop()


def test_whatever_is_cancelled_meanwhile_every_other_task_is_done_once() -> None:
    done: list[int] = []
    pool: WorkerPool[partial[None]] = WorkerPool(4, call)
    pool.start()
    tasks = [partial(done.append, number) for number in range(3000)]
    cancelled = set()
    for number, task in enumerate(tasks):
        pool.submit(str(number % 7), task)
        if number % 3 == 0 and pool.cancel(str((number - 2) % 7), tasks[number - 2]):
            cancelled.add(number - 2)
    wait_until(lambda: len(done) + len(cancelled) == len(tasks))
    assert sorted(done) == sorted(set(range(len(tasks))) - cancelled)
    wait_until(lambda: not pool._in_progress)
    assert pool.waiting == 0
    assert pool._wake.empty()
    pool.stop()
