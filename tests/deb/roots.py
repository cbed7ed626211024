"""Root file systems of Debian 12 and 13, made by mmdebstrap once and cached outside of the source tree.

A machine's root has what boots, and what the package depends on: nothing else,
so that nothing works by chance. Further packages that a check needs lie in it
as files, to be installed for that check alone, since the machine has no network.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fingerd"
DIST = ROOT / "dist"  # the directory of the package

SUITES = ("bookworm", "trixie")
NEXT = {"bookworm": "trixie"}  # what each is upgraded to
# The first of these that is for one of the suites gives the mirrors, of the others too.
SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")

# Without usr-is-merged, bookworm installs usrmerge, and Perl for it.
BOOTS = ("systemd-sysv", "usr-is-merged")
# For single checks, with their dependencies, in /root/tools: the names are directories there.
TOOLS = {
    "accounts": ("login", "passwd"),
    "apparmor": ("apparmor",),
    "autopkgtest": ("autopkgtest", "finger", "netbase"),
    "curl": ("curl", "python3-h11", "python3-jinja2"),
    "http": ("python3-h11", "python3-jinja2"),  # which the package suggests
    "logrotate": ("logrotate",),
    "old": ("finger", "fingerd", "openbsd-inetd"),  # Debian's fingerd, which ours replaces
    "sessions": ("dbus", "finger", "libpam-systemd", "login", "passwd"),
    "ssh": ("openssh-client", "openssh-server", "passwd"),
    "tls": ("haproxy", "openssl", "stunnel4"),
}
MORE_TOOLS = {
    "trixie": {"sessions": ("lastlog2", "libpam-lastlog2", "libpam-wtmpdb")}
}  # bookworm writes lastlog without them

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}

# The configuration of apt with which a machine is upgraded to the next Debian: it has all that is needed for it.
UPGRADE = "/root/upgrade/apt.conf"
FETCH_UPGRADE = f"""
cd /root/upgrade
mkdir -p parts lists/partial archives/partial
cat >{UPGRADE} <<END
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$PWD/parts";
Dir::State::Lists "$PWD/lists";
Dir::Cache::Archives "$PWD/archives";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
END
cp /etc/apt/sources.list.d/* parts/ 2>/dev/null || true
! [ -s /etc/apt/sources.list ] || cp /etc/apt/sources.list parts/first.list
sed -i "s/$1/$2/g" parts/*
export APT_CONFIG={UPGRADE}
apt-get -qq update
apt-get -qq --download-only full-upgrade
"""
FETCH_TOOLS = """
for name; do
    case $name in
        */) to=/root/tools/$name; mkdir -p "$to/partial"; continue;;
    esac
    apt-get -qq -o APT::Sandbox::User=root -o Dir::Cache::Archives="$to" \\
        --no-install-recommends --download-only install $name
done
"""
# The package's dependencies are there because of the package, not because anybody wants them.
MARK = 'apt-mark auto $(apt-mark showmanual) >/dev/null; apt-mark manual apt "$@" >/dev/null'


def machine_root(suite: str) -> Path:
    """The directory of the root file system of a machine; making it the first time takes a minute or two."""
    tools = {name: (*packages, *MORE_TOOLS.get(suite, {}).get(name, ())) for name, packages in TOOLS.items()}
    fetched = (word for name, packages in tools.items() for word in (f"{name}/", " ".join(packages)))
    hooks = [
        # netbase would write the hosts, which has nothing to do with the package.
        'echo finger-machine >"$1/etc/hostname"; printf "127.0.0.1 localhost\\n::1 localhost\\n" >"$1/etc/hosts"',
        'echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/unsafe-io"',  # a machine is thrown away
        _inside(MARK, *BOOTS),
        _inside(FETCH_TOOLS, *fetched),
    ]
    if suite in NEXT:
        hooks += ['mkdir -p "$1/root/upgrade"', _inside(FETCH_UPGRADE, suite, NEXT[suite])]
    return cached_root(suite, "machine", (*BOOTS, *dependencies()), hooks)


def _inside(script: str, *arguments: str) -> str:
    """A hook that runs a script in the new root."""
    words = " ".join(f"'{word}'" for word in ("sh", "-ec", script.replace("'", "'\\''"), "sh", *arguments))
    return f'chroot "$1" {words}'


def dependencies() -> list[str]:
    """The packages that the package in ``DIST`` depends on; the first of alternatives."""
    (package,) = DIST.glob("fingerd_*_all.deb")
    command = ["dpkg-deb", "--field", str(package), "Pre-Depends", "Depends"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return sorted(re.findall(r"(?:: |, )([a-z0-9][a-z0-9.+-]+)", text.replace("\n ", " ")))


def sources(suite: str) -> str | None:
    """Where apt finds a suite: as on this host, whichever of the suites it has; None for mmdebstrap's own."""
    for path in filter(Path.exists, map(Path, SOURCES)):
        text = path.read_text()
        for named in SUITES:
            if named in text:
                return text.replace(named, suite)
    return None


def cached_root(
    suite: str, name: str, packages: Sequence[str], hooks: Sequence[str] = (), variant: str = "apt"
) -> Path:
    """A root file system with these packages, made by mmdebstrap: a directory, or an archive by the name's suffix."""
    text = sources(suite)
    recipe = repr((suite, variant, packages, hooks, text))
    stem, dot, suffix = name.partition(".")
    path = CACHE / f"{stem}-{suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}{dot}{suffix}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f".{stem}-{suite}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path
        for old in CACHE.glob(f"{stem}-{suite}-*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            new = Path(directory, f"root{dot}{suffix}")
            print(f"making {path}", flush=True)
            listed = Path(directory, "debian.sources" if text and "URIs:" in text else "debian.list")
            listed.write_text(text or "")
            command = [
                *("mmdebstrap", "--quiet", "--mode=root", f"--variant={variant}"),
                f"--include={','.join(packages)}",
                '--aptopt=Acquire::Check-Valid-Until "false"',  # a mirror may be a snapshot
                '--aptopt=Acquire::Languages "none"',
                *(f"--customize-hook={hook}" for hook in hooks),
                *(suite, str(new), *([str(listed)] if text else [])),
            ]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env={**os.environ, **ENVIRONMENT})
            new.rename(path)
    return path


def missing_requirements(*tools: str) -> str:
    """The requirements that are missing here; empty if none is."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in tools if not shutil.which(tool)]
    return f"needs {', '.join(missing)} (docs/develop.md names the packages)" if missing else ""
