"""Answers that people should read, compared by their words."""

import re
import unicodedata
from dataclasses import dataclass

_REFUSAL = re.compile(
    r"deni|refus|forbid|prohibit|disallow|disabled|unavailable|(no|not) ([a-z]+ ){0,3}available|forwarding|no forward|"
    r"(not|n't|never) (be )?(allow|permit|support|provid|transmit|accept|forward|relay)|"
    r"(must|please) (provide|supply|give|specify)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_META = re.compile(rb"M-\^([?-_])|M-([ -~])")  # how cat -v and BSD's servers write bytes above 127
SHOWN = 60  # characters of an answer
MOST, LEAST = 0.5, 0.2  # of the user's words: an answer about the user has that many, and any other fewer than these


def text_of(data: bytes) -> str:
    """The answer as a text: UTF-8, or Latin-1 where it is not."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def texts_of(data: bytes) -> set[str]:
    """All that the answer may be as a text: UTF-8 or Latin-1, with bytes written as ``M-^E`` or without."""
    found = {data, _META.sub(_byte, data)}
    read = {each.decode(charset, "replace") for each in found for charset in ("utf-8", "latin-1")}
    return {unicodedata.normalize("NFC", text) for text in read}


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes([128 | (match[1][0] ^ 64 if match[1] else match[2][0])])


def plain(text: str) -> str:
    """The text with all but printable ASCII as escape sequences."""
    return "".join(each if " " <= each <= "~" else ascii(each)[1:-1] for each in text)


def shown(data: bytes, *beside: bytes) -> str:
    """A line of an answer, safe for a terminal: the first that other answers do not have too, or the last."""
    lines = [line.strip() for line in text_of(data).splitlines() if line.strip()]
    if not lines:
        return "nothing" if not data else "an empty line"
    known = {line.strip() for other in beside for line in text_of(other).splitlines()}
    line = next((line for line in lines if line not in known), lines[-1])
    return ascii(line if len(line) <= SHOWN else line[:SHOWN] + "...").replace("|", "\\x7c")


def refuses(data: bytes) -> bool:
    """Whether it says, as far as words can tell, that something is not done here."""
    return bool(_REFUSAL.search(text_of(data)))


def words(data: bytes) -> set[str]:
    """Its words in lower case, without numbers, which are times mostly."""
    return set(_WORD.findall(text_of(data).lower()))


def without(data: bytes, *names: str) -> str:
    """The answer with the names that were asked for, and whatever hangs on to them, made the same, and without numbers.

    A server may have put another character in the place of some of the name.
    """
    text = text_of(data)
    for name in names:
        stem = re.sub(r"\W+", r"\\W?", name)
        text = re.sub(rf"(?<!\w)[\W_]?{stem}[^\s'\",:;)>\]]*", "NAME", text, flags=re.IGNORECASE)
    return " ".join(re.sub(r"\d+", "0", text).split()).lower()


@dataclass(frozen=True, slots=True)
class Known:
    """The words by which the answer about the user is known: in each of its answers, and in none about nobody."""

    words: frozenset[str]

    @classmethod
    def of(cls, first: bytes, again: bytes, nobody: bytes, user: str) -> "Known":
        """From two answers about the user and one about nobody; without words where these cannot be told apart."""
        told = (words(first) & words(again)) - words(nobody)
        return cls(frozenset(told - words(user.encode()) or told))

    def is_about_user(self, data: bytes) -> bool | None:
        """Whether this is an answer about the user; None where that cannot be told."""
        if not self.words:
            return None
        share = len(self.words & words(data)) / len(self.words)
        return True if share >= MOST else False if share < LEAST else None
