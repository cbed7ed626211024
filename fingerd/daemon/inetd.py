"""inetd: one process for one client, which is connected to descriptor 0."""

import os
import socket
import stat

from fingerd.daemon.descriptors import redirect_to_null
from fingerd.errors import StartError
from fingerd.server.listeners import is_supported


def detach_stderr() -> None:
    """Redirect standard output and error to ``/dev/null`` if inetd connected them to the client."""
    if stat.S_ISSOCK(os.fstat(0).st_mode) and os.path.samestat(os.fstat(0), os.fstat(2)):
        redirect_to_null(1, 2)


def take_client() -> socket.socket:
    """The client on descriptor 0, which becomes ``/dev/null``. Raises StartError (exit code 78) if there is none."""
    try:
        client = socket.socket(fileno=os.dup(0))
        client.getpeername()
        supported = is_supported(client)
    except OSError:
        supported = False
    if not supported:
        raise StartError("listen is inetd, but descriptor 0 is not a client connection", os.EX_CONFIG)
    client.set_inheritable(False)
    redirect_to_null(0)
    return client
