"""The examples beside the tutorial's steps: what they tell, to whom, and that finger and lynx show just that."""

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest

from fingerd.daemon.cli import main
from fingerd.people import ATOMS
from fingerd.ruip.presets import PRESETS
from tests.conftest import Start
from tests.helpers.daemons import EXAMPLES, FINGERD, ROOT, Machine, wait_until
from tests.helpers.requirements import needs
from tests.helpers.slapd import Slapd, needs_slapd

COMMUNITY = EXAMPLES / "community.yaml"
MEMBER, STRANGER = "198.51.100.7", "203.0.113.9"
REPEATED_SECONDS = 3.0  # an answer is repeated for one second; the rest is for the query, on a busy machine
QUERIES = ("", "brindle", "/W brindle", "zoe", "quill", "tansy", "nobody", "root", "staff", "postmaster", "oakenshaw")


@cache
def printed(query: str, client: str, config: Path = COMMUNITY) -> str:
    """What ``--query`` prints in the repository, for whose directory the examples are written."""
    stdout, stderr = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        assert main(["-c", str(config), "--query", query, "--from", client]) == 0
    assert stderr.getvalue() == ""
    return stdout.buffer.getvalue().decode()


def moved(text: str, listen: str) -> str:
    """The configuration, listening elsewhere, and with paths that hold wherever it is started."""
    assert "127.0.0.1:1079" in text
    return text.replace("127.0.0.1:1079", listen).replace(" examples/", f" {EXAMPLES}/")


@pytest.mark.parametrize(
    "name",
    [
        *("cache", "chain-merge", "command-json", "community", "demo", "forward", "http", "ldap", "robohack"),
        *("scenario", "vending", "web-json"),
    ],
)
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


def test_a_change_takes_effect_within_a_second(start: Start, tmp_path: Path) -> None:
    people = tmp_path / "people"
    shutil.copytree(EXAMPLES / "community", people)
    text = COMMUNITY.read_text().replace("folder: examples/community", f"folder: {people}")
    daemon = start(moved(text, "127.0.0.1:0"))
    assert b"Counting the tides" in daemon.ask(b"zoe\r\n")
    (people / "zoe" / "plan").write_text("Gone sailing.\n")
    wait_until(lambda: b"Gone sailing." in daemon.ask(b"zoe\r\n"), REPEATED_SECONDS)
    (people / "zoe" / "nofinger").touch()
    wait_until(lambda: daemon.ask(b"zoe\r\n") == b"No such user\r\n", REPEATED_SECONDS)
    assert daemon.ask(b"tansy\r\n") == b"No such user\r\n"
    (people / "tansy" / "nofinger").unlink()
    wait_until(lambda: b"Tansy Marrowby" in daemon.ask(b"tansy\r\n"), REPEATED_SECONDS)


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
    wait_until(lambda: daemon.ask(b"motd\r\n") == b"The ferry is here.\r\n", REPEATED_SECONDS)
    assert daemon.ask(b"webmaster\r\n").decode() == printed("zoe", MEMBER)


@pytest.mark.root
@needs("namespaces", "ip", "finger", "lynx")
def test_finger_and_lynx_show_what_is_printed(start: Start, host: Machine) -> None:
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
            lynx = ("lynx", "-dump", "-nolist", "-nonumbers")  # it makes URLs into links
            title, blank, *shown = host.run(*utf8, *lynx, f"finger://{client}/{path}").stdout.splitlines()
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


def test_people_of_a_program_in_json() -> None:
    path = EXAMPLES / "command-json.yaml"
    assert printed("brindle", STRANGER, path).splitlines()[1:] == ["Office: Kiln house", "Plan:", "Fired.", "Up."]
    assert [row.split()[0] for row in printed("", STRANGER, path).splitlines()[1:]] == ["brindle", "zoe"]
    for name in ("nobody", "'; --", "$(id)", ".."):
        assert printed(name, STRANGER, path) == "No such user\r\n"


def test_people_of_a_web_server_in_json(tmp_path: Path) -> None:
    text = (EXAMPLES / "web-json.yaml").read_text()
    (command,) = re.findall(r"^# +python3 (-m http\.server .*) 8000$", text, re.MULTILINE)
    server = [sys.executable, "-u", *command.split(), "0"]
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(server, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
        )
        stack.callback(process.terminate)
        assert process.stdout
        started = re.search(r"port (\d+)", process.stdout.readline())
        assert started
        path = tmp_path / "web-json.yaml"
        path.write_text(text.replace("127.0.0.1:8000", f"127.0.0.1:{started[1]}"))
        told = printed("brindle", STRANGER, path).splitlines()
        assert told[0].endswith("In real life: Brindle Oakenshaw")
        assert told[1:] == ["Office: 555-0101", "Pronouns: they/them", "Plan:", "The kiln is lit on Thursdays."]
        assert "Pronouns" not in printed("zoe", STRANGER, path)
        assert [row.split()[0] for row in printed("", STRANGER, path).splitlines()[1:]] == ["brindle", "zoe"]
        for name in ("nobody", "../list", "..", "brindle.json?", "%2e%2e/list"):
            assert printed(name, STRANGER, path) == "No such user\r\n"


def test_efingerd_s_scripts_are_run_as_efingerd_runs_them(tmp_path: Path) -> None:
    for name in ("list", "luser", "nouser"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $# $1 $2 $3"\n')
        (tmp_path / name).chmod(0o755)
    path = tmp_path / "efingerd.yaml"
    path.write_text((EXAMPLES / "efingerd.yaml").read_text().replace("/etc/efingerd/", f"{tmp_path}/"))
    told = {
        "": "list 3 (null) 203.0.113.9 ",
        "root": "luser 3 (null) 203.0.113.9 root",
        "0": "nouser 3 (null) 203.0.113.9 0",
        "*": "nouser 3 (null) 203.0.113.9 *",
        "$(id)": "nouser 3 (null) 203.0.113.9 $(id)",
        "a'b\"; c": "nouser 3 (null) 203.0.113.9 a'b\"; c",
    }
    assert {name: printed(name, STRANGER, path) for name in told} == {
        name: f"{text}\r\n" for name, text in told.items()
    }


def test_robohack_s_programs_are_run_for_their_names_only() -> None:
    path = EXAMPLES / "robohack.yaml"
    assert printed("hello", STRANGER, path) == "Hello [no-ident] @ 203.0.113.9.\r\n"
    assert re.search(r"\d\d:\d\d", printed("date", STRANGER, path))
    assert printed("moshez", STRANGER, path) == "Happy and well\r\n"
    assert printed("Hello", STRANGER, path) == "No such user\r\n"


@needs_slapd
def test_people_of_a_directory_are_told_as_others_are(start: Start, tmp_path: Path) -> None:
    slapd = Slapd(tmp_path / "slapd", (EXAMPLES / "ldap" / "people.ldif").read_text())
    text = moved((EXAMPLES / "ldap.yaml").read_text(), "127.0.0.1:0")
    assert "[local, 198.51.100.0/24]" in text
    assert "ldap://127.0.0.1:1389\n" in text
    text = text.replace("ldap://127.0.0.1:1389\n", f"{slapd.ldap}\n").replace("[local, 198.51.100.0/24]", "127.0.0.2")
    try:
        daemon = start(text)
        told = daemon.ask(b"brindle\r\n", source="127.0.0.2").decode()
        for atom in (
            "Brindle Oakenshaw",
            "Kiln house, 555-0101",
            "potter",
            "The kiln is lit on Thursdays.",
        ):
            assert atom in told
        assert daemon.ask(b"oakenshaw\r\n", source="127.0.0.2").decode() == told
        rows = daemon.ask(b"\r\n", source="127.0.0.2").decode().splitlines()[1:]
        assert [row.split()[0] for row in rows] == ["brindle", "zoe"]
        assert daemon.ask(b"zoe\r\n").decode().splitlines() == [
            "In real life: Zoë Marrowby",
            "Plan:",
            "Counting the tides.",
        ]
        for name in ("tansy", "marrowby", "tansy)(uid=*", "*"):
            assert daemon.ask(f"{name}\r\n".encode()) == b"No such user\r\n"
        assert b"ansy" not in daemon.ask(b"marrowby\r\n", source="127.0.0.2")
        assert daemon.ask(b"\r\n") == b"Finger online user list denied\r\n"
    finally:
        slapd.stop()


def test_one_member_of_the_chain_fills_in_what_the_other_does_not_know(start: Start) -> None:
    path = EXAMPLES / "chain-merge.yaml"
    told = printed("brindle", STRANGER, path)
    for atom in ("Kiln house 2, 555-0199", "Brindle Oakenshaw", "The kiln is lit on Thursdays."):
        assert atom in told
    assert "Kitchen" in printed("kettle", STRANGER, path)
    assert "Plan:\r\n" in printed("quill", STRANGER, path)
    assert [row.split()[0] for row in printed("", STRANGER, path).splitlines()[1:]] == [
        *("brindle", "kettle", "quill", "zoe")
    ]
    daemon = start(moved(path.read_text(), "127.0.0.1:0"))
    assert daemon.ask(b"brindle\r\n").decode() == told


def test_the_slow_program_runs_once_for_all_who_ask(start: Start, tmp_path: Path) -> None:
    text = (EXAMPLES / "cache.yaml").read_text()
    assert "'sleep 1;" in text
    daemon = start(moved(text.replace("'sleep 1;", f"'echo ran >> {tmp_path}/runs; sleep 1;"), "127.0.0.1:0"))
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(daemon.ask(b"moshez\r\n"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [b"Happy and well\r\n"] * 8
    assert daemon.ask(b"moshez\r\n") == b"Happy and well\r\n"
    assert daemon.ask(b"glyph\r\n") == daemon.ask(b"glyph\r\n") == b"No such user\r\n"
    assert (tmp_path / "runs").read_text() == "ran\n" * 2


@pytest.mark.parametrize(
    ("hours", "told", "listed"),
    [
        (1, "Last login", []),
        (10, "The lamp is lit at dusk.", ["wren", "gull"]),
        (12.5, "idle 30", ["wren", "gull"]),
        (16, "Rocks", ["wren", "gull", "stranger"]),
        (16 + 24 * 100, "Rocks", ["wren", "gull", "stranger"]),
        (19, "Ship on the rocks.", ["wren", "stranger"]),
        (23, "Last login", []),
    ],
)
def test_the_lighthouse_has_its_day(hours: float, told: str, listed: list[str], start: Start) -> None:
    text = (EXAMPLES / "scenario.yaml").read_text()
    assert "  start: 2026-01-01 " in text
    began = datetime.fromtimestamp(time.time() - hours * 3600 - 5).astimezone().isoformat()
    daemon = start(moved(text.replace("start: 2026-01-01 ", f"start: {began} "), "127.0.0.1:0"))
    assert told.encode() in daemon.ask(b"/W wren\r\n")
    rows = daemon.ask(b"\r\n").decode().splitlines()
    assert [row.split()[0] for row in rows[1:]] == listed
    assert ("Somebody from the wreck" in daemon.ask(b"stranger\r\n").decode()) is ("stranger" in listed)


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
