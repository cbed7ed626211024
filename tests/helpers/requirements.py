"""What tests need of the machine beyond Python: programs, with the Debian package of each, and rights.

A test or fixture states it with ``need`` or ``needs``; this is the only place that looks whether it is there.
"""

import functools
import glob
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

# Program: Debian package. Programs of essential packages, such as unshare and bash, are not listed.
PACKAGES = {
    "apache2": "apache2-bin",
    "bombadillo": "bombadillo",
    "busybox": "busybox",
    "caddy": "caddy",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "curl": "curl",
    "dnsmasq": "dnsmasq-base",
    "fail2ban-regex": "fail2ban",
    "finger": "finger",
    "haproxy": "haproxy",
    "initdb": "postgresql",
    "ip": "iproute2",
    "jq": "jq",
    "lynx": "lynx",
    "man": "man-db",
    "nc": "netcat-openbsd",
    "nginx": "nginx",
    "openssl": "openssl",
    "pgbouncer": "pgbouncer",
    "pkill": "procps",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "ruby": "ruby-webfinger",
    "scdoc": "scdoc",
    "slapd": "slapd",
    "slowhttptest": "slowhttptest",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "strace": "strace",
    "stunnel": "stunnel4",
    "systemd-socket-activate": "systemd",
    "w3m": "w3m",
    "zsh": "zsh",
}
# Folders of programs that are not on every user's PATH.
FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/libexec", "/usr/lib/postgresql/*/bin")

_LOOPBACK_UP = """
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
"""
_INSTALL = "Debian: apt install "


def find(program: str) -> str | None:
    """The path of a program on the PATH, else in FOLDERS, the latest version first; None if it is not found."""
    folders = [path for each in FOLDERS for path in sorted(glob.glob(each), reverse=True)]
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(folders))


@functools.cache
def can_make_namespaces() -> bool:
    """Whether unshare(1) can make network and mount namespaces here, and mounts and interfaces be changed in them."""
    script = f'mount --bind /etc /etc && exec {shlex.quote(sys.executable)} -I -S -c "$0"'
    try:
        done = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-c", script, _LOOPBACK_UP], check=False, capture_output=True
        )
    except OSError:
        return False
    return done.returncode == 0


@functools.cache
def can_make_devices() -> bool:
    """Whether mknod(2) makes a character device here."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.mknod(Path(folder, "zero"), 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        except PermissionError:
            return False
    return True


@functools.cache
def may_inspect_processes() -> bool:
    """Whether this process has CAP_SYS_PTRACE, which links in /proc of another user's process need."""
    (capabilities,) = re.findall(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bool(int(capabilities, 16) >> 19 & 1)


# Rights that ``need`` and ``needs`` take beside programs, and how a reason names them.
RIGHTS = {
    "root": "root",
    "namespaces": "the right to make namespaces (CAP_SYS_ADMIN and CAP_NET_ADMIN)",
    "devices": "the right to make device files (CAP_MKNOD)",
    "ptrace": "the right to inspect processes of other users (CAP_SYS_PTRACE)",
}


def _missing_right(names: Iterable[str]) -> str:
    rights = [name for name in names if name in RIGHTS]
    if rights and os.geteuid() != 0:
        return "root"
    checks = {"namespaces": can_make_namespaces, "devices": can_make_devices, "ptrace": may_inspect_processes}
    return next((right for right in rights if right in checks and not checks[right]()), "")


def lacking(*names: str) -> str:
    """Why a test that needs these programs of PACKAGES and these RIGHTS cannot run here; empty if it can."""
    right = _missing_right(names)
    programs = [name for name in names if name not in RIGHTS and not find(name)]
    packages = sorted({PACKAGES[name] for name in programs})
    what = " and ".join([*([RIGHTS[right]] if right else ()), *programs])
    return what and f"needs {what}" + (f" ({_INSTALL}{' '.join(packages)})" if packages else "")


def need(*names: str) -> None:
    """Skip the test that runs, or that the fixture is for, unless all of these are here."""
    __tracebackhide__ = True  # the place of the skip is the caller's
    if reason := lacking(*names):
        pytest.skip(reason)


def needs(*names: str) -> pytest.MarkDecorator:
    """The mark of tests that are skipped unless all of these are here."""
    reason = lacking(*names)
    return pytest.mark.skipif(bool(reason), reason=reason)


def summary(reasons: Iterable[str]) -> list[str]:
    """The lines that say how to run the tests that were skipped for these reasons."""
    numbers = dict.fromkeys(RIGHTS.values(), 0)
    wanting = []
    for reason in reasons:
        if right := next((words for words in numbers if reason.startswith(f"needs {words}")), None):
            numbers[right] += 1  # the packages that it may name alone would not help
        elif found := re.search(rf"\({_INSTALL}([^)]+)\)", reason):
            wanting.append(found[1])
    lines = []
    if wanting:
        packages = sorted({package for each in wanting for package in each.split()})
        lines.append(f"{_count(len(wanting))} skipped for programs that are missing here. On Debian:")
        lines.append(f"    apt install {' '.join(packages)}")
    return lines + [f"{_count(number)} skipped without {words}." for words, number in numbers.items() if number]


def _count(number: int) -> str:
    return "1 test was" if number == 1 else f"{number} tests were"
