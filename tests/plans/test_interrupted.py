"""Killed between any two system calls, a full disk, several writers: the old text or a new one is there, whole."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fingerd.backends import Lookup
from fingerd.plans.cli import main
from fingerd.plans.configuration import read_plan_config
from tests.helpers.daemons import TIMEOUT, Machine, status, wait_until
from tests.helpers.requirements import needs
from tests.plans.conftest import PLAN, Runner, left_behind

OLD, NEW = b"old\n" * 1000, b"new\n" * 2000

# Runs commands in children of a process that has imported everything. Each waits on its standard input for a byte,
# until it is traced.
LAUNCHER = """
import os, sys
from fingerd.plans.cli import main
for line in sys.stdin:
    number, *words = line.rstrip("\\n").split("\\t")
    pid = os.fork()
    if pid == 0:
        start = os.open(number + ".start", os.O_RDONLY)
        os.read(start, 1)
        os.dup2(os.open(number + ".in", os.O_RDONLY), 0)
        os._exit(main(words))
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Launcher:
    """Runs fingerd-plan under strace(1), and kills it at one system call."""

    def __init__(self, folder: Path, config: Path) -> None:
        self._folder, self._config, self._number = folder, config, 0
        # What measures coverage makes hundreds of system calls of its own at the end.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
        )

    def run(self, *words: str, given: bytes = b"", kill_at: tuple[str, int] | None = None) -> tuple[int, str]:
        """The wait status, and what strace has logged."""
        self._number += 1
        name, log = str(self._number), self._folder / "trace"
        start = self._folder / f"{name}.start"
        os.mkfifo(start)
        (self._folder / f"{name}.in").write_bytes(given)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\t".join((name, "-c", str(self._config), *words)) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        inject = [f"--inject={kill_at[0]}:signal=KILL:when={kill_at[1]}"] if kill_at else []
        with (
            start.open("wb", buffering=0) as go,
            subprocess.Popen(["strace", "-qq", "-o", str(log), *inject, "-p", str(pid)], stderr=subprocess.PIPE),
        ):
            wait_until(lambda: status(pid, "TracerPid") != ["0"])
            go.write(b"x")
            ended = int(self._process.stdout.readline())
        return ended, log.read_text()

    def close(self) -> None:
        self._process.communicate(timeout=TIMEOUT)


@pytest.fixture
def launcher(tmp_path: Path, config: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path, config)
    yield launcher
    launcher.close()


def calls(log: str, people: Path) -> list[tuple[str, int]]:
    """Each call from the one that opens the directory of people on, by its name and how many had it before."""
    numbers: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    for name, arguments in re.findall(r"^(\w+)\((.*)", log, re.MULTILINE):
        numbers[name] = numbers.get(name, 0) + 1
        if found or str(people) in arguments:
            found.append((name, numbers[name]))
    return found


def is_shown(config: Path, name: str) -> bool:
    return bool(read_plan_config(str(config)).backend.find(Lookup(name, True, "192.0.2.1", float("inf"))))


@pytest.mark.root
@needs("strace", "ptrace")
@pytest.mark.parametrize(("name", "file"), [("zoe", "zoe/plan"), ("quill", "quill.txt")])
def test_a_set_that_is_killed_at_any_call_leaves_the_old_or_the_new_text(
    name: str, file: str, launcher: Launcher, people: Path, config: Path, tmp_path: Path
) -> None:
    path = people / file
    path.write_bytes(OLD)
    ended, log = launcher.run("--as", name, "set", given=NEW)
    assert (ended, path.read_bytes()) == (0, NEW)
    every = calls(log, people)
    assert {"write", "fchmod", "fsync", "rename", "renameat", "renameat2"} & {call for call, _ in every} >= {"write"}
    assert len(every) > 20
    found, temporary = set(), 0
    (tmp_path / "newer").write_text("newer\n")
    for call in every:
        path.write_bytes(OLD)
        ended, _ = launcher.run("--as", name, "set", given=NEW, kill_at=call)
        assert os.WIFSIGNALED(ended) or call[0] == "exit_group", call
        found.add(path.read_bytes())
        assert found <= {OLD, NEW}, call
        temporary += len(left_behind(people))
        assert main(["-c", str(config), "--as", name, "set", str(tmp_path / "newer")]) == 0
        assert (path.read_bytes(), left_behind(people)) == (b"newer\n", []), call
    assert found == {OLD, NEW}
    assert temporary  # else nothing was tested


@pytest.mark.root
@needs("strace", "ptrace")
@pytest.mark.parametrize("name", ["zoe", "quill"])
def test_a_person_is_hidden_or_not_wherever_hide_and_unhide_are_killed(
    name: str, launcher: Launcher, people: Path, config: Path
) -> None:
    plans = {path: path.read_bytes() for path in people.rglob("*") if path.is_file()}
    for command, other in (("hide", "unhide"), ("unhide", "hide")):
        assert main(["-c", str(config), "--as", name, other]) == 0
        _, log = launcher.run("--as", name, command)
        found = set()
        for call in calls(log, people):
            assert main(["-c", str(config), "--as", name, other]) == 0
            launcher.run("--as", name, command, kill_at=call)
            found.add(is_shown(config, name))
            assert {path: path.read_bytes() for path in plans} == plans
            assert main(["-c", str(config), "--as", name, command]) == 0
            assert is_shown(config, name) == (command == "unhide"), call
            assert left_behind(people) == [], call
        assert found == {True, False}


@pytest.mark.root
@needs("namespaces")
def test_a_full_disk_leaves_the_old_text(host: Machine, people: Path, config: Path, tmp_path: Path) -> None:
    """In all places where it may be full: no room for the text, and no room for another file."""
    runner = Runner(tmp_path, host.inside)
    run = partial(runner.run, "-c", str(config), "--as", "zoe")
    zoe = people / "zoe"
    assert host.run("mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=4,mode=755", "tmpfs", str(zoe)).returncode == 0
    host.run("sh", "-c", f"head -c 8000 /dev/zero | tr '\\0' a >{zoe}/plan; head -c 40000 /dev/zero >{zoe}/other")
    for fill in ("", f"touch {zoe}/1"):
        host.run("sh", "-c", fill)
        done = run("set", given=b"b" * 30_000)
        message = f"fingerd-plan: cannot write {zoe}/plan: No space left on device\n"
        assert (done.returncode, done.stderr.decode()) == (74, message)
        assert host.run("cat", f"{zoe}/plan").stdout == "a" * 8000
        assert sorted(host.run("ls", "-A", str(zoe)).stdout.split()) == sorted(["other", "plan", *(["1"] * bool(fill))])
    for words in (("put", "project", "x"), ("hide",)):
        assert run(*words).returncode == 74
    host.run("rm", f"{zoe}/other", f"{zoe}/1")
    assert run("set", given=b"b" * 30_000).returncode == 0
    assert host.run("cat", f"{zoe}/plan").stdout == "b" * 30_000
    runner.close()


@pytest.mark.parametrize("name", ["zoe", "quill"])
def test_of_several_writers_each_writes_the_whole_text(name: str, people: Path, config: Path) -> None:
    """Their texts come one after the other, and a reader never sees another one."""
    path = people / ("zoe/plan" if name == "zoe" else "quill.txt")
    texts = {f"{letter}\n".encode() * 20_000 for letter in "abcd"}
    path.write_bytes(next(iter(texts)))
    code = "import sys; from fingerd.plans.cli import main\nfor _ in range(40): assert main(sys.argv[1:]) == 0"
    writers = []
    for number, text in enumerate(sorted(texts)):
        (people.parent / f"{number}").write_bytes(text)
        words = ["-c", str(config), "--as", name, "set", str(people.parent / f"{number}")]
        writers.append(subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE))
    seen: set[bytes] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    printed = [writer.communicate(timeout=TIMEOUT)[1] for writer in writers]
    ended.set()
    reader.join()
    assert printed == [b""] * 4
    assert len(seen) > 1
    assert seen <= texts
    assert left_behind(people) == []


def test_an_interrupt_leaves_the_old_text(people: Path, config: Path) -> None:
    command = [*PLAN, "-c", str(config), "--as", "zoe", "set"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"half a te")
        process.stdin.flush()
        wait_until(lambda: has_open(process.pid, people / "zoe"))  # then it reads its standard input
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130
        assert process.stderr
        assert process.stderr.read() == b""
    assert (people / "zoe" / "plan").read_bytes() == b"old\n"
    assert left_behind(people) == []


def has_open(pid: int, path: Path) -> bool:
    """Whether the process has this file or directory open."""
    with contextlib.suppress(FileNotFoundError):
        return any(each.readlink() == path for each in Path(f"/proc/{pid}/fd").iterdir())
    return False
