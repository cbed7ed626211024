"""The log of one daemon, followed through all rotations: every line is read once, checked and counted."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import BinaryIO

TIMESTAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
ACCESS = re.compile(
    TIMESTAMP + r' client=([\d.]+) query=("(?:[^"\\]|\\.)*") outcome=([a-z-]+) bytes=(\d+) ms=\d+\.\d', re.ASCII
)
MESSAGE = re.compile(TIMESTAMP + r" ([A-Z]+) ([\w.]+): (.*)", re.ASCII)

RELOADED, REFUSED = "configuration reloaded", "not reloaded: "
FAILED, FULL = "backend failed: ", "connection limit "
EXPECTED = (  # all messages that a correct daemon logs under this load
    r"INFO fingerd: (listening on 127\.0\.0\.1:\d+|stopped)",
    r"WARNING fingerd: running as root: .*",
    r"INFO fingerd\.daemon\.reload: configuration reloaded",
    r"ERROR fingerd\.daemon\.reload: not reloaded: .*",
    r"WARNING fingerd\.server\.acceptor: (connection limit .*|\d+ connections: below the limit again)",
    r"WARNING fingerd\.ruip\.ruip: backend failed: (web|command) .*",
)
_EXPECTED = re.compile("|".join(EXPECTED))
SLOW_TURN = "WARNING fingerd.server.loop: slow event loop"
_SLOW_TURNS = re.compile(rf"{SLOW_TURN}: .* (\d+) since the last warning, the longest (\d+) ms")


class LogFiles:
    """The log at ``path`` and all its rotated files; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, Counter[str]] = {}  # network of clients -> outcome -> lines
        self.bytes: Counter[str] = Counter()  # by network
        self.messages: Counter[str] = Counter()  # those that are awaited or counted
        self.unexpected: list[str] = []
        self.is_under_load = False
        self.slow_turns: list[int] = []  # under load: the milliseconds of the longest one, for each of them
        self.slow_when_idle = 0  # slow turns outside of the load: a machine that was idle may wake up slowly
        self.lines = 0
        self.rotated = 0
        self._files: list[BinaryIO] = []  # the last one is the one at ``path``, if ``_current``
        self._current = False
        self._partial: dict[int, bytes] = {}  # by descriptor: a line without its end
        self.listening = ""

    def rotate(self) -> None:
        """Rename the file, as logrotate does before it sends SIGHUP."""
        self.read()
        self.rotated += 1
        self.path.rename(self.path.with_name(f"{self.path.name}.{self.rotated}"))
        self._current = False

    def read(self) -> None:
        """Read new lines. Rotated files stay open, because lines may still be written to them."""
        if not self._current and self.path.exists():
            self._files.append(self.path.open("rb"))
            self._current = True
        for file in self._files:
            *lines, rest = (self._partial.get(file.fileno(), b"") + file.read()).split(b"\n")
            self._partial[file.fileno()] = rest
            for line in lines:
                self._count(line.decode("ascii", "backslashreplace"))

    def close(self) -> None:
        """Read to the end; a line without its end is unexpected."""
        self.read()
        self.unexpected += [f"incomplete: {rest[:200]!r}" for rest in self._partial.values() if rest]
        for file in self._files:
            file.close()
        self._files = []
        self._partial = {}

    def _count(self, line: str) -> None:
        if found := ACCESS.fullmatch(line):
            client, query, outcome, sent = found.groups()
            network = client.rpartition(".")[0].rpartition(".")[0]
            self.lines += 1
            self.outcomes.setdefault(network, Counter())[outcome] += 1
            self.bytes[network] += int(sent)
            if len(query) > 1000 or not isinstance(json.loads(query), str):
                self.unexpected.append(line)
        elif found := MESSAGE.fullmatch(line):
            level, logger, message = found.groups()
            for text in (RELOADED, REFUSED, FAILED, FULL):
                self.messages[text] += text in message
            self.listening = message if message.startswith("listening on ") else self.listening
            text = f"{level} {logger}: {message}"
            if text.startswith(SLOW_TURN) and not self.is_under_load:
                self.slow_when_idle += 1
            elif turns := _SLOW_TURNS.search(text):
                self.slow_turns += [int(turns[2])] * int(turns[1])
            elif not _EXPECTED.fullmatch(text):
                self.unexpected.append(line)
        else:
            self.unexpected.append(line)

    def all_outcomes(self) -> Counter[str]:
        """The number of lines by outcome, of all clients."""
        return sum(self.outcomes.values(), Counter())
