"""RFC 1288 4: the answers of its examples, in the same format."""

import re

from tests.helpers.daemons import Daemon
from tests.rfc1288.conftest import OPEN


def ask_lines(daemon: Daemon, query: str) -> list[str]:
    """The lines of an answer."""
    return daemon.ask(query.encode() + b"\r\n", source=OPEN).decode().split("\r\n")[:-1]


def test_r54_the_example_of_a_list(rfc_daemon: Daemon) -> None:
    head, *rows = ask_lines(rfc_daemon, "")
    assert re.match(r"Login +Name +TTY +Idle +When .*Office", head)
    idle = {row.split()[0]: row[head.index("TTY") + 3 : head.index("Idle") + 4].strip() for row in rows}
    assert idle == {"rinehart": "1:11", "greenfie": "", "rapatel": "4d", "cherniss": "5"}
    assert re.match(r"rinehart Mark J\. Rinehart +p0  1:11 [A-Z][a-z]{2} \d\d:\d\d .*019 Hill +x3166", rows[0])
    cells = ("rinehart", "Mark J. Rinehart", "p0", "1:11", "019 Hill", "Operations")
    headings = ("Login", "Name", "TTY", "Idle", "Office", "Job")  # which in the RFC do not stand over their columns
    assert [rows[0].index(cell) for cell in cells] == [head.index(heading) for heading in headings]


def test_r55_the_example_of_a_user(rfc_daemon: Daemon) -> None:
    lines = ask_lines(rfc_daemon, "/W pirmann")
    assert lines[0] == "Login name: pirmann                     In real life: David Pirmann"
    assert lines[1] == "Office: 016 Hill, x2443                 Home phone: 989-8482"
    assert lines[2] == "Directory: /dimacs/u1/pirmann           Shell: /bin/tcsh"
    assert re.fullmatch(r"Last login .+ on ttyp0 from romulus\.rutgers\.", lines[3])
    assert lines[4:] == ["Project: larf", "Plan:", "Work Schedule, Summer 1990", "    Monday    5pm - 12am"]


def test_r56_the_example_of_an_ambiguous_name(rfc_daemon: Daemon) -> None:
    records = [record.splitlines() for record in "\n".join(ask_lines(rfc_daemon, "ron")).split("\n\n")]
    assert [record[0].split() for record in records] == [
        f"Login name: {login} In real life: Ron {login.capitalize()}".split() for login in ("spinner", "surak", "etter")
    ]
    assert records[1][-1] == "No Plan."
    assert records[2][-2:] == ["Never logged in.", "No Plan."]
