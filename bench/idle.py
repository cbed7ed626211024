"""Clients that never ask, or take for ever to: ``python -m bench.idle PORT COUNT [DRIPPING]``, until its input ends.

Prints ``ready`` once all are connected, and at the end how many the server
still held. The last DRIPPING ones send a byte every second.
"""

import contextlib
import select
import socket
import struct
import sys
import time

BIND_ADDRESS_NO_PORT = 24  # socket.IP_BIND_ADDRESS_NO_PORT is there from Python 3.12 on
RESET = struct.pack("ii", 1, 0)  # closing leaves nothing in TIME_WAIT


def connect(port: int, number: int) -> socket.socket:
    """A connection from one of 200 addresses."""
    client = socket.socket()
    client.settimeout(30)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
    client.bind((f"127.1.0.{number % 200 + 1}", 0))
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client


def is_held(client: socket.socket) -> bool:
    """Whether the server has neither answered nor closed."""
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def drip(client: socket.socket) -> None:
    """Send one byte, if the server still wants it."""
    with contextlib.suppress(OSError):  # it counts as not held in the end
        client.send(b"a")


def main(port: int, count: int, dripping: int = 0) -> None:
    clients = [connect(port, number) for number in range(count)]
    print("ready", flush=True)
    due = time.monotonic() + 1
    while not select.select([sys.stdin], [], [], max(due - time.monotonic(), 0))[0]:
        due += 1
        for client in clients[count - dripping :]:
            drip(client)
    print(sum(map(is_held, clients)), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
