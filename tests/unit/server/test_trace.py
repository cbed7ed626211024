"""The path of a query through the modules: in one direction, and not back and forth."""

import os
import socket
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import fingerd
from fingerd.log.format import Access
from fingerd.log.writer import log_access
from tests.helpers.daemons import TIMEOUT, hear, serving

PACKAGE = os.path.dirname(fingerd.__file__)
# Of module, from accepting a client to its line in the log. Four are for front doors: the acceptor asks whether one
# names its clients, the door understands the request, the dispatcher places it, and the server finds the handler.
CHANGES_MAX = 18


@pytest.mark.serial
def test_a_remembered_answer_needs_few_changes_of_module(capsys: Any) -> None:
    """The client has sent its query before it is accepted, and closes when it has the answer."""
    entered: list[str] = []
    lines: list[object] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(PACKAGE):
            entered.append(Path(path).relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."))

    def note_line(entry: Access) -> None:
        log_access(entry)
        sys.setprofile(None)
        lines.append(entry)
        done.set()

    def hold_up() -> None:
        sys.setprofile(note)
        ready.wait(TIMEOUT)

    done, ready = threading.Event(), threading.Event()
    with serving("backend: {type: static, users: {alice: Happy and well}}\n") as server:
        address = server.socket.getsockname()
        server.access_log = note_line
        for number in range(2):  # the first one works the answer out
            done.clear()
            ready.clear()
            if number:
                server.loop.call_soon_threadsafe(hold_up)
            with socket.create_connection(address, TIMEOUT) as client:
                client.sendall(b"alice\r\n")
                ready.set()
                assert hear(client) == b"Happy and well\r\n"
            assert done.wait(TIMEOUT)
    del entered[: entered.index("server.acceptor")]  # before that the loop was held up
    trace = [name for number, name in enumerate(entered) if not number or entered[number - 1] != name]
    with capsys.disabled():
        print("\n" + " → ".join(trace))
    assert len(lines) == 2
    assert len(trace) - 1 <= CHANGES_MAX
