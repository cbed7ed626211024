"""``edit``, with editors that do one thing: nothing that was typed is lost, and nothing of it stays in public."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.helpers.daemons import TIMEOUT
from tests.plans.conftest import PLAN, Run, left_behind


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where copies for the editor are made."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return temporary


@pytest.fixture
def edit(run: Run, temporary: Path, tmp_path: Path) -> Run:
    """Edits the plan of zoe by a script of the shell, in which $1 is the file."""

    def edit(script: str, given: bytes = b"", name: str = "zoe", **environment: str):  # type: ignore[no-untyped-def]
        editor = tmp_path / "editor"
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o755)
        variables = {"VISUAL": "", "EDITOR": str(editor), "TMPDIR": str(temporary), **environment}
        return run("--as", name, "edit", given=given, **variables)

    return edit


def test_the_editor_gets_a_private_copy_and_its_text_is_stored(
    edit: Run, people: Path, temporary: Path, tmp_path: Path
) -> None:
    done = edit(f'stat -c "%a %n" "$1" "$(dirname "$1")" >{tmp_path}/seen; cat "$1" >>{tmp_path}/seen; echo new >"$1"')
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert re.fullmatch(
        rf"600 {temporary}/fingerd-plan-\w+/plan\n700 {temporary}/fingerd-plan-\w+\nold\n",
        (tmp_path / "seen").read_text(),
    )
    assert (people / "zoe" / "plan").read_text() == "new\n"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("name", ["zoe", "quill"])
def test_editors_may_replace_the_file_and_leave_others(name: str, edit: Run, run: Run, temporary: Path) -> None:
    assert edit('cp "$1" "$1~"; echo new >"$1.new"; mv "$1.new" "$1"', name=name).returncode == 0
    assert run("--as", name, "show").stdout == b"new\n"
    assert list(temporary.iterdir()) == []


def test_visual_counts_before_editor_and_may_have_options(edit: Run, people: Path) -> None:
    assert edit("exit 1", VISUAL="sed -i -e 's/old/by visual/'").returncode == 0
    assert (people / "zoe" / "plan").read_text() == "by visual\n"


@pytest.mark.parametrize("script", ["true", 'touch "$1"', 'cat "$1" >"$1.new"; mv "$1.new" "$1"'])
def test_without_a_change_nothing_is_written(script: str, edit: Run, people: Path, temporary: Path) -> None:
    before = (people / "zoe" / "plan").stat()
    done = edit(script)
    assert (done.returncode, done.stderr) == (0, b"fingerd-plan: nothing has changed\n")
    assert (people / "zoe" / "plan").stat().st_ino == before.st_ino
    assert list(temporary.iterdir()) == []


def test_a_mistake_may_be_mended(edit: Run, people: Path, temporary: Path) -> None:
    done = edit(r'if grep -q old "$1"; then printf "a\atext\n" >"$1"; else echo mended >"$1"; fi', given=b"y\n")
    assert done.returncode == 0
    assert done.stderr == b"fingerd-plan: plan: line 1, column 2: control character U+0007\nEdit again (y/n)? "
    assert (people / "zoe" / "plan").read_text() == "mended\n"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("answer", [b"", b"n\n", b"what?\n"])
def test_a_mistake_that_is_not_mended_leaves_the_text_and_says_where(
    answer: bytes, edit: Run, people: Path, temporary: Path
) -> None:
    done = edit(r'printf "a long\atext\n" >"$1"', given=answer)
    assert done.returncode == 65
    (copy,) = temporary.glob("*/plan")
    assert f"fingerd-plan: what you have written is in {copy}\n" in done.stderr.decode()
    assert copy.read_text() == "a long\atext\n"
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert (people / "zoe" / "plan").read_text() == "old\n"


def test_what_another_has_written_meanwhile_is_not_lost_either(edit: Run, people: Path, temporary: Path) -> None:
    done = edit(f'echo mine >"$1"; echo theirs >{people}/zoe/plan')
    assert done.returncode == 74
    assert "the plan has changed meanwhile" in done.stderr.decode()
    assert (people / "zoe" / "plan").read_text() == "theirs\n"
    (copy,) = temporary.glob("*/plan")
    assert copy.read_text() == "mine\n"


def test_what_cannot_be_stored_is_not_lost(edit: Run, people: Path, temporary: Path) -> None:
    done = edit(f'echo mine >"$1"; rm {people}/zoe/plan; mkfifo {people}/zoe/plan')
    assert done.returncode == 77
    (copy,) = temporary.glob("*/plan")
    assert copy.read_text() == "mine\n"
    assert f"what you have written is in {copy}" in done.stderr.decode()
    done = edit(f'echo mine >"$1"; rm -r {people}/zoe')
    assert done.returncode == 77


@pytest.mark.parametrize(
    ("editor", "message"),
    [
        ("false", "has failed (exit code 1)"),
        ("sh -c 'exit 3'", "has failed (exit code 3)"),
        ("sh -c 'kill -9 $$'", "has failed (exit code -9)"),
        ("/nowhere/at/all", "cannot be started: No such file or directory"),
        ("vi 'open", "cannot be started: No closing quotation"),
    ],
)
def test_an_editor_that_fails_changes_nothing(
    editor: str, message: str, edit: Run, people: Path, temporary: Path
) -> None:
    done = edit("", VISUAL=editor)
    assert (done.returncode, message in done.stderr.decode()) == (74, True)
    assert (people / "zoe" / "plan").read_text() == "old\n"
    assert list(temporary.iterdir()) == []
    done = edit('echo mine >"$1"; exit 1')
    assert done.returncode == 74
    (copy,) = temporary.glob("*/plan")
    assert copy.read_text() == "mine\n"


def test_a_person_who_cannot_be_edited_gets_no_editor(edit: Run, tmp_path: Path) -> None:
    assert edit(f"touch {tmp_path}/started", name="nobody").returncode == 77
    assert not (tmp_path / "started").exists()


def test_no_room_for_a_copy_is_74(edit: Run) -> None:
    done = edit("true", TMPDIR="/proc")
    assert (done.returncode, b"cannot make a copy to edit" in done.stderr) in ((74, True), (0, False))


def test_ctrl_c_is_the_editor_s(config: Path, people: Path, tmp_path: Path) -> None:
    """On a terminal it goes to both; an editor takes it as a key."""
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\ntrap 'echo interrupted >\"$1\"; exit 0' INT\nkill -INT 0\nsleep 10\n")
    editor.chmod(0o755)
    command = [*PLAN, "-c", str(config), "--as", "zoe", "edit"]
    environment = os.environ | {"VISUAL": str(editor)}
    done = subprocess.run(
        command, capture_output=True, timeout=TIMEOUT, check=False, env=environment, start_new_session=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (people / "zoe" / "plan").read_text() == "interrupted\n"
    assert left_behind(people) == []
