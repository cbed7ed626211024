"""The command line."""

import argparse
import logging
import os
import time
from collections.abc import Sequence

from fingerd import __version__
from fingerd.backends import close_backend
from fingerd.bugs import bugs_in
from fingerd.config.system_options import remember_cwd, resolve_path
from fingerd.daemon.catalogue import catalogue
from fingerd.daemon.descriptors import ensure_standard_fds
from fingerd.daemon.detach import ParentPipe
from fingerd.daemon.inetd import detach_stderr, take_client
from fingerd.daemon.output import ArgumentParser, ErrorHandler, print_error, print_result, run_command
from fingerd.daemon.privileges import Identity, drop_privileges
from fingerd.daemon.reload import send_reload
from fingerd.daemon.signals import reset_signals
from fingerd.daemon.startup import StartupContext, serve
from fingerd.daemon.systemd import Notifier, listen_fds
from fingerd.errors import ConfigError, StartError, exit_code_of
from fingerd.net.addresses import UNIX, parse_address
from fingerd.ruip.ruip import AnswerContext
from fingerd.server.active_config import ActiveConfig
from fingerd.server.listeners import InheritedSocket
from fingerd.settings import Settings, read_config
from fingerd.text import escape_controls

DEFAULT_CONFIG = "/etc/fingerd.yaml"

EPILOG = """\
exit codes:
  0 success; 64 usage; 69 an address cannot be bound, another fingerd holds the pid file,
  or --reload finds no fingerd, too few descriptors, threads or memory;
  70 internal error; 74 output or a file cannot be written;
  77 permission denied (needs root); 78 configuration

signals:
  SIGTERM, SIGINT   stop; running answers get limits.drain_seconds
  SIGHUP            reload the configuration and reopen the log file
"""


def parser() -> argparse.ArgumentParser:
    """The command line that fingerd(8) documents."""
    result = ArgumentParser(
        prog="fingerd",
        description="A Finger daemon (RFC 1288).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument(
        "-c", "--config", metavar="FILE", default=DEFAULT_CONFIG, help="configuration file (default: %(default)s)"
    )
    result.add_argument(
        "-n", "--nodaemon", action="store_true", help="stay in the foreground, and log to standard error by default"
    )
    process = result.add_argument_group("options that override the section process of the configuration")
    process.add_argument("--pidfile", metavar="FILE", help="write the pid to FILE, and lock it")
    process.add_argument("--rundir", metavar="DIR", help="working directory, inside the chroot")
    process.add_argument("--chroot", metavar="DIR", help="root directory")
    process.add_argument("--umask", metavar="OCTAL", help="file creation mask")
    process.add_argument("--uid", metavar="USER", help="user to switch to after binding, by name or number")
    process.add_argument("--gid", metavar="GROUP", help="group to switch to, by name or number (default: the user's)")
    logs = result.add_argument_group("options that override the section log of the configuration")
    destination = logs.add_mutually_exclusive_group()
    destination.add_argument("-l", "--logfile", metavar="FILE", help="log to FILE")
    destination.add_argument("--syslog", action="store_true", help="log to syslog")
    logs.add_argument("--prefix", metavar="NAME", help="syslog tag")
    others = result.add_argument_group("actions other than serving")
    action = others.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="check the configuration, print every problem, and exit")
    action.add_argument("--query", metavar="LINE", help="print the answer to the query LINE, and exit")
    others.add_argument(
        "--from",
        metavar="ADDRESS",
        dest="client",
        help="client address for --query: an IP address, or unix (default: 127.0.0.1)",
    )
    action.add_argument(
        "--reload", metavar="PID", type=_pid, help="check the configuration; if valid, send SIGHUP to PID; exit"
    )
    action.add_argument("--backends", action="store_true", help="list the backend types and their options, and exit")
    action.add_argument("--version", action="version", version=f"fingerd {__version__}")
    return result


def _pid(text: str) -> int:
    """The pid that the text names. Raises ArgumentTypeError, which argparse reports as a usage error."""
    # 0 and negative numbers are not pids: kill(2) signals whole process groups by them. The kernel's pid_t has 31 bits.
    pid = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
    if not 0 < pid < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a pid")
    return pid


def main(argv: Sequence[str] | None = None) -> int:
    """Run fingerd with these arguments (default: ``sys.argv``). Returns the exit code (sysexits.h)."""
    reset_signals()
    return run_command(lambda: _exit_code(argv))


def _exit_code(argv: Sequence[str] | None) -> int:
    try:
        ensure_standard_fds()
        detach_stderr()
        arguments = parser().parse_args(argv)
        remember_cwd()
        return _run(arguments)
    except ConfigError as error:
        print_error(*error.problems)
        return error.exit_code
    except (StartError, OSError, MemoryError) as error:
        code, message = _failure(error)
        print_error(f"fingerd: {message}")
        return code


def _run(arguments: argparse.Namespace) -> int:
    if arguments.client is not None and arguments.query is None:
        parser().error("--from requires --query")
    if arguments.backends:
        print_result("".join(f"{line}\n" for line in catalogue()))
        return os.EX_OK
    if arguments.check or arguments.reload is not None:
        return _check(arguments)
    if arguments.query is not None:
        settings, _ = _read_config(arguments)
        return _print_answer(settings, arguments.query, arguments.client or "127.0.0.1")
    return _start(_startup_context(arguments), arguments.nodaemon)


def _check(arguments: argparse.Namespace) -> int:
    """Print the warnings of the configuration, and the result, or with ``--reload`` signal the daemon."""
    settings, warnings = _read_config(arguments)
    try:
        warnings = (*warnings, *_warnings_as_user(arguments, settings, warnings))
    except ConfigError as error:
        if not arguments.check:
            raise
        warnings = (*warnings, *error.problems)  # warnings only: at start-up the file is read as root
    print_error(*(f"warning: {warning}" for warning in warnings))
    if arguments.check:
        verdict = "valid, with warnings" if warnings else "no problem found"
        print_result(f"{escape_controls(arguments.config)}: {verdict}\n")
    else:
        send_reload(arguments.reload)
    return os.EX_OK


def _read_config(arguments: argparse.Namespace) -> tuple[Settings, Sequence[str]]:
    """The settings and the warnings about them. ConfigError, with a hint if there is no file at the default path."""
    try:
        return read_config(arguments.config, _overrides(arguments))
    except ConfigError as error:
        if arguments.config != DEFAULT_CONFIG or os.access(DEFAULT_CONFIG, os.R_OK):
            raise
        raise ConfigError([f"{error.problems[0]} (-c FILE names another)", *error.problems[1:]]) from None


def _failure(error: StartError | OSError | MemoryError) -> tuple[int, str]:
    """The exit code and the message for a failure that is no bug, but one of the host or of its configuration."""
    if isinstance(error, StartError):
        return error.exit_code, escape_controls(str(error))
    if isinstance(error, MemoryError):
        return os.EX_UNAVAILABLE, "out of memory"
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return exit_code_of(error), escape_controls(what)


def _overrides(arguments: argparse.Namespace) -> dict[str, tuple[str, str]]:
    """The configuration options given on the command line: from ``section.option`` to the flag and its argument."""
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


def _warnings_as_user(arguments: argparse.Namespace, settings: Settings, known: Sequence[str]) -> list[str]:
    """If run by root: drop privileges, read the configuration again, as a reload does, and return what is new.

    Raises ConfigError if that fails: the daemon would refuse to reload. Returns none with a chroot: its files differ.
    """
    user = settings.process.user
    if os.getuid() != 0 or user is None or settings.process.chroot:
        return []
    drop_privileges(Identity.of(settings.process))
    name = f"user {user.name}" if user.name else f"uid {user.uid}"
    try:
        warnings = read_config(arguments.config, _overrides(arguments))[1]
    except ConfigError as error:
        raise ConfigError([f"{problem} (as {name}: a reload would fail)" for problem in error.problems]) from None
    return [f"{warning} (as {name})" for warning in warnings if warning not in known]


def _print_answer(settings: Settings, line: str, client: str) -> int:
    """Write the bytes that the client would get. Drops privileges first, if run by root."""
    try:
        client = client if client == UNIX else str(parse_address(client))
    except ValueError:
        parser().error(f"--from: {client} is neither an IP address nor {UNIX}")
    logging.basicConfig(format="fingerd: %(message)s", handlers=[ErrorHandler()])
    if os.getuid() == 0:
        drop_privileges(Identity.of(settings.process))
    context = AnswerContext(client, time.monotonic() + settings.limits.answer_seconds, time.time())
    first = os.fsencode(line).partition(b"\n")[0]  # the server ignores what follows, too
    with bugs_in(type(settings.backend)):
        reply = ActiveConfig(settings).ruip.answer_line(first + b"\n", context).reply
    close_backend(settings.backend)
    print_result(reply)
    return os.EX_OK


def _startup_context(arguments: argparse.Namespace) -> StartupContext:
    settings, warnings = _read_config(arguments)
    inetd = settings.listen == (InheritedSocket("inetd"),)
    client, listeners, notifier = take_client() if inetd else None, listen_fds(), Notifier()
    return StartupContext(
        path=resolve_path(arguments.config),
        options=_overrides(arguments),
        settings=settings,
        warnings=(*warnings, *notifier.warnings),
        stderr_by_default=arguments.nodaemon and not inetd,
        client=client,
        listeners=listeners,
        notifier=notifier,
    )


def _start(start: StartupContext, nodaemon: bool) -> int:
    """Serve, in the foreground or detached. If detached, reports to the parent that it serves, or why it does not."""
    if nodaemon or start.client:
        return serve(start, None)
    parent = ParentPipe.fork_and_wait()
    try:
        return serve(start, parent)
    except (StartError, OSError, MemoryError) as error:
        code, message = _failure(error)
        parent.report(code, message)
        return code
    except Exception as error:
        parent.report(os.EX_SOFTWARE, f"internal error, please report: {error!r}")
        raise
