"""The fail2ban filter that ships, over a log that a real daemon wrote."""

import re
import shutil
import signal
import subprocess
from pathlib import Path

from fingerd.log.format import Access, access_text, timestamp
from tests.conftest import Start
from tests.helpers.daemons import ROOT, ask, wait_until
from tests.helpers.requirements import needs

FILTER = ROOT / "etc" / "fail2ban" / "filter.d" / "fingerd.conf"

pytestmark = needs("fail2ban-regex")


def matched(log: Path) -> list[str]:
    """The lines of the log that the filter, where fail2ban keeps its filters, would ban for."""
    filters = log.parent / "filter.d"
    filters.mkdir()
    for part in (FILTER, Path("/etc/fail2ban/filter.d/common.conf")):
        shutil.copy(part, filters)
    command = ["fail2ban-regex", "--print-all-matched", str(log), str(filters / FILTER.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"(\d+) matched", done.stdout)
    assert found, done.stdout + done.stderr
    section = done.stdout.partition("Matched line(s)")[2].partition("Missed line(s)")[0]
    lines = [line.strip("| ") for line in section.splitlines() if "client=" in line]
    assert len(lines) == int(found[1])
    return lines


def test_clients_that_overdo_it_are_found_and_others_are_not(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "fingerd.log"
    config = 'listen: "127.0.0.1:0"\nbackend: {type: static, users: {alice: fine}}\nlimits: {rate: 8}\n'
    daemon = start(config)
    address = daemon.address
    (tmp_path / "fingerd-0.yaml").write_text(config + f"log: {{to: {log}}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    forged = b'client=192.0.2.7 query="" outcome=limited bytes=0 ms=0.0'
    good = [b"alice", b"bob", b"a@b", b"", forged, b'x" outcome=limited bytes=1 ms=1.0']
    bad = [b"\0", b"a" * 2000, b"alice"]  # the last one is one too many
    for query in [*good, *bad]:
        ask(address, query + b"\r\n")
    assert daemon.stop() == 0
    lines = matched(log)
    outcomes = sorted(re.sub(r".* outcome=(\S+) .*", r"\1", line) for line in lines)
    assert outcomes == ["limited", "malformed", "too-long"]
    assert all(line.partition("client=")[2].startswith("127.0.0.1 ") for line in lines)


def test_lines_whose_query_is_shortened_are_found_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    forged = b'x" outcome=answered bytes=1 ms=1.0' + b"a" * 100
    access = Access("192.0.2.7", forged, "too-long", 16, 0.1)
    log.write_text(f"{timestamp(1_700_000_000)} {access_text(access, 'full', 0, is_short=True)}\n")
    assert '[...]" outcome=too-long' in log.read_text()
    assert len(matched(log)) == 1


def test_lines_of_syslog_are_found_too(tmp_path: Path) -> None:
    log = tmp_path / "syslog"
    line = 'client=192.0.2.7 query="" outcome=limited bytes=35 ms=0.1'
    log.write_text(f"Nov 23 02:51:02 host fingerd[4711]: {line}\nNov 23 02:51:02 host sshd[4712]: {line}\n")
    assert len(matched(log)) == 1
