"""The servers that are judged: ours and the peers, each with the configuration of its package and the same person.

Debian's three servers read the host's accounts. So each runs in a mount
namespace, on a small host of its own with accounts, homes, sessions and last
logins.
"""

import os
import shutil
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.contenders import OURS, Contender, available, run_directory
from bench.peers import CACHE, UnavailableError

LOGIN, NAME = "zoe", "Zoë Ångström"
UID = 1001
LOGIN_TIME = 1_750_000_000
PLAN = "The kiln is lit on Thursdays.\nBring wood.\n"

CONFIGURATION = f"""\
listen: "127.0.0.1:%s"
backend:
  type: static
  users:
    {LOGIN}: {{name: {NAME}, office: Kiln house, plan: {PLAN!r}}}
log: {{to: stderr}}
"""
SCENARIO = f"""\
[["0s"]]
type = "create"
login = "{LOGIN}"
name = "{NAME}"
home = "/home/{LOGIN}"
shell = "/bin/sh"
plan = "plan"

[["0s"]]
type = "login"
login = "{LOGIN}"
line = "tty1"
"""
ETC = {
    "passwd": f"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    f"{LOGIN}:x:{UID}:{UID}:{NAME},Kiln house,,:/home/{LOGIN}:/bin/sh\n",
    "group": f"root:x:0:\nnogroup:x:65534:\n{LOGIN}:x:{UID}:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "hosts": "127.0.0.1 localhost\n",
    "services": "finger 79/tcp\nauth 113/tcp\n",
}
SMALL_HOST = """\
set -e; mount --bind "$0" /mnt
for place in etc home run var/log; do mount --bind "/mnt/$place" "/$place"; done
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A server, the title of its column, and its user; the full name is empty if it has none."""

    title: str
    contender: Contender
    user: str = LOGIN
    name: str = NAME


def ours() -> Deployment:
    path = run_directory() / "conformance.yaml"

    def command(port: int) -> Sequence[str]:
        path.write_text(CONFIGURATION % port)
        return (sys.executable, "-m", "fingerd", "-n", "-c", str(path))

    return Deployment(
        "fingerd (ours)", Contender(OURS, command, {}, peers.our_version(), query=LOGIN, expect="Kiln house")
    )


def debian() -> Deployment:
    directory, version = peers.unpacked("debian", *peers.DEBIAN)
    command = _inetd(directory, "usr/sbin/in.fingerd", "-p", "/mnt/package/usr/bin/finger")
    return Deployment("Debian's fingerd", _debians("debian", command, f"Debian's fingerd {version}"))


def efingerd() -> Deployment:
    if not Path("/usr/bin/finger").exists():
        raise UnavailableError("/usr/bin/finger, which its script runs, is not found")
    directory, version = peers.unpacked("efingerd", "efingerd", "libident")
    (libraries,) = {path.parent for path in directory.glob("usr/lib/*/libident.so.0")}
    path = f"LD_LIBRARY_PATH=/mnt/package/{libraries.relative_to(directory)}"
    command = _inetd(directory, "usr/sbin/efingerd", user="nobody", setting=path)
    return Deployment("efingerd", _debians("efingerd", command, f"efingerd {version}"))


def cfingerd() -> Deployment:
    directory, version = peers.unpacked("cfingerd", "cfingerd")
    return Deployment("cfingerd", _debians("cfingerd", _inetd(directory, "usr/sbin/cfingerd"), f"cfingerd {version}"))


def pyfingerd() -> Deployment:
    python, version = peers.pyfingerd()
    scenario = run_directory() / "conformance.toml"
    scenario.write_text(SCENARIO)
    (run_directory() / "plan").write_text(PLAN)
    options = ("-m", "pyfingerd", "-t", "scenario", "-s", str(scenario), "-b")
    return Deployment(
        "pyfingerd",
        Contender("pyfingerd", lambda port: (str(python), *options, f"127.0.0.1:{port}"), {}, version, LOGIN, "ngstr"),
    )


def twisted() -> Deployment:
    python, version = peers.twisted()
    script = str(peers.SOURCE / "twisted_server.py")
    contender = Contender("twisted", lambda port: (str(python), script, str(port)), {}, version)
    return Deployment("Twisted's tutorial", contender, "alice", "")


def all_deployments() -> tuple[list[Deployment], list[str]]:
    """The servers that are available here, and a message for each that is not."""
    makers: dict[str, Callable[[], Deployment]] = {
        "fingerd (ours)": ours,
        "Debian's fingerd": debian,
        "efingerd": efingerd,
        "cfingerd": cfingerd,
        "pyfingerd": pyfingerd,
        "Twisted's tutorial": twisted,
    }
    return available(makers)


def _debians(name: str, command: Callable[[int], Sequence[str]], version: str) -> Contender:
    return Contender(name, command, {}, version, query=LOGIN, expect="ngstr", forks=True)


def _inetd(
    package: Path, program: str, *options: str, user: str = "root", setting: str = "LC_ALL=C"
) -> Callable[[int], Sequence[str]]:
    """The command that runs a program of an unpacked package for each client, as inetd does, on a small host."""
    activate, unshare = shutil.which("systemd-socket-activate"), shutil.which("unshare")
    if not activate or not unshare or os.getuid() != 0:
        raise UnavailableError("needs root, unshare and systemd-socket-activate")
    host = _small_host(package)
    start = (activate, "--accept", "--inetd", "-E", setting, "-l")
    drop_privileges = () if user == "root" else ("setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups")
    run = ("sh", "-c", 'exec "$0" "$@" 2>&1', f"/mnt/package/{program}")  # as inetd sends standard error to the client
    small = (unshare, "--mount", "--", "sh", "-c", SMALL_HOST, str(host), *drop_privileges)
    return lambda port: (*small, *start, f"127.0.0.1:{port}", *run, *options)


def _small_host(package: Path) -> Path:
    """The directory of a small host's /etc, /home, /run and /var/log; the package is in it, at /mnt/package."""
    host = CACHE / "hosts" / package.name
    shutil.rmtree(host, ignore_errors=True)
    shutil.copytree(package, host / "package", symlinks=True)
    shutil.copytree(package / "etc", host / "etc") if (package / "etc").exists() else (host / "etc").mkdir()
    for script in (host / "etc").glob("efingerd/*"):  # examples, which are not executable in the package
        script.chmod(0o755)
    for path in (host / "etc").glob("cfingerd/cfingerd.conf"):
        path.write_text(path.read_text().replace("/usr/sbin/userlist", "/mnt/package/usr/sbin/userlist"))
    for name, text in ETC.items():
        (host / "etc" / name).write_text(text)
    for name in ("ld.so.cache", "localtime"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), host / "etc" / name)
    for directory in (host / "home" / LOGIN, host / "run", host / "var" / "log"):
        directory.mkdir(parents=True)
    (host / "home" / LOGIN / ".plan").write_text(PLAN)
    (host / "run" / "utmp").write_bytes(_session())
    (host / "var" / "log" / "wtmp").write_bytes(_session())
    last = struct.pack("=i32s256s", LOGIN_TIME, b"tty1", b"kiln.example")
    (host / "var" / "log" / "lastlog").write_bytes(bytes(UID * len(last)) + last)
    return host


def _session() -> bytes:
    """A record of utmp(5): the user is logged in on tty1; the process is this one."""
    user_process, layout = 7, "=hxxi32s4s32s256shhiii16s20s"
    session = (os.getpid(), b"tty1", b"1", LOGIN.encode(), b"kiln.example")
    return struct.pack(layout, user_process, *session, 0, 0, 0, LOGIN_TIME, 0, bytes(16), bytes(20))
