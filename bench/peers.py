"""Compiles the C programs of this directory, and fetches other servers into a cache."""

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
DEBIAN = ("fingerd", "finger")  # in.fingerd, and the program that it runs


class UnavailableError(Exception):
    """Something is not available on this machine; the text says why."""


def compiled(name: str) -> Path:
    """The program compiled from ``bench/NAME.c``. Raises UnavailableError without a compiler."""
    source, program = SOURCE / f"{name}.c", CACHE / name
    with _locked(name):
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            _run("cc", "-O2", "-o", str(program), str(source))
    return program


def twisted() -> tuple[Path, str]:
    """A Python with Twisted, and the version. Raises UnavailableError if it cannot be installed."""
    python = _environment("twisted", "Twisted")
    return python, f"Twisted {_version(python, 'Twisted')}"


def pyfingerd() -> tuple[Path, str]:
    """A Python with pyfingerd, and the version. Raises UnavailableError if it cannot be installed."""
    python = _environment("pyfingerd", *PYFINGERD)
    return python, f"pyfingerd {_version(python, 'pyfingerd')}"


def debian() -> tuple[tuple[str, ...], str]:
    """The command of Debian's fingerd, with ``{port}``, and the version. Raises UnavailableError."""
    activate = shutil.which("systemd-socket-activate")
    if not activate:
        raise UnavailableError("systemd-socket-activate not found")
    directory, version = unpacked("debian", *DEBIAN)
    program, finger = directory / "usr/sbin/in.fingerd", directory / "usr/bin/finger"
    command = (activate, "--accept", "--inetd", "-l", "127.0.0.1:{port}", str(program), "-p", str(finger))
    return command, f"Debian's fingerd {version}"


def flask() -> tuple[Path, str]:
    """A Python with Flask and waitress, and the versions. Raises UnavailableError if they cannot be installed."""
    python = _environment("flask", "Flask", "waitress")
    return python, f"Flask {_version(python, 'Flask')} on waitress {_version(python, 'waitress')}"


def nginx() -> tuple[Path, str]:
    """Debian's nginx, and the version. Raises UnavailableError."""
    directory, version = unpacked("nginx", "nginx")
    return directory / "usr/sbin/nginx", f"Debian's nginx {version}"


def unpacked(name: str, *packages: str) -> tuple[Path, str]:
    """A directory with the files of Debian packages, and the first one's version. Raises UnavailableError offline."""
    directory = CACHE / "peers" / name
    with _locked(name):
        if not (directory / "version").exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            _run("apt-get", "download", *packages, directory=directory)
            for package in directory.glob("*.deb"):
                _run("dpkg-deb", "-x", str(package), str(directory))
            version = _run("dpkg-deb", "-f", str(next(directory.glob(f"{packages[0]}_*.deb"))), "Version")
            (directory / "version").write_text(version)
    return directory, (directory / "version").read_text().strip()


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """Hold the lock of one part of the cache: tests that run side by side make it once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _environment(name: str, *packages: str) -> Path:
    """The Python of a virtual environment with the packages; made by the Python that runs this."""
    directory = CACHE / "peers" / name
    python, stamp = directory / "bin" / "python", directory / "installed"
    wanted = f"{sys.version}\n{packages}"
    with _locked(name):
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(directory, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(directory))
            _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
            stamp.write_text(wanted)
    return python


def _version(python: Path, package: str) -> str:
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return _run(str(python), "-c", code).strip()


def our_version() -> str:
    """The version of fingerd that is measured."""
    return f"fingerd {importlib.metadata.version('fingerd')}"


def _run(*command: str, directory: Path = ROOT) -> str:
    """The output of a command. Raises UnavailableError with the last line of its standard error if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{Path(command[0]).name}: {error}") from error
    if done.returncode:
        errors = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UnavailableError(f"{Path(command[0]).name}: {errors[-1]}")
    return done.stdout
