"""One machine for all checks. The fixture ``service`` restores the package to its state after the installation."""

from collections.abc import Iterator

import pytest

from tests.deb.machine import DIST, ROOT, Machine, Report, missing_requirements

_booted: list[Machine] = []

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


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A booted machine, with or without the package."""
    if missing := missing_requirements("mmdebstrap", "systemd-nspawn", "nsenter"):
        pytest.exit(f"booting a machine {missing}", 1)
    if not list(DIST.glob("fingerd_*_all.deb")):
        pytest.exit("no package in dist/: run make deb", 1)
    try:
        machine = Machine()
    except AssertionError as error:
        pytest.exit(str(error), 1)
    _booted.append(machine)
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
    if report.failed and _booted:
        report.sections.append(("the journal of the machine", _booted[0].journal()))
