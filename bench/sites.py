"""The servers that are judged: ours and the peers, each as it is shipped, and all with the same person.

Debian's three ask the host for its accounts. So each runs in a mount namespace with a small host of its own: accounts,
homes, who is logged in, and who was.
"""

import os
import shutil
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.kinds import OURS, Kind, run_folder
from bench.peers import CACHE, NotHereError

LOGIN, NAME = "zoe", "Zoë Ångström"
UID = 1001
NOON = 1_750_000_000  # when she logged in
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
class Site:
    """A server, its name over a column of the page, and the full name of its user, where it knows one."""

    title: str
    kind: Kind
    user: str = LOGIN
    name: str = NAME


def ours() -> Site:
    path = run_folder() / "conformance.yaml"

    def command(port: int) -> Sequence[str]:
        path.write_text(CONFIGURATION % port)
        return (sys.executable, "-m", "fingerd", "-n", "-c", str(path))

    return Site("fingerd (ours)", Kind(OURS, command, {}, peers.our_version(), query=LOGIN, expect="Kiln house"))


def debian() -> Site:
    folder, version = peers.unpacked("debian", *peers.DEBIAN)
    command = _inetd(folder, "usr/sbin/in.fingerd", "-p", "/mnt/package/usr/bin/finger")
    return Site("Debian's fingerd", _debians("debian", command, f"Debian's fingerd {version}"))


def efingerd() -> Site:
    if not Path("/usr/bin/finger").exists():
        raise NotHereError("there is no /usr/bin/finger, which its script asks")
    folder, version = peers.unpacked("efingerd", "efingerd", "libident")
    (libraries,) = {path.parent for path in folder.glob("usr/lib/*/libident.so.0")}
    path = f"LD_LIBRARY_PATH=/mnt/package/{libraries.relative_to(folder)}"
    command = _inetd(folder, "usr/sbin/efingerd", user="nobody", setting=path)
    return Site("efingerd", _debians("efingerd", command, f"efingerd {version}"))


def cfingerd() -> Site:
    folder, version = peers.unpacked("cfingerd", "cfingerd")
    return Site("cfingerd", _debians("cfingerd", _inetd(folder, "usr/sbin/cfingerd"), f"cfingerd {version}"))


def pyfingerd() -> Site:
    python, version = peers.pyfingerd()
    scenario = run_folder() / "conformance.toml"
    scenario.write_text(SCENARIO)
    (run_folder() / "plan").write_text(PLAN)
    options = ("-m", "pyfingerd", "-t", "scenario", "-s", str(scenario), "-b")
    return Site(
        "pyfingerd",
        Kind("pyfingerd", lambda port: (str(python), *options, f"127.0.0.1:{port}"), {}, version, LOGIN, "ngstr"),
    )


def twisted() -> Site:
    python, version = peers.twisted()
    script = str(peers.SOURCE / "twisted_server.py")
    kind = Kind("twisted", lambda port: (str(python), script, str(port)), {}, version)
    return Site("Twisted's tutorial", kind, "alice", "")  # it knows a text for each user, and no names


def all_sites() -> tuple[list[Site], list[str]]:
    """The servers that can be had here, and for each that cannot a line that says why."""
    makers: dict[str, Callable[[], Site]] = {
        "fingerd (ours)": ours,
        "Debian's fingerd": debian,
        "efingerd": efingerd,
        "cfingerd": cfingerd,
        "pyfingerd": pyfingerd,
        "Twisted's tutorial": twisted,
    }
    sites, missing = [], []
    for title, make in makers.items():
        try:
            sites.append(make())
        except NotHereError as error:
            missing.append(f"{title} is left out: {error}")
    return sites, missing


def _debians(name: str, command: Callable[[int], Sequence[str]], version: str) -> Kind:
    return Kind(name, command, {}, version, query=LOGIN, expect="ngstr", forks=True)


def _inetd(
    package: Path, program: str, *options: str, user: str = "root", setting: str = "LC_ALL=C"
) -> Callable[[int], Sequence[str]]:
    """How to run a program of an unpacked package for each client, as inetd would, on a small host of its own."""
    activate, unshare = shutil.which("systemd-socket-activate"), shutil.which("unshare")
    if not activate or not unshare or os.getuid() != 0:
        raise NotHereError("it needs root, unshare, and systemd-socket-activate")
    host = _small_host(package)
    start = (activate, "--accept", "--inetd", "-E", setting, "-l")
    drop_privileges = () if user == "root" else ("setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups")
    run = ("sh", "-c", 'exec "$0" "$@" 2>&1', f"/mnt/package/{program}")  # inetd gives a client the complaints, too
    small = (unshare, "--mount", "--", "sh", "-c", SMALL_HOST, str(host), *drop_privileges)
    return lambda port: (*small, *start, f"127.0.0.1:{port}", *run, *options)


def _small_host(package: Path) -> Path:
    """A folder with what is to be seen at /etc, /home, /run and /var/log, and the package at /mnt/package."""
    host = CACHE / "hosts" / package.name
    shutil.rmtree(host, ignore_errors=True)
    shutil.copytree(package, host / "package", symlinks=True)
    shutil.copytree(package / "etc", host / "etc") if (package / "etc").exists() else (host / "etc").mkdir()
    for script in (host / "etc").glob("efingerd/*"):  # examples, which the package does not let run
        script.chmod(0o755)
    for path in (host / "etc").glob("cfingerd/cfingerd.conf"):
        path.write_text(path.read_text().replace("/usr/sbin/userlist", "/mnt/package/usr/sbin/userlist"))
    for name, text in ETC.items():
        (host / "etc" / name).write_text(text)
    for name in ("ld.so.cache", "localtime"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), host / "etc" / name)
    for folder in (host / "home" / LOGIN, host / "run", host / "var" / "log"):
        folder.mkdir(parents=True)
    (host / "home" / LOGIN / ".plan").write_text(PLAN)
    (host / "run" / "utmp").write_bytes(_session())
    (host / "var" / "log" / "wtmp").write_bytes(_session())
    last = struct.pack("=i32s256s", NOON, b"tty1", b"kiln.example")
    (host / "var" / "log" / "lastlog").write_bytes(bytes(UID * len(last)) + last)
    return host


def _session() -> bytes:
    """A record of utmp(5): she is logged in on tty1, by the process that runs this."""
    user_process, form = 7, "=hxxi32s4s32s256shhiii16s20s"
    who = (os.getpid(), b"tty1", b"1", LOGIN.encode(), b"kiln.example")
    return struct.pack(form, user_process, *who, 0, 0, 0, NOON, 0, bytes(16), bytes(20))
