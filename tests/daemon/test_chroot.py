"""Programs in a chroot without /dev/null and /proc."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.daemon.conftest import run
from tests.helpers.daemons import let_everybody_in

LISTEN = 'listen: "127.0.0.1:0"\n'


def copy_with_libraries(program: str, root: Path) -> None:
    """Copy a program, its loader and its libraries to the same places below the root."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in [program, *(word for word in listed.split() if word.startswith("/"))]:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


PROGRAMS = {
    "echo": ('["/bin/echo", "{user}"]', b"alice\r\n"),
    "a program that reads its input": ('["/bin/cat", "-", "/etc/answer"]', b"from a file\r\n"),
    "a script": ('["/bin/script"]', b"from a script\r\n"),
}


@pytest.mark.root
@pytest.mark.parametrize(("argv", "answer"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_runs_in_a_chroot_without_devices(argv: str, answer: bytes, start: Start, tmp_path: Path) -> None:
    root = tmp_path / "root"
    let_everybody_in(tmp_path)
    for program in ("/bin/echo", "/bin/cat", "/bin/sh"):
        copy_with_libraries(program, root)
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc" / "answer").write_text("from a file\n")
    (root / "bin" / "script").write_text("#!/bin/sh\necho from a script\n")
    (root / "bin" / "script").chmod(0o755)
    text = f"{LISTEN}backend: {{type: command, argv: {argv}}}\nprocess: {{chroot: {root}, user: nobody}}\n"
    (tmp_path / "checked.yaml").write_text(text)
    assert run("-c", str(tmp_path / "checked.yaml"), "--check").returncode == 0
    daemon = start(text)
    for _ in range(3):
        assert daemon.ask(b"alice\r\n") == answer
    assert not os.path.exists(root / "dev")
    (root / "bin" / "sh").unlink()
    checked = run("-c", str(tmp_path / "checked.yaml"), "--check")
    expected = f"there is no '/bin/sh' in {root}, which executes /bin/script\n" if "script" in argv else ""
    assert (checked.returncode, checked.stderr.rpartition("backend: ")[2]) == (78 if expected else 0, expected)
