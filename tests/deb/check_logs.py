"""The log in the journal, and in a file that is rotated."""

import re
import time
from collections.abc import Iterator

import pytest

from tests.deb.machine import Machine, Report
from tests.deb.roots import ROOT

DEFAULT = (ROOT / "etc/fingerd.yaml").read_text()
LOG = "/var/log/fingerd/fingerd.log"


def check_the_journal_has_one_line_for_each_connection(service: Machine, report: Report) -> None:
    cursor = service.cursor()
    service.finger("example@localhost")
    lines = service.wait_for_lines(cursor, "client=")
    assert len(lines) == 1
    unit, line = lines[0]
    assert unit == "fingerd.service"
    assert re.fullmatch(r'client=\S+ query="example" outcome=answered bytes=\d+ ms=[\d.]+', line)
    report(line)


@pytest.fixture
def logrotate(service: Machine) -> Iterator[None]:
    with service.tools("logrotate"):
        yield


@pytest.mark.usefixtures("logrotate")
def check_a_log_file_is_rotated_and_no_line_is_lost(service: Machine, report: Report) -> None:
    rotate = ("logrotate", "--force", "/etc/logrotate.d/fingerd")
    service.run(*rotate)
    assert list((service.root / "var/log/fingerd").iterdir()) == []
    service.configure(DEFAULT.replace("log:\n", f"log:\n  to: {LOG}\n"))
    with service.load() as load:
        service.run(*rotate)
        time.sleep(0.4)
        service.run(*rotate)
    service.run("systemctl", "stop", "fingerd.service")
    files = service.run("sh", "-c", f"ls -l {LOG}* | awk '{{print $1, $3, $4, $9}}'").splitlines()
    report("rotated twice:", load, *(f"\n        {file}" for file in files))
    assert load.lost == []
    assert len(files) == 3
    assert files[0] == f"-rw-r----- fingerd fingerd {LOG}"
    lines = service.run("sh", "-c", f"zcat --force {LOG}*").splitlines()
    answered = [line for line in lines if "outcome=answered" in line]
    assert len(answered) == load.queries
    assert "outcome=answered" in service.read(LOG)
    report(f"{len(answered)} answers in the three files; {answered[0]}")
