"""The examples beside the tutorial's steps: what they tell, to whom, and that finger and lynx show just that."""

import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from fingerd.people import ATOMS
from fingerd.policy import PRESETS
from tests.conftest import Start
from tests.daemons import EXAMPLES, FINGERD, ROOT, Host

COMMUNITY = EXAMPLES / "community.yaml"
MEMBER, STRANGER = "198.51.100.7", "203.0.113.9"
QUERIES = ("", "brindle", "/W brindle", "zoe", "quill", "tansy", "nobody", "root", "staff", "postmaster", "oakenshaw")


@cache
def printed(query: str, client: str, config: Path = COMMUNITY) -> str:
    """What ``--query`` prints, asked in the repository, as the examples want it."""
    command = [*FINGERD, "-c", str(config), "--query", query, "--from", client]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, check=True)
    assert done.stderr == b""
    return done.stdout.decode()


def moved(text: str, listen: str) -> str:
    """The configuration, listening elsewhere, and with paths that hold wherever it is started."""
    assert "127.0.0.1:1079" in text
    return text.replace("127.0.0.1:1079", listen).replace(" examples/", f" {EXAMPLES}/")


@pytest.mark.parametrize("name", ["community", "forward", "vending"])
def test_the_examples_have_no_problem_where_they_are_meant_to_be_started(name: str) -> None:
    path = f"examples/{name}.yaml"
    done = subprocess.run([*FINGERD, "--check", "-c", path], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}: no problem found\n", "")


def test_members_of_the_community_are_told_everything() -> None:
    told = printed("brindle", MEMBER)
    for atom in ("brindle", "Brindle Oakenshaw", "Kiln house, 555-0101", "555-0102", "potter", "they/them", "teapot"):
        assert atom in told
    assert printed("oakenshaw", MEMBER) == told
    assert printed("root", MEMBER) == told
    assert printed("brindle zoe", MEMBER) == printed("staff", MEMBER) == f"{told}\r\n{printed('zoe', MEMBER)}"
    listed = printed("", MEMBER).splitlines()[1:]
    assert [row.split()[0] for row in listed] == ["brindle", "quill", "zoe"]


def test_strangers_are_told_the_name_and_what_people_have_written() -> None:
    told = printed("brindle", STRANGER)
    for atom in ("Brindle Oakenshaw", "they/them", "teapot", "The kiln is lit on Thursdays."):
        assert atom in told
    for hidden in ("Login", "555", "Kiln house", "potter", "Lisbon"):
        assert hidden not in told
    assert printed("", STRANGER) == "Finger online user list denied\r\n"
    for name in ("oakenshaw", "brindle zoe", "Zoë"):
        assert printed(name, STRANGER) == "No such user\r\n"
    assert printed("root", STRANGER) == told


@pytest.mark.parametrize("client", [MEMBER, STRANGER])
def test_nobody_is_told_of_somebody_who_is_hidden(client: str) -> None:
    assert (EXAMPLES / "community" / "tansy" / "name").read_text() == "Tansy Marrowby\n"
    for name in ("tansy", "Marrowby", "tansy.txt", "tansy/name", "../community/tansy"):
        assert printed(name, client) == printed("nobody", client) == "No such user\r\n"
    assert "ansy" not in printed("", client)


def test_clients_get_what_is_printed_for_them(start: Start) -> None:
    text = moved(COMMUNITY.read_text(), "127.0.0.1:0")
    assert "[local, 198.51.100.0/24]" in text
    daemon = start(text.replace("[local, 198.51.100.0/24]", "127.0.0.2"))
    for source, client in (("127.0.0.2", MEMBER), ("127.0.0.3", STRANGER)):
        for query in QUERIES:
            answer = daemon.ask(f"{query}\r\n".encode(), source=source)
            assert answer.decode() == printed(query, client), (query, source)


def test_a_change_is_told_to_the_next_client(start: Start, tmp_path: Path) -> None:
    people = tmp_path / "people"
    shutil.copytree(EXAMPLES / "community", people)
    text = COMMUNITY.read_text().replace("folder: examples/community", f"folder: {people}")
    daemon = start(moved(text, "127.0.0.1:0"))
    assert b"Counting the tides" in daemon.ask(b"zoe\r\n")
    (people / "zoe" / "plan").write_text("Gone sailing.\n")
    assert b"Gone sailing." in daemon.ask(b"zoe\r\n")
    (people / "zoe" / "nofinger").touch()
    assert daemon.ask(b"zoe\r\n") == b"No such user\r\n"
    (people / "tansy" / "nofinger").unlink()
    assert b"Tansy Marrowby" in daemon.ask(b"tansy\r\n")


def test_an_alias_can_be_a_file(start: Start, tmp_path: Path) -> None:
    motd, aliases = tmp_path / "motd", tmp_path / "finger.conf"
    motd.write_text("The ferry is late.\n")
    text = (EXAMPLES / "finger.conf").read_text()
    assert "# motd:/etc/motd\n" in text
    aliases.write_text(text.replace("# motd:/etc/motd", f"motd:{motd}"))
    text = COMMUNITY.read_text().replace("file: examples/finger.conf", f"file: {aliases}")
    daemon = start(moved(text, "127.0.0.1:0"))
    assert daemon.ask(b"motd\r\n") == b"The ferry is late.\r\n"
    motd.write_text("The ferry is here.\n")
    assert daemon.ask(b"motd\r\n") == b"The ferry is here.\r\n"
    assert daemon.ask(b"webmaster\r\n").decode() == printed("zoe", MEMBER)


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("finger"), reason="needs the program finger (Debian: apt install finger)")
@pytest.mark.skipif(not shutil.which("lynx"), reason="needs the program lynx (Debian: apt install lynx)")
def test_finger_and_lynx_show_what_is_printed(start: Start, host: Host) -> None:
    for client in (MEMBER, STRANGER):  # who asks one's own address comes from it
        host.run("ip", "address", "add", f"{client}/32", "dev", "lo")
    start(moved(COMMUNITY.read_text(), ":79"), inside=host.inside)
    utf8 = ("env", "LC_ALL=C.UTF-8")
    for client in (MEMBER, STRANGER):
        for query in QUERIES:
            wanted = printed(query, client).splitlines()
            verbose, name = ("-l", query[3:]) if query.startswith("/W ") else ("", query)
            shown = host.run(*utf8, "finger", *filter(None, (verbose,)), f"{name}@{client}").stdout.splitlines()
            assert shown == wanted, (query, client)
            path = f"w/{name}" if verbose else name
            title, blank, *shown = host.run(*utf8, "lynx", "-dump", f"finger://{client}/{path}").stdout.splitlines()
            assert (title.split()[:4], blank) == (["Finger", "server", "on", f"{client}:"], "")
            assert [line.strip() for line in shown] == [line.strip() for line in wanted], (query, client)


def test_the_vending_machine_lists_its_items_and_counts_them() -> None:
    vending = EXAMPLES / "vending.yaml"
    items = printed("", STRANGER, vending)
    assert items.splitlines()[0] == "Items available:"
    assert "crisps    sold out\r\n" in items
    assert "Count: 12\r\n" in printed("tea", STRANGER, vending)
    assert printed("coffee", STRANGER, vending) == "No such user\r\n"


def test_strangers_are_refused_every_other_host() -> None:
    forward = EXAMPLES / "forward.yaml"
    assert printed("moshez", STRANGER, forward) == "Happy and well\r\n"
    for query, client in (("moshez@pilot.example.org", STRANGER), ("moshez@other.example.com", "192.0.2.9")):
        assert printed(query, client, forward) == "Finger forwarding service denied\r\n"


PRIVACY = (ROOT / "docs" / "privacy.md").read_text()


def test_the_page_about_privacy_shows_what_is_printed() -> None:
    shown = re.findall(r"^    \$ fingerd (-c examples/.*)\n((?:    (?!\$).*\n)+)", PRIVACY, re.MULTILINE)
    assert len(shown) > 5
    for command, answer in shown:
        _, config, _, query, _, client = shlex.split(command)
        assert [f"    {line}" for line in printed(query, client, ROOT / config).splitlines()] == answer.splitlines()


def test_the_page_about_privacy_names_every_atom_of_every_preset() -> None:
    head, *rows = re.findall(r"^\| (?:atom|`\w+`) \|.*$", PRIVACY, re.MULTILINE)
    cells = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in (head, *rows)]
    assert [row[0] for row in cells[1:]] == list(dict.fromkeys(row[0] for row in cells[1:]))
    assert {row[0] for row in cells[1:]} == set(ATOMS)
    for column, preset in enumerate(cells[0][2:], 2):
        assert {row[0] for row in cells[1:] if row[column] == "yes"} == set(PRESETS[preset])
