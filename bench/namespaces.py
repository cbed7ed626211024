"""Network and mount namespaces of the measurement's own; they need root."""

import ctypes
import subprocess

# linux/sched.h; os.unshare exists from Python 3.12 on
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

# Shell commands that give a new mount namespace its own /etc, /var, /run and terminals. {directory} is an empty one.
HOST_SETUP = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs {directory}
for name in etc var; do
    mkdir {directory}/$name {directory}/work-$name
    mount -t overlay -o lowerdir=/$name,upperdir={directory}/$name,workdir={directory}/work-$name overlay /$name
done
mount -t tmpfs -o mode=755 tmpfs /run
mount -t devpts -o newinstance,ptmxmode=0666,mode=600 devpts /dev/pts
mkdir -p /var/mail
"""


def unshare(flags: int) -> bool:
    """Move this process to new namespaces; its future children are in them too. False if that is not permitted."""
    return bool(ctypes.CDLL(None, use_errno=True).unshare(flags) == 0)


def fresh_network() -> bool:
    """Move this process to a new network namespace with loopback alone. False if that is not permitted.

    The kernel keeps a closed connection for a minute, and many of them slow it
    down. They end with their network namespace.
    """
    if not unshare(CLONE_NEWNET):
        return False
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return True
