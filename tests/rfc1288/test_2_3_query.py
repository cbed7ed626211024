"""RFC 1288 2.3: the query specification."""

import pytest

from tests.helpers.daemons import Daemon, ask
from tests.rfc1288.conftest import OPEN, SHIPPED

DENIED = b"Finger forwarding service denied\r\n"

SPECIFICATION = {
    "{C}": (b"\r\n", b"rinehart"),
    "{W}{C}": (b"/W\r\n", b"rinehart"),
    "{W}{S}{U}{C}": (b"/W pirmann\r\n", b"David Pirmann"),
    "{U}{C}": (b"pirmann\r\n", b"David Pirmann"),
    "{H}{C}": (b"@host1\r\n", DENIED),
    "{U}{H}{C}": (b"pirmann@host1\r\n", DENIED),
    "{U}{H}{H}{C}": (b"pirmann@host1@host2\r\n", DENIED),
    "{W}{S}{H}{C}": (b"/W @host1\r\n", DENIED),
    "{W}{S}{U}{H}{C}": (b"/W pirmann@host1\r\n", DENIED),
    "{W}{S}{U}{H}{H}{H}{C}": (b"/W pirmann@host1@host2@host3\r\n", DENIED),
}

LIBERAL = {
    "LF alone": b"pirmann\n",
    "spaces before": b"   pirmann\r\n",
    "spaces after": b"pirmann  \r\n",
    "a tab": b"\tpirmann\t\r\n",
    "CR alone": b"pirmann\r",
    "CR NUL": b"pirmann\r\0",
    "a byte order mark": b"\xef\xbb\xbfpirmann\r\n",
    "a telnet client": b"\xff\xfd\x06\xff\xfb\x18pirmann\r\n",
}


@pytest.mark.parametrize("query", SPECIFICATION)
def test_r07_the_entire_query_specification_is_accepted(rfc_daemon: Daemon, query: str) -> None:
    line, expected = SPECIFICATION[query]
    assert expected in rfc_daemon.ask(line, source=OPEN)


def test_r08_there_is_no_limit_on_the_number_of_hosts(rfc_daemon: Daemon) -> None:
    for count in (3, 20, 300):  # a query may have 1024 bytes by default
        assert rfc_daemon.ask(b"a" + b"@h" * count + b"\r\n") == DENIED


@pytest.mark.parametrize("blanks", [1, 2, 7])
def test_r09_any_number_of_blanks_follows_slash_w(rfc_daemon: Daemon, blanks: int) -> None:
    assert rfc_daemon.ask(b"/W" + b" " * blanks + b"pirmann\r\n") == rfc_daemon.ask(b"/W pirmann\r\n")


@pytest.mark.parametrize("how", LIBERAL)
def test_r11_what_is_accepted_is_liberal(rfc_daemon: Daemon, how: str) -> None:
    assert rfc_daemon.ask(LIBERAL[how]) == rfc_daemon.ask(b"pirmann\r\n")


def test_r11_the_end_of_input_ends_the_line(rfc_daemon: Daemon) -> None:
    assert ask(rfc_daemon.address, b"pirmann", hang_up=True) == rfc_daemon.ask(b"pirmann\r\n")


def test_r11_slash_w_is_taken_in_lower_case(rfc_daemon: Daemon) -> None:
    assert rfc_daemon.ask(b"/w rinehart\r\n", source=OPEN) == rfc_daemon.ask(b"/W rinehart\r\n", source=OPEN)


def test_r11_but_nothing_is_guessed(rfc_daemon: Daemon) -> None:
    assert rfc_daemon.ask(b"/Wpirmann\r\n", source=SHIPPED) == b"No such user\r\n"
    assert rfc_daemon.ask(b"pir\0mann\r\n", source=SHIPPED) == b"Malformed query\r\n"
