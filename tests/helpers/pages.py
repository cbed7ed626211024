"""Pages of the documentation: their blocks of code, and what the comments before each say to the tests.

A block is fenced and has a language, or it is indented. Right before it are comments of HTML, which readers do not see:

``not run: WHY``   nothing on this block is run by a test.
``run by PATH``    another test runs it, which reads the page.
``serve: CONFIG``  fingerd serves this configuration from here on, until the next ``serve``.
``file: NAME``     the text of the block is written to this file.
``before: LINE``   a command that is run first, and not shown.
``background``     the block is run beside what follows.
``log``            the block is what the server of ``serve`` has logged.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.daemons import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")))


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code of a page."""

    line: int  # where it begins, from 1
    language: str  # empty for an indented block
    text: str
    notes: tuple[str, ...]  # the comments before it

    def note(self, word: str) -> str | None:
        """What stands after this word in a comment; None without such a comment."""
        for note in self.notes:
            if note == word or note.startswith((f"{word} ", f"{word}: ")):
                return note.removeprefix(word).removeprefix(":").strip()
        return None

    @property
    def commands(self) -> tuple[tuple[str, str], ...]:
        """What is typed, and what it prints: after ``$`` or ``#`` in a block ``console``, all of a block ``sh``."""
        if self.language == "console":
            return tuple(re.findall(r"^[$#] ((?:.*\\\n)*.*)\n((?:(?![$#] ).*\n)*)", self.text, re.MULTILINE))
        return tuple((command, "") for command in _whole_commands(self.text)) if self.language == "sh" else ()


def _whole_commands(text: str) -> Iterator[str]:
    """The lines, joined to whole commands."""
    begun = ""
    for line in text.splitlines(keepends=True):
        begun += line
        whole = subprocess.run(["bash", "-n", "-c", begun], capture_output=True, check=False).returncode == 0
        if whole and not begun.endswith("\\\n"):
            if begun.strip():
                yield begun.rstrip("\n")
            begun = ""
    assert not begun, f"not a whole command: {begun}"


def read_blocks(page: Path) -> tuple[Block, ...]:
    """The blocks of code of a page, in their order."""
    lines = page.read_text().splitlines()
    blocks: list[Block] = []
    notes: list[str] = []
    at = 0
    while at < len(lines):
        begin, line = at, lines[at]
        at += 1
        if comment := re.fullmatch(r"<!-- (.*) -->", line):
            notes.append(comment[1])
            continue
        if line.startswith("```"):
            end = lines.index("```", at)
            text = lines[at:end]
            at = end + 1
        elif line.startswith("    ") and not (begin and lines[begin - 1].strip()):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            text = [each[4:] for each in lines[begin:at]]
        else:
            if line.strip():
                notes.clear()
            continue
        language = line.lstrip("`") if line.startswith("```") else ""
        blocks.append(Block(begin + 1, language, "\n".join(text).rstrip() + "\n", tuple(notes)))
        notes.clear()
    return tuple(blocks)
