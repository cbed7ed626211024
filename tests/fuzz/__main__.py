"""``python -m tests.fuzz``: runs atheris on every target in turn.

Exit code 0 if nothing was found, 1 if something was, 2 if atheris cannot run.
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
TIMEOUT = 30  # seconds for one input; instrumented code is about ten times slower
MEMORY_MB = 1024  # for one search
PROGRESS_SECONDS = 10.0
LAST_LINES = 60  # of the output of a search that found something; these are printed

_PROGRESS = re.compile(r"#(?P<executions>\d+)\s+\w+\s+cov: (?P<edges>\d+) ft: (?P<features>\d+) corp: (?P<inputs>\d+)/")
_TOTAL = re.compile(r"stat::number_of_executed_units: (?P<executions>\d+)")
_WRITTEN = re.compile(r"Test unit written to (?P<path>\S+)")
_HASH = re.compile("[0-9a-f]{40}")  # how libFuzzer names an input


class SearchError(Exception):
    """atheris failed, not the code that it tests."""


@dataclass
class Search:
    """The state of the search on one target."""

    name: str
    seconds: float = 0.0
    executions: int = 0
    edges: int = 0
    features: int = 0
    inputs: int = 0
    found: tuple[Path, ...] = ()

    def update(self, line: str) -> bool:
        """Read a line of libFuzzer's output; false if it has no statistics."""
        if written := _WRITTEN.search(line):
            self.found += (BUILD / written["path"],)
        match = _PROGRESS.match(line) or _TOTAL.match(line)
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
    result = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Looks for inputs that break fingerd.")
    result.add_argument("--seconds", type=int, default=600, metavar="N", help="for all targets together (default: 600)")
    result.add_argument("--target", action="append", choices=TARGETS, help="this target only; may be repeated")
    result.add_argument(
        "--keep", action="store_true", help="add new inputs that increase the coverage to tests/fuzz/corpus/"
    )
    result.add_argument("--replay", type=Path, metavar="FILE", help="run the targets on this input, without atheris")
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
        searches = [search(name, seconds) for name, seconds in split_time(names, options.seconds) if seconds]
        if options.keep:
            for name in names:
                keep(name)
    except SearchError as error:
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
    """Run the targets on one input; 1 if one fails."""
    raw = file.read_bytes()
    failed = []
    for name in names:
        start = time.monotonic()
        try:
            TARGETS[name].check(raw)
        except Exception:
            traceback.print_exc()
            failed.append(name)
        verdict = "fails for" if name in failed else "holds for"
        print(f"{name}: {verdict} these {len(raw):,} bytes, {time.monotonic() - start:.3f} s")
    return 1 if failed else 0


def split_time(names: Sequence[str], seconds: int) -> list[tuple[str, int]]:
    """The seconds of each target."""
    total = sum(TARGETS[name].share for name in names)
    return [(name, max(seconds * TARGETS[name].share // total, min(seconds, 1))) for name in names]


def search(name: str, seconds: int) -> Search:
    """Run atheris for so many seconds, and print its progress. Raises SearchError if it fails."""
    result = Search(name)
    printed, start = 0.0, time.monotonic()
    print(f"{name}: searching for {seconds} seconds", flush=True)
    last: deque[str] = deque(maxlen=LAST_LINES)
    limits = (f"-max_total_time={seconds}", f"-max_len={TARGETS[name].max_bytes}")
    with start_engine(name, *limits, "-print_final_stats=1", *directories(name)) as process:
        assert process.stdout
        for line in process.stdout:
            if not result.update(line):
                last.append(line)
            result.seconds = time.monotonic() - start
            if result.seconds > printed + PROGRESS_SECONDS:
                printed = result.seconds
                print(
                    f"{name}: {printed:.0f} s, {result.executions:,} executions, {result.features:,} features,"
                    f" {result.inputs:,} inputs",
                    flush=True,
                )
    if result.found:
        print("".join(last))
    elif process.returncode:
        raise SearchError(f"{''.join(last)}\nthe search of {name} ended with exit code {process.returncode}")
    return result


def directories(name: str) -> tuple[str, ...]:
    """The directories of new inputs, the corpus and the seeds, relative to ``BUILD``; made if they do not exist."""
    work, seeds = BUILD / "corpus" / name, BUILD / "seeds" / name
    for directory in (work, seeds, CORPUS / name):
        directory.mkdir(parents=True, exist_ok=True)
    for title, raw in configurations().items() if name == "config" else ():
        (seeds / title).write_bytes(raw)
    return tuple(os.path.relpath(directory, BUILD) for directory in (work, CORPUS / name, seeds))


def start_engine(name: str, *options: str) -> subprocess.Popen[str]:
    """Start atheris on a target, with its dictionary and limits."""
    FOUND.mkdir(parents=True, exist_ok=True)
    words_file = BUILD / f"{name}.dict"
    words_file.write_text(dictionary(name))
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.fuzz.engine", name),
            *(f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY_MB}", f"-dict={words_file.name}"),
            f"-artifact_prefix={FOUND.name}/{name}-",
            *options,
        ],
        cwd=BUILD,  # where relative paths of a configuration find almost nothing
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def keep(name: str) -> None:
    """Reduce the corpus to the fewest inputs with the same coverage; inputs that were named by hand stay."""
    merged = BUILD / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    # Edges only: counters would add an input for each number of iterations of each loop.
    with start_engine(name, "-merge=1", "-use_counters=0", merged.name, *directories(name)[::-1]) as process:
        output, _ = process.communicate()
    if process.returncode:
        raise SearchError(f"{output[-2000:]}\nthe merge of {name} ended with exit code {process.returncode}")
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
