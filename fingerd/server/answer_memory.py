"""The answer memory: whole answers that may be given again, in bounded memory. For the loop's thread only."""

import math
from collections import OrderedDict

from fingerd.ruip.ruip import Answer

MEMORY_BYTES_MAX = 4 << 20  # beyond it the least recently used answers are dropped
SHORT_LIVED_BYTES_MAX = 1 << 20  # the same, of answers that expire: only what many clients ask at the same time helps
ENTRY_OVERHEAD = 650  # bytes that an entry takes beside its user name and its answer
DETAILS_BYTES = 1000  # of what HTTP keeps beside an answer: the header of 304, the form
REPEATABLE_OUTCOMES = ("answered", "unknown", "refused")

# The number of the rule, and the query as it was understood: its user name, with this host's name if given, and the
# form of the answer: by Finger whether it is {W}, by HTTP the name of a representation.
Key = tuple[int, str, bool | str]


Entry = tuple[Answer, float]  # an answer, and until when it may be given again (``time.monotonic()``)


class AnswerMemory(OrderedDict[Key, Entry]):
    """Answers of one configuration, each for ``seconds`` after it was worked out; 0 for none at all.

    Who takes an answer by ``get`` looks whether it has expired, and moves it to the end.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self._room = MEMORY_BYTES_MAX if seconds == math.inf else SHORT_LIVED_BYTES_MAX

    def put(self, key: Key, answer: Answer, now: float) -> bool:
        """Remember an answer; false where it is of a kind that must not be given again."""
        if answer.outcome not in REPEATABLE_OUTCOMES:
            return False
        if old := self.pop(key, None):
            self._room += _size(key, old[0])
        self[key] = answer, now + self.seconds
        self._room -= _size(key, answer)
        while self._room < 0:
            oldest, entry = self.popitem(last=False)
            self._room += _size(oldest, entry[0])
        return True


def _size(key: Key, answer: Answer) -> int:
    details = DETAILS_BYTES if answer.details else 0
    return ENTRY_OVERHEAD + 4 * len(key[1]) + len(answer.reply) + details
