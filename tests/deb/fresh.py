"""Runs ``make test`` in a minimal Debian 12 with only the packages that docs/develop.md names for it.

It runs as root, as an ordinary user, and as root with the default capabilities
of a container. A process that is left after the tests is a failure too.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.deb.roots import cached_root, missing_requirements

# The packages that docs/develop.md names for `make test`.
PACKAGES = ("make", "python3", "python3-venv")

# The capabilities of root in Docker and Podman: no namespaces, no mounts, no network configuration.
CONTAINER = (
    *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "setfcap"),
    *("net_bind_service", "sys_chroot"),
)
USER = "tester"
WAYS = {
    "root": ("/root", ()),
    "user": (f"/home/{USER}", ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups")),
    "container": (
        "/root",
        ("setpriv", f"--bounding-set=-all,{','.join(f'+{name}' for name in CONTAINER)}", "--inh-caps=-all"),
    ),
}

# The device files of every container, and no /dev/log. The root is a mount of its own, as unshare(1) requires.
MOUNT = """
set -e
mount --bind "$1" "$1"
cd "$1"; shift
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
for name in full null random tty urandom zero; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
while [ "$1" != -- ]; do mount --bind -o ro "$1" ".$1"; shift; done; shift
pivot_root . mnt
exec chroot . sh -c 'umount -l /mnt && exec "$@"' sh "$@"
"""
TEST = """
cd fingerd && make test; status=$?
sleep 1
for process in /proc/[0-9]*; do
    [ "$process" = /proc/1 ] || ! tr '\\0' ' ' <"$process/cmdline" 2>/dev/null | grep . || {
        echo "this process was left behind"; status=1; }
done
exit $status
"""


def pip_files() -> Iterator[Path]:
    """The configuration files of pip, and the files and directories that they name."""
    home = Path.home()
    own = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
    for path in (Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf", own):
        if path.is_file():
            yield path
            yield from _named(path.read_text())
    yield from _named("\n".join(pip_variables().values()))


def pip_variables() -> dict[str, str]:
    """The environment variables that configure where and how pip downloads packages."""
    pattern = re.compile(r"PIP_\w+|\w+_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE", re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if pattern.fullmatch(name)}


def _named(text: str) -> Iterator[Path]:
    for scheme, name in re.findall(r"(^|[\s=]|file://)(/[^\s:,]+)", text, re.MULTILINE):
        path = (
            Path(name).parent if scheme == "file://" else Path(name)
        )  # an index refers to other files in its directory
        if path.exists():
            yield path


def make_system(archive: Path, source: Path, home: str, root: Path) -> list[Path]:
    """Unpack the system and the source tree; returns what must be mounted for pip."""
    subprocess.run(["tar", "-x", "--file", archive, "--directory", root, "--exclude=./dev/*"], check=True)
    subprocess.run(["chroot", root, "useradd", "--create-home", "--key", "HOME_MODE=0700", USER], check=True)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", root / "etc")
    directory = root / home.lstrip("/") / "fingerd"
    directory.mkdir()
    subprocess.run(["tar", "-x", "--file", source, "--directory", directory, "--no-same-owner"], check=True)
    subprocess.run(["chroot", root, "chown", "-R", "--reference", home, f"{home}/fingerd"], check=True)
    mounts = []
    for path in sorted(set(pip_files())):
        if path.is_relative_to(Path.home()):  # the settings of this user apply to all users there
            for to in {"/root", f"/home/{USER}"}:
                copy = root / to.lstrip("/") / ".config/pip" / path.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
            continue
        mounts.append(path)
        point = root / str(path).lstrip("/")
        if path.is_dir():
            point.mkdir(parents=True, exist_ok=True)
        else:
            point.parent.mkdir(parents=True, exist_ok=True)
            point.touch()
    return mounts


def run(way: str, archive: Path, source: Path) -> bool:
    """Run ``make test`` in one way; whether it passes."""
    home, become = WAYS[way]
    with tempfile.TemporaryDirectory(prefix="fingerd-fresh-") as directory:
        root = Path(directory, "root")
        root.mkdir()
        mounts = make_system(archive, source, home, root)
        environment = {"HOME": home, "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **pip_variables()}
        command = [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", MOUNT, "sh", str(root)),
            *(*map(str, mounts), "--", "env", "-i", f"--chdir={home}"),
            *(f"{name}={value}" for name, value in environment.items()),
            *(*become, "sh", "-c", TEST),
        ]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def main(source: Path, ways: list[str]) -> int:
    """Run the tests in these ways, or in all; returns the exit status."""
    if missing := missing_requirements("mmdebstrap", "unshare", "setpriv"):
        print(f"a fresh Debian {missing}", file=sys.stderr)
        return 1
    archive = cached_root("bookworm", "fresh.tar", PACKAGES, variant="minbase")
    passed = {}
    for way in ways or list(WAYS):
        print(f"make test in a fresh Debian: {way}", flush=True)
        passed[way] = run(way, archive, source)
    print("; ".join(f"{way}: {'passed' if each else 'failed'}" for way, each in passed.items()))
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
