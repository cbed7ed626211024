"""The command line."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from fingerd import __version__
from fingerd.config.system_options import remember_cwd, resolve_path
from fingerd.daemon.catalogue import catalogue
from fingerd.daemon.descriptors import ensure_standard_fds
from fingerd.daemon.detach import ParentPipe
from fingerd.daemon.inetd import detach_stderr, take_client
from fingerd.daemon.privileges import Identity, drop_privileges
from fingerd.daemon.reload import send_reload
from fingerd.daemon.startup import StartupContext, serve
from fingerd.daemon.systemd import Notifier, listen_fds
from fingerd.errors import ConfigError, StartError
from fingerd.net.addresses import UNIX, parse_address
from fingerd.ruip.ruip import AnswerContext
from fingerd.server.active_config import ActiveConfig
from fingerd.server.listeners import InheritedSocket
from fingerd.settings import Settings, read_config
from fingerd.text import escape_controls

log = logging.getLogger("fingerd")

DEFAULT_CONFIG = "/etc/fingerd.yaml"

EPILOG = """\
exit codes:
  0 done; 64 usage; 69 an address cannot be bound, another fingerd holds the pid file,
  or --reload finds no fingerd; 70 a bug; 77 not allowed (needs root); 78 configuration

signals:
  SIGTERM, SIGINT stop: running answers get limits.drain_seconds
  SIGHUP read the configuration again, and re-open the log file
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {escape_controls(message)}\n")


def parser() -> argparse.ArgumentParser:
    """The command line as it is documented in fingerd(8)."""
    result = _Parser(
        prog="fingerd",
        description="A Finger daemon (RFC 1288).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument(
        "-c", "--config", metavar="FILE", default=DEFAULT_CONFIG, help="configuration (default: %(default)s)"
    )
    result.add_argument(
        "-n", "--nodaemon", action="store_true", help="stay in the foreground, and log to standard error by default"
    )
    process = result.add_argument_group("instead of what the configuration says under process")
    process.add_argument("--pidfile", metavar="FILE", help="write the pid to FILE, and hold a lock on it")
    process.add_argument("--rundir", metavar="DIR", help="working directory, inside of the chroot")
    process.add_argument("--chroot", metavar="DIR", help="root directory")
    process.add_argument("--umask", metavar="OCTAL", help="file creation mask")
    process.add_argument("--uid", metavar="USER", help="user to become once everything is bound, by name or number")
    process.add_argument("--gid", metavar="GROUP", help="group to become, by name or number (default: the user's own)")
    logs = result.add_argument_group("instead of what the configuration says under log")
    place = logs.add_mutually_exclusive_group()
    place.add_argument("-l", "--logfile", metavar="FILE", help="log to FILE")
    place.add_argument("--syslog", action="store_true", help="log to syslog")
    logs.add_argument("--prefix", metavar="NAME", help="syslog tag")
    looks = result.add_argument_group("instead of serving")
    look = looks.add_mutually_exclusive_group()
    look.add_argument("--check", action="store_true", help="read everything, report every problem, and exit")
    look.add_argument("--query", metavar="LINE", help="print what a client would get that asks LINE, and exit")
    looks.add_argument(
        "--from",
        metavar="ADDRESS",
        dest="client",
        help="the client that --query is about: an address, or unix (default: 127.0.0.1)",
    )
    look.add_argument(
        "--reload", metavar="PID", type=_pid, help="check as --check does; if valid, send SIGHUP to PID, and exit"
    )
    look.add_argument("--backends", action="store_true", help="list the backend types and their options, and exit")
    look.add_argument("--version", action="version", version=f"fingerd {__version__}")
    return result


def _pid(text: str) -> int:
    """The pid that the text names; argparse reports an ArgumentTypeError as an error of usage.

    0 and negative numbers are no pids: kill(2) signals whole process groups by them. The kernel's pid_t has 31 bits.
    """
    pid = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
    if not 0 < pid < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a pid")
    return pid


def main(argv: Sequence[str] | None = None) -> int:
    """Run fingerd with these arguments (default: the process's own); the exit code, as sysexits.h names them."""
    ensure_standard_fds()
    detach_stderr()
    arguments = parser().parse_args(argv)
    try:
        remember_cwd()
        return _run(arguments)
    except ConfigError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return error.exit_code
    except StartError as error:
        print(f"fingerd: {escape_controls(str(error))}", file=sys.stderr)
        return error.exit_code
    except Exception:
        log.exception("a bug")
        return os.EX_SOFTWARE


def _run(arguments: argparse.Namespace) -> int:
    if arguments.client is not None and arguments.query is None:
        parser().error("--from goes with --query")
    if arguments.backends:
        print(*catalogue(), sep="\n")
        return os.EX_OK
    settings, warnings = read_config(arguments.config, _overrides(arguments))
    if arguments.reload is not None:
        _print_warnings((*warnings, *_warnings_of_owner(arguments, settings, warnings)))
        send_reload(arguments.reload)
        return os.EX_OK
    if arguments.check:
        try:
            warnings = (*warnings, *_warnings_of_owner(arguments, settings, warnings))
        except ConfigError as error:  # a start is possible all the same: it reads as root
            warnings = (*warnings, *error.problems)
        _print_warnings(warnings)
        print(f"{escape_controls(arguments.config)}: {'can be used' if warnings else 'no problem found'}")
        return os.EX_OK
    if arguments.query is not None:
        return _print_answer(settings, arguments.query, arguments.client or "127.0.0.1")
    return _start(arguments, settings, warnings)


def _overrides(arguments: argparse.Namespace) -> dict[str, tuple[str, str]]:
    """The options of the configuration that the command line gives: their path to the flag and its text."""
    given = {
        "process.pidfile": ("--pidfile", arguments.pidfile),
        "process.rundir": ("--rundir", arguments.rundir),
        "process.chroot": ("--chroot", arguments.chroot),
        "process.umask": ("--umask", arguments.umask),
        "process.user": ("--uid", arguments.uid),
        "process.group": ("--gid", arguments.gid),
        "log.prefix": ("--prefix", arguments.prefix),
        "log.to": ("--syslog", "syslog") if arguments.syslog else ("--logfile", arguments.logfile),
    }
    return {path: (flag, text) for path, (flag, text) in given.items() if text is not None}


def _print_warnings(warnings: Sequence[str]) -> None:
    print(*(f"warning: {warning}\n" for warning in warnings), sep="", end="", file=sys.stderr)


def _warnings_of_owner(arguments: argparse.Namespace, settings: Settings, known: Sequence[str]) -> list[str]:
    """What else is wrong for the user whom root would have the daemon become, and who reads all of it at a reload.

    ConfigError where that user cannot read it, so that the daemon would refuse the reload. In a chroot the daemon reads
    other files than we do here, or none: nothing is said about that.
    """
    user = settings.process.user
    if os.getuid() != 0 or user is None or settings.process.chroot:
        return []
    drop_privileges(Identity.of(settings.process))
    who = user.name or f"uid {user.uid}"
    try:
        found = read_config(arguments.config, _overrides(arguments))[1]
    except ConfigError as error:
        raise ConfigError(
            [f"{problem} (for {who}, so a reload would be refused)" for problem in error.problems]
        ) from None
    return [f"{warning} (for {who})" for warning in found if warning not in known]


def _print_answer(settings: Settings, line: str, client: str) -> int:
    """Write the bytes that a client would get; what root would have the daemon become, we become first."""
    try:
        client = client if client == UNIX else str(parse_address(client))
    except ValueError:
        parser().error(f"--from: {client} is no address, and not {UNIX}")
    logging.basicConfig(format="fingerd: %(message)s")
    if os.getuid() == 0:
        drop_privileges(Identity.of(settings.process))
    asker = AnswerContext(client, time.monotonic() + settings.limits.answer_seconds, time.time())
    first = os.fsencode(line).partition(b"\n")[0]  # what comes after it is ignored on the wire too
    sys.stdout.buffer.write(ActiveConfig(settings).ruip.answer_line(first + b"\n", asker).reply)
    sys.stdout.flush()
    settings.backend.close()
    return os.EX_OK


def _start(arguments: argparse.Namespace, settings: Settings, warnings: Sequence[str]) -> int:
    """Serve, or find out why not; where the daemon detaches, tell the shell, which has been left behind waiting."""
    inetd = settings.listen == (InheritedSocket("inetd"),)
    start = StartupContext(
        path=resolve_path(arguments.config),
        options=_overrides(arguments),
        settings=settings,
        warnings=warnings,
        owner=Identity.of(settings.process),
        foreground=arguments.nodaemon or inetd,
        stderr_by_default=arguments.nodaemon and not inetd,
        client=take_client() if inetd else None,
        listeners=listen_fds(),
        notifier=Notifier(),
    )
    if start.foreground:
        return serve(start, ParentPipe(-1))
    shell = ParentPipe.fork_and_wait()
    try:
        return serve(start, shell)
    except StartError as error:
        shell.tell(error.exit_code, escape_controls(str(error)))
        return error.exit_code
    except Exception as error:
        shell.tell(os.EX_SOFTWARE, f"a bug: {error!r}")
        raise
