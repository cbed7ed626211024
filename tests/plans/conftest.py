"""A directory of people, its configuration, and ``fingerd-plan`` as a process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons import ROOT, TIMEOUT
from tests.helpers.machines import AccountsHost

PLAN = (sys.executable, "-m", "fingerd.plans")
TEMPORARY = ".fingerd-plan-*"

Done = subprocess.CompletedProcess[bytes]
Run = Callable[..., Done]

# Runs each command in a child of a process that has imported everything, which takes longer than most commands do.
RUNNER = """
import json, os, pwd, sys
from fingerd.plans.cli import main
for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(job["given"], os.O_RDONLY), 0)
        for number, path in ((1, job["output"]), (2, job["errors"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdin = open(0, closefd=False)
        os.environ.update(job["environment"])
        if job["login"]:
            account = pwd.getpwnam(job["login"])
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        code = 99
        try:
            code = main(job["words"])
        except SystemExit as error:
            code = error.code
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Runner:
    """Runs fingerd-plan, perhaps as another user, and in the namespaces of a host."""

    def __init__(self, folder: Path, inside: tuple[str, ...] = ()) -> None:
        self._files = {name: folder / name for name in ("given", "output", "errors")}
        self._process = subprocess.Popen(
            [*inside, "env", f"PYTHONPATH={ROOT}", sys.executable, "-c", RUNNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )

    def run(self, *words: str, given: bytes = b"", login: str = "", **environment: str) -> Done:
        """Run a command, and wait for its end."""
        self._files["given"].write_bytes(given)
        files = {name: str(path) for name, path in self._files.items()}
        assert self._process.stdin
        assert self._process.stdout
        job = {**files, "words": words, "login": login, "environment": environment}
        self._process.stdin.write(f"{json.dumps(job)}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Done(words, code, self._files["output"].read_bytes(), self._files["errors"].read_bytes())

    def close(self) -> None:
        """End the process that waits for commands."""
        self._process.communicate(timeout=TIMEOUT)


@pytest.fixture(scope="package")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs fingerd-plan as the user of the tests."""
    runner = Runner(tmp_path_factory.mktemp("runner"))
    yield runner
    runner.close()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A directory with zoe, who has a directory of her own, and quill, who is one file."""
    people = tmp_path / "people"
    (people / "zoe").mkdir(parents=True)
    (people / "zoe" / "plan").write_text("old\n")
    (people / "quill.txt").write_text("a quill\n")
    (tmp_path / "fingerd.yaml").write_text(f'listen: "127.0.0.1:0"\nbackend: {{type: files, folder: {people}}}\n')
    return people


@pytest.fixture
def config(people: Path) -> Path:
    """The configuration with these people."""
    return people.parent / "fingerd.yaml"


@pytest.fixture
def run(config: Path, runner: Runner) -> Run:
    """Runs fingerd-plan with this configuration: arguments, the bytes of standard input, the environment."""

    def run(*arguments: str, given: bytes = b"", **environment: str) -> Done:
        return runner.run("-c", str(config), *arguments, given=given, **environment)

    return run


def left_behind(people: Path) -> list[Path]:
    """Temporary files among the people."""
    return sorted(people.rglob(TEMPORARY))


def let_users_run_python(host: AccountsHost) -> None:
    """Let all users of the host enter the directories of this Python, which may be in root's home."""
    for path in (Path(sys.executable), Path(os.path.realpath(sys.executable)), ROOT / "fingerd"):
        for parent in reversed(path.parents):
            seen = host.path(str(parent))
            if not seen.stat().st_mode & 0o001:
                below = parent / path.relative_to(parent).parts[0]
                keep = f"/run/{below.name.lstrip('.')}"
                host.run("mkdir", "-p", keep)
                host.run("mount", "--bind", str(below), keep)
                host.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(parent))
                host.run("mkdir", str(below))
                host.run("mount", "--bind", keep, str(below))
