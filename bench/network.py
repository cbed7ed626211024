"""A network of the measurement's own, whose closed connections go with it."""

import ctypes
import subprocess

CLONE_NEWNET = 0x40000000  # linux/sched.h; Python has os.unshare since 3.12 only


def fresh_network() -> bool:
    """Move this process, and all that it starts from now on, to a new network that has loopback alone.

    The kernel keeps every closed connection for a minute, and many of them slow
    it down; they end with the network that they were in. False, and nothing is
    changed, for who may not do that (anybody but root, mostly).
    """
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        return False
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return True
