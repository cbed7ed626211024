"""The log of a daemon: in a file, in syslog, and where nothing reads it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import STATIC, Detach
from tests.helpers.daemons import FINGERD, TIMEOUT, Machine, ask, wait_until
from tests.helpers.requirements import need


def test_every_log_line_begins_with_the_local_time(detached: Detach) -> None:
    daemon = detached()
    ask(daemon.address, b"moshez\r\n")
    daemon.stop()
    for line in daemon.log.read_text().splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ", line)
    assert 'client=127.0.0.1 query="moshez" outcome=answered bytes=16' in daemon.log.read_text()


class Syslog:
    """busybox's syslogd on the test's own host."""

    def __init__(self, host: Machine, directory: Path) -> None:
        need("busybox")
        self.messages = directory / "messages"
        self.daemon = host.start("busybox", "syslogd", "-n", "-O", str(self.messages))
        try:
            wait_until(lambda: host.run("test", "-S", "/dev/log").returncode == 0)
        except BaseException:
            self.close()
            raise

    def lines(self, tag: str) -> list[str]:
        """The messages with this tag."""
        text = self.messages.read_text() if self.messages.exists() else ""
        return [line for line in text.splitlines() if f" {tag}[" in line]

    def close(self) -> None:
        """Stop it."""
        self.daemon.terminate()
        self.daemon.wait()


@pytest.fixture
def syslog(host: Machine, directory: Path) -> Iterator[Syslog]:
    syslog = Syslog(host, directory)
    yield syslog
    syslog.close()


@pytest.mark.root
@pytest.mark.parametrize(("options", "tag"), [((), "fingerd"), (("--prefix", "tilde"), "tilde")])
def test_syslog_lines_have_the_tag_even_in_a_chroot(
    detached: Detach, host: Machine, syslog: Syslog, directory: Path, options: tuple[str, ...], tag: str
) -> None:
    (directory / "chroot").mkdir()
    chroot = ("--chroot", str(directory / "chroot"), "--uid", "nobody")
    daemon = detached("policy: [{from: any, list: true}]\n", "--syslog", *chroot, *options, inside=host.inside)
    wait_until(lambda: syslog.lines(tag))
    (listening,) = [line for line in syslog.lines(tag) if "listening on" in line]
    port = listening.rpartition(":")[2]
    host.run("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}; echo moshez >&3; cat <&3")
    wait_until(lambda: [line for line in syslog.lines(tag) if "client=" in line])
    (line,) = [line for line in syslog.lines(tag) if "client=" in line]
    pid = daemon.pid
    assert re.search(
        rf"daemon\.info {tag}\[{pid}\]: client=127\.0\.0\.1 query=\"moshez\" outcome=answered bytes=16 ms=", line
    )
    daemon.stop()
    wait_until(lambda: syslog.lines(tag)[-1].endswith("fingerd: stopped"))


@pytest.mark.root
def test_an_absent_syslog_is_a_warning(detached: Detach, host: Machine) -> None:
    daemon = detached("process: {user: nobody}\n", "--syslog", inside=host.inside)
    assert (
        daemon.done.stderr
        == "fingerd: warning: syslog is not available: nothing is logged until it is (log.to can name a file instead)\n"
    )


def test_it_stops_even_if_standard_error_is_not_read(directory: Path) -> None:
    config = directory / "fingerd.yaml"
    config.write_text(f'listen: "127.0.0.1:0"\n{STATIC}limits: {{query_bytes: 60KiB}}\n')
    with subprocess.Popen([*FINGERD, "-n", "-c", str(config)], stderr=subprocess.PIPE) as process:
        assert process.stderr
        line = b""
        while b"listening" not in line:
            line = process.stderr.readline()
        port = int(line.rpartition(b":")[2])
        for _ in range(150):
            ask(("127.0.0.1", port), b"x" * 1000 + b"\r\n")
        process.terminate()
        assert process.wait(TIMEOUT) == 0
