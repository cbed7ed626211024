"""A minimal threaded finger server: accept, read the line, look it up by a library, write the text, close.

It has no policy, no limits, no log and no deadline, so that nearly all of its
cost is the library's. Each other module but ``backend`` is one library: its
``configure`` returns the function that each thread calls for its look-up.
"""

import socket
import threading
from collections.abc import Callable

THREADS = 8  # enough for a machine of two cores
LINE_BYTES = 1024

LookUp = Callable[[str], str]  # from a username to the text of the answer
Connect = Callable[[], LookUp]  # called once in each thread


def serve(port: int, threads: int, connect: Connect) -> None:
    """Answer until the process is killed."""
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        workers = [threading.Thread(target=_work, args=(listener, connect()), daemon=True) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def _work(listener: socket.socket, look_up: LookUp) -> None:
    while True:
        client, _ = listener.accept()
        with client:
            try:
                line = b""
                while b"\n" not in line and (data := client.recv(LINE_BYTES)):
                    line += data
                client.sendall(look_up(line.decode().rstrip("\r\n")).replace("\n", "\r\n").encode())
            except ConnectionError:
                pass  # closed by the client


def format_record(login: str, name: str, plan: str) -> str:
    """The text of a record."""
    return f"Login name: {login:26} In real life: {name}\nPlan:\n{plan}"
