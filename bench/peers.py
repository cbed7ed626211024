"""What is measured with and against: compiles our two C programs, and fetches other people's servers into a cache."""

import contextlib
import fcntl
import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent
ROOT = SOURCE.parent
CACHE = ROOT / "build" / "bench"

PYFINGERD = ("pyfingerd==0.5.1", "pydantic==2.5.3")  # it crashes with other versions of pydantic
DEBIAN = ("fingerd", "finger")  # in.fingerd, and the program that it asks


class NotHereError(Exception):
    """Something cannot be had on this machine; its text says why."""


def compiled(name: str) -> Path:
    """The program that ``bench/NAME.c`` makes; NotHereError without a compiler."""
    source, program = SOURCE / f"{name}.c", CACHE / name
    with _locked(name):
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            _run("cc", "-O2", "-o", str(program), str(source))
    return program


def twisted() -> tuple[Path, str]:
    """A Python that has Twisted, and the version; NotHereError where it cannot be installed."""
    python = _environment("twisted", "Twisted")
    return python, f"Twisted {_version(python, 'Twisted')}"


def pyfingerd() -> tuple[Path, str]:
    """A Python that has pyfingerd, and the version; NotHereError where it cannot be installed."""
    python = _environment("pyfingerd", *PYFINGERD)
    return python, f"pyfingerd {_version(python, 'pyfingerd')}"


def debian() -> tuple[tuple[str, ...], str]:
    """The command of Debian's fingerd without its port, and the version; NotHereError where there is none."""
    activate = shutil.which("systemd-socket-activate")
    if not activate:
        raise NotHereError("there is no systemd-socket-activate")
    folder, version = unpacked("debian", *DEBIAN)
    program, finger = folder / "usr/sbin/in.fingerd", folder / "usr/bin/finger"
    command = (activate, "--accept", "--inetd", "-l", "127.0.0.1:{port}", str(program), "-p", str(finger))
    return command, f"Debian's fingerd {version}"


def unpacked(name: str, *packages: str) -> tuple[Path, str]:
    """A folder with what these Debian packages hold, and the first one's version; NotHereError without a network."""
    folder = CACHE / "peers" / name
    with _locked(name):
        if not (folder / "version").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _run("apt-get", "download", *packages, folder=folder)
            for package in folder.glob("*.deb"):
                _run("dpkg-deb", "-x", str(package), str(folder))
            version = _run("dpkg-deb", "-f", str(next(folder.glob(f"{packages[0]}_*.deb"))), "Version")
            (folder / "version").write_text(version)
    return folder, (folder / "version").read_text().strip()


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """Hold the lock of one part of the cache: tests that run side by side make it once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _environment(name: str, *packages: str) -> Path:
    """The Python of a virtual environment with the packages, made by the Python that runs this."""
    folder = CACHE / "peers" / name
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = f"{sys.version}\n{packages}"
    with _locked(name):
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(folder))
            _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
            stamp.write_text(wanted)
    return python


def _version(python: Path, package: str) -> str:
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return _run(str(python), "-c", code).strip()


def our_version() -> str:
    """The version of fingerd that is measured."""
    return f"fingerd {importlib.metadata.version('fingerd')}"


def _run(*command: str, folder: Path = ROOT) -> str:
    """What the command prints; NotHereError with the end of its complaints where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHereError(f"{Path(command[0]).name}: {error}") from error
    if done.returncode:
        complaints = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NotHereError(f"{Path(command[0]).name}: {complaints[-1]}")
    return done.stdout
