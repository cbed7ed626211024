"""Mutation testing of the pure modules: ``python -m tests.mutants [--sample 100] [--seed N] [MODULE …]``.

A mutant is a copy of a module with one change: a comparison with another
operator, a number that is one more or less, a boolean or a condition that is
negated, a function that returns None. It is killed if the unit tests of its
module fail. One that survives shows what these tests miss, unless it is
equivalent: no test can distinguish ``" " * -1`` from ``" " * 0``.

Each mutant runs in a copy of the tree, which is removed afterwards; the tree
itself is never changed. It takes minutes, and is not a part of ``make check``.
"""

import argparse
import ast
import compileall
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "dist")
PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "--hypothesis-seed=0")
TIMEOUT_FACTOR, TIMEOUT_SECONDS = 5, 10  # of the time without a mutant, and in addition: loops that never end

# Each module with its unit tests, below tests/unit.
TESTS = {
    "text": "test_text.py",
    "protocol.query": "protocol/test_query.py",
    "protocol.reply": "protocol/test_reply.py",
    "config.values": "config/test_values.py",
    "config.document": "config/test_document.py",
    "config.schema": "config/test_schema.py",
    "net.addresses": "net/test_addresses.py",
    "net.sources": "net/test_sources.py",
    "net.own_addresses": "net/test_own_addresses.py",
    "net.own_names": "net/test_own_names.py",
    "net.deadline": "net/test_deadline.py",
    "ruip.policy": "ruip/test_policy.py",
    "ruip.report": "ruip/test_report.py",
    "ruip.times": "ruip/test_times.py",
    "ruip.targets": "ruip/test_targets.py",
    "ruip.relay": "ruip/test_relay.py",
    "people": "people/test_people.py",
    "people.name_index": "people/test_name_index.py",
    "people.mapping": "people/test_mapping.py",
    "server.limits": "server/test_limits.py",
    "log.format": "log/test_format.py",
    "client.target": "client/test_target.py",
    "client.terminal": "client/test_terminal.py",
}

PAIRS = (
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
    (ast.And, ast.Or),
)
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {old: new for pair in PAIRS for old, new in (pair, pair[::-1])}


class Mutant(NamedTuple):
    """One change of a module: its place, and the source of the whole module with it."""

    module: str
    line: int
    code: str  # that line
    change: str
    source: str


def path_of(module: str) -> Path:
    """The file of a module, relative to the root."""
    path = Path("fingerd", *module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of the module."""
    source = (ROOT / path_of(module)).read_text()
    tree = ast.parse(source)
    for node in list(nodes(tree)):
        for field, new in changes(node):
            old, before = getattr(node, field), ast.unparse(node)
            setattr(node, field, new)
            change = f"{before.splitlines()[0]}  →  {ast.unparse(node).splitlines()[0]}"
            line = next(line for each in ast.walk(node) if (line := getattr(each, "lineno", 0)))
            yield Mutant(module, line, source.splitlines()[line - 1].strip(), change, ast.unparse(tree))
            setattr(node, field, old)


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The node and those below it, without decorators and annotations of functions, which mypy checks."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("decorator_list", "returns", "annotation") and not isinstance(node, ast.AnnAssign):
            continue
        if isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: never fails in a correct program
            continue
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, ast.AST):
                yield from nodes(child)


def changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """What to change in a node: fields with new values."""
    match node:
        case ast.Compare():
            for number, operator in enumerate(node.ops):
                yield "ops", [*node.ops[:number], OPERATORS[type(operator)](), *node.ops[number + 1 :]]
        case ast.BoolOp():
            yield "op", OPERATORS[type(node.op)]()
        case ast.UnaryOp(op=ast.Not()):
            yield "operand", negated(node.operand)
        case ast.Constant(value=bool()):
            yield "value", not node.value
        case ast.Constant(value=int() | float() as value):
            yield from (("value", value + 1), ("value", value - 1))
        case ast.Return(value=ast.expr() as result) if not is_singleton(result):
            yield "value", ast.Constant(None)
        case ast.If() | ast.IfExp() | ast.While() if is_plain(node.test):
            yield "test", negated(node.test)
        case ast.comprehension():
            for number, condition in enumerate(node.ifs):
                if is_plain(condition):
                    yield "ifs", [*node.ifs[:number], negated(condition), *node.ifs[number + 1 :]]


def negated(condition: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), condition)


def is_singleton(node: ast.expr) -> bool:
    """Whether the expression is None, or a boolean, of which the negation is a mutant already."""
    return isinstance(node, ast.Constant) and isinstance(node.value, bool | None)


def is_plain(condition: ast.expr) -> bool:
    """Whether a condition has no operator that is changed itself."""
    return not isinstance(condition, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant)


def passes(copy: Path, module: str, seconds: float | None = None) -> bool:
    """Whether the module's unit tests pass in the copy, in that time."""
    tests = f"tests/unit/{TESTS[module]}"
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = (*PYTEST, f"--basetemp={copy / 'tmp'}", tests)
    with subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            return process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def survives(copy: Path, mutant: Mutant, seconds: float) -> bool:
    """Whether the unit tests pass with the mutant, which is in the copy for that time."""
    path = copy / path_of(mutant.module)
    original = path.read_bytes()
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()  # it would hide a mutant of the same size and time
    path.write_text(mutant.source)
    try:
        return passes(copy, mutant.module, seconds)
    finally:
        path.write_bytes(original)


def limit_of(copy: Path, module: str) -> float:
    """The seconds that the tests of the module may take; exits if they fail without a mutant."""
    start = time.monotonic()
    if not passes(copy, module):
        sys.exit(f"the unit tests of {module} fail without a mutant: tests/unit/{TESTS[module]}")
    return TIMEOUT_FACTOR * (time.monotonic() - start) + TIMEOUT_SECONDS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Test the unit tests by mutants.")
    parser.add_argument("--sample", type=int, default=100, metavar="N", help="this many (default: 100); 0: all")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the sample (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="that run at once")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(TESTS)} (default: all)")
    options = parser.parse_args(arguments)
    if unknown := set(options.modules) - set(TESTS):
        parser.error(f"unknown module {min(unknown)}")
    chosen = [mutant for module in options.modules or TESTS for mutant in mutants(module)]
    if 0 < options.sample < len(chosen):
        chosen = random.Random(options.seed).sample(chosen, options.sample)
    chosen.sort(key=lambda mutant: (mutant.module, mutant.line))
    total, killed = Counter(mutant.module for mutant in chosen), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(options.jobs) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.jobs):
            copies.put(Path(shutil.copytree(ROOT, Path(folder, str(number)), ignore=NOT_COPIED)))
            compileall.compile_dir(Path(folder, str(number), "fingerd"), quiet=1)
        limits = {module: limit_of(Path(folder, "0"), module) for module in total}

        def test(mutant: Mutant) -> bool:
            copy = copies.get()
            try:
                return survives(copy, mutant, limits[mutant.module])
            finally:
                copies.put(copy)

        for mutant, is_alive in zip(chosen, pool.map(test, chosen), strict=True):
            killed[mutant.module] += not is_alive
            state = "SURVIVED" if is_alive else "killed"
            place = f"{path_of(mutant.module)}:{mutant.line}"
            print(f"{state:<8}  {place}: {mutant.change}" + f"\n{'':10}{mutant.code}" * is_alive, flush=True)
    for module, number in sorted(total.items()):
        print(f"{module:<16} {killed[module]:>4} of {number:>4} killed")
    print(f"{'all':<16} {killed.total():>4} of {total.total():>4} killed (seed {options.seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
