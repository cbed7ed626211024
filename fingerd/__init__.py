"""A Finger server (RFC 1288).

As a library::

    from fingerd import FingerServer, load_config

    with FingerServer(load_config("/etc/fingerd.yaml")) as server:
        server.serve_forever()
"""

from fingerd.server import FingerServer
from fingerd.settings import load_config

__all__ = ["FingerServer", "load_config"]
__version__ = "1.0.0"
