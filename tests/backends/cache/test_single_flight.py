"""Single-flight: one call at a time for each key, whose result all waiting threads get.

What followers do after a failure is tested with the cache.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fingerd.backends.cache.single_flight import SingleFlight
from fingerd.errors import BackendError
from tests.helpers.daemons import TIMEOUT

TIMED_OUT = "^cache: timed out waiting for the look-up of another query$"


def unused() -> str:
    raise AssertionError("a follower's function is not called")


def in_seconds(seconds: float) -> float:
    return time.monotonic() + seconds


def test_calls_for_one_key_never_overlap_and_all_get_a_result() -> None:
    flights: SingleFlight[int] = SingleFlight()
    running = threading.Lock()
    overlaps: list[str] = []
    calls: list[int] = []

    def fn() -> int:
        if not running.acquire(blocking=False):
            overlaps.append("overlap")
        calls.append(len(calls))
        time.sleep(0.01)
        running.release()
        return calls[-1]

    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(lambda _: flights.do("key", in_seconds(TIMEOUT), fn), range(200)))
    assert not overlaps
    assert sorted(set(results)) == calls
    assert len(calls) < 200


def test_calls_for_other_keys_do_not_wait() -> None:
    flights: SingleFlight[str] = SingleFlight()
    inner = lambda: flights.do("other", in_seconds(1), lambda: "other")  # noqa: E731
    assert flights.do("key", in_seconds(1), inner) == "other"


@pytest.mark.parametrize(
    ("leader_seconds", "seconds", "has_fallback"), [(TIMEOUT, 0.05, False), (0.05, 0.1, False), (0.05, TIMEOUT, True)]
)
def test_a_follower_waits_until_its_deadline_and_with_a_fallback_until_the_leader_s_deadline(
    leader_seconds: float, seconds: float, has_fallback: bool
) -> None:
    flights: SingleFlight[str] = SingleFlight()

    def lead() -> str:
        start = time.monotonic()
        with pytest.raises(BackendError, match=TIMED_OUT):  # this thread leads already, so it follows itself
            flights.do("key", in_seconds(seconds), unused, has_fallback)
        waited = time.monotonic() - start
        expected = min(leader_seconds, seconds) if has_fallback else seconds
        assert expected - 0.01 <= waited < TIMEOUT / 2
        return "the leader's result"

    assert flights.do("key", in_seconds(leader_seconds), lead) == "the leader's result"


def test_the_leader_s_exception_is_raised_and_the_next_call_begins_anew() -> None:
    flights: SingleFlight[str] = SingleFlight()
    with pytest.raises(ZeroDivisionError):
        flights.do("key", in_seconds(1), lambda: str(1 // 0))
    assert flights.do("key", in_seconds(1), lambda: "again") == "again"


def test_after_its_deadline_a_call_does_not_begin() -> None:
    with pytest.raises(BackendError, match=TIMED_OUT):
        SingleFlight[str]().do("key", in_seconds(-1), unused)
