"""A disk that is slow, or fails: what the client is told is what was done, and nothing stays among the people."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.daemons import TIMEOUT, wait_until
from tests.helpers.http import Response
from tests.plans.conftest import Run, left_behind
from tests.plans.web.conftest import NEW, PlanServer, configure, new_token

# fsync of a file, or of a directory, waits while a file of that name is in the first argument, a directory; it fails
# where there is one of that name with "-fails".
PROGRAM = """
import os, stat, sys, time
real = os.fsync
def fsync(descriptor):
    kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
    path = os.path.join(sys.argv[1], kind)
    if os.path.exists(path):
        open(path + "-reached", "w").close()
    while os.path.exists(path):
        time.sleep(0.01)
    if os.path.exists(path + "-fails"):
        raise OSError(5, "Input/output error")
    real(descriptor)
os.fsync = fsync
from fingerd.plans.cli import main
sys.exit(main(sys.argv[2:]))
"""
LOST = "the change was made, but the disk may lose it: Input/output error"


class Disk:
    """The disk of a server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def hold(self, kind: str) -> None:
        """Have whatever is written from now on wait."""
        (self.folder / kind).touch()

    def wait(self, kind: str) -> None:
        """Wait until something waits for the disk."""
        wait_until((self.folder / f"{kind}-reached").exists)

    def release(self, kind: str) -> None:
        """Have it written."""
        (self.folder / kind).unlink()

    def fail(self, kind: str) -> None:
        """Have it fail."""
        (self.folder / f"{kind}-fails").touch()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "disk")


@pytest.fixture
def slow(disk: Disk, people: Path) -> Iterator[PlanServer]:
    """A server with this disk, and little time to answer and to end."""

    class SlowServer(PlanServer):
        command = (sys.executable, "-c", PROGRAM, str(disk.folder))

    server = SlowServer(configure(people.parent, rest="limits: {answer_seconds: 1, drain_seconds: 1}\n"), "serve")
    yield server
    assert server.stop() == 0
    assert not [line for line in server.log if "Traceback" in line or "internal error" in line]


Ask = Callable[[PlanServer, str], Response]

REQUESTS: dict[str, tuple[str, Ask]] = {
    "put": ("zoe", lambda server, token: server.put("zoe", NEW, token)),
    "put one file": ("quill", lambda server, token: server.put("quill", NEW, token)),
    "delete one file": ("quill", lambda server, token: server.request("DELETE", "/~quill/plan", token=token)),
    "form": ("zoe", lambda server, token: server.request("POST", "/~zoe/edit", f"text=new&token={token}")),
}


def plans(people: Path) -> list[str]:
    return [path.read_text() if path.exists() else "" for path in (people / "zoe" / "plan", people / "quill.txt")]


@pytest.mark.parametrize(("name", "ask"), REQUESTS.values(), ids=REQUESTS)
def test_nothing_is_changed_where_the_client_was_told_busy(
    name: str, ask: Ask, slow: PlanServer, disk: Disk, people: Path, run: Run
) -> None:
    token = new_token(run, name)
    disk.hold("file")
    told = ask(slow, token)
    assert (told.status, told.headers["retry-after"]) == (503, "10")
    assert left_behind(people)  # it waits for the disk
    disk.release("file")
    wait_until(lambda: not left_behind(people))
    assert plans(people) == ["old\n", "a quill\n"]
    assert ask(slow, token).status in (204, 303)
    assert plans(people) != ["old\n", "a quill\n"]


@pytest.mark.parametrize(("name", "method"), [("zoe", "PUT"), ("zoe", "DELETE"), ("quill", "PUT")])
def test_a_change_that_was_made_is_told_however_late(
    name: str, method: str, slow: PlanServer, disk: Disk, people: Path, run: Run
) -> None:
    token = new_token(run, name)
    disk.hold("directory")
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(slow.request, method, f"/~{name}/plan", NEW if method == "PUT" else "", token)
        disk.wait("directory")
        assert plans(people) != ["old\n", "a quill\n"]
        wait_until(lambda: time.monotonic() > begun + 2)  # answer_seconds, and a look at what is late
        assert not asked.done()
        disk.release("directory")
        assert asked.result().status == 204


@pytest.mark.parametrize(("name", "ask"), REQUESTS.values(), ids=REQUESTS)
def test_a_service_that_ends_waits_for_the_disk_and_leaves_nothing(
    name: str, ask: Ask, slow: PlanServer, disk: Disk, people: Path, run: Run
) -> None:
    token = new_token(run, name)
    disk.hold("file")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, slow, token)
        disk.wait("file")
        slow.process.send_signal(signal.SIGTERM)
        assert asked.result().status == 503
        assert left_behind(people)
        disk.release("file")
    assert slow.process.wait(TIMEOUT) == 0
    assert left_behind(people) == []
    assert plans(people) == ["old\n", "a quill\n"]


@pytest.mark.parametrize("name", ["zoe", "quill"])
def test_a_directory_that_the_disk_may_lose_is_a_warning(
    name: str, slow: PlanServer, disk: Disk, people: Path, run: Run
) -> None:
    token = new_token(run, name)
    disk.fail("directory")
    assert slow.put(name, NEW, token).status == 204
    assert slow.logged(LOST)
    assert NEW in plans(people)
    assert slow.request("DELETE", f"/~{name}/plan", token=token).status == 204
    assert slow.logged(LOST)
    assert "" in plans(people)


def test_a_file_that_cannot_be_written_is_an_error(slow: PlanServer, disk: Disk, people: Path, run: Run) -> None:
    token = new_token(run, "zoe")
    disk.fail("file")
    told = slow.put("zoe", NEW, token)
    assert (told.status, "is as it was" in told.text) == (500, True)
    assert plans(people) == ["old\n", "a quill\n"]
    assert left_behind(people) == []


def test_commands_have_succeeded_where_only_the_directory_may_be_lost(
    disk: Disk, people: Path, config: Path, run: Run
) -> None:
    disk.fail("directory")
    for words in (
        ("--as", "zoe", "put", "plan", "new"),
        ("--as", "quill", "clear"),
        ("--as", "zoe", "hide"),
        ("--as", "zoe", "unhide"),
        ("--as", "quill", "hide"),
        ("--as", "quill", "unhide"),
        ("token", "add", "zoe", "laptop"),
        ("token", "revoke", "zoe", "laptop"),
    ):
        command = [sys.executable, "-c", PROGRAM, str(disk.folder), "-c", str(config), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
        assert (done.returncode, f"fingerd-plan: warning: {LOST}\n" in done.stderr) == (0, True), words
        assert bool(done.stdout) == (words[:2] == ("token", "add"))
    assert plans(people) == [NEW, ""]
    assert run("token", "list").stdout == b""
    assert left_behind(people) == []
