"""What is missing to execute a program that exists: the interpreter of a script, or the loader of a binary."""

from pathlib import Path

import pytest

from fingerd.backends.command import Command
from tests.backends.command.test_command import failure

CRLF = ": its first line ends with CR LF"


PROGRAMS = {
    "script": (b"#!/nowhere/python3\n", "'/nowhere/python3'", ""),
    "argument": (b"#! \t/nowhere/perl -w\nprint 1\n", "'/nowhere/perl'", ""),
    "tab": (b"#!/nowhere/perl\t-w\n", "'/nowhere/perl'", ""),
    "CR LF": (b"#!/bin/sh\r\necho hi\r\n", "'/bin/sh\\r'", CRLF),
    "no line end": (b"#!/nowhere/sh", "'/nowhere/sh'", ""),
    "not executable": (b"#!/etc/passwd\n", "'/etc/passwd'", ""),
    "not UTF-8": (b"#!/nowhere/\xff\n", "'/nowhere/\\udcff'", ""),
}


@pytest.mark.parametrize(("content", "loader", "hint"), PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("limits", [{}, {"cpu_seconds": 5}], ids=["", "with limits"])
def test_a_failure_names_the_missing_interpreter(
    tmp_path: Path, content: bytes, loader: str, hint: str, limits: dict[str, int]
) -> None:
    program = tmp_path / "people"
    program.write_bytes(content)
    program.chmod(0o755)
    for argv, env in ((str(program), {}), ("people", {"PATH": f"{tmp_path}:/usr/bin:/bin"})):
        backend = Command(argv=(argv, "{user}"), env=env, **limits)  # type: ignore[arg-type]
        wanted = f"there is no {loader}, which executes {argv}{hint}"
        assert failure(backend).startswith(f"command {argv}: ")
        assert failure(backend).endswith(wanted)
        assert list(backend.missing_requirements(Path("/"))) == [wanted]
