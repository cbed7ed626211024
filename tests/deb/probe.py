#!/usr/bin/python3 -I
"""Runs in the sandbox of the daemon, attempts what an intruder would, and prints the results as JSON."""

import errno
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable


def attempt(action: Callable[[], object]) -> str:
    """The error that stops the action; "nothing" if it succeeds."""
    try:
        done = action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "nothing" if done is None else str(done)


def writable() -> list[str]:
    """All writable directories and regular files."""
    found = []
    for directory, subdirectories, files in os.walk("/"):
        if directory == "/":
            subdirectories.remove("proc")  # it has only the sandbox's own processes, as an attempt shows
        for path in (directory, *(os.path.join(directory, name) for name in files)):
            if os.access(path, os.W_OK):
                mode = os.stat(path).st_mode
                if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                    found.append(path)
    return [path for path in found if os.path.dirname(path) not in found]


def set_id_file() -> None:
    with open("/tmp/set-id", "w") as file:
        os.fchmod(file.fileno(), 0o4755)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "setuid(0)": lambda: os.setuid(0),
    "setgid(0)": lambda: os.setgid(0),
    "setgroups(0)": lambda: os.setgroups([0]),
    "chroot": lambda: os.chroot("/tmp"),
    "a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close(),
    "a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "a device": lambda: os.mknod("/tmp/device", stat.S_IFCHR | 0o666, os.makedev(1, 1)),
    "a set-user-ID file of its own": set_id_file,
    "the list of homes": lambda: print(*os.listdir("/home"), file=sys.stderr),
    "the first process": lambda: os.stat("/proc/1"),
    "the kernel's settings": lambda: os.stat("/proc/sys"),
    "a higher priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
}

print(
    json.dumps(
        {
            "uid": os.getresuid(),
            "gid": os.getresgid(),
            "groups": os.getgroups(),
            "attempts": {name: attempt(action) for name, action in ATTEMPTS.items()},
            "set-user-ID": subprocess.run(
                ["/usr/local/bin/set-user-id", "-u"], stdout=subprocess.PIPE, check=False
            ).stdout.decode(),
            "namespace": subprocess.run(["unshare", "--user", "true"], check=False).returncode,
            "writable": writable(),
        }
    )
)
