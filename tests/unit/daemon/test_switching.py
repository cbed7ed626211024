"""Short turns of threads: from the first thing that takes CPU time until the end of the last one."""

import sys
from collections.abc import Iterator

import pytest

from fingerd.daemon.switching import SHORT_SECONDS, ShortTurns


@pytest.fixture
def usual() -> Iterator[float]:
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


def test_turns_are_short_until_the_last_one_ends(usual: float) -> None:
    turns = ShortTurns()
    assert sys.getswitchinterval() == usual
    turns.change(True)
    with turns:
        assert sys.getswitchinterval() == pytest.approx(SHORT_SECONDS)
    assert sys.getswitchinterval() == pytest.approx(SHORT_SECONDS)
    turns.change(False)
    assert sys.getswitchinterval() == usual


def test_turns_are_as_before_after_an_error(usual: float) -> None:
    with pytest.raises(LookupError), ShortTurns():
        raise LookupError
    assert sys.getswitchinterval() == usual
