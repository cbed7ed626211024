"""RFC 1288 2.2: CR LF at the end of every line, and international characters."""

from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.daemons import Daemon
from tests.rfc1288.conftest import OPEN

QUERIES = (
    b"\r\n",
    b"/W\r\n",
    b"pirmann\r\n",
    b"/W pirmann\r\n",
    b"ron\r\n",
    b"nobody\r\n",
    b"user@host\r\n",
    b"\0\r\n",
    b"x" * 2000 + b"\r\n",
    b"surak\n",
)

ENDS = """\
backend:
  type: static
  users:
    lf: "one\\ntwo"
    cr: "one\\rtwo\\r"
    crlf: "one\\r\\ntwo\\r\\n"
    record: {name: Zoë, plan: "one\\r\\ntwo\\rthree\\nfour"}
reply: {header: "before\\n", footer: "after"}
listen: "127.0.0.1:0"
policy: [{from: any, list: true}]
"""


def lines(answer: bytes) -> list[bytes]:
    """The lines of an answer, all of which must end in CR LF."""
    assert answer.endswith(b"\r\n")
    assert b"\n" not in answer.replace(b"\r\n", b"")
    assert b"\r" not in answer.replace(b"\r\n", b"")
    return answer.split(b"\r\n")[:-1]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: ascii(query[:12]))
def test_r05_every_line_ends_with_crlf(rfc_daemon: Daemon, query: bytes) -> None:
    assert lines(rfc_daemon.ask(query))
    assert lines(rfc_daemon.ask(query, source=OPEN))


def test_r05_so_it_is_whatever_the_text_was_ended_by(start: Start) -> None:
    daemon = start(ENDS)
    for user in (b"lf", b"cr", b"crlf"):
        assert lines(daemon.ask(user + b"\r\n")) == [b"before", b"one", b"two", b"after"]
    assert lines(daemon.ask(b"record\r\n"))[-5:] == [b"one", b"two", b"three", b"four", b"after"]
    assert lines(daemon.ask(b"\r\n"))


def test_r05_so_it_is_for_a_program_and_for_a_file(start: Start, tmp_path: Path) -> None:
    program = start('listen: "127.0.0.1:0"\nbackend: {type: command, argv: [printf, "a\\nb\\rc"]}\n')
    assert lines(program.ask(b"zoe\r\n")) == [b"a", b"b", b"c"]
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "zoe.txt").write_bytes(b"a\nb\rc")
    folder = start(f'listen: "127.0.0.1:0"\nbackend: {{type: files, folder: {tmp_path}/people}}\n')
    assert lines(folder.ask(b"zoe\r\n"))[-3:] == [b"a", b"b", b"c"]


def test_r06_bytes_above_127_are_international_text(rfc_daemon: Daemon, start: Start) -> None:
    assert "Zoë Çherniss".encode() in rfc_daemon.ask(b"cherniss\r\n")
    assert "Grüße".encode() in rfc_daemon.ask(b"cherniss\r\n")
    for charset, name in (("latin-1", "Zoë".encode("latin-1")), ("ascii", b"Zo?")):
        daemon = start(
            f'listen: "127.0.0.1:0"\nreply: {{charset: {charset}}}\nbackend: {{type: static, users: {{zoe: Zoë}}}}\n'
        )
        assert daemon.ask(b"zoe\r\n") == name + b"\r\n"
