"""The facts in an answer of Debian's finger, translated to our format, to compare both answers."""

import re
from collections.abc import Callable

# The lines of its long form, and what our answer must contain for each.
FACTS: dict[str, Callable[[re.Match[str]], list[str]]] = {
    r"Login: (\S+) .*Name: (.*)": lambda match: [f"Login name: {match[1]}", f"In real life: {match[2]}"],
    r"Directory: (\S+) .*Shell: (.*)": lambda match: [f"Directory: {match[1]}", f"Shell: {match[2]}"],
    r"Office: (.*?)\t.*Home Phone: (.*)": lambda match: [f"Office: {match[1]}", f"Home phone: {match[2]}"],
    r"Office(?: Phone)?: (.*)": lambda match: [f"Office: {match[1]}"],
    r"On since .{16} \(\w+\) on \S+(?: from \S+)?": lambda match: [match[0]],
    r" +(\d+ hours?)( \d+ minutes?) idle": lambda match: [f", idle {match[1]}{match[2].removesuffix(' 0 minutes')}"],
    r" +(\d+ days?) idle": lambda match: [f", idle {match[1]}"],
    r" +(\d+ minutes?) (?:\d+ seconds? )?idle": lambda match: [f", idle {match[1]}"],
    r" +\d+ seconds? idle": lambda _: [],  # RFC 1288 2.5.1 counts minutes
    r" +\(messages off\)": lambda _: ["(messages off)"],
    r"Last login .{16}(?: \d{4})? \(\w+\) on \S+.*": lambda match: [match[0]],
    r"Never logged in\.": lambda match: [match[0]],
    r"Mail forwarded to (.*)": lambda match: [match[0]],
    r"New mail received (.{16}) \d{4}( \(\w+\))": lambda match: [f"New mail received {match[1]}{match[2]}"],
    r" +Unread since (.{16}) \d{4}( \(\w+\))": lambda match: [f"unread since {match[1]}{match[2]}"],
    r"Mail last read (.{16}) \d{4}( \(\w+\))": lambda match: [f"Mail last read {match[1]}{match[2]}"],
    r"No mail\.": lambda _: [],  # ours says so of an empty mailbox, but not where there is none
    r"PGP key:": lambda match: [match[0]],
    r"(Project|Plan):": lambda match: [match[1]],  # ours shows an empty plan as "No Plan."
    r"No Plan\.": lambda match: [match[0]],
    r"text: (.*)": lambda match: [match[0]],
}


def facts(answer: str) -> list[str]:
    """The facts of finger's answer in our format; raises AssertionError for an unknown line."""
    found: list[str] = []
    for line in filter(str.strip, answer.replace("\r\n", "\n").splitlines()):
        for part in filter(str.strip, re.split(r"(?= {3}\d+ \w+ (?:\d+ \w+ )?idle$| \(messages off\)$)", line)):
            matches = [
                (translate, match) for pattern, translate in FACTS.items() if (match := re.fullmatch(pattern, part))
            ]
            assert matches, f"unknown line: {part!r}"
            translate, match = matches[0]
            found += translate(match)
    return found


def compare(theirs: str, ours: str) -> None:
    """Print both answers, and check that ours has all facts of theirs."""
    print(f"--- Debian's in.fingerd\n{theirs}--- ours\n{ours}")
    expected = facts(theirs)
    assert len(expected) >= 6
    for fact in expected:
        assert fact in ours, fact
