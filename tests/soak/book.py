"""What is asked, and what is the right answer to it.

The words and forms here are those of the documented behaviour, written down
once more: nothing of fingerd is imported. Texts name the generation of the
configuration that they are in; by half of the generations, every answer begins
with a header that names the generation, the client and the user. So an answer
that is out of date, or somebody else's, is wrong.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

INSTANT, CREW = "instant", "crew"  # the two daemons: answers from memory, and answers by way of the crew

QUERY_BYTES = 1024
REPLY_BYTES = 96 << 10
CUT = b"[answer cut]\r\n"

HEADER = "generation GENERATION, for {client}, of {user}"
GENERATION = "GENERATION"  # stands for its number in the texts

WORDS = {
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
LIST = "Everybody whom generation GENERATION knows\n"  # of the program; a table is made of the users in the file

# Names that a backend of the crew knows beside the texts: an answer after a while, a failure, and nothing for ever.
SLOW, BROKEN, STUCK = "slow", "broken", "stuck"


def _lines(count: int) -> str:
    return "".join(f"line {number:05} of generation GENERATION, {'-' * 38}\n" for number in range(count))


TEXTS = {
    "moshez": "Happy and well in generation GENERATION\n",
    "anna": "Name: Anna Ångström\tRoom: 3\nPlan:\n  Покой и воля, 日本語, \u20ac 5\n  generation GENERATION\n",
    "zöe": "Zoë\n",
    "bell": "It rings: \x07, and \x1b[31mred\x1b[0m\n",
    "long": _lines(1_100),  # nearly all that an answer may have
    "endless": _lines(1_500),  # more than that
}
SLOW_TEXT = "It took a while in generation GENERATION\n"


@dataclass(frozen=True, slots=True)
class Question:
    """The bytes of a query, in the segments in which they are sent, and what the log says of it."""

    segments: tuple[bytes, ...]
    outcome: str
    username: str = ""  # as it is read, where an answer tells it
    is_list: bool = False


def _question(line: bytes, outcome: str, username: str = "", is_list: bool = False) -> Question:
    return Question((line,), outcome, username, is_list)


MOSHEZ = _question(b"moshez\r\n", "answered", "moshez")
LONG = _question(b"long\r\n", "answered", "long")
SLOWLY = _question(b"slow\r\n", "answered", "slow")
WITHOUT_END = _question(b"moshez", "answered", "moshez")  # for those who half-close after it
# These go on talking when they have been answered already: a daemon that does not listen any more resets them.
ENDLESS_LINE = Question((b"a" * 1_000,) * 10, "too-long")
TALKATIVE = Question((b"moshez\r\n", *(b"and so on\r\n" * 1_000,) * 9), "answered", "moshez")
DENIED = _question(b"moshez\r\n", "denied")
BREAKING = _question(b"broken\r\n", "error", "broken")
STICKING = _question(b"stuck\r\n", "error", "stuck")

GOOD = (
    *(MOSHEZ,) * 6,  # most people ask plainly
    _question(b"anna\r\n", "answered", "anna"),
    _question("zöe\r\n".encode(), "answered", "zöe"),
    _question("zöe\r\n".encode("latin-1"), "answered", "zöe"),
    _question(b"bell\r\n", "answered", "bell"),
    LONG,
    _question(b"endless\r\n", "answered", "endless"),
    _question(b"moshez\n", "answered", "moshez"),
    _question(b"/W moshez\r\n", "answered", "moshez"),
    _question(b" anna  /w\r\n", "answered", "anna"),
    _question(b"\xff\xfb\x01moshez\r\n", "answered", "moshez"),  # a telnet client's WILL ECHO
    _question(b"moshez\r\nanna\r\n", "answered", "moshez"),  # one line is one query
    _question(b"nobody\r\n", "unknown", "nobody"),
    _question(b"Moshez\r\n", "unknown", "Moshez"),
    _question(b"-l moshez\r\n", "unknown", "-l moshez"),
    _question(b"../moshez\r\n", "unknown", "../moshez"),
    _question(b"a" * QUERY_BYTES + b"\r\n", "unknown", "a" * QUERY_BYTES),
    _question(b"a" * (QUERY_BYTES + 1) + b"\r\n", "too-long"),
    _question(b"\r\n", "answered", is_list=True),
    _question(b"\n", "answered", is_list=True),
    _question(b"/W\r\n", "answered", is_list=True),
    _question(b"moshez@example.org\r\n", "refused", "moshez"),
    _question(b"moshez@\r\n", "malformed"),
    _question(b"mos\0hez\r\n", "malformed"),
    *(Question((b"mos", b"hez\r", b"\n"), "answered", "moshez"),) * 2,
    Question((b"/W ", b"anna\r\n"), "answered", "anna"),
    Question(tuple(bytes([byte]) for byte in b"long\r\n"), "answered", "long"),
)


def judge(
    name: str, question: Question, client: str, heard: bytes, generations: Iterable[int], also: tuple[str, ...] = ()
) -> tuple[int, str] | None:
    """The first of these generations of which this is a right answer, and the outcome; None where it is that of none.

    ``also`` are outcomes that are right as well, each with its words.
    """
    for generation in generations:
        if heard == right_answer(name, question, client, generation):
            return generation, outcome_of(name, question, generation)
        for outcome in also:
            if heard == _header("", client, generation) + wire(WORDS[outcome], generation):
                return generation, outcome
    return None


def is_beginning(name: str, question: Question, client: str, heard: bytes, generations: Iterable[int]) -> bool:
    """Whether these bytes begin the right answer of one of these generations, but are not all of it."""
    answers = (right_answer(name, question, client, generation) for generation in generations)
    return any(len(heard) < len(answer) and answer.startswith(heard) for answer in answers)


def right_answer(name: str, question: Question, client: str, generation: int) -> bytes:
    """All bytes of the answer."""
    header = _header(question.username, client, generation)
    if question.is_list:
        return header + wire(_list(name, generation), generation)
    if question.outcome == "answered":
        return header + wire(TEXTS.get(question.username, SLOW_TEXT), generation)
    return header + wire(WORDS[question.outcome], generation)


def outcome_of(name: str, question: Question, generation: int) -> str:
    """The log's word: the web keeps no list."""
    return "refused" if question.is_list and is_web(name, generation) else question.outcome


def is_web(name: str, generation: int) -> bool:
    """Whether answers of this generation come from the web; of the crew's, the others come from a program."""
    return name == CREW and generation % 2 == 1


def _list(name: str, generation: int) -> str:
    if name == CREW:
        return LIST_DENIED if is_web(name, generation) else LIST
    return "".join(["Login       Name\n", *(f"{login:<8} {login}\n" for login in TEXTS)])


def has_header(generation: int) -> bool:
    """Whether answers of this generation begin with the header: there may be a shorter way to those that do not."""
    return generation % 4 < 2


def _header(username: str, client: str, generation: int) -> bytes:
    if not has_header(generation):
        return b""
    text = HEADER.replace(GENERATION, str(generation))
    return (text.replace("{client}", client).replace("{user}", username) + "\r\n").encode()


@lru_cache(64)  # long answers take a while to make
def wire(text: str, generation: int) -> bytes:
    """The text as it goes out: masked, with CR LF, cut at a line's end where it is too long."""
    text = re.sub(r"[\x07\x1b]", "?", text.replace(GENERATION, str(generation)).removesuffix("\n"))
    sent = text.replace("\n", "\r\n").encode() + b"\r\n"
    if len(sent) <= REPLY_BYTES:
        return sent
    kept = sent[: REPLY_BYTES - len(CUT)]
    return kept[: kept.rindex(b"\r\n") + 2] + CUT
