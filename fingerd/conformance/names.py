"""Full names, looked for in answers: whole, cut, or with letters beyond ASCII lost on the way (RFC 1288 2.5, 4.1)."""

import re
import unicodedata
from collections.abc import Iterable

from fingerd.conformance.texts import texts_of

ENOUGH = 2  # ASCII letters that are left of a name, to know it by them
CUT = 3  # letters of a word, where a table has no room for more

_BEYOND = re.compile(r"([^\x00-\x7f]+)")


def is_told(name: str, data: bytes) -> bool | None:
    """Whether an answer has the full name; None where its letters are not there, and too few are of ASCII."""
    words = unicodedata.normalize("NFC", name).split()
    texts = texts_of(data)
    if _is_in(r"\s+".join(map(re.escape, words)), texts):
        return True
    pattern, lost = "", 0  # words of which nothing may be left
    for word in words:
        if _letters(word) or word.isascii():
            pattern += (pattern and rf"\s+(?:\S+\s+){{0,{lost}}}") + _without_letters(word)
            lost = 0
        else:
            lost += 1
    left = sum(map(_letters, words))
    if left and not _is_in(pattern, texts):
        return False
    return True if left >= ENOUGH else None


def is_hinted(name: str, login: str, row: bytes) -> bool | None:
    """Whether a row of a list has a word of the full name beside the login; None where no word can be looked for."""
    words = [word for word in unicodedata.normalize("NFC", name).split() if word != login and len(word) >= ENOUGH]
    texts = {re.sub(rf"(?<!\w){re.escape(login)}(?!\w)", "", text) for text in texts_of(row)}
    known = [word for word in words if _letters(word) >= ENOUGH]
    cut = (word[:length] for word in words for length in range(CUT, len(word)))
    patterns = [*map(re.escape, words), *map(_without_letters, known), *map(re.escape, cut)]
    if any(_is_in(pattern, texts) for pattern in patterns):
        return True
    return False if known else None


def _letters(word: str) -> int:
    """How many ASCII letters are in it."""
    return len(re.findall("[A-Za-z]", word))


def _without_letters(word: str) -> str:
    """A pattern for the word, whose letters beyond ASCII may be gone, masked, or written with others.

    It never tries two ways to the same place, or a text could be made for which that takes for ever.
    """
    first, *rest = _BEYOND.split(word)
    pattern = re.escape(first)
    for lost, ascii_again in zip(rest[::2], rest[1::2], strict=True):
        others = rf"[A-Za-z]{{0,{2 * len(lost)}}}?|[^\sA-Za-z]{{0,{4 * len(lost)}}}?"
        end = re.escape(ascii_again) or r"(?!\w)[^\w\s]*"
        pattern += rf"(?>(?:{others}){end})"
    return rf"(?<!\w){pattern}(?!\w)"


def _is_in(pattern: str, texts: Iterable[str]) -> bool:
    """Whether it is in one of the texts, and no part of a word."""
    whole = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)
    return any(whole.search(text) for text in texts)
