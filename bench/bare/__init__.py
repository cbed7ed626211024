"""The least that a threaded finger server can do: accept, read the line, look up by a library, write the text, close.

It has no policy, no limits, no log and no deadline; whatever its answers cost
more than nothing is the library's. Each module here but ``backend`` is one
library, whose ``begins`` gives what each thread begins with.
"""

import socket
import threading
from collections.abc import Callable

THREADS = 8  # that a machine of two cores has use for
LINE_BYTES = 1024

LookUp = Callable[[str], str]  # from a name to the text that is told
Begin = Callable[[], LookUp]  # each thread has a look-up of its own


def serve(port: int, threads: int, begin: Begin) -> None:
    """Answer until the process is ended."""
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        crew = [threading.Thread(target=_work, args=(listener, begin()), daemon=True) for _ in range(threads)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()


def _work(listener: socket.socket, look_up: LookUp) -> None:
    while True:
        client, _ = listener.accept()
        with client:
            try:
                line = b""
                while b"\n" not in line and (heard := client.recv(LINE_BYTES)):
                    line += heard
                client.sendall(look_up(line.decode().rstrip("\r\n")).replace("\n", "\r\n").encode())
            except ConnectionError:
                pass  # it has gone


def told(login: str, name: str, plan: str) -> str:
    """A record as it is told."""
    return f"Login name: {login:26} In real life: {name}\nPlan:\n{plan}"
