"""The options of the section ``metrics``. It needs no library that the extra ``metrics`` brings."""

from dataclasses import dataclass

from fingerd.errors import OptionError
from fingerd.server.listeners import InheritedSocket, ListenAddress


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where metrics and health are served."""

    listen: tuple[ListenAddress, ...]

    def __post_init__(self) -> None:
        if not self.listen:
            raise OptionError("is empty: name an address", "listen")
        if any(isinstance(address, InheritedSocket) for address in self.listen):
            raise OptionError("must be addresses or unix sockets", "listen")
