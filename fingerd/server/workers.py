"""The threads that work on answers which have to wait for something: few at first, more when all are stuck."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)

IDLE = 0.7  # of the time between two looks: with less work than that, more threads do more
LEAST = 2  # threads that are always there; idle ones more than needed would fight for the interpreter

Job = Callable[[], None]


class Crew:
    """Up to ``most`` daemon threads, which no exit waits for; one client has at most a quarter of them."""

    def __init__(self, most: int) -> None:
        self.resize(most)
        self._jobs: SimpleQueue[tuple[str, Job] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._taken = 0  # jobs begun
        self._last_look = (0, 0, 0.0, 0.0)  # jobs begun, jobs waiting, seconds of processor, seconds
        self._threads = 0
        self._poor = False  # told that there are no more threads
        self._in_hand: dict[str, int] = {}  # client -> jobs that are queued or worked on
        self._held_back: dict[str, deque[Job]] = {}  # client -> jobs beyond its share

    def resize(self, most: int) -> None:
        """Have up to ``most`` threads from now on; those that are more already stay."""
        self.most = most
        self._share = max(1, most // 4)

    def submit(self, client: str, job: Job) -> None:
        """Have the job done when a thread is free and the client's share allows it."""
        with self._lock:
            in_hand = self._in_hand.get(client, 0)
            if in_hand >= self._share:
                self._held_back.setdefault(client, deque()).append(job)
                return
            self._in_hand[client] = in_hand + 1
        self._jobs.put((client, job))

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return self._jobs.qsize()

    def start(self) -> None:
        """Start the first threads, if there are none yet."""
        self._grow(LEAST - self._threads)

    def look(self) -> None:
        """To be called every few milliseconds while jobs wait.

        If none was begun since the last time, all threads are stuck. If the
        queue grows although the processor is idle, they wait more than they
        work, and another one helps.
        """
        taken, waiting, worked, now = self._taken, self.waiting, time.process_time(), time.monotonic()
        then_taken, then_waiting, then_worked, then = self._last_look
        if taken == then_taken:
            self._grow(waiting)
        elif waiting >= then_waiting and worked - then_worked < IDLE * (now - then):
            self._grow(1)
        self._last_look = taken, waiting, worked, now

    def dismiss(self) -> None:
        """Let the threads end as they become free."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _grow(self, wanted: int) -> None:
        with self._lock:
            for _ in range(min(wanted, self.most - self._threads)):
                try:
                    threading.Thread(target=self._run, name="crew", daemon=True).start()
                except RuntimeError as error:  # the system gives no more threads: those that are there go on
                    if not self._poor:
                        log.warning("%s: %d threads answer for now", error, self._threads)
                    self._poor = True
                    return
                self._poor = False
                self._threads += 1

    def _run(self) -> None:
        try:
            while (task := self._jobs.get()) is not None:
                client, job = task
                self._taken += 1
                try:
                    job()
                finally:
                    self._next(client)
        finally:
            with self._lock:
                self._threads -= 1

    def _next(self, client: str) -> None:
        """A job of this client is done: bring up one that was held back, or give its place in the crew back."""
        with self._lock:
            held_back = self._held_back.get(client)
            if held_back:
                self._jobs.put((client, held_back.popleft()))
                if not held_back:
                    del self._held_back[client]
            elif self._in_hand[client] > 1:
                self._in_hand[client] -= 1
            else:
                del self._in_hand[client]
