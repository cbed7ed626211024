"""The time zone of the log and of answers: that of the start, and a new one after SIGHUP."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.daemons import Daemon, Machine

ZONES = Path("/usr/share/zoneinfo")
CONFIG = """
listen: "127.0.0.1:0"
backend: {type: static, users: {alice: hello}}
reply: {header: "{time}"}
"""
NO_TZ = ("env", "-u", "TZ")


@pytest.fixture
def local_time(host: Machine, tmp_path: Path) -> Callable[[str], None]:
    """Sets the time zone of the machine ``host``, whose /etc/localtime is a link to a file of the test's."""
    if not (ZONES / "Asia/Kolkata").exists():
        pytest.skip("needs tzdata")
    zone = tmp_path / "etc" / "localtime"
    zone.parent.mkdir()

    def set_zone(name: str) -> None:
        new = zone.with_name("new")
        new.write_bytes((ZONES / name).read_bytes())
        new.rename(zone)

    set_zone("Asia/Kolkata")
    # An overlay: /etc/localtime may be a link, and must not be changed for others.
    (tmp_path / "work").mkdir()
    options = f"lowerdir=/etc,upperdir={zone.parent},workdir={tmp_path}/work"
    if host.run("mount", "-t", "overlay", "overlay", "-o", options, "/etc").returncode:
        pytest.skip("needs overlay mounts")

    def set_inside(name: str) -> None:
        command = f"cp {ZONES}/{name} /etc/localtime.new && mv /etc/localtime.new /etc/localtime"
        done = host.run("sh", "-c", command)
        assert done.returncode == 0, done.stderr

    return set_inside


def offset(daemon: Daemon, host: Machine) -> str:
    """The offset in the header of an answer."""
    port = daemon.address[1]
    done = host.run("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}; echo alice >&3; head -n 1 <&3")
    return done.stdout.strip()[-6:]


def logged_offset(line: str) -> str:
    return line.partition(" ")[0][-6:]


@pytest.mark.root
@pytest.mark.parametrize("is_valid", [True, False], ids=["a valid file", "a bad file"])
def test_sighup_takes_a_new_time_zone(
    is_valid: bool, start: Start, host: Machine, local_time: Callable[[str], None], tmp_path: Path
) -> None:
    daemon = start(CONFIG, inside=(*host.inside, *NO_TZ))
    assert (offset(daemon, host), logged_offset(daemon.log[-1])) == ("+05:30", "+05:30")
    if not is_valid:
        (tmp_path / "fingerd-0.yaml").write_text("backend: 1\n")
    for name, expected in (("Asia/Kathmandu", "+05:45"), ("Etc/GMT+9", "-09:00"), ("Asia/Kolkata", "+05:30")):
        local_time(name)
        daemon.process.send_signal(signal.SIGHUP)
        line = daemon.logged("configuration reloaded" if is_valid else "not reloaded")
        assert (offset(daemon, host), logged_offset(line)) == (expected, expected)


@pytest.mark.root
def test_a_chroot_without_a_time_zone_keeps_that_of_the_start(
    start: Start, host: Machine, local_time: Callable[[str], None], tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    daemon = start(CONFIG + f"process: {{chroot: {tmp_path}/root}}\n", inside=(*host.inside, *NO_TZ))
    daemon.process.send_signal(signal.SIGHUP)
    line = daemon.logged("a restart is needed")
    assert (offset(daemon, host), logged_offset(line)) == ("+05:30", "+05:30")
