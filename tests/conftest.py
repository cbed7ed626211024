"""Fixtures, and what pytest reports: versions of libraries, missing programs, and skips that are not allowed."""

import importlib.metadata
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fingerd.config import system_options
from tests.helpers.daemons import EXAMPLES, Daemon, Machine
from tests.helpers.requirements import need, summary


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist take files in their order, and those with few tests not last: they are the slow ones.

    A shell without job control starts what runs in the background with SIGINT ignored, and programs pass that on; some
    tests interrupt what they started.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config.option, "loadscopereorder"):  # not in Debian 12's version, which never sorts them
        config.option.loadscopereorder = False


def pytest_report_header() -> str:
    """The versions of the libraries that fingerd uses."""
    names = ("cachetools", "python-daemon", "PyYAML", "requests", "urllib3", "wcwidth", "webencodings")
    return "with " + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need root for other users, before other marks name programs that would not help."""
    if item.get_closest_marker("root"):
        need("root")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """After the list of skipped tests, print which packages and rights they need."""
    yield
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())]
    for line in summary(reason.removeprefix("Skipped: ") for reason in reasons):
        terminalreporter.write_line(line)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With FINGERD_TEST_SKIPS=none a skipped test has failed: its requirements should have been installed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("FINGERD_TEST_SKIPS") == "none":
        report.outcome = "failed"
        report.longrepr = f"skipped, which FINGERD_TEST_SKIPS=none does not allow: {report.longrepr}"


Start = Callable[..., Daemon]


@pytest.fixture(autouse=True)
def working_directory() -> Iterator[None]:
    """Forget the working directory that a test of the command line has remembered in this process."""
    base = system_options._base
    yield
    system_options._base = base


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts fingerd processes from configurations, and stops those that still run."""
    started: list[Daemon] = []

    def start(config: str, *options: str, **how: tuple[str, ...]) -> Daemon:
        path = tmp_path / f"fingerd-{len(started)}.yaml"
        path.write_text(config)
        started.append(Daemon(path, *options, **how))
        return started[-1]

    yield start
    for daemon in started:
        daemon.stop()


@pytest.fixture
def example(start: Start) -> Start:
    """Starts an example by its number, on a free port instead of 1079, with parts of its text replaced."""

    def example(number: str, replaced: dict[str, str] | None = None, **how: tuple[str, ...]) -> Daemon:
        (path,) = EXAMPLES.glob(f"{number}-*.yaml")
        text = path.read_text()
        for old, new in {"127.0.0.1:1079": "127.0.0.1:0", **(replaced or {})}.items():
            assert old in text or old == "127.0.0.1:1079", f"{path} holds no {old}"
            text = text.replace(old, new)
        return start(text, **how)

    return example


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    """A machine of namespaces for one test."""
    host = Machine(tmp_path)
    yield host
    host.close()
