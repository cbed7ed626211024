"""A Finger server (RFC 1288).

As a library::

    from fingerd import FingerServer, load_config

    with FingerServer(load_config("/etc/fingerd.yaml")) as server:
        server.serve_forever()
"""

from importlib import import_module

__all__ = ["FingerServer", "load_config"]
__version__ = "1.0.0"

_MODULES = {"FingerServer": "fingerd.server.server", "load_config": "fingerd.settings"}

TYPE_CHECKING = False  # a type checker assumes True, as for typing's; importing typing would slow pyfinger down
if TYPE_CHECKING:
    from fingerd.server.server import FingerServer
    from fingerd.settings import load_config
else:

    def __getattr__(name: str) -> object:
        """Import a name of the library on first use (PEP 562): pyfinger must not import the server's modules."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)
