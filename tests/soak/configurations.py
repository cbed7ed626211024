"""The configurations between which the daemons are reloaded: good ones, each with its generation, and broken ones."""

import json
import shlex
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from tests.soak.book import (
    BROKEN,
    GENERATION,
    HEADER,
    INSTANT,
    LIST,
    QUERY_BYTES,
    REPLY_BYTES,
    SLOW,
    SLOW_TEXT,
    STUCK,
    TEXTS,
    has_header,
    is_web,
)

CONNECTIONS = 300
PER_CLIENT = 10
RATE = 120  # queries a minute, of which a good client's own share is half
READ_SECONDS = (3.0, 4.0)  # in turn, so that deadlines move at every reload
WRITE_SECONDS = 3.0
ANSWER_SECONDS = 4.0
TIMEOUT_SECONDS = 2.0  # of the backends that may get stuck
SLOW_SECONDS = 1.2
THREADS = 8  # a quarter of them for one client: two slow answers at once
DRAIN_SECONDS = 1.4  # more than is left of a slow answer at the end, and less than one that is stuck takes

DENIED = "127.31.0.0/16"  # the networks of two kinds of clients
SILENTLY_DENIED = "127.32.0.0/16"

LISTED, TAKES_ARGUMENT = "list", "user"


def configuration(name: str, generation: int, folder: Path, log: Path, web_port: int) -> str:
    """The file of one generation; JSON, which is YAML too."""
    settings = {
        "listen": "127.0.0.1:0",
        "backend": _backend(name, generation, folder, web_port),
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
        "reply": {"header": _of(HEADER, generation) if has_header(generation) else None},
    }
    return json.dumps(settings, ensure_ascii=False)


def broken_configurations(log: Path) -> Iterator[str]:
    """Files that must be refused, in turn, for ever: no YAML, nothing, a wrong option, a wrong value, a bad log."""
    backend = {"type": "static", "users": {"moshez": "This must never be told"}}
    yield from cycle(
        (
            "listen: [\n",
            "",
            json.dumps({"backend": backend, "limits": {"read_second": 1}}),
            json.dumps({"backend": backend, "limits": {"connections": 0}}),
            json.dumps({"backend": backend, "log": {"to": str(log / "no" / "folder")}}),
        )
    )


def write_program(folder: Path) -> None:
    """Put what the ``command`` backend runs, and the texts that it tells, into the folder."""
    for login, text in TEXTS.items():
        (folder / f"{login}.text").write_text(text)
    (folder / "slow.text").write_text(SLOW_TEXT)
    (folder / "list.text").write_text(LIST)
    (folder / "program").write_text(
        f"""\
#!/bin/sh
# program GENERATION user NAME | program GENERATION list
cd {shlex.quote(str(folder))} || exit 2
tell() {{ exec sed "s/{GENERATION}/$1/" "$2.text"; }}
case "$2 $3" in
  "{LISTED} ") tell "$1" list ;;
  "{TAKES_ARGUMENT} {SLOW}") sleep {SLOW_SECONDS}; tell "$1" slow ;;
  "{TAKES_ARGUMENT} {BROKEN}") echo "it is broken" >&2; exit 3 ;;
  "{TAKES_ARGUMENT} {STUCK}") exec sleep 60 ;;
{"".join(f'  "{TAKES_ARGUMENT} {login}") tell "$1" {login} ;;{chr(10)}' for login in TEXTS)}esac
"""
    )
    (folder / "program").chmod(0o755)


def _backend(name: str, generation: int, folder: Path, web_port: int) -> dict[str, object]:
    if name == INSTANT:
        return {"type": "static", "users": {login: _of(text, generation) for login, text in TEXTS.items()}}
    if is_web(name, generation):
        return {"type": "web", "prefix": f"http://127.0.0.1:{web_port}/{generation}/", "timeout": TIMEOUT_SECONDS}
    program = [str(folder / "program"), str(generation)]
    return {
        "type": "command",
        "argv": [*program, TAKES_ARGUMENT, "{user}"],
        "list_argv": [*program, LISTED],
        "timeout": TIMEOUT_SECONDS,
    }


def _of(text: str, generation: int) -> str:
    return text.replace(GENERATION, str(generation))
