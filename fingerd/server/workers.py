"""The worker pool: threads for answers that have to wait, few at first, more when all of them are stuck."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from fingerd.bugs import report_bug

log = logging.getLogger(__name__)

CPU_BUSY_FRACTION = 0.7  # of wall time; below it another thread helps, above it threads would fight for the interpreter
MIN_THREADS = 4  # that are always there: fewer leave a second core idle while look-ups wait for files

Job = Callable[[], None]


class WorkerPool:
    """Up to ``max_threads`` daemon threads, which no exit waits for; one client has at most a quarter of them."""

    def __init__(self, max_threads: int) -> None:
        self.resize(max_threads)
        self._jobs: SimpleQueue[tuple[str, Job] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._submitted = self._begun = 0  # jobs, those that are deferred not counted
        self._last_adjust = (0, 0, 0, 0.0, 0.0)  # jobs submitted, begun and waiting; CPU seconds, seconds
        self._threads = 0
        self._start_failing = False  # as the log was told
        self._in_progress: dict[str, int] = {}  # limit key -> jobs that are queued or worked on
        self._deferred: dict[str, deque[Job]] = {}  # limit key -> jobs beyond its share

    def resize(self, max_threads: int) -> None:
        """Have up to so many threads from now on; those that are more already stay."""
        self.max_threads = max_threads
        self._per_client_limit = max(1, max_threads // 4)

    def submit(self, limit_key: str, job: Job) -> bool:
        """Have the job done; false where it is deferred until other jobs of the same client are done."""
        with self._lock:
            in_progress = self._in_progress.get(limit_key, 0)
            if in_progress >= self._per_client_limit:
                self._deferred.setdefault(limit_key, deque()).append(job)
                return False
            self._jobs.put((limit_key, job))  # before it is counted: there may be no memory for it
            self._in_progress[limit_key] = in_progress + 1
            self._submitted += 1
        return True

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return self._jobs.qsize()

    def start(self) -> None:
        """Start the first threads, if there are none yet."""
        self._grow(MIN_THREADS - self._threads)

    def adjust(self) -> None:
        """Start threads where they help; to be called every few milliseconds while jobs wait.

        Only a job that has waited since the last call counts: one that was
        queued a moment ago may begin at once. If no job was begun meanwhile,
        all threads are stuck. If the queue grows although the CPU is idle,
        threads wait more than they work.
        """
        submitted, begun, waiting = self._submitted, self._begun, self.waiting
        cpu, now = time.process_time(), time.monotonic()
        last_submitted, last_begun, last_waiting, last_cpu, last = self._last_adjust
        if begun < last_submitted or not self._threads:
            if begun == last_begun or not self._threads:
                self._grow(waiting)
            elif waiting >= last_waiting and cpu - last_cpu < CPU_BUSY_FRACTION * (now - last):
                self._grow(1)
        self._last_adjust = submitted, begun, waiting, cpu, now

    def stop(self) -> None:
        """Let the threads end as they become free."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _grow(self, wanted: int) -> None:
        with self._lock:
            for _ in range(min(wanted, self.max_threads - self._threads)):
                try:
                    threading.Thread(target=self._run, name="worker", daemon=True).start()
                except (RuntimeError, MemoryError) as error:  # the system gives no more: those that are there go on
                    if not self._start_failing:
                        log.warning("%s: going on with %d threads", str(error) or "out of memory", self._threads)
                    self._start_failing = True
                    return
                self._start_failing = False
                self._threads += 1

    def _run(self) -> None:
        try:
            while (task := self._jobs.get()) is not None:
                self._begun += 1
                try:
                    self._work(*task)
                except BaseException as error:
                    report_bug(error, "in a worker")
        finally:
            with self._lock:
                self._threads -= 1

    def _work(self, limit_key: str, job: Job) -> None:
        try:
            job()
        finally:
            self._release(limit_key)

    def _release(self, limit_key: str) -> None:
        """A job of this client is done: queue one that was deferred, or free its place."""
        with self._lock:
            deferred = self._deferred.get(limit_key)
            if deferred:
                self._jobs.put((limit_key, deferred[0]))
                deferred.popleft()
                self._submitted += 1
                if not deferred:
                    del self._deferred[limit_key]
            elif self._in_progress.get(limit_key, 0) > 1:
                self._in_progress[limit_key] -= 1
            else:
                self._in_progress.pop(limit_key, None)
