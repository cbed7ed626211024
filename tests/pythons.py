"""Runs the fast tests, which need neither root nor servers, with each Python of this machine: ``make test-pythons``.

    python -m tests.pythons --environments FOLDER [--minimum N] [--others]

Each Python has an environment of its own, which is made again when setup.cfg changes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.helpers.pythons import OLDEST, pythons

ROOT = Path(__file__).parent.parent
# What the language and its library may change: parsing, text, the loop and its sockets, files, programs, pages.
TESTS = (
    *("tests/unit", "tests/backends/command/test_command.py", "tests/backends/test_files.py"),
    *("tests/backends/test_aliases.py", "tests/backends/test_chain.py", "tests/backends/test_names.py"),
    *("tests/backends/test_promises.py", "tests/backends/test_static.py", "tests/backends/web/test_answers.py"),
    *("tests/backends/web/test_html.py", "tests/fuzz/test_corpus.py"),
)
# Memory, limits and other programs: these take longest, and tell least of Python.
SLOW = (
    *("tests/unit/client/test_cli.py", "tests/unit/log/test_buffer.py", "tests/unit/log/test_writer.py"),
    *("tests/unit/server/test_limits_together.py",),
)
MARKS = "not root and not serial"


def environment(python: str, minor: int, folder: Path) -> Path:
    """The Python of an environment for the tests, made by ``python`` unless it is there, or is this one."""
    if python == sys.executable:
        return Path(python)
    made = folder / f"3.{minor}"
    setup, done = ROOT / "setup.cfg", made / "done"
    program = made / "bin" / "python"
    if not done.exists() or done.stat().st_mtime < setup.stat().st_mtime:
        subprocess.run([python, "-m", "venv", "--clear", made], check=True)
        pip = (program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run([*pip, "--editable", ".[test]"], check=True, cwd=ROOT)
        done.touch()
    return program


def run(program: Path, workers: int) -> bool:
    """Whether the fast tests pass with this Python."""
    command: list[str | Path] = [
        program,
        "-m",
        "pytest",
        "-q",
        "-r",
        "fE",
        "-n",
        str(workers),
        "--dist=loadfile",
        "-m",
        MARKS,
    ]
    ignored = (f"--ignore={path}" for path in SLOW)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # A test that is skipped here is not skipped in `make test`.
    variables.pop("FINGERD_TEST_SKIPS", None)
    with tempfile.TemporaryDirectory() as folder:
        command += ["-p", "no:cacheprovider", f"--basetemp={folder}/tests", *ignored, *TESTS]
        return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode == 0


def main() -> int:
    """Run the tests with each Python, and return 1 if one fails, or if there are too few."""
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description="Run the fast tests with each Python.")
    parser.add_argument("--environments", type=Path, required=True, help="where the environments are kept")
    parser.add_argument("--minimum", type=int, default=1, help="fail if there are fewer Pythons than this")
    parser.add_argument("--others", action="store_true", help="not with this Python, with which `make test` runs them")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    found = pythons()
    names = ", ".join(f"3.{minor} ({path})" for minor, path in sorted(found.items()))
    print(f"Pythons from 3.{OLDEST} on: {names}", flush=True)
    if len(found) < options.minimum:
        print(
            f"only {len(found)} of the {options.minimum} Pythons that are wanted: pyenv's versions, and "
            f"python3.{OLDEST}, python3.{OLDEST + 1} and so on of the PATH are looked for",
            file=sys.stderr,
        )
        return 1
    failed = []
    for minor, python in sorted(found.items()):
        if options.others and minor == sys.version_info.minor:
            continue
        print(f"The fast tests with Python 3.{minor}:", flush=True)
        if not run(environment(python, minor, options.environments), options.workers):
            failed.append(f"3.{minor}")
    if failed:
        print(f"failed with Python {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
