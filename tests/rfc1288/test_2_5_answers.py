"""RFC 1288 2.5, 3.2.2 and 3.2.6: the user list, queries for a user, and vending machines."""

import re
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.daemons import Daemon
from tests.rfc1288.conftest import EXACT, LISTED, MINIMAL, OFFICE_A, OFFICE_B, OPEN, SHIPPED, UNIQUE, check

ONLINE = {
    "rinehart": "Mark J. Rinehart",
    "greenfie": "Stephen J. Greenfield",
    "rapatel": "Rocky - Rakesh Patel",
    "cherniss": "Zoë Çherniss",
}
EVERYBODY = {**ONLINE, "pirmann": "David Pirmann", "spinner": "Ron Spinner", "etter": "Ron Etter"}

MACHINE = """\
listen: "127.0.0.1:0"
backend:
  type: vending
  slots:
    tea: {count: 2, price: "0.50"}
    crisps: {count: 0}
policy: [{from: any, list: true}]
"""


def ask_text(daemon: Daemon, query: str, source: str = SHIPPED) -> str:
    """The answer as text, with LF as line end."""
    return daemon.ask(query.encode() + b"\r\n", source=source).decode().replace("\r\n", "\n")


def test_r23_answers_are_for_people_to_read(rfc_daemon: Daemon) -> None:
    for user in EVERYBODY:
        answer = ask_text(rfc_daemon, user)
        assert all(len(line) < 80 for line in answer.splitlines())
        assert re.search(r"\w+: \S", answer)  # each value has a label


def test_r24_the_list_is_answered_or_refused(rfc_daemon: Daemon) -> None:
    assert "rinehart" in ask_text(rfc_daemon, "", OPEN)
    assert ask_text(rfc_daemon, "", SHIPPED) == "Finger online user list denied\n"
    assert ask_text(rfc_daemon, "/W", SHIPPED) == "Finger online user list denied\n"


@pytest.mark.parametrize("source", [OPEN, OFFICE_A, OFFICE_B, MINIMAL])
def test_r25_the_list_tells_full_names(rfc_daemon: Daemon, source: str) -> None:
    answer = ask_text(rfc_daemon, "", source)
    for name in ONLINE.values():
        assert name in answer


def test_r26_the_list_may_tell_the_terminal_the_office_the_telephone_the_job_and_idle_times(rfc_daemon: Daemon) -> None:
    rows = ask_text(rfc_daemon, "", OPEN).splitlines()
    (row,) = (row for row in rows if row.startswith("rinehart"))
    for atom in ("p0", "1:11", "019 Hill", "x3166", "Operations"):
        assert atom in row
    (row,) = (row for row in rows if row.startswith("rapatel"))
    assert "monster.example.org" in row
    least = ask_text(rfc_daemon, "", MINIMAL)
    for atom in ("rinehart", "p0", "1:11", "019 Hill", "x3166", "Operations", "monster"):
        assert atom not in least


def test_r27_the_list_is_turned_on_and_off_by_the_administrator(start: Start) -> None:
    for option, answer in (("true", "Login"), ("false", "Finger online user list denied\n")):
        daemon = start(
            f'listen: "127.0.0.1:0"\npolicy: [{{from: any, list: {option}}}]\n'
            "backend: {type: static, users: {zoe: {name: Zoe}}}\n"
        )
        assert ask_text(daemon, "").startswith(answer)


def test_r28_the_refusal_is_in_the_words_of_the_rfc_and_the_default(start: Start) -> None:
    daemon = start('listen: "127.0.0.1:0"\nbackend: {type: static, users: {zoe: {name: Zoe}}}\n')
    assert daemon.ask(b"\r\n") == b"Finger online user list denied\r\n"


def test_r29_a_query_for_a_user_is_answered_in_depth(rfc_daemon: Daemon) -> None:
    assert len(ask_text(rfc_daemon, "rinehart", SHIPPED).splitlines()) > 4
    assert ask_text(rfc_daemon, "absent", SHIPPED) == "No such user\n"


@pytest.mark.parametrize("source", [OPEN, SHIPPED, OFFICE_A, OFFICE_B, MINIMAL, UNIQUE, EXACT])
def test_r30_every_answer_about_a_user_tells_the_full_name(rfc_daemon: Daemon, source: str) -> None:
    for user, name in EVERYBODY.items():
        assert name in ask_text(rfc_daemon, user, source)
        assert name in ask_text(rfc_daemon, f"/W {user}", source)


def test_r30_whoever_has_no_full_name_is_told_by_the_login(start: Start) -> None:
    daemon = start('listen: "127.0.0.1:0"\nbackend: {type: static, users: {zoe: {office: Kiln house}}}\n')
    assert "In real life: zoe" in ask_text(daemon, "zoe")


def test_r30_a_rule_that_hides_the_full_name_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text("backend: {type: static, users: {}}\npolicy: [{from: any, show: [office, plan]}]\n")
    assert "hides the full name, which RFC 1288 requires in every answer (2.5.2)" in check(path)


@pytest.mark.parametrize("source", [OPEN, OFFICE_A, OFFICE_B, MINIMAL, LISTED])
def test_r31_what_the_list_tells_of_a_user_an_answer_about_the_user_tells_too(rfc_daemon: Daemon, source: str) -> None:
    cells = "p0 p1 p3 p7 Hill Psychol x3166 x3074 x2287 Operations monster.example.org"
    words = {"1:11": "idle 1 hour 11 minutes", "4d": "idle 4 days", "5": "idle 5 minutes"}  # for the same idle times
    rows = ask_text(rfc_daemon, "", source).splitlines()[1:]
    assert len(rows) == len(ONLINE)
    for user, name in ONLINE.items():
        (row,) = (row for row in rows if name in row)
        answer = ask_text(rfc_daemon, user, source)
        for cell in (name, user, *cells.split()):
            assert cell in answer or cell not in row
        for cell, text in words.items():
            assert (text in answer) == (f" {cell} " in row)
        assert (" on p" in answer) == (" p" in row)  # and since when, in words


def test_r32_an_answer_may_tell_offices_telephones_the_login_and_the_plan(rfc_daemon: Daemon) -> None:
    answer = ask_text(rfc_daemon, "pirmann", OPEN)
    for atom in ("016 Hill", "x2443", "989-8482", "Last login", "on ttyp0 from romulus.rutgers.", "Work Schedule"):
        assert atom in answer
    assert "Not logged in." in ask_text(rfc_daemon, "spinner", OPEN)
    assert "Never logged in." in ask_text(rfc_daemon, "etter", OPEN)
    assert "On since" in ask_text(rfc_daemon, "rinehart", OPEN)
    assert ask_text(rfc_daemon, "pirmann", MINIMAL) == "In real life: David Pirmann\n"


def test_r33_the_user_information_file_is_in_some_common_area_and_can_be_turned_off(
    start: Start, tmp_path: Path
) -> None:
    people = tmp_path / "people"
    people.mkdir()
    (people / "zoe.txt").write_text("Gone to the kiln.\n")
    config = f'listen: "127.0.0.1:0"\nbackend: {{type: files, folder: {people}}}\npolicy: [{{from: any, show: %s}}]\n'
    assert "Gone to the kiln." in ask_text(start(config % "[name, plan]"), "zoe")
    off = ask_text(start(config % "[name, login]"), "zoe")
    assert "zoe" in off
    assert "lan" not in off


def test_r34_a_program_can_answer(start: Start) -> None:
    daemon = start('listen: "127.0.0.1:0"\nbackend: {type: command, argv: [printf, "%s is well", "{user}"]}\n')
    assert ask_text(daemon, "zoe") == "zoe is well\n"


def test_r35_no_program_of_a_user_is_run_unless_the_administrator_names_it(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "people" / "zoe"
    folder.mkdir(parents=True)
    ran = tmp_path / "ran"
    for name in ("plan", "project", ".efingerd", ".fingerrc"):
        (folder / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (folder / name).chmod(0o755)
    daemon = start(f'listen: "127.0.0.1:0"\nbackend: {{type: files, folder: {tmp_path}/people}}\n')
    assert f"touch {ran}" in ask_text(daemon, "/W zoe")  # as the text that it is
    assert not ran.exists()


def test_r36_a_login_is_a_name(rfc_daemon: Daemon) -> None:
    for source in (OPEN, SHIPPED, UNIQUE, EXACT):
        for user, name in EVERYBODY.items():
            assert name in ask_text(rfc_daemon, user, source)


def test_r37_the_administrator_decides_what_becomes_of_an_ambiguous_name(rfc_daemon: Daemon) -> None:
    assert ask_text(rfc_daemon, "ron", OPEN).count("In real life: Ron") == 3
    assert ask_text(rfc_daemon, "ron", UNIQUE) == "Ambiguous name, ask for a login\n"
    assert ask_text(rfc_daemon, "ron", EXACT) == "No such user\n"
    assert "Ron Surak" in ask_text(rfc_daemon, "surak", UNIQUE)


def test_r38_slash_w_asks_for_more_and_is_never_an_error(rfc_daemon: Daemon) -> None:
    short, long = ask_text(rfc_daemon, "rinehart", OPEN), ask_text(rfc_daemon, "/W rinehart", OPEN)
    assert "/bin/tcsh" not in short
    assert "/bin/tcsh" in long
    assert set(short.splitlines()) <= set(long.splitlines())
    assert ask_text(rfc_daemon, "/W absent") == ask_text(rfc_daemon, "absent")
    assert ask_text(rfc_daemon, "/W zoe@host") == ask_text(rfc_daemon, "zoe@host")


def test_r39_a_vending_machine_lists_what_can_be_had(start: Start) -> None:
    answer = ask_text(start(MACHINE), "")
    assert "tea     2 left, 0.50 each" in answer
    assert "crisps  sold out" in answer


def test_r40_a_vending_machine_counts_what_is_in_a_slot(start: Start) -> None:
    machine = start(MACHINE)
    assert "Count: 2" in ask_text(machine, "tea")
    assert "Count: sold out" in ask_text(machine, "crisps")


def test_r41_a_vending_machine_never_eats_money(start: Start) -> None:
    machine = start(MACHINE)
    before = ask_text(machine, "tea")
    for coin in ("tea 0.50", "/W tea", "0.50", "tea@0.50"):
        ask_text(machine, coin)
    assert ask_text(machine, "tea") == before
