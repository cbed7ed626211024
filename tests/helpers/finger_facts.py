"""The facts that Debian's finger tells of a user, to be looked for in what ours tells."""

import re
from collections.abc import Callable

# What its long form says, and what has to be in ours for it.
FACTS: dict[str, Callable[[re.Match[str]], list[str]]] = {
    r"Login: (\S+) .*Name: (.*)": lambda found: [f"Login name: {found[1]}", f"In real life: {found[2]}"],
    r"Directory: (\S+) .*Shell: (.*)": lambda found: [f"Directory: {found[1]}", f"Shell: {found[2]}"],
    r"Office: (.*?)\t.*Home Phone: (.*)": lambda found: [f"Office: {found[1]}", f"Home phone: {found[2]}"],
    r"Office(?: Phone)?: (.*)": lambda found: [f"Office: {found[1]}"],
    r"On since (.{16}) \(\w+\) on (\S+) from (\S+)": lambda found: [
        f"On since {found[1]} on {found[2]} from {found[3]}"
    ],
    r"On since (.{16}) \(\w+\) on (\S+)": lambda found: [f"On since {found[1]} on {found[2]}"],
    r" +(\d+) hours? (\d+) minutes? idle": lambda found: [f", idle {found[1]}:{found[2]:0>2}"],
    r" +(\d+) days? idle": lambda found: [f", idle {found[1]}d"],
    r" +(\d+) minutes? (?:\d+ seconds? )?idle": lambda found: [f", idle {found[1]}"],
    r" +\d+ seconds? idle": lambda _: [],  # RFC 1288 2.5.1 counts minutes
    r" +\(messages off\)": lambda _: ["(messages off)"],
    r"Last login (.{16}) \(\w+\) on (\S+)(.*)": lambda found: [f"Last login {found[1]} on {found[2]}{found[3]}"],
    r"Last login (.{16} \d{4}) \(\w+\) on (\S+)(.*)": lambda found: [f"Last login {found[1]} on {found[2]}{found[3]}"],
    r"Never logged in\.": lambda found: [found[0]],
    r"Mail forwarded to (.*)": lambda found: [found[0]],
    r"New mail received (.{16}) \d{4} .*": lambda found: [f"New mail received {found[1]}"],
    r" +Unread since (.{16}) \d{4} .*": lambda found: [f"unread since {found[1]}"],
    r"Mail last read (.{16}) \d{4} .*": lambda found: [f"Mail last read {found[1]}"],
    r"No mail\.": lambda _: ["No unread mail"],
    r"PGP key:": lambda found: [found[0]],
    r"(Project|Plan):": lambda found: [found[1]],  # an empty plan is no plan in ours
    r"No Plan\.": lambda found: [found[0]],
    r"text: (.*)": lambda found: [found[0]],
}


def facts(answer: str) -> list[str]:
    """Everything that finger says, in our words; AssertionError for a line that is not understood."""
    told: list[str] = []
    for line in filter(str.strip, answer.replace("\r\n", "\n").splitlines()):
        for part in filter(str.strip, re.split(r"(?= {3}\d+ \w+ (?:\d+ \w+ )?idle$| \(messages off\)$)", line)):
            found = [(read, match) for text, read in FACTS.items() if (match := re.fullmatch(text, part))]
            assert found, f"what does this say? {part!r}"
            read, match = found[0]
            told += read(match)
    return told


def compare(theirs: str, ours: str) -> None:
    """Print both answers, and see that ours tells all that theirs does."""
    print(f"--- Debian's in.fingerd\n{theirs}--- ours\n{ours}")
    said = facts(theirs)
    assert len(said) > 6
    for fact in said:
        assert fact in ours, fact
