"""One machine for all checks. The fixture ``service`` restores the package to its state after the installation."""

from collections.abc import Iterator

import pytest

from tests.deb.machine import Machine, Report
from tests.deb.roots import DIST, ROOT, SUITES, missing_requirements

PURGE = """
apt-get purge -q -y fingerd
rm -rf /etc/systemd/system/fingerd*
systemctl daemon-reload
"""
RESET = """
systemctl disable --quiet fingerd.socket
systemctl stop fingerd.socket fingerd.service 'fingerd@*.service'
rm -rf /etc/systemd/system/fingerd* /etc/systemd/system/*.wants/fingerd@* /var/log/fingerd/* /usr/local/bin/*
systemctl daemon-reload
systemctl reset-failed
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", choices=SUITES, default=SUITES[0], help="the Debian to boot")


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest) -> str:
    """The Debian to boot."""
    return str(request.config.getoption("--suite"))


@pytest.fixture(scope="session")
def machine(suite: str) -> Iterator[Machine]:
    """A booted machine, with or without the package."""
    if missing := missing_requirements("mmdebstrap", "systemd-nspawn", "nsenter", "finger", "ss"):
        pytest.exit(f"booting a machine {missing}", 1)
    if not list(DIST.glob("fingerd_*_all.deb")):
        pytest.exit("no package in dist/: run make deb", 1)
    try:
        machine = Machine(suite)
    except AssertionError as error:
        pytest.exit(str(error), 1)
    yield machine
    machine.close()


@pytest.fixture
def bare(machine: Machine) -> Machine:
    """The machine without the package and its files."""
    machine.run("sh", "-c", PURGE)
    return machine


@pytest.fixture
def service(machine: Machine) -> Machine:
    """The machine with the package installed and running, in its default configuration."""
    version = next(DIST.glob("fingerd_*_all.deb")).name.split("_")[1]
    status = machine.run("dpkg-query", "--show", "--showformat=${Status} ${Version}", "fingerd", check=False)
    if status != f"install ok installed {version}":
        machine.run("sh", "-c", PURGE)
        machine.install()
    else:
        machine.run("sh", "-c", RESET)
        machine.copy(ROOT / "etc/fingerd.yaml", "/etc/fingerd.yaml")
        machine.run("systemctl", "start", "fingerd.service")
    return machine


@pytest.fixture
def report() -> Report:
    """Prints what a check has observed."""

    def print_items(*items: object) -> None:
        print(f"\n    {' '.join(map(str, items))}", end="", flush=True)

    return print_items


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add the machine's journal to the report of a failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        print("\n   ", end="")
    machine = item.funcargs.get("to_upgrade") or item.funcargs.get("machine")  # type: ignore[attr-defined]
    if report.failed and machine:
        report.sections.append(("the journal of the machine", machine.journal()))
