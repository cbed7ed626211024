"""Deadlines: the time that remains, and how it is divided among several attempts."""

import time

import pytest

from fingerd.net.deadline import DEADLINE_PASSED, remaining, split_deadline


def test_the_remaining_time_is_positive() -> None:
    assert 9 < remaining(time.monotonic() + 10) <= 10
    assert 0 < remaining(time.monotonic() + 0.9) <= 0.9


def test_a_deadline_that_has_passed_raises_timeout_error() -> None:
    with pytest.raises(TimeoutError, match=f"^{DEADLINE_PASSED}$"):
        remaining(time.monotonic())


def test_each_item_gets_an_equal_share_of_the_remaining_time() -> None:
    begun = time.monotonic()
    deadlines = dict(split_deadline("abcd", begun + 100))
    assert list(deadlines) == ["a", "b", "c", "d"]
    assert [round(deadline - begun) for deadline in deadlines.values()] == [25, 33, 50, 100]


def test_time_that_an_item_did_not_use_is_divided_among_the_others() -> None:
    begun = time.monotonic()
    shares = split_deadline("ab", begun + 0.2)
    next(shares)
    while time.monotonic() < begun + 0.15:
        pass
    _, deadline = next(shares)
    assert deadline == pytest.approx(begun + 0.2, abs=0.01)


def test_past_the_deadline_nothing_remains_for_any_item() -> None:
    deadlines = [deadline for _, deadline in split_deadline("ab", time.monotonic() - 1)]
    assert len(deadlines) == 2
    assert max(deadlines) <= time.monotonic()


def test_no_items_have_no_deadlines() -> None:
    assert not list(split_deadline((), time.monotonic() + 1))
