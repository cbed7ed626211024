"""Every command in README and docs/ is run, and prints what the page shows; or a comment before it says why not."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from tests.helpers.daemons import ROOT, TIMEOUT, Daemon, Machine, let_everybody_in
from tests.helpers.pages import PAGES, Block, read_blocks
from tests.helpers.requirements import needs

# Languages of blocks that are no commands. Other tests load the configurations.
TEXTS = {"apache", "caddy", "dockerfile", "haproxy", "ini", "nginx", "python", "text", "toml", "yaml"}
# Pages whose commands other tests run: the blocks that begin with "$".
RUN_BY = {"http.md": "tests/docs/test_http_page.py", "privacy.md": "tests/docs/test_examples.py"}
# Pages whose commands tests in these folders run: they need images, balancers, a Prometheus.
ELSEWHERE = {"container.md": "tests/container", "fleet.md": "tests/fleet", "metrics.md": "tests/metrics"}
PROGRAMS = {"fingerd": "fingerd.daemon.cli", "fingerd-plan": "fingerd.plans.cli", "pyfinger": "fingerd.client.cli"}
KNOWN = re.compile(r"(?:not run|serve|file|before): |run by |background$|log$")
# What commands may change, on the machine of the test alone.
OWN_FOLDERS = ("/etc", "/run", "/srv", "/usr/local", "/var/lib", "/var/log")
# Times in configurations: shorter, or longer where what follows has to be quicker on any machine.
REPLACED = {"read_seconds: 10\n": "read_seconds: 1\n", "sleep 2;": "sleep 4;"}
# What differs each time: times, durations, process numbers.
MASKS = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d": "TIME",
    r"ms=\d+\.\d": "ms=N",
    r"real\t0m\d+\.\d+s": "real",
    r"\bpid \d+": "pid N",
    r"^\d+$": "N",
    r"^( *\d+){3} \?": "PID PPID SID ?",
}


def is_run(block: Block) -> bool:
    """Whether the test below runs it."""
    return bool(block.commands) and block.note("not run") is None and block.note("run by") is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_run_or_says_why_it_is_not(page: Path) -> None:
    if page.name in ELSEWHERE:
        assert (ROOT / ELSEWHERE[page.name]).is_dir()
        return
    wrong = []
    for block in read_blocks(page):
        place = f"{page.name}:{block.line}"
        if block.note("not run") == "":
            wrong.append(f"{place}: no reason")
        wrong += [f"{place}: unknown comment: {note}" for note in block.notes if not KNOWN.match(note)]
        if other := block.note("run by"):
            assert page.name in (ROOT / other).read_text(), place
        if block.language in TEXTS or is_run(block) or block.note("not run") or other:
            continue
        if page.name in RUN_BY and block.text.startswith("$ "):
            assert page.name in (ROOT / RUN_BY[page.name]).read_text()
            continue
        wrong.append(f"{place}: neither run nor marked: {block.text.splitlines()[0]}")
    assert not wrong


def masked(line: str) -> str:
    for pattern, word in MASKS.items():
        line = re.sub(pattern, word, line)
    return line.rstrip()


class Shell:
    """A shell of root on the machine, with the programs of this checkout on its PATH, in a folder with its examples."""

    def __init__(self, host: Machine, folder: Path) -> None:
        self.folder = folder / "checkout"
        programs = self.folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        let_everybody_in(self.folder)
        (programs / "activate").write_text(f"PATH={programs}:$PATH\n")
        for name in ("docs", "etc", "examples", "man"):
            shutil.copytree(ROOT / name, self.folder / name)  # the folder of the checkout may be closed for others
        for name, module in PROGRAMS.items():
            code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom {module} import main\nsys.exit(main())\n"
            (programs / name).write_text(f"#!{sys.executable}\n{code}")
            (programs / name).chmod(0o755)
        own = folder / "own"
        script = f"mkdir {own} && mount -t tmpfs tmpfs {own} && cd {own} && mkdir -p " + " ".join(
            f".{path}/upper .{path}/work" for path in OWN_FOLDERS
        )
        for path in OWN_FOLDERS:
            options = f"lowerdir={path},upperdir={own}{path}/upper,workdir={own}{path}/work"
            script += f" && mount -t overlay overlay -o {options} {path}"
        done = host.run("sh", "-c", script)
        assert done.returncode == 0, done.stderr
        self._process = subprocess.Popen(
            [*host.inside, "sh", "-c", f"cd {self.folder} && exec bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"},
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, list[str]]:
        """The exit code of a command, and the lines that it prints."""
        assert self._process.stdin
        assert self._process.stdout
        mark = uuid.uuid4().hex
        too_late = threading.Timer(TIMEOUT, os.killpg, (self._process.pid, signal.SIGKILL))
        too_late.start()
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '%s %s\\n' {mark} $?\n")
        self._process.stdin.flush()
        printed: list[str] = []
        for line in self._process.stdout:
            before, found, code = line.partition(mark)
            if found:
                too_late.cancel()
                return int(code), [*printed, *([before] if before else [])]
            printed.append(line.rstrip("\n"))
        raise AssertionError(f"the shell has ended: {command}: {printed}")

    def close(self) -> None:
        """End the shell and what it has started, daemons of this checkout too."""
        daemons = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in path.read_bytes():
                    daemons.append(int(path.parent.name))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in daemons:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(TIMEOUT)
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()


class Reader:
    """Does what a page says, block by block."""

    def __init__(self, host: Machine, folder: Path) -> None:
        self._host = host
        self._folder = folder
        self._shell = Shell(host, folder)
        self._daemon: Daemon | None = None

    def do(self, block: Block) -> None:
        """Serve, write, run or compare what the block and its comments say."""
        if config := block.note("serve"):
            self._serve(config)
        for note in block.notes:
            if note.startswith("before: "):
                self._succeed(note.removeprefix("before: "))
        if name := block.note("file"):
            (self._folder / "block").write_text(block.text)
            self._succeed(f"cp {self._folder}/block {name}")
        if block.note("log") is not None:
            self._compare_log(block)
        elif is_run(block) and block.note("background") is not None:
            self._succeed(f"( {block.text} ) >/dev/null 2>&1 &")
        elif is_run(block):
            for command, shown in block.commands:
                if block.language == "sh":
                    self._succeed(command)
                else:
                    _, printed = self._shell.run(command)
                    assert [masked(line) for line in printed] == [masked(line) for line in shown.splitlines()], (
                        command,
                        printed,
                    )

    def _succeed(self, command: str) -> None:
        code, printed = self._shell.run(command)
        assert code == 0, (command, printed)

    def _serve(self, config: str) -> None:
        self._stop()
        path = self._folder / "served.yaml"
        text = (ROOT / config).read_text()
        for old, new in REPLACED.items():
            text = text.replace(old, new)
        path.write_text(text)
        self._daemon = Daemon(path, inside=self._host.inside)

    def _compare_log(self, block: Block) -> None:
        """The lines are in the log, in this order; a duration is not compared."""
        assert self._daemon
        if "stopped" in block.text:
            self._daemon.stop()
        for line in block.text.splitlines():
            text = masked(line).removeprefix("TIME ").partition(" ms=")[0]
            if not any(text in each for each in self._daemon.log):
                self._daemon.logged(text)

    def _stop(self) -> None:
        if self._daemon:
            self._daemon.stop()

    def close(self) -> None:
        """End all that was started."""
        self._stop()
        self._shell.close()


@pytest.mark.root
@needs("namespaces", "ip", "curl", "finger", "haproxy", "jq", "man", "nc", "openssl", "pkill", "scdoc")
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name not in ELSEWHERE and any(map(is_run, read_blocks(page)))],
    ids=lambda page: page.name,
)
def test_the_commands_of_a_page_do_what_it_says(page: Path, host: Machine, tmp_path: Path) -> None:
    follow(page, host, tmp_path)


def follow(page: Path, host: Machine, folder: Path) -> None:
    """Do what a page says; raises AssertionError where it is not true."""
    reader = Reader(host, folder)
    try:
        for block in read_blocks(page):
            reader.do(block)
    finally:
        reader.close()


LIES = {
    "output": "```console\n$ fingerd -c examples/08-static.yaml --query moshez\nSad and ill\n```\n",
    "missing output": "```console\n$ fingerd -c examples/08-static.yaml --query moshez\n```\n",
    "exit code": "```sh\nfingerd -c /etc/no-such-file --check\n```\n",
    "file": "<!-- file: x.yaml -->\n```yaml\nbackend: {type: nothing}\n```\n\n```sh\nfingerd -c x.yaml --check\n```\n",
}


@pytest.mark.root
@pytest.mark.parametrize("text", LIES.values(), ids=LIES)
def test_a_page_that_is_not_true_fails(text: str, host: Machine, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{text}")
    with pytest.raises(AssertionError):
        follow(page, host, tmp_path)


def test_a_block_without_a_comment_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n    make install\n\n<!-- not run: why -->\n```sh\nmake this\n```\n\n```sh\nmake that\n```\n"
    )
    first, second, third = read_blocks(page)
    assert (first.text, first.language, first.commands, first.notes) == ("make install\n", "", (), ())
    assert (second.note("not run"), is_run(second)) == ("why", False)
    assert (third.notes, third.commands, is_run(third)) == ((), (("make that", ""),), True)
