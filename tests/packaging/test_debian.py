"""What the packaging says in two places is the same; what the package does is checked by `make test-deb`."""

import re
from pathlib import Path

import pytest

import fingerd
from fingerd.daemon.cli import parser
from tests.helpers.daemons import EXAMPLES, ROOT

DEBIAN = ROOT / "debian"
DROP_INS = sorted((EXAMPLES / "systemd").glob("*.conf"))


def settings(unit: Path, section: str) -> list[str]:
    """The lines of one section, without comments."""
    _, _, rest = unit.read_text().partition(f"[{section}]\n")
    return [line for line in re.split(r"^\[", rest, flags=re.MULTILINE)[0].splitlines() if line and line[0] != "#"]


def test_the_package_has_the_program_s_version() -> None:
    assert (DEBIAN / "changelog").read_text().startswith(f"fingerd ({fingerd.__version__}) ")
    assert re.match(rf"{re.escape(fingerd.__version__)}\b", (ROOT / "CHANGES").read_text())
    pages = sorted((ROOT / "man").glob("*.scd"))
    assert len(pages) == 4
    for page in pages:
        assert page.read_text().partition("\n")[0].partition(" ")[2] == f'"fingerd {fingerd.__version__}"', page


def test_the_further_processes_are_the_first_one_with_the_socket() -> None:
    first, further = (settings(DEBIAN / f"{name}.service", "Service") for name in ("fingerd", "fingerd@"))
    tighter = [line for line in settings(EXAMPLES / "systemd/socket.conf", "Service") if not line.endswith("=")]
    assert set(further) - set(first) == {"Sockets=fingerd.socket", "CapabilityBoundingSet=", *tighter}
    assert {line.partition("=")[0] for line in set(first) - set(further)} == {
        "AmbientCapabilities",
        "CapabilityBoundingSet",
        "RestrictAddressFamilies",
    }


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.name)
def test_every_drop_in_is_explained(drop_in: Path) -> None:
    assert drop_in.name in (DEBIAN / "README.Debian").read_text()
    text = drop_in.read_text()
    assert text.startswith("# For ")
    assert f".service.d {drop_in.name}\n" in text


UNITS = ("fingerd.service", "fingerd@.service")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_runs_only_fingerd_and_allows_no_other_program(name: str) -> None:
    """ExecPaths= names no path of an optional package: where one is missing, the service fails with 226/NAMESPACE."""
    service = settings(DEBIAN / name, "Service")
    commands = [line.partition("=")[2].split() for line in service if re.match("Exec(?!Paths)", line)]
    assert [command[0] for command in commands] == ["/usr/sbin/fingerd"] * 2
    for _, *arguments in commands:
        parser().parse_args(["1" if argument == "$MAINPID" else argument for argument in arguments])
    assert "ExecPaths=/usr/sbin/fingerd /usr/bin/python3 /usr/lib" in service


def test_nothing_may_be_executed_in_a_folder_that_can_be_written_to() -> None:
    service = settings(DEBIAN / "fingerd.service", "Service")
    own = {"/run/fingerd", "/var/log/fingerd", "/tmp", "/var/tmp"}
    (closed,) = (line.partition("=")[2].split() for line in service if line.startswith("NoExecPaths="))
    assert own <= set(closed)


def test_the_readme_of_the_package_is_short_enough_to_be_installed_uncompressed() -> None:
    assert (ROOT / "debian" / "README.Debian").stat().st_size <= 4096  # dh_compress takes what is longer


def test_the_apparmor_profile_lets_the_daemon_read_the_package_s_own_data() -> None:
    """Debian's abstraction for Python allows Python's files only."""
    profile = (DEBIAN / "apparmor-profile").read_text()
    files = (path for path in (ROOT / "fingerd").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    folders = {path.parent.relative_to(ROOT) for path in files if path.name != "py.typed"}
    assert folders
    for folder in folders:
        assert f"  /usr/lib/python3/dist-packages/{folder}/* r,\n" in profile


def test_the_service_that_writes_is_as_confined_as_the_daemon() -> None:
    """What it has in place of the daemon's: its own user and directories, and the one of people; no capability."""
    daemon, plans = (settings(DEBIAN / f"{name}.service", "Service") for name in ("fingerd", "fingerd-plan"))
    assert sorted(set(plans) - set(daemon)) == [
        "AppArmorProfile=-fingerd-plan",
        "CapabilityBoundingSet=",
        "ExecPaths=/usr/bin/fingerd-plan /usr/bin/python3 /usr/lib",
        "ExecStart=/usr/bin/fingerd-plan --config /etc/fingerd.yaml serve",
        "Group=fingerd-plan",
        "NoExecPaths=/ /run /run/fingerd-plan -/srv/fingerd /tmp /var/tmp",
        "ReadWritePaths=-/srv/fingerd",
        "RuntimeDirectory=fingerd-plan",
        "User=fingerd-plan",
    ]
    assert {line.partition("=")[0] for line in set(daemon) - set(plans)} == {
        *("AmbientCapabilities", "CapabilityBoundingSet", "ExecPaths", "ExecReload", "ExecStart", "Group"),
        *("LogsDirectory", "LogsDirectoryMode", "NoExecPaths", "RuntimeDirectory", "User"),
    }


def test_the_daemon_s_units_can_write_to_no_directory_of_people() -> None:
    for name in UNITS:
        written = ("ReadWritePaths=", "StateDirectory=", "CacheDirectory=", "BindPaths=")
        assert not [line for line in settings(DEBIAN / name, "Service") if line.startswith(written)]


def test_the_profile_of_the_service_that_writes_is_attached_to_no_path() -> None:
    """Else it would hold for everybody who runs fingerd-plan, and for their editors."""
    profile = (DEBIAN / "apparmor-profile-plan").read_text()
    assert "\nprofile fingerd-plan flags=" in profile
    assert "  /usr/lib/python3/dist-packages/fingerd/http/templates/* r,\n" in profile
    assert re.findall(r"^  (\S+) rwk?,$", profile, re.MULTILINE) == [
        "/srv/fingerd/**",
        "@{run}/fingerd-plan/**",
        "@{run}/fingerd-plan.sock",
    ]
    assert (DEBIAN / "fingerd.sysusers").read_text().splitlines()[-1].startswith("u fingerd-plan ")
