"""Clients that never send a query, or drip one: ``python -m bench.idle PORT COUNT [DRIPPING]``, until end of input.

Prints ``ready`` once all are connected, and at the end how many of them the
server still held. The last DRIPPING ones send a byte every second.
"""

import contextlib
import select
import socket
import struct
import sys
import time

BIND_ADDRESS_NO_PORT = 24  # socket.IP_BIND_ADDRESS_NO_PORT exists from Python 3.12 on
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends a reset, which leaves nothing in TIME_WAIT


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
    """Whether the server has neither answered nor closed the connection of a non-blocking socket."""
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def drip(client: socket.socket) -> None:
    """Send one byte, unless the connection is closed."""
    with contextlib.suppress(OSError):  # it is counted as not held at the end
        client.send(b"a")


def main(port: int, count: int, dripping: int = 0) -> None:
    clients = [connect(port, number) for number in range(count)]
    print("ready", flush=True)
    next_drip = time.monotonic() + 1
    while not select.select([sys.stdin], [], [], max(next_drip - time.monotonic(), 0))[0]:
        next_drip += 1
        for client in clients[count - dripping :]:
            drip(client)
    print(sum(map(is_held, clients)), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
