"""The queries of the load, and the right answer to each.

The texts and forms are those of the documentation, written here again:
nothing of fingerd is imported. Texts contain the generation of their
configuration. In half of the generations, every answer begins with a header
that contains the generation, the client and the user. So an outdated answer,
or another client's, is recognized as wrong.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

STATIC, POOL = "static", "pool"  # the two daemons: one answers from memory, the other through its worker pool

QUERY_BYTES = 1024
REPLY_BYTES = 96 << 10
CUT = b"[answer cut]\r\n"

HEADER = "generation GENERATION, for {client}, of {user}"
GENERATION = "GENERATION"  # replaced by the number of the generation

MESSAGES = {
    "unknown": "No such user",
    "error": "Internal error in server",
    "refused": "Finger forwarding service denied",
    "denied": "Finger service denied",
    "too-long": "Query too long",
    "malformed": "Malformed query",
    "limited": "Too many queries, try again later",
    "busy": "Finger service is busy, try again later",
}
LIST_DENIED = "Finger online user list denied"
LIST_TEXT = "Everybody whom generation GENERATION knows\n"  # of the program; `static` prints a table of its users

# More usernames of the blocking backends: a slow answer, a failure, and one that never answers.
SLOW, BROKEN, STUCK = "slow", "broken", "stuck"


def _lines(count: int) -> str:
    return "".join(f"line {number:05} of generation GENERATION, {'-' * 38}\n" for number in range(count))


TEXTS = {
    "moshez": "Happy and well in generation GENERATION\n",
    "anna": "Name: Anna Ångström\tRoom: 3\nPlan:\n  Покой и воля, 日本語, \u20ac 5\n  generation GENERATION\n",
    "zöe": "Zoë\n",
    "controls": "Controls: \x07, and \x1b[31mred\x1b[0m\n",
    "long": _lines(1_100),  # a little less than REPLY_BYTES
    "endless": _lines(1_500),  # more than REPLY_BYTES
}
SLOW_TEXT = "It took a while in generation GENERATION\n"


@dataclass(frozen=True, slots=True)
class Query:
    """The bytes of a query, in the segments in which they are sent, and its outcome in the log."""

    segments: tuple[bytes, ...]
    outcome: str
    username: str = ""  # as the header shows it
    is_list: bool = False


def _query(line: bytes, outcome: str, username: str = "", is_list: bool = False) -> Query:
    return Query((line,), outcome, username, is_list)


PLAIN_QUERY = _query(b"moshez\r\n", "answered", "moshez")
LONG_QUERY = _query(b"long\r\n", "answered", "long")
SLOW_QUERY = _query(b"slow\r\n", "answered", "slow")
WITHOUT_LINE_END = _query(b"moshez", "answered", "moshez")  # followed by a half-close
# The client goes on sending after the answer: the daemon must read on, or the kernel resets the connection.
ENDLESS_LINE = Query((b"a" * 1_000,) * 10, "too-long")
TRAILING_DATA = Query((b"moshez\r\n", *(b"and so on\r\n" * 1_000,) * 9), "answered", "moshez")
DENIED = _query(b"moshez\r\n", "denied")
FAILING_QUERY = _query(b"broken\r\n", "error", "broken")
HANGING_QUERY = _query(b"stuck\r\n", "error", "stuck")

GOOD_QUERIES = (
    *(PLAIN_QUERY,) * 6,  # the most frequent kind
    _query(b"anna\r\n", "answered", "anna"),
    _query("zöe\r\n".encode(), "answered", "zöe"),
    _query("zöe\r\n".encode("latin-1"), "answered", "zöe"),
    _query(b"controls\r\n", "answered", "controls"),
    LONG_QUERY,
    _query(b"endless\r\n", "answered", "endless"),
    _query(b"moshez\n", "answered", "moshez"),
    _query(b"/W moshez\r\n", "answered", "moshez"),
    _query(b" anna  /w\r\n", "answered", "anna"),
    _query(b"\xff\xfb\x01moshez\r\n", "answered", "moshez"),  # a telnet client's WILL ECHO
    _query(b"moshez\r\nanna\r\n", "answered", "moshez"),  # the second line is ignored
    _query(b"nobody\r\n", "unknown", "nobody"),
    _query(b"Moshez\r\n", "unknown", "Moshez"),
    _query(b"-l moshez\r\n", "unknown", "-l moshez"),
    _query(b"../moshez\r\n", "unknown", "../moshez"),
    _query(b"a" * QUERY_BYTES + b"\r\n", "unknown", "a" * QUERY_BYTES),
    _query(b"a" * (QUERY_BYTES + 1) + b"\r\n", "too-long"),
    _query(b"\r\n", "answered", is_list=True),
    _query(b"\n", "answered", is_list=True),
    _query(b"/W\r\n", "answered", is_list=True),
    _query(b"moshez@example.org\r\n", "refused", "moshez"),
    _query(b"moshez@\r\n", "malformed"),
    _query(b"mos\0hez\r\n", "malformed"),
    *(Query((b"mos", b"hez\r", b"\n"), "answered", "moshez"),) * 2,
    Query((b"/W ", b"anna\r\n"), "answered", "anna"),
    Query(tuple(bytes([byte]) for byte in b"long\r\n"), "answered", "long"),
)


def match_answer(
    name: str, query: Query, client: str, answer: bytes, generations: Iterable[int], also: tuple[str, ...] = ()
) -> tuple[int, str] | None:
    """The first of these generations in which the answer is right, and its outcome; None if it is wrong in all.

    The messages of the outcomes in ``also`` are right as well.
    """
    for generation in generations:
        if answer == expected_answer(name, query, client, generation):
            return generation, expected_outcome(name, query, generation)
        for outcome in also:
            if answer == _header("", client, generation) + encode(MESSAGES[outcome], generation):
                return generation, outcome
    return None


def is_partial_answer(name: str, query: Query, client: str, answer: bytes, generations: Iterable[int]) -> bool:
    """Whether the bytes are a proper prefix of the right answer of one of these generations."""
    expected = (expected_answer(name, query, client, generation) for generation in generations)
    return any(len(answer) < len(each) and each.startswith(answer) for each in expected)


def expected_answer(name: str, query: Query, client: str, generation: int) -> bytes:
    """All bytes of the right answer."""
    header = _header(query.username, client, generation)
    if query.is_list:
        return header + encode(_list(name, generation), generation)
    if query.outcome == "answered":
        return header + encode(TEXTS.get(query.username, SLOW_TEXT), generation)
    return header + encode(MESSAGES[query.outcome], generation)


def expected_outcome(name: str, query: Query, generation: int) -> str:
    """The outcome in the log; ``web`` has no list."""
    return "refused" if query.is_list and is_web(name, generation) else query.outcome


def is_web(name: str, generation: int) -> bool:
    """Whether the backend of this generation is ``web``; the pool's other generations use ``command``."""
    return name == POOL and generation % 2 == 1


def _list(name: str, generation: int) -> str:
    if name == POOL:
        return LIST_DENIED if is_web(name, generation) else LIST_TEXT
    return "".join(["Login    Name\n", *(f"{login:<8} {login}\n" for login in TEXTS)])


def has_header(generation: int) -> bool:
    """Whether answers of this generation begin with the header; only those without it can be remembered."""
    return generation % 4 < 2


def _header(username: str, client: str, generation: int) -> bytes:
    if not has_header(generation):
        return b""
    text = HEADER.replace(GENERATION, str(generation))
    return (text.replace("{client}", client).replace("{user}", username) + "\r\n").encode()


@lru_cache(64)  # encoding a long answer is slow
def encode(text: str, generation: int) -> bytes:
    """The text as it is sent: with controls masked and CR LF, and cut at a line's end if it is too long."""
    text = re.sub(r"[\x07\x1b]", "?", text.replace(GENERATION, str(generation)).removesuffix("\n"))
    sent = text.replace("\n", "\r\n").encode() + b"\r\n"
    if len(sent) <= REPLY_BYTES:
        return sent
    kept = sent[: REPLY_BYTES - len(CUT)]
    return kept[: kept.rindex(b"\r\n") + 2] + CUT
