"""The configurations that the daemons reload: valid ones, each with its generation, and invalid ones."""

import json
import shlex
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from tests.soak.queries import (
    BROKEN,
    GENERATION,
    HEADER,
    LIST_TEXT,
    QUERY_BYTES,
    REPLY_BYTES,
    SLOW,
    SLOW_TEXT,
    STATIC,
    STUCK,
    TEXTS,
    has_header,
    is_web,
)

CONNECTIONS = 300
PER_CLIENT = 10
RATE = 120  # queries a minute; a good client sends half as many
READ_SECONDS = (3.0, 4.0)  # in turns, so that every reload changes the deadlines
WRITE_SECONDS = 3.0
ANSWER_SECONDS = 4.0
TIMEOUT_SECONDS = 2.0  # of the blocking backends
SLOW_SECONDS = 1.2
THREADS = 8  # one client may use a quarter of them: two slow answers at once
DRAIN_SECONDS = 1.4  # enough for a slow answer at SIGTERM, and too little for one that hangs

DENIED = "127.31.0.0/16"  # the networks of two client kinds
SILENTLY_DENIED = "127.32.0.0/16"

LIST_COMMAND, USER_COMMAND = "list", "user"  # the program's second argument


def configuration(name: str, generation: int, directory: Path, log: Path, web_port: int) -> str:
    """The configuration of one generation; JSON, which is also YAML."""
    settings = {
        "listen": "127.0.0.1:0",
        "backend": _backend(name, generation, directory, web_port),
        "policy": [
            {"from": DENIED, "deny": True},
            {"from": SILENTLY_DENIED, "deny": "silently"},
            {"from": "any", "list": True},
        ],
        "log": {"to": str(log)},
        "limits": {
            "query_bytes": QUERY_BYTES,
            "reply_bytes": REPLY_BYTES,
            "read_seconds": READ_SECONDS[generation % 2],
            "write_seconds": WRITE_SECONDS,
            "answer_seconds": ANSWER_SECONDS,
            "connections": CONNECTIONS,
            "per_client": PER_CLIENT,
            "rate": RATE,
            "threads": THREADS,
            "drain_seconds": DRAIN_SECONDS,
        },
        "reply": {"header": _numbered(HEADER, generation) if has_header(generation) else None},
    }
    return json.dumps(settings, ensure_ascii=False)


def broken_configurations(log: Path) -> Iterator[str]:
    """Files that must be refused, in turns, without end: no YAML, empty, unknown option, bad value, bad log file."""
    backend = {"type": "static", "users": {"moshez": "This must never be answered"}}
    yield from cycle(
        (
            "listen: [\n",
            "",
            json.dumps({"backend": backend, "limits": {"read_second": 1}}),
            json.dumps({"backend": backend, "limits": {"connections": 0}}),
            json.dumps({"backend": backend, "log": {"to": str(log / "no" / "directory")}}),
        )
    )


def write_program(directory: Path) -> None:
    """Write the program of the ``command`` backend, and the texts that it prints, into the directory."""
    for login, text in TEXTS.items():
        (directory / f"{login}.text").write_text(text)
    (directory / "slow.text").write_text(SLOW_TEXT)
    (directory / "list.text").write_text(LIST_TEXT)
    (directory / "program").write_text(
        f"""\
#!/bin/sh
# program GENERATION user NAME | program GENERATION list
cd {shlex.quote(str(directory))} || exit 2
print_text() {{ exec sed "s/{GENERATION}/$1/" "$2.text"; }}
case "$2 $3" in
  "{LIST_COMMAND} ") print_text "$1" list ;;
  "{USER_COMMAND} {SLOW}") sleep {SLOW_SECONDS}; print_text "$1" slow ;;
  "{USER_COMMAND} {BROKEN}") echo "it is broken" >&2; exit 3 ;;
  "{USER_COMMAND} {STUCK}") exec sleep 60 ;;
{"".join(f'  "{USER_COMMAND} {login}") print_text "$1" {login} ;;{chr(10)}' for login in TEXTS)}esac
"""
    )
    (directory / "program").chmod(0o755)


def _backend(name: str, generation: int, directory: Path, web_port: int) -> dict[str, object]:
    if name == STATIC:
        return {"type": "static", "users": {login: _numbered(text, generation) for login, text in TEXTS.items()}}
    if is_web(name, generation):
        return {"type": "web", "prefix": f"http://127.0.0.1:{web_port}/{generation}/", "timeout": TIMEOUT_SECONDS}
    program = [str(directory / "program"), str(generation)]
    return {
        "type": "command",
        "argv": [*program, USER_COMMAND, "{user}"],
        "list_argv": [*program, LIST_COMMAND],
        "timeout": TIMEOUT_SECONDS,
    }


def _numbered(text: str, generation: int) -> str:
    return text.replace(GENERATION, str(generation))
