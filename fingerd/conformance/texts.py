"""Comparing the texts of answers by their words."""

import re
import unicodedata
from collections.abc import Set

_REFUSAL = re.compile(
    r"deni|refus|forbid|prohibit|disallow|disabled|unavailable|(no|not) ([a-z]+ ){0,3}available|forwarding|no forward|"
    r"(not|n't|never) (be )?(allow|permit|support|provid|transmit|accept|forward|relay)|"
    r"(must|please) (provide|supply|give|specify)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_META = re.compile(rb"M-\^([?-_])|M-([ -~])")  # how cat -v and BSD servers write bytes above 127
EXCERPT_CHARACTERS = 60
USER_FRACTION = 0.5  # of the words of a fingerprint that an answer about the user has at least
OTHER_FRACTION = 0.2  # any other answer has fewer of them


def decoded(data: bytes) -> str:
    """The answer as text: UTF-8, or windows-1252 if it is not UTF-8; each undefined byte becomes U+FFFD."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("windows-1252", "replace")


def decodings(data: bytes) -> set[str]:
    """All possible texts of the answer: as UTF-8 and windows-1252, with and without ``M-^E`` notation."""
    found = {data, _META.sub(lambda match: bytes([128 | (match[1][0] ^ 64 if match[1] else match[2][0])]), data)}
    texts = {each.decode(charset, "replace") for each in found for charset in ("utf-8", "windows-1252")}
    return {unicodedata.normalize("NFC", text) for text in texts}


def escaped(text: str) -> str:
    """The text with escape sequences for all but printable ASCII."""
    return "".join(each if " " <= each <= "~" else ascii(each)[1:-1] for each in text)


def excerpt(data: bytes, *others: bytes) -> str:
    """One line of an answer, safe for a terminal: the first that the other answers do not have, else the last."""
    lines = [line.strip() for line in decoded(data).splitlines() if line.strip()]
    if not lines:
        return "nothing" if not data else "an empty line"
    known = {line.strip() for other in others for line in decoded(other).splitlines()}
    line = next((line for line in lines if line not in known), lines[-1])
    return ascii(line if len(line) <= EXCERPT_CHARACTERS else line[:EXCERPT_CHARACTERS] + "...").replace("|", "\\x7c")


def is_refusal(data: bytes) -> bool:
    """Whether the answer seems to say that a service is refused."""
    return bool(_REFUSAL.search(decoded(data)))


def words(data: bytes) -> set[str]:
    """The words of an answer in lower case; without numbers, which are mostly times."""
    return set(_WORD.findall(decoded(data).lower()))


def normalized(data: bytes, *names: str) -> str:
    """The answer with each of the queried names, and what is attached to it, replaced, and each number by 0."""
    text = decoded(data)
    for name in names:
        stem = re.sub(r"\W+", r"\\W?", name)  # a server may have replaced some characters of the name
        text = re.sub(rf"(?<!\w)[\W_]?{stem}[^\s'\",:;)>\]]*", "NAME", text, flags=re.IGNORECASE)
    return " ".join(re.sub(r"\d+", "0", text).split()).lower()


def fingerprint_of(first: bytes, second: bytes, nobody: bytes, user: str) -> Set[str]:
    """The words that two answers about the user have and the one for nobody lacks; empty if there are none."""
    common = (words(first) & words(second)) - words(nobody)
    return common - words(user.encode()) or common


def has_fingerprint(fingerprint: Set[str], data: bytes) -> bool | None:
    """Whether the answer is about the user; None if that cannot be decided."""
    if not fingerprint:
        return None
    fraction = len(fingerprint & words(data)) / len(fingerprint)
    return True if fraction >= USER_FRACTION else False if fraction < OTHER_FRACTION else None
