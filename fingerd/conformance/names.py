"""Searching answers for full names: whole, cut, or with letters beyond ASCII lost (RFC 1288 2.5, 4.1)."""

import re
import unicodedata
from collections.abc import Iterable

from fingerd.conformance.texts import decodings

MIN_ASCII_LETTERS = 2  # by which a name can be recognized
MIN_CUT_LETTERS = 3  # of a word that a table has cut

_BEYOND_ASCII = re.compile(r"([^\x00-\x7f]+)")


def has_name(name: str, data: bytes) -> bool | None:
    """Whether the answer contains the full name; None if only letters are missing that are beyond ASCII."""
    words = unicodedata.normalize("NFC", name).split()
    texts = decodings(data)
    if _is_in(r"\s+".join(map(re.escape, words)), texts):
        return True
    pattern, lost = "", 0  # words without ASCII letters, which may be lost completely
    for word in words:
        if _letters(word) or word.isascii():
            pattern += (pattern and rf"\s+(?:\S+\s+){{0,{lost}}}") + _ascii_pattern(word)
            lost = 0
        else:
            lost += 1
    letters = sum(map(_letters, words))
    if letters and not _is_in(pattern, texts):
        return False
    return True if letters >= MIN_ASCII_LETTERS else None


def has_part_of_name(name: str, login: str, row: bytes) -> bool | None:
    """Whether a row of a list contains a word of the full name besides the login; None if no word is recognizable."""
    words = [w for w in unicodedata.normalize("NFC", name).split() if w != login and len(w) >= MIN_ASCII_LETTERS]
    texts = {re.sub(rf"(?<!\w){re.escape(login)}(?!\w)", "", text) for text in decodings(row)}
    known = [word for word in words if _letters(word) >= MIN_ASCII_LETTERS]
    cut = (word[:length] for word in words for length in range(MIN_CUT_LETTERS, len(word)))
    patterns = [*map(re.escape, words), *map(_ascii_pattern, known), *map(re.escape, cut)]
    if any(_is_in(pattern, texts) for pattern in patterns):
        return True
    return False if known else None


def _letters(word: str) -> int:
    """The number of ASCII letters in the word."""
    return len(re.findall("[A-Za-z]", word))


def _ascii_pattern(word: str) -> str:
    """A pattern for the word whose letters beyond ASCII may be missing, masked or transcribed."""
    first, *rest = _BEYOND_ASCII.split(word)
    pattern = re.escape(first)
    for lost, ascii_part in zip(rest[::2], rest[1::2], strict=True):
        others = rf"[A-Za-z]{{0,{2 * len(lost)}}}?|[^\sA-Za-z]{{0,{4 * len(lost)}}}?"
        end = re.escape(ascii_part) or r"(?!\w)[^\w\s]*"
        # An atomic group prevents catastrophic backtracking: the text comes from the tested server.
        pattern += rf"(?>(?:{others}){end})"
    return rf"(?<!\w){pattern}(?!\w)"


def _is_in(pattern: str, texts: Iterable[str]) -> bool:
    """Whether one of the texts contains the pattern, not as a part of a word."""
    whole = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)
    return any(whole.search(text) for text in texts)
