"""RFC 1288 2.3: everything that is a query is taken as one."""

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
    "blanks before": b"   pirmann\r\n",
    "blanks after": b"pirmann  \r\n",
    "a tab": b"\tpirmann\t\r\n",
    "a telnet client": b"\xff\xfd\x06\xff\xfb\x18pirmann\r\n",
}


@pytest.mark.parametrize("query", SPECIFICATION)
def test_r07_the_entire_query_specification_is_accepted(colony: Daemon, query: str) -> None:
    line, expected = SPECIFICATION[query]
    assert expected in colony.ask(line, source=OPEN)


def test_r08_there_is_no_limit_on_the_number_of_hosts(colony: Daemon) -> None:
    for count in (3, 20, 300):  # a query may have 1024 bytes by default
        assert colony.ask(b"a" + b"@h" * count + b"\r\n") == DENIED


@pytest.mark.parametrize("blanks", [1, 2, 7])
def test_r09_any_number_of_blanks_follows_slash_w(colony: Daemon, blanks: int) -> None:
    assert colony.ask(b"/W" + b" " * blanks + b"pirmann\r\n") == colony.ask(b"/W pirmann\r\n")


@pytest.mark.parametrize("how", LIBERAL)
def test_r11_what_is_accepted_is_liberal(colony: Daemon, how: str) -> None:
    assert colony.ask(LIBERAL[how]) == colony.ask(b"pirmann\r\n")


def test_r11_the_end_of_input_ends_the_line(colony: Daemon) -> None:
    assert ask(colony.address, b"pirmann", hang_up=True) == colony.ask(b"pirmann\r\n")


def test_r11_slash_w_is_taken_in_lower_case(colony: Daemon) -> None:
    assert colony.ask(b"/w rinehart\r\n", source=OPEN) == colony.ask(b"/W rinehart\r\n", source=OPEN)


def test_r11_but_nothing_is_guessed(colony: Daemon) -> None:
    assert colony.ask(b"/Wpirmann\r\n", source=SHIPPED) == b"No such user\r\n"
    assert colony.ask(b"pir\0mann\r\n", source=SHIPPED) == b"Malformed query\r\n"
