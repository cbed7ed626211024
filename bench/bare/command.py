"""subprocess: a program is run for every query, with the name as its last argument."""

import subprocess

from bench.bare import Begin


def begins(threads: str, *argv: str) -> Begin:
    def look_up(user: str) -> str:
        return subprocess.run([*argv, user], capture_output=True, text=True, check=True, timeout=10).stdout

    return lambda: look_up
