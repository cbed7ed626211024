"""The worker pool: threads for answers that have to wait, few at first, more when all of them are stuck."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from fingerd.bugs import report_bug

log = logging.getLogger(__name__)

CPU_BUSY_FRACTION = 0.7  # of wall time; below it another thread helps, above it threads would contend for the GIL
MIN_THREADS = 4  # that are always there: fewer leave a second core idle while look-ups wait for files

Task = TypeVar("Task", bound=Hashable)


class WorkerPool(Generic[Task]):
    """Calls ``work`` with each task that is submitted, on one of up to ``max_threads`` threads.

    No exit waits for these threads. One client has at most a quarter of them.
    A task is submitted once.
    """

    def __init__(self, max_threads: int, work: Callable[[Task], object]) -> None:
        self.resize(max_threads)
        self._work = work
        self._queued: OrderedDict[Task, str] = OrderedDict()  # with their limit keys
        self._wake: SimpleQueue[bool] = SimpleQueue()  # true for each task that is queued, false to end a thread
        self._lock = threading.Lock()
        self._submitted = self._begun = 0  # tasks, those that are deferred not counted
        self._last_adjust = (0, 0, 0, 0.0, 0.0)  # tasks submitted, begun and waiting; CPU seconds, seconds
        self._threads = 0
        self._start_failing = False  # as the log was told
        self._in_progress: dict[str, int] = {}  # limit key -> tasks that are queued or worked on
        self._deferred: dict[str, OrderedDict[Task, None]] = {}  # limit key -> tasks beyond its share

    def resize(self, max_threads: int) -> None:
        """Have up to so many threads from now on; those that are more already stay."""
        self.max_threads = max_threads
        self._per_client_limit = max(1, max_threads // 4)

    def submit(self, limit_key: str, task: Task) -> bool:
        """Have the task done; false where it is deferred until other tasks of the same client are done."""
        with self._lock:
            in_progress = self._in_progress.get(limit_key, 0)
            if in_progress >= self._per_client_limit:
                self._deferred.setdefault(limit_key, OrderedDict())[task] = None
                return False
            self._enqueue(limit_key, task)  # before it is counted: there may be no memory for it
            self._in_progress[limit_key] = in_progress + 1
        return True

    def _enqueue(self, limit_key: str, task: Task) -> None:
        self._wake.put(True)  # a thread that it wakes waits for the lock
        self._queued[task] = limit_key
        self._submitted += 1

    def cancel(self, limit_key: str, task: Task) -> bool:
        """Forget a task that waits; false where a thread has begun it."""
        with self._lock:
            deferred = self._deferred.get(limit_key)
            if deferred and task in deferred:
                del deferred[task]
                if not deferred:
                    del self._deferred[limit_key]
                return True
            if self._queued.pop(task, None) is None:
                return False
            self._submitted -= 1
            self._forget_wake()
        self._release(limit_key)
        return True

    def _forget_wake(self) -> None:
        """Take back what was put for a task that is not queued any more."""
        try:
            is_task = self._wake.get_nowait()
        except Empty:  # a thread has it, and finds one task less
            return
        if not is_task:
            self._wake.put(False)

    @property
    def waiting(self) -> int:
        """How many tasks wait for a thread."""
        return len(self._queued)

    @property
    def busy(self) -> int:
        """How many threads do a task."""
        with self._lock:
            return sum(self._in_progress.values()) - len(self._queued)

    def start(self) -> None:
        """Start the first threads, if there are none yet."""
        self._grow(MIN_THREADS - self._threads)

    def adjust(self) -> None:
        """Start threads where they help; to be called every few milliseconds while tasks wait.

        Only a task that has waited since the last call counts: one that was
        queued a moment ago may begin at once. If no task was begun meanwhile,
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
            self._wake.put(False)

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
            while self._wake.get():
                try:
                    self._do_next()
                except BaseException as error:
                    report_bug(error, "in a worker")
        finally:
            with self._lock:
                self._threads -= 1

    def _do_next(self) -> None:
        with self._lock:
            if not self._queued:  # it was cancelled
                return
            task, limit_key = self._queued.popitem(last=False)
            self._begun += 1
        try:
            self._work(task)
        finally:
            self._release(limit_key)

    def _release(self, limit_key: str) -> None:
        """A task of this client is done: queue one that was deferred, or free its place."""
        with self._lock:
            deferred = self._deferred.get(limit_key)
            if deferred:
                task = next(iter(deferred))
                self._enqueue(limit_key, task)
                del deferred[task]
                if not deferred:
                    del self._deferred[limit_key]
            elif self._in_progress.get(limit_key, 0) > 1:
                self._in_progress[limit_key] -= 1
            else:
                self._in_progress.pop(limit_key, None)
