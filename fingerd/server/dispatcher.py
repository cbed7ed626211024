"""The dispatcher: has requests answered. By the loop's thread at once, or by a worker of a pool.

There are two pools: one of threads that wait, for a backend that blocks or for
another host; and one of a single thread, for answers that take much CPU time:
several such threads would only contend for the GIL.

The dispatcher keeps the requests whose answer is not there yet, and tells
their clients "busy" when their time is over. The first answer to a request
counts.
"""

import math
import threading
import time
from collections import deque
from functools import partial
from typing import NamedTuple

from fingerd.protocol.query import Query
from fingerd.ruip.disclosure import split_users
from fingerd.ruip.policy import NumberedRule, Rule
from fingerd.ruip.ruip import Answer, AnswerContext
from fingerd.server.acceptor import Admission
from fingerd.server.active_config import ActiveConfig
from fingerd.server.connection import Connection
from fingerd.server.delivery import Delivery
from fingerd.server.limits import Peer
from fingerd.server.loop import EventLoop
from fingerd.server.queues import DEADLINE_CHECK_SECONDS, DeadlineQueue
from fingerd.server.steps import ServerSteps
from fingerd.server.workers import WorkerPool
from fingerd.text import to_nfc

POOL_CHECK_SECONDS = 0.005  # between two looks at a pool that has a backlog
QUICK_PEOPLE = 300  # that the loop's thread may list, or search for a name, itself; it takes some 2 ms


class Load(NamedTuple):
    """What a server does at one moment, and has done so far. Connections that only monitor it are not counted."""

    connections: int  # open ones
    unsent_bytes: int
    memory_hits: int
    memory_misses: int
    busy_workers: int
    waiting: int  # queries that wait for a worker
    slow_turns: int


class Dispatcher:
    """Has requests answered, for one server."""

    def __init__(
        self, server: ServerSteps, loop: EventLoop, delivery: Delivery, admission: Admission, threads: int
    ) -> None:
        self._server = server
        self._loop = loop
        self._delivery = delivery
        self._admission = admission
        self.waiting = WorkerPool(threads, self._work)
        self.computing = WorkerPool(1, self._work)
        self.memory_hits = self.memory_misses = 0  # queries whose answer was remembered, or might have been
        self._long = 0  # requests that workers have, and that take much CPU time
        self._in_flight = DeadlineQueue()  # not answered yet; whoever takes a request out answers it
        self._expiry_timer = loop.add_timer(self._on_expiry_timer)
        self._pool_timer = loop.add_timer(self._check_pools)

    def start(self, active: ActiveConfig) -> None:
        """Have threads for what this configuration needs."""
        self.waiting.resize(active.limits.threads)
        if active.needs_workers:
            self.waiting.start()

    def stop(self) -> None:
        """Let the threads end as they become free."""
        self.waiting.stop()
        self.computing.stop()

    def load(self, asking: int = 0) -> Load:
        """The load now, asked for by so many monitoring connections that are being answered."""
        delivery, pools = self._delivery, (self.waiting, self.computing)
        return Load(
            self._server.connected - delivery.monitoring - asking,
            delivery.unsent_bytes,
            self.memory_hits,
            self.memory_misses,
            sum(pool.busy for pool in pools),
            sum(pool.waiting for pool in pools),
            self._loop.slow_turns,
        )

    def dispatch(self, request: Connection) -> None:
        """Have a complete request answered, by the active configuration. Its front door says by whom."""
        active = request.config = self._server.active
        request.deadline = request.received_at + active.limits.answer_seconds
        if pool := request.door.prepare(request, self):
            return self._submit(request, pool)
        self._server.process_request_thread(request, request.address)
        if request.key:
            self._remember(request)

    def take_token(self, request: Connection) -> bool:
        """Whether the client may ask one more query by ``limits.rate``; it is counted."""
        rate = request.config.limits.rate
        return self._admission.clients.take_token(request.limit_key, rate, request.received_at)

    def settle_client(self, request: Connection, peer: Peer) -> bool:
        """The request of a proxy has named its client; false where that has too many connections."""
        return self._admission.settle(request, peer)

    def place(
        self, request: Connection, query: Query, rule: NumberedRule, form: bool | str, cost: int = 1
    ) -> WorkerPool[Connection] | None:
        """Recall the answer to a query, in this form; the pool that has to work it out, None for this thread.

        ``cost`` is how much longer a person of a list takes in this form than a row of Finger's.
        """
        active, name = request.config, query.username
        if query.hosts:
            name, whole, query = to_nfc(query.text), query, active.ruip.without_own_hosts(query)
            if query.hosts:  # to be forwarded, or refused, unless it is a login
                forwards = rule.rule.forward and isinstance(form, bool)  # by Finger alone
                is_slow = forwards or (active.blocking and query is not whole)
                return self.waiting if is_slow else None
        elif rule.rule.users_per_query > 1 and not name.isalnum():
            name = " ".join(split_users(name))
        if active.remembers:
            key = rule.number, name, form
            entry = active.memory.get(key)
            if entry and request.received_at < entry[1]:
                active.memory.move_to_end(key)
                request.answer = entry[0]
                self.memory_hits += 1
                return None
            self.memory_misses += 1
            request.key = key
        request.is_long = _goes_through_people(query, rule.rule)
        if active.blocking:
            return self.waiting
        if cost > 1 and rule.rule.users_per_query > 1 and " " in name:  # several people, who take longer in this form
            return self.computing
        return self.computing if request.is_long and active.people_count * cost > QUICK_PEOPLE else None

    def _submit(self, request: Connection, pool: WorkerPool[Connection]) -> None:
        """Leave the request to a worker, or to one that looks up the same already."""
        request.config.queries += 1
        if request.is_long:
            self._count_long(1)
        request.pool = pool
        self._in_flight[request] = None
        if self._expiry_timer.when == math.inf:
            self._expiry_timer.start(DEADLINE_CHECK_SECONDS)
        self._enqueue(request, pool)

    def _release(self, request: Connection) -> None:
        """A request that was submitted is done."""
        request.config.release()
        if request.is_long:
            self._count_long(-1)

    def _count_long(self, change: int) -> None:
        before, self._long = self._long, self._long + change
        if bool(before) != bool(self._long):
            self._server.on_long_work(bool(self._long))

    def _enqueue(self, request: Connection, pool: WorkerPool[Connection]) -> None:
        key, flights = request.key, request.config.flights
        if key is not None and key in flights:
            flights[key][request] = None
            return
        is_queued = pool.submit(request.limit_key, request)
        if key is not None and is_queued:  # a look-up that is deferred for its client's sake is not waited for
            flights[key] = {}
            request.is_leader = True
        if pool is self.computing:
            pool.start()
        if self._pool_timer.when == math.inf:
            self._pool_timer.start(POOL_CHECK_SECONDS)

    def _work(self, request: Connection) -> None:
        """On a worker's thread: answer, unless the client was told already that there is no answer."""
        request.is_working = True
        try:
            if time.monotonic() >= request.deadline:  # it waited too long for a thread
                self._answer_busy(request)
            elif request in self._in_flight:
                self._server.process_request_thread(request, request.address)
        finally:
            self._loop.call_soon_threadsafe(self._on_worked, request)

    def _on_worked(self, request: Connection) -> None:
        """Send what a worker found out, remember it, and give it to those who wait for the same."""
        request.is_working = False
        self._delivery.finish(request)
        self._in_flight.pop(request, None)  # where a handler gave no answer, or the client is gone
        self._end_flight(request)
        self._release(request)

    def _end_flight(self, request: Connection) -> None:
        """Remember the answer, and give it to those who wait for the same; if there is none, they ask themselves."""
        is_remembered = request.key is not None and self._remember(request)
        pool = request.pool
        if not request.is_leader or request.key is None or pool is None:
            return
        request.is_leader = False
        for follower in request.config.flights.pop(request.key):
            if is_remembered:  # one by one, between other events: there may be thousands
                self._loop.call_soon_threadsafe(self._answer_follower, follower, request.answer)
            else:
                self._enqueue(follower, pool)

    def _answer_follower(self, request: Connection, answer: Answer) -> None:
        request.answer, request.key = answer, None
        self._server.process_request_thread(request, request.address)
        self._release(request)

    def _forget(self, request: Connection) -> None:
        """The client was told that there is no answer in time: nothing of its request stays, unless a worker has it."""
        flight = request.config.flights.get(request.key) if request.key is not None else None
        if flight is not None and request in flight:
            del flight[request]
        elif request.pool and request.pool.cancel(request.limit_key, request):
            self._end_flight(request)
        else:
            return  # a worker gives it back
        self._release(request)

    def _remember(self, request: Connection) -> bool:
        if request.key is None or request.answer is None:
            return False
        return request.config.memory.put(request.key, request.answer, time.monotonic())

    def context_of(self, request: Connection) -> AnswerContext:
        """Who asks, until when there is time to answer, and how to send a part of the answer."""
        in_parts = request.pool and isinstance(request.query, Query) and request.query.hosts
        send_chunk = partial(self.send_chunk, request) if in_parts else None
        return AnswerContext(request.client, request.deadline, time.time(), send_chunk, request.limit_key)

    def send_chunk(self, request: Connection, chunk: bytes) -> bool:
        """From a worker: send a part of the answer now; false where the client is gone, or has its answer."""
        if request.abortive or request not in self._in_flight:
            return False
        if request.chunks is None:
            request.chunks = deque()
        request.chunks.append(chunk)
        self._loop.call_soon_threadsafe(self._delivery.flush_chunks, request)
        return True

    def claim(self, request: Connection) -> bool:
        """Whether the caller may give the client its answer: true once, for the first one who asks."""
        return self._in_flight.pop(request, self) is not self or request.committed_by == threading.get_ident()

    def commit(self, request: Connection) -> bool:
        """From a worker: claim the answer before it is there; nobody else gives one then, however long it takes."""
        if not self.claim(request):
            return False
        request.committed_by = threading.get_ident()
        return True

    def expire(self, now: float = math.inf) -> None:
        """Answer "busy" to the clients whose deadline has passed by ``now``."""
        # A copy: workers take requests out meanwhile, and list() copies a dictionary in one step.
        for request in list(self._in_flight):
            if request.deadline <= now:
                self._answer_busy(request)
                self._in_flight.pop(request, None)
                self._forget(request)

    def _answer_busy(self, request: Connection) -> None:
        if self._server.complete(request, request.door.failure(request, "busy", self.context_of(request))):
            self._server.shutdown_request(request)

    def _on_expiry_timer(self) -> None:
        self.expire(time.monotonic())
        if self._in_flight:
            self._expiry_timer.start(DEADLINE_CHECK_SECONDS)

    def _check_pools(self) -> None:
        """Let the pools grow while they have a backlog."""
        for pool in (self.waiting, self.computing):
            if pool.waiting:
                pool.adjust()
                self._pool_timer.start(POOL_CHECK_SECONDS)


def _goes_through_people(query: Query, rule: Rule) -> bool:
    """Whether the answer is a list or a search by name, and not only a look-up by login."""
    return rule.list if query.is_list else rule.match != "login"
