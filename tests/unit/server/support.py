"""What the tests of the server share: backends that wait, and settings made by hand."""

import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import Any

from fingerd import FingerServer
from fingerd.backends import Backend, Lookup
from fingerd.people import Person
from fingerd.protocol.reply import SERVICE_BUSY
from fingerd.ruip.policy import DEFAULT_RULE, Rule
from fingerd.ruip.ruip import ReplyOptions
from fingerd.server.active_config import ActiveConfig
from fingerd.server.connection import Connection, State
from fingerd.server.limits import Limits
from fingerd.server.listeners import ListenAddress, TcpAddress
from tests.helpers.daemons import TIMEOUT

STATIC = "backend: {type: static, users: {alice: Happy and well}}\n"
BUSY = f"{SERVICE_BUSY}\r\n".encode()


class Gate(Backend):
    """Blocks look-ups until it is opened; counts them."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.waiting = 0

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Wait, except for ``quick``."""
        if lookup.username != "quick":
            self.waiting += 1
            self.open.wait(TIMEOUT)
        return (Person(lookup.username, "at last"),)


class Config:
    """Settings made by hand."""

    def __init__(self, backend: Backend, **limits: Any) -> None:
        self.listen: tuple[ListenAddress, ...] = (TcpAddress("127.0.0.1", 0),)
        self.backend = backend
        self.policy: tuple[Rule, ...] = (DEFAULT_RULE,)
        self.limits = Limits(**limits)
        self.reply = ReplyOptions()
        self.hosts: tuple[str, ...] = ()


def connect_from(address: str, server: FingerServer, clients: contextlib.ExitStack) -> socket.socket:
    """A client with an address of its own."""
    return clients.enter_context(
        socket.create_connection(server.socket.getsockname(), TIMEOUT, source_address=(address, 0))
    )


def make_connection(state: State, deadline: float = 0.0) -> Connection:
    """A connection in this state, of a client that is gone."""
    with socket.socket() as closed:
        fields = (
            closed,
            -1,
            ("127.0.0.1", 0),
            "127.0.0.1",
            "127.0.0.1",
            "127.0.0.1",
            "",
            ACTIVE,
            None,
            None,
            state,
            deadline,
        )
        return Connection(*fields)


ACTIVE = ActiveConfig(Config(Gate()))
