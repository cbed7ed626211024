"""A memo finds each value once, keeps what it found in bounded memory, and is for any thread."""

import threading

import pytest

from fingerd.memo import Memo


def test_a_value_is_found_once() -> None:
    asked: list[str] = []

    def find(key: str) -> str | None:
        asked.append(key)
        return key.upper() or None

    memo = Memo(find, 10)
    assert [memo[key] for key in ("a", "b", "a", "", "")] == ["A", "B", "A", None, None]
    assert asked == ["a", "b", ""]


def test_the_key_that_was_added_first_is_forgotten() -> None:
    memo = Memo(str, 3)
    for number in (1, 2, 3, 1, 4, 5):
        assert memo[number] == str(number)
    assert list(memo) == [3, 4, 5]


def test_an_error_is_not_kept() -> None:
    failing = [True]

    def find(key: int) -> int:
        if failing:
            raise LookupError(key)
        return key

    memo = Memo(find, 3)
    with pytest.raises(LookupError, match="7"):
        assert memo[7]
    failing.clear()
    assert memo[7] == 7


def double(number: int) -> int:
    return 2 * number


def test_threads_do_not_exceed_its_size() -> None:
    errors: list[BaseException] = []
    memo = Memo(double, 8)

    def ask(first: int) -> None:
        try:
            for number in range(first, first + 20_000):
                assert memo[number % 50] == number % 50 * 2
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(memo) == 8
