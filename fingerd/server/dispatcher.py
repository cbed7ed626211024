"""The dispatcher: who answers a request. The memory or the loop's thread at once, or a worker of the pool.

It keeps the requests whose answer is not there yet, and tells their clients
"busy" when their time is over. The first answer to a request counts.
"""

import math
import time
from collections import deque
from functools import partial

from fingerd.errors import QueryError
from fingerd.protocol.query import SHORT_QUERY_BYTES, Query, parse_query, parse_short_query
from fingerd.protocol.reply import SERVICE_BUSY, TOO_MANY_QUERIES
from fingerd.ruip.policy import Rule
from fingerd.ruip.ruip import AnswerContext
from fingerd.server.connection import Connection
from fingerd.server.delivery import Delivery
from fingerd.server.limits import ClientCounter
from fingerd.server.loop import EventLoop
from fingerd.server.queues import DEADLINE_CHECK_SECONDS, DeadlineQueue
from fingerd.server.steps import ServerSteps
from fingerd.server.workers import WorkerPool

POOL_CHECK_SECONDS = 0.005  # between two looks at a pool that has a backlog


class Dispatcher:
    """Has requests answered, for one server."""

    def __init__(
        self, server: ServerSteps, loop: EventLoop, delivery: Delivery, clients: ClientCounter, pool: WorkerPool
    ) -> None:
        self._server = server
        self._loop = loop
        self._delivery = delivery
        self._clients = clients
        self._pool = pool
        self._in_flight = DeadlineQueue()  # not answered yet; whoever takes a request out answers it
        self._expiry_timer = loop.add_timer(self._on_expiry_timer)
        self._pool_timer = loop.add_timer(self._check_pool)

    def dispatch(self, request: Connection) -> None:
        """Have a complete request answered, by the active configuration."""
        active = request.config = self._server.active
        now = request.received_at
        request.deadline = now + active.limits.answer_seconds
        number, rule = active.rules.get(request.client) or active.find_rule(request.client)
        request.rule = rule
        if active.reads == "query" and not rule.deny:
            if active.limits.rate and not self._clients.take_token(request.limit_key, active.limits.rate, now):
                answer = active.ruip.text_answer("limited", TOO_MANY_QUERIES, self.context_of(request))
                self._server.complete(request, answer)
                return self._server.shutdown_request(request)
            if self._must_wait(request, number, rule):
                return self._submit(request)
        self._server.process_request_thread(request, request.address)
        if request.key:
            self._remember(request)

    def _must_wait(self, request: Connection, number: int, rule: Rule) -> bool:
        """Parse the request, and recall its answer; true where a worker has to work it out."""
        active = request.config
        parse = parse_short_query if len(request.line) <= SHORT_QUERY_BYTES else parse_query
        try:
            query = request.query = parse(request.line, active.limits.query_bytes)
        except QueryError as error:
            request.query = error
            return False
        if query.hosts:
            return bool(rule.forward)
        if active.remembers:
            key = number, query.username, query.verbose
            entry = active.memory.get(key)
            if entry and request.received_at < entry[1]:
                active.memory.move_to_end(key)
                request.answer = entry[0]
                return False
            request.key = key
        return active.blocking

    def _submit(self, request: Connection) -> None:
        """Leave the request to a worker, or to one that looks up the same already."""
        request.config.queries += 1
        request.is_dispatched = True
        self._in_flight[request] = None
        if self._expiry_timer.when == math.inf:
            self._expiry_timer.start(DEADLINE_CHECK_SECONDS)
        self._enqueue(request)

    def _enqueue(self, request: Connection) -> None:
        key, flights = request.key, request.config.flights
        if key is not None and key in flights:
            flights[key] = *flights[key], request
            return
        is_queued = self._pool.submit(request.limit_key, partial(self._work, request))
        if key is not None and is_queued:  # a look-up that is deferred for its client's sake is not waited for
            flights[key] = ()
            request.is_leader = True
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
        if not request.outcome:
            self._in_flight.pop(request, None)  # a handler of another kind gave no answer
        is_remembered = request.key is not None and self._remember(request)
        if request.is_leader and request.key is not None:
            for follower in request.config.flights.pop(request.key):
                if follower in self._in_flight and not is_remembered:
                    self._enqueue(follower)
                    continue
                if follower in self._in_flight:  # else it was told "busy" meanwhile
                    follower.answer, follower.key = request.answer, None
                    self._server.process_request_thread(follower, follower.address)
                follower.config.release()
        request.config.release()

    def _remember(self, request: Connection) -> bool:
        if request.key is None or request.answer is None:
            return False
        return request.config.memory.put(request.key, request.answer, time.monotonic())

    def context_of(self, request: Connection) -> AnswerContext:
        """Who asks, until when there is time to answer, and how to send a part of the answer."""
        in_parts = request.is_dispatched and isinstance(request.query, Query) and request.query.hosts
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
        return self._in_flight.pop(request, self) is not self

    def expire(self, now: float = math.inf) -> None:
        """Answer "busy" to the clients whose deadline has passed by ``now``."""
        # A copy: workers take requests out meanwhile, and list() copies a dictionary in one step.
        for request in list(self._in_flight):
            if request.deadline <= now:
                self._answer_busy(request)

    def _answer_busy(self, request: Connection) -> None:
        """There is no answer in time; where a part of it was sent, it ends here."""
        context, ruip = self.context_of(request), request.config.ruip
        if request.chunks is not None and isinstance(request.query, Query):
            answer = ruip.truncated_ending(request.query, context)
        else:
            answer = ruip.text_answer("busy", SERVICE_BUSY, context)
        if self._server.complete(request, answer):
            self._server.shutdown_request(request)

    def _on_expiry_timer(self) -> None:
        self.expire(time.monotonic())
        if self._in_flight:
            self._expiry_timer.start(DEADLINE_CHECK_SECONDS)

    def _check_pool(self) -> None:
        """Let the pool grow while it has a backlog."""
        if self._pool.waiting:
            self._pool.adjust()
            self._pool_timer.start(POOL_CHECK_SECONDS)
