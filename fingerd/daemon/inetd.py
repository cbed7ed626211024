"""inetd: one process for one client, who is there already, as descriptor 0."""

import os
import socket
import stat

from fingerd.errors import StartError
from fingerd.server.listeners import is_supported

NO_CLIENT = "listen is inetd, but descriptor 0 is no client"


def detach_stderr() -> None:
    """Keep everything that is written to standard error from the client that inetd put there."""
    if stat.S_ISSOCK(os.fstat(0).st_mode) and os.path.samestat(os.fstat(0), os.fstat(2)):
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)


def take_client() -> socket.socket:
    """The connected client on descriptor 0, which is ``/dev/null`` from now on; StartError (78) where there is none."""
    try:
        client = socket.socket(fileno=os.dup(0))
        client.getpeername()
    except OSError as error:
        raise StartError(NO_CLIENT, os.EX_CONFIG) from error
    if not is_supported(client):
        raise StartError(NO_CLIENT, os.EX_CONFIG)
    client.set_inheritable(False)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    return client
