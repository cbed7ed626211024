"""The clients that people have: all show what ``fingerd --query`` prints, of a server on port 79."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.helpers.daemons import FINGERD, ROOT, TIMEOUT, Daemon, Machine
from tests.helpers.requirements import needs

CONFIG = """\
backend:
  type: static
  users:
    zoe:
      name: Zoë Grün
      office: Kiln house
      office_phone: x3166
      home_phone: 555-0102
      directory: /home/zoe
      shell: /bin/sh
      project: Tiles
      plan: |
        The kiln is lit
          on Thursdays: <b>bring</b> wood & bread.

        [1] Bring a friend, too.
    text: Happy and well
policy: [{from: any, list: true, show: everything}]
log: {to: stderr}
"""
SCREEN = (40, 100)  # rows and columns
ADDRESS = "127.0.0.1"
UTF8 = ("env", "LC_ALL=C.UTF-8", "TERM=xterm", f"PYTHONPATH={ROOT}")
SEQUENCES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")  # control sequences of a terminal

QUERIES = ("zoe", "/W zoe", "text", "", "nobody")


@pytest.fixture
def site(host: Machine, tmp_path: Path) -> Iterator[Machine]:
    """A host with a fingerd on port 79."""
    path = tmp_path / "fingerd.yaml"
    path.write_text(CONFIG)
    daemon = Daemon(path, inside=(*host.inside, *UTF8))
    yield host
    daemon.stop()


def printed(tmp_path: Path, query: str) -> list[str]:
    """What ``--query`` prints."""
    command = [*FINGERD, "-c", str(tmp_path / "fingerd.yaml"), "--query", query]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT, encoding="utf-8")
    return bare(done.stdout)


def bare(text: str) -> list[str]:
    """The lines, without blanks at their ends and empty lines around."""
    return [line.rstrip() for line in text.strip("\r\n ").splitlines()]


@pytest.mark.root
@needs("namespaces", "ip", "finger")
def test_debian_s_finger_shows_what_is_printed(site: Machine, tmp_path: Path) -> None:
    for query in QUERIES:
        verbose, _, user = query.rpartition(" ")
        shown = site.run(*UTF8, "finger", *(("-l",) if verbose else ()), f"{user}@{ADDRESS}").stdout
        assert bare(shown) == printed(tmp_path, query)


@pytest.mark.root
@needs("namespaces", "ip", "lynx")
def test_lynx_shows_what_is_printed(site: Machine, tmp_path: Path) -> None:
    for query in QUERIES:
        path = query.replace("/W ", "/w/") if query else ""
        shown = site.run(*UTF8, "lynx", "-dump", "-nolist", f"finger://{ADDRESS}/{path.lstrip('/')}").stdout
        title, *lines = bare(shown)
        assert title.startswith(f"Finger server on {ADDRESS}")
        assert bare("\n".join(lines)) == printed(tmp_path, query)


@pytest.mark.root
@needs("namespaces", "ip", "bombadillo")
@pytest.mark.parametrize("user", ["zoe", "text", "", "nobody"])
def test_bombadillo_shows_what_is_printed(site: Machine, tmp_path: Path, user: str) -> None:
    url = f"finger://{user}@{ADDRESS}" if user else f"finger://{ADDRESS}"
    home = (f"HOME={tmp_path}", f"XDG_CONFIG_HOME={tmp_path}")
    expected = printed(tmp_path, user)
    shown = on_terminal([*site.inside, *UTF8, *home, "bombadillo", url], expected[-1])
    first = next(number for number, line in enumerate(shown) if line.strip() == expected[0].strip())
    assert shown[first : first + len(expected)] == expected


@pytest.mark.root
def test_pyfinger_shows_what_is_printed(site: Machine, tmp_path: Path) -> None:
    for query in QUERIES:
        verbose, _, user = query.rpartition(" ")
        options = ("--international", *(("--long",) if verbose else ()))
        shown = site.run(*UTF8, sys.executable, "-m", "fingerd.client", *options, f"{user}@{ADDRESS}").stdout
        assert bare(shown) == printed(tmp_path, query)


def on_terminal(command: Sequence[str], awaited: str) -> list[str]:
    """The lines of the screen that a program has painted, once there is this text among them."""
    terminal, other_end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *SCREEN, 0, 0))
    running = subprocess.Popen(command, stdin=other_end, stdout=other_end, stderr=other_end, start_new_session=True)
    os.close(other_end)
    painted, end = b"", time.monotonic() + TIMEOUT
    try:
        while True:
            ready, _, _ = select.select([terminal], [], [], max(end - time.monotonic(), 0))
            assert ready, painted
            painted += os.read(terminal, 65536)
            screen = painted.decode("utf-8", "replace").rpartition("\x1b[0;0H")[2]
            lines = [line.rstrip() for line in SEQUENCES.sub("", screen).splitlines()]
            if awaited in lines and len(lines) >= SCREEN[0] - 1:
                return lines
    finally:
        running.kill()
        running.wait()
        os.close(terminal)
