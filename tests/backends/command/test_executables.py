"""Programs, their interpreters and loaders, below a root directory that may be a chroot."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fingerd.backends.command import Command
from fingerd.backends.command.executables import find_program, interpreter_of, missing_interpreter


def executable(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o755)
    return path


def missing(program: str, root: Path) -> list[str]:
    return list(Command(argv=(program,)).missing_requirements(root))


SCRIPTS = {
    "plain": ("#!/bin/sh\necho\n", "/bin/sh"),
    "blanks and arguments": ("#! \t/usr/bin/env\tpython3 -u\n", "/usr/bin/env"),
    "CR LF": ("#!/bin/sh\r\n", "/bin/sh\r"),
    "no end of line": ("#!/bin/sh", "/bin/sh"),
    "bytes": (b"#!/bin/\xff\n", "/bin/\udcff"),
    "empty": ("#!\n", None),
    "no interpreter": ("echo\n", None),
    "no content": ("", None),
    "a short ELF file": (b"\x7fELF", None),
    "an odd ELF file": (b"\x7fELF\x09\x01" + bytes(100), None),
    "an ELF file without segments": (b"\x7fELF\x02\x01" + bytes(100), None),
}


@pytest.mark.parametrize(("content", "interpreter"), SCRIPTS.values(), ids=SCRIPTS)
def test_the_interpreter_of_a_script(content: bytes | str, interpreter: str | None, tmp_path: Path) -> None:
    assert interpreter_of(executable(tmp_path / "script", content)) == interpreter


@pytest.mark.skipif(not shutil.which("readelf"), reason="needs readelf")
def test_the_loader_of_an_executable_as_readelf_reports_it() -> None:
    program = os.path.realpath(sys.executable)
    listed = subprocess.run(["readelf", "-l", program], capture_output=True, text=True, check=True).stdout
    loader = interpreter_of(Path(program))
    assert loader
    assert f"[Requesting program interpreter: {loader}]" in listed


@pytest.mark.parametrize("bits", [1, 2], ids=["32", "64"])
@pytest.mark.parametrize("order", [1, 2], ids=["little", "big"])
def test_the_loader_of_every_kind_of_elf_file(bits: int, order: int, tmp_path: Path) -> None:
    width, endian = 4 * bits, ("little", "big")[order - 1]

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, endian)  # type: ignore[arg-type]

    head = b"\x7fELF" + bytes([bits, order]) + bytes(10) + bytes(8) + number(0, width) + number(64, width)
    head += bytes(width + 4 + 2) + number(32 if bits == 1 else 56, 2) + number(2, 2)
    other = bytes(32 if bits == 1 else 56)
    loader = b"/lib/ld.so\0"
    if bits == 1:
        segment = number(3, 4) + number(200, 4) + bytes(8) + number(len(loader), 4) + bytes(12)
    else:
        segment = number(3, 4) + bytes(4) + number(200, 8) + bytes(16) + number(len(loader), 8) + bytes(16)
    content = (head.ljust(64, b"\0") + other + segment).ljust(200, b"\0") + loader
    assert interpreter_of(executable(tmp_path / "program", content)) == "/lib/ld.so"


def test_a_missing_interpreter_is_reported(tmp_path: Path) -> None:
    script = executable(tmp_path / "script", "#!/nowhere/sh\n")
    assert missing(str(script), Path("/")) == [f"there is no '/nowhere/sh', which executes {script}"]
    executable(tmp_path / "script", "#!/bin/sh\r\n")
    assert missing(str(script), Path("/")) == [
        f"there is no '/bin/sh\\r', which executes {script}: its first line ends with CR LF"
    ]
    executable(tmp_path / "script", "#!/bin/sh\n")
    assert missing(str(script), Path("/")) == []


def test_a_chroot_needs_the_interpreter_and_its_loader(tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "script", "#!/bin/sh\n")
    assert missing("/bin/script", tmp_path) == [f"there is no '/bin/sh' in {tmp_path}, which executes /bin/script"]
    shutil.copy(os.path.realpath("/bin/sh"), tmp_path / "bin" / "sh")
    loader = interpreter_of(tmp_path / "bin" / "sh")
    assert loader
    assert missing("script", tmp_path) == [f"there is no {loader!r} in {tmp_path}, which executes script"]
    executable(tmp_path / loader.lstrip("/"), "the loader")
    assert missing("script", tmp_path) == []


def test_links_begin_in_the_chroot(tmp_path: Path) -> None:
    box = executable(tmp_path / "usr" / "bin" / "box", "")
    (tmp_path / "bin").symlink_to("/usr/bin")
    (tmp_path / "usr" / "bin" / "sh").symlink_to("/bin/box")
    (tmp_path / "usr" / "bin" / "up").symlink_to("../../../usr/./bin/box")
    (tmp_path / "usr" / "bin" / "loop").symlink_to("loop")
    (tmp_path / "usr" / "bin" / "out").symlink_to("/bin/true")
    assert find_program("/bin/sh", "", tmp_path) == find_program("up", "/nowhere:/bin", tmp_path) == box
    for program in ("/bin/loop", "loop", "/bin/out", "/bin", "none"):
        assert find_program(program, "/bin", tmp_path) is None
    executable(tmp_path / "script", "#!/bin/sh\n")
    assert missing_interpreter(tmp_path / "script", tmp_path) is None


def test_interpreters_in_a_circle_are_given_up(tmp_path: Path) -> None:
    script = executable(tmp_path / "script", f"#!{tmp_path}/script\n")
    assert missing_interpreter(script, Path("/")) is None
