"""``python -m tests.fuzz``: atheris on every target in turn.

Exit code 0 where nothing was found, 1 where something was, 2 where atheris cannot run.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.seeds import CORPUS, configurations, dictionary
from tests.fuzz.targets import TARGETS
from tests.helpers.daemons import ROOT

BUILD = ROOT / "build" / "fuzz"
FOUND = BUILD / "found"
LONG = 30  # seconds that no input may take; instrumented code is some ten times slower
MEGABYTES = 1024  # of memory that no search may pass
PULSE = 10.0  # seconds between two words on how a search goes
TOLD = 60  # last lines of a search that has found something

_SEEN = re.compile(r"#(?P<executions>\d+)\s+\w+\s+cov: (?P<edges>\d+) ft: (?P<features>\d+) corp: (?P<inputs>\d+)/")
_TOTAL = re.compile(r"stat::number_of_executed_units: (?P<executions>\d+)")
_WRITTEN = re.compile(r"Test unit written to (?P<path>\S+)")
_HASH = re.compile("[0-9a-f]{40}")  # how libFuzzer names an input


class BrokenError(Exception):
    """The search itself failed, and not what it searched."""


@dataclass
class Search:
    """What came of one target so far."""

    name: str
    seconds: float = 0.0
    executions: int = 0
    edges: int = 0
    features: int = 0
    inputs: int = 0
    found: tuple[Path, ...] = ()

    def note(self, line: str) -> bool:
        """Read a line of libFuzzer's; false where it tells no numbers."""
        if written := _WRITTEN.search(line):
            self.found += (BUILD / written["path"],)
        match = _SEEN.match(line) or _TOTAL.match(line)
        for key, value in match.groupdict().items() if match else ():
            setattr(self, key, int(value))
        return match is not None

    def __str__(self) -> str:
        rate = self.executions / max(self.seconds, 0.001)
        return (
            f"{self.name:<8} {self.seconds:>7.0f} {self.executions:>12,} {rate:>10,.0f} {self.edges:>7,}"
            f" {self.features:>9,} {self.inputs:>7,} {len(self.found):>6}"
        )


HEADINGS = "target   seconds   executions per second   edges  features  inputs  found"


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Look for inputs that break fingerd.")
    result.add_argument("--seconds", type=int, default=600, metavar="N", help="for all targets together (default: 600)")
    result.add_argument("--target", action="append", choices=TARGETS, help="this one only; may be given again")
    result.add_argument("--keep", action="store_true", help="put what is new and worth it into tests/fuzz/corpus/")
    result.add_argument("--replay", type=Path, metavar="FILE", help="try this input on the target, without atheris")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    names = options.target or list(TARGETS)
    if options.replay:
        return replay(options.replay, names)
    if not importlib.util.find_spec("atheris"):
        print("atheris is not installed: pip install --editable '.[fuzz,test]'", file=sys.stderr)
        return 2
    try:
        searches = [search(name, seconds) for name, seconds in shares(names, options.seconds) if seconds]
        if options.keep:
            for name in names:
                keep(name)
    except BrokenError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if searches:
        print("", HEADINGS, *searches, sep="\n")
    found = [(each.name, path) for each in searches for path in each.found]
    for name, path in found:
        file = path.relative_to(ROOT)
        print(f"\nfound: {file}\n  replay it: python -m tests.fuzz --target {name} --replay {file}")
    return 1 if found else 0


def replay(file: Path, names: Iterable[str]) -> int:
    """Try one input on the targets; 1 where it breaks one."""
    raw = file.read_bytes()
    broken = []
    for name in names:
        start = time.monotonic()
        try:
            TARGETS[name].check(raw)
        except Exception:
            traceback.print_exc()
            broken.append(name)
        verdict = "broken by" if name in broken else "holds for"
        print(f"{name}: {verdict} these {len(raw):,} bytes, {time.monotonic() - start:.3f} s")
    return 1 if broken else 0


def shares(names: Sequence[str], seconds: int) -> list[tuple[str, int]]:
    """The time that each target gets."""
    whole = sum(TARGETS[name].share for name in names)
    return [(name, max(seconds * TARGETS[name].share // whole, min(seconds, 1))) for name in names]


def search(name: str, seconds: int) -> Search:
    """Let atheris look for that long, and tell how it goes; BrokenError where it did not look."""
    result = Search(name)
    told, start = 0.0, time.monotonic()
    print(f"{name}: looking for {seconds} seconds", flush=True)
    last: deque[str] = deque(maxlen=TOLD)
    limits = (f"-max_total_time={seconds}", f"-max_len={TARGETS[name].most}")
    with engine(name, *limits, "-print_final_stats=1", *folders(name)) as process:
        assert process.stdout
        for line in process.stdout:
            if not result.note(line):
                last.append(line)
            result.seconds = time.monotonic() - start
            if result.seconds > told + PULSE:
                told = result.seconds
                print(
                    f"{name}: {told:.0f} s, {result.executions:,} executions, {result.features:,} features,"
                    f" {result.inputs:,} inputs",
                    flush=True,
                )
    if result.found:
        print("".join(last))
    elif process.returncode:
        raise BrokenError(f"{''.join(last)}\nthe search of {name} ended with exit code {process.returncode}")
    return result


def folders(name: str) -> tuple[str, ...]:
    """Where new inputs go, and where those lie that a search begins with; all made, as seen from ``BUILD``."""
    work, seeds = BUILD / "corpus" / name, BUILD / "seeds" / name
    for folder in (work, seeds, CORPUS / name):
        folder.mkdir(parents=True, exist_ok=True)
    for title, raw in configurations().items() if name == "config" else ():
        (seeds / title).write_bytes(raw)
    return tuple(os.path.relpath(folder, BUILD) for folder in (work, CORPUS / name, seeds))


def engine(name: str, *options: str) -> subprocess.Popen[str]:
    """atheris on a target, with a dictionary and its limits."""
    FOUND.mkdir(parents=True, exist_ok=True)
    words = BUILD / f"{name}.dict"
    words.write_text(dictionary(name))
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.fuzz.engine", name),
            *(f"-timeout={LONG}", f"-rss_limit_mb={MEGABYTES}", f"-dict={words.name}"),
            f"-artifact_prefix={FOUND.name}/{name}-",
            *options,
        ],
        cwd=BUILD,  # where a relative path of a configuration finds next to nothing
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def keep(name: str) -> None:
    """Make the corpus the least that covers as much as all inputs do; what people have named stays as it is."""
    merged = BUILD / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    # Edges alone: with their counters there would be an input for each number of rounds of each loop.
    with engine(name, "-merge=1", "-use_counters=0", merged.name, *folders(name)[::-1]) as process:
        output, _ = process.communicate()
    if process.returncode:
        raise BrokenError(f"{output[-2000:]}\nthe merge of {name} ended with exit code {process.returncode}")
    corpus = CORPUS / name
    named = {path.read_bytes() for path in corpus.iterdir() if not _HASH.fullmatch(path.name)}
    for path in list(corpus.iterdir()):
        if _HASH.fullmatch(path.name):
            path.unlink()
    for path in merged.iterdir():
        if path.read_bytes() not in named and path.read_bytes() not in configurations().values():
            shutil.copy(path, corpus)
    print(f"{name}: {len(list(corpus.iterdir()))} inputs kept in {corpus.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
