"""``hosts``: a query whose last host is this one is answered here, under the rule of the client that asked."""

import socket
import sqlite3
import sys
from pathlib import Path

import pytest

from fingerd.errors import ConfigError
from fingerd.settings import load_config
from tests.conftest import Start
from tests.daemon.test_reload import reload
from tests.helpers.daemons import Daemon

DENIED = b"Finger forwarding service denied\r\n"
LIST_DENIED = b"Finger online user list denied\r\n"
UNKNOWN = b"No such user\r\n"

STRANGER, FRIEND = "127.0.0.2", "127.0.0.3"
CONFIG = """
listen: "127.0.0.1:0"
hosts: [Example.ORG, www.example.org.]
backend:
  type: static
  users:
    zoe: {name: Zoë Quill, plan: For friends}
    carol: I am carol
    carol@example.org: I am the other carol
    "two words": I am two words
    "dora@x.example@example.org": I am dora
policy:
  - {from: 127.0.0.2, show: minimal}
  - {from: 127.0.0.3, show: everything, list: true, match: name, users_per_query: 3}
  - {from: 127.0.0.4, forward_hosts: 1}
  - {from: 127.0.0.5, deny: true}
  - {from: local, show: everything, list: true, forward: [localhost, 127.0.0.0/8]}
"""


@pytest.fixture
def daemon(start: Start) -> Daemon:
    return start(CONFIG)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "example.org", "Example.Org.", "www.example.org", "HOSTNAME"]
)
@pytest.mark.parametrize("source", [STRANGER, FRIEND, "127.0.0.1"])
def test_a_name_of_this_host_changes_nothing(daemon: Daemon, host: str, source: str) -> None:
    host = host.replace("HOSTNAME", socket.gethostname())
    for _ in range(2):  # the second time from memory
        for query in ("zoe", "/W zoe", "", "nobody", "two words", "Quill"):
            plain, named = f"{query}\r\n".encode(), f"{query}@{host}\r\n".encode()
            assert daemon.ask(named, source=source) == daemon.ask(plain, source=source), named


def test_the_rule_of_the_client_counts_and_not_that_of_this_host(daemon: Daemon) -> None:
    for query in (b"zoe@localhost", b"zoe@localhost@localhost", b"zoe@example.org@localhost"):
        for source, shown in ((FRIEND, True), (STRANGER, False), (FRIEND, True), ("127.0.0.1", True)):
            assert (b"For friends" in daemon.ask(query + b"\r\n", source=source)) is shown
    assert daemon.ask(b"@localhost\r\n", source=STRANGER) == LIST_DENIED
    assert b"zoe" in daemon.ask(b"@localhost\r\n", source=FRIEND)
    assert daemon.ask(b"zoe@localhost\r\n", source="127.0.0.5") == b"Finger service denied\r\n"


def test_the_whole_text_is_a_login_first(daemon: Daemon) -> None:
    for source in (STRANGER, FRIEND):
        assert daemon.ask(b"carol@example.org\r\n", source=source) == b"I am the other carol\r\n"
        assert daemon.ask(b"carol\r\n", source=source) == b"I am carol\r\n"
        assert daemon.ask(b"carol@localhost\r\n", source=source) == b"I am carol\r\n"
        assert daemon.ask(b"carol@www.example.org\r\n", source=source) == b"I am carol\r\n"
        assert daemon.ask(b"carol@example.org@localhost\r\n", source=source) == b"I am the other carol\r\n"
        assert daemon.ask(b"dora@x.example@example.org\r\n", source=source) == b"I am dora\r\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "[127.0.0.1]", "[::1]", "0x7f.1", "other.example", "x.localhost", "org"])
def test_an_address_or_another_name_is_not_this_host(daemon: Daemon, host: str) -> None:
    for query in (f"zoe@{host}", f"@{host}", f"zoe@localhost@{host}", f"zoe@{host}@localhost"):
        assert daemon.ask(f"{query}\r\n".encode(), source=STRANGER) == DENIED, query


def test_names_that_are_taken_away_count_as_hosts(daemon: Daemon) -> None:
    assert b"Zo" in daemon.ask(b"zoe@localhost@localhost@localhost\r\n", source=STRANGER)
    assert daemon.ask(b"zoe" + b"@localhost" * 4 + b"\r\n", source=STRANGER) == DENIED
    assert b"Zo" not in daemon.ask(b"zoe@localhost@localhost\r\n", source="127.0.0.4")
    assert daemon.ask(b"carol@localhost\r\n", source="127.0.0.4") == b"I am carol\r\n"


def test_several_users_may_be_asked_for(daemon: Daemon) -> None:
    several = daemon.ask(b"zoe carol@localhost\r\n", source=FRIEND)
    assert several == daemon.ask(b"zoe carol\r\n", source=FRIEND)
    assert b"I am carol" in several


def test_an_unknown_host_alone_is_still_malformed(daemon: Daemon) -> None:
    for query in (b"zoe@", b"zoe@@localhost", b"zoe@local host", b"zoe@localhost bob@localhost"):
        assert daemon.ask(query + b"\r\n", source=FRIEND) == b"Malformed query\r\n"


def test_backends_that_block_answer_and_are_asked_for_the_whole_login_first(start: Start, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "people.db") as database:
        database.execute("CREATE TABLE people (login TEXT, name TEXT)")
        database.execute("INSERT INTO people VALUES ('carol@example.org', 'Carol Domain'), ('zoe', 'Zoe')")
    database.close()
    script = "import sys; n = sys.argv[1]; n.startswith('zoe@') or print('asked for', n)"
    for backend, carol, zoe in (
        (
            f"{{type: command, argv: [{sys.executable}, -c, \"{script}\", '{{user}}']}}",
            b"asked for carol@",
            b"for zoe\r",
        ),
        (
            f"{{type: sql, url: 'sqlite:///{tmp_path}/people.db', query: 'SELECT * FROM people WHERE login = :user'}}",
            b"Carol Domain",
            b"Zoe",
        ),
    ):
        daemon = start(f'listen: "127.0.0.1:0"\nhosts: [example.org]\nbackend: {backend}\n')
        assert carol in daemon.ask(b"carol@example.org\r\n")
        assert zoe in daemon.ask(b"zoe@example.org\r\n")
        assert zoe in daemon.ask(b"zoe@localhost\r\n")
        assert daemon.ask(b"zoe@other.example\r\n") == DENIED


def test_a_directory_of_people_lists_the_logins_that_a_query_can_ask_for(start: Start, tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    for name in ("carol@example.org", "carol@other.example", "rene\u0301@example.org", "dora@127.0.0.1", "bob"):
        (people / f"{name}.txt").write_text(f"plan of {name}")
    daemon = start(
        'listen: "127.0.0.1:0"\nhosts: [example.org]\npolicy: [{from: any, list: true}]\n'
        f"backend: {{type: files, folder: {people}}}\n"
    )
    listed = daemon.ask(b"\r\n").decode().splitlines()[1:]
    assert [line.split()[0] for line in listed] == ["bob", "carol@example.org", "rené@example.org"]
    assert b"plan of carol@example.org" in daemon.ask(b"carol@example.org\r\n")
    assert b"plan of" in daemon.ask("rené@example.org\r\n".encode())
    assert daemon.ask(b"carol@other.example\r\n") == DENIED


def test_an_alias_may_end_in_a_name_of_this_host(start: Start, tmp_path: Path) -> None:
    (tmp_path / "finger.conf").write_text("info@example.org:bob\n")
    daemon = start(
        'listen: "127.0.0.1:0"\nhosts: [example.org]\nbackend: {type: aliases, '
        f"file: {tmp_path}/finger.conf, names: {{help@example.org: bob, carol: carol@example.org}}, "
        "backend: {type: static, users: {bob: I am bob, carol@example.org: I am carol}}}\n"
    )
    for name, answer in (("info@example.org", b"I am bob\r\n"), ("help@example.org", b"I am bob\r\n")):
        assert daemon.ask(f"{name}\r\n".encode()) == answer
    assert daemon.ask(b"carol\r\n") == daemon.ask(b"carol@localhost\r\n") == b"I am carol\r\n"
    assert daemon.ask(b"info\r\n") == UNKNOWN


def test_a_reload_changes_the_names(start: Start) -> None:
    daemon = start(CONFIG)
    assert daemon.ask(b"zoe@www.example.org\r\n", source=STRANGER) != DENIED
    reload(daemon, CONFIG.replace("www.example.org.", "new.example"))
    assert daemon.ask(b"zoe@www.example.org\r\n", source=STRANGER) == DENIED
    assert daemon.ask(b"zoe@new.example\r\n", source=STRANGER) != DENIED


STATIC = "backend: {type: static, users: {bob: x}}\n"
INVALID = {
    "an address": ("hosts: [192.0.2.7]\n" + STATIC, "1:9: hosts[0]: '192.0.2.7' is not a host name"),
    "an IPv6 address": ("hosts: ['::1']\n" + STATIC, "1:9: hosts[0]: '::1' is not a host name"),
    "a pattern": ("hosts: ['*.example.org']\n" + STATIC, "1:9: hosts[0]: '*.example.org' is not a host name"),
    "a port": ("hosts: ['example.org:79']\n" + STATIC, "1:9: hosts[0]: 'example.org:79' is not a host name"),
    "a user of another host": (
        "hosts: [example.org]\nbackend: {type: static, users: {bob@example.com: x}}\n",
        "2:50: backend.users.bob@example.com: no query can ask for a user called 'bob@example.com'",
    ),
    "an alias of another host": (
        "backend: {type: aliases, names: {bob@a.example: x}, backend: {type: empty}}\n",
        "1:49: backend.names.bob@a.example: no query can ask for 'bob@a.example'",
    ),
    "a user of a part": (
        "hosts: [b.example]\nbackend:\n  type: chain\n  backends: [{type: static, users: {a@a.example: x}}]\n",
        "4:50: backend.backends[0].users.a@a.example: no query can ask for a user called 'a@a.example'",
    ),
}


@pytest.mark.parametrize(("text", "problem"), INVALID.values(), ids=INVALID)
def test_what_is_no_name_or_cannot_be_asked_for_is_an_error(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert caught.value.problems == (f"{path}:{problem}",)
