"""What one daemon logged, followed through all rotations: every line is read once, counted, and held to its form."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import BinaryIO

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
ACCESS = re.compile(
    STAMP + r' client=([\d.]+) query=("(?:[^"\\]|\\.)*") outcome=([a-z-]+) bytes=(\d+) ms=\d+\.\d', re.ASCII
)
MESSAGE = re.compile(STAMP + r" ([A-Z]+) ([\w.]+): (.*)", re.ASCII)

RELOADED, REFUSED = "configuration reloaded", "not reloaded: "
FAILED, FULL = "backend failed: ", "connection limit "
EXPECTED = (  # all that a sound daemon tells under this load
    r"INFO fingerd: (listening on 127\.0\.0\.1:\d+|stopped)",
    r"WARNING fingerd: running as root: .*",
    r"INFO fingerd\.daemon\.reload: configuration reloaded",
    r"ERROR fingerd\.daemon\.reload: not reloaded: .*",
    r"WARNING fingerd\.server\.acceptor: (connection limit .*|\d+ connections: below the limit again)",
    r"WARNING fingerd\.ruip\.ruip: backend failed: (web|command) .*",
)
_EXPECTED = re.compile("|".join(EXPECTED))


class LogFiles:
    """The log at ``path`` and all files that it was before; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, Counter[str]] = {}  # network of clients -> outcome -> lines
        self.bytes: Counter[str] = Counter()  # by network
        self.messages: Counter[str] = Counter()  # those that are waited for, and counted
        self.strange: list[str] = []  # no line of a sound daemon
        self.lines = 0
        self.rotated = 0
        self._files: list[BinaryIO] = []  # the last one is the one at ``path``, if ``_current``
        self._current = False
        self._begun: dict[int, bytes] = {}  # by descriptor: a line whose end is not there yet
        self.listening = ""

    def rotate(self) -> None:
        """Move the file away, as logrotate does before it sends SIGHUP."""
        self.read()
        self.rotated += 1
        self.path.rename(self.path.with_name(f"{self.path.name}.{self.rotated}"))
        self._current = False

    def read(self) -> None:
        """Read what is new. Files that were moved away stay open: lines may still come."""
        if not self._current and self.path.exists():
            self._files.append(self.path.open("rb"))
            self._current = True
        for file in self._files:
            *lines, rest = (self._begun.get(file.fileno(), b"") + file.read()).split(b"\n")
            self._begun[file.fileno()] = rest
            for line in lines:
                self._count(line.decode("ascii", "backslashreplace"))

    def close(self) -> None:
        """Read to the end; a line without its end is torn."""
        self.read()
        self.strange += [f"torn: {rest[:200]!r}" for rest in self._begun.values() if rest]
        for file in self._files:
            file.close()
        self._files = []
        self._begun = {}

    def _count(self, line: str) -> None:
        if found := ACCESS.fullmatch(line):
            client, query, outcome, sent = found.groups()
            network = client.rpartition(".")[0].rpartition(".")[0]
            self.lines += 1
            self.outcomes.setdefault(network, Counter())[outcome] += 1
            self.bytes[network] += int(sent)
            if len(query) > 1000 or not isinstance(json.loads(query), str):
                self.strange.append(line)
        elif found := MESSAGE.fullmatch(line):
            level, logger, said = found.groups()
            for text in (RELOADED, REFUSED, FAILED, FULL):
                self.messages[text] += text in said
            self.listening = said if said.startswith("listening on ") else self.listening
            if not _EXPECTED.fullmatch(f"{level} {logger}: {said}"):
                self.strange.append(line)
        else:
            self.strange.append(line)

    def all_outcomes(self) -> Counter[str]:
        """Lines by outcome, of all clients."""
        return sum(self.outcomes.values(), Counter())
