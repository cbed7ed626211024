"""pyfinger, a Finger client: queries servers and prints their answers (RFC 1288 3.3).

It imports nothing of the server but ``protocol`` and ``net``, so that it starts fast. :mod:`fingerd.client.target`
parses targets, :mod:`fingerd.client.ask` queries a server, :mod:`fingerd.client.terminal` filters the answer, and
:mod:`fingerd.client.output` writes it. :mod:`fingerd.client.tls` is loaded for ``--tls`` only.
"""

import argparse
import contextlib
import dataclasses
import importlib
import locale
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fingerd import __version__
from fingerd.client.ask import Encryption, NoAnswerError, fetch
from fingerd.client.output import check_output, write_error, write_output
from fingerd.client.target import LOCALHOST, FingerTarget, TargetError, read_target
from fingerd.client.terminal import TerminalFilter, mask
from fingerd.text import escape_controls

PORT = 79
SECONDS = 30.0  # for a whole answer; a server may need some for a lookup, and more for forwarding
MAX_BYTES = 1024 * 1024  # for each answer: four times the default limit of fingerd
COERCED_LOCALES = ("C.UTF-8", "C.utf8", "UTF-8")  # Python sets LC_CTYPE to one of them if the locale is "C" (PEP 538)

NO_ANSWER = 1
INTERRUPTED = 130  # as a shell reports SIGINT
OUTPUT_CLOSED = 141  # and SIGPIPE

EPILOG = """\
targets:
  user@host[:port], @host, user, or finger://host[:port]/user (default: @localhost)

exit codes:
  0 all targets answered; 1 a target did not answer, or not completely; 64 usage;
  74 the output cannot be written; 130 interrupted; 141 the output pipe was closed

environment:
  PYFINGER_INTERNATIONAL=1 has the effect of --international
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        write_error(self.format_usage().encode())
        _print_error(message)
        self.exit(os.EX_USAGE)

    def _print_message(self, message: str, file: object = None) -> None:
        """Called for the help and the version. Raises OSError, which argparse ignores."""
        write_output(message.encode())


def _number(kind: Callable[[str], float], minimum: float, maximum: float) -> Callable[[str], float]:
    """A parser for an option's number. It raises ArgumentTypeError for other text and numbers out of range."""

    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            if minimum <= (number := kind(text)) <= maximum:
                return number
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {minimum:g} to {maximum:.10g}")

    return read


def parser() -> argparse.ArgumentParser:
    """The command line that pyfinger(1) documents."""
    result = _Parser(
        prog="pyfinger",
        description="Query Finger servers about users (RFC 1288). Answers cannot control the terminal.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("targets", nargs="*", metavar="TARGET", help="user and host to query")
    result.add_argument("-l", "--long", action="store_true", help="request the long form, with /W")
    result.add_argument(
        *("-p", "--port"),
        metavar="PORT",
        type=_number(int, 1, 65535),
        default=PORT,
        help="port of targets that name none (default: %(default)s)",
    )
    family = result.add_mutually_exclusive_group()
    family.add_argument("-4", "--ipv4", action="store_true", help="use IPv4 only")
    family.add_argument("-6", "--ipv6", action="store_true", help="use IPv6 only")
    result.add_argument("--tls", action="store_true", help="query through TLS, and verify the server's certificate")
    result.add_argument("--ca", metavar="FILE", help="with --tls, trust the authorities in this file only")
    result.add_argument(
        *("-t", "--timeout"),
        metavar="SECONDS",
        type=_number(float, 0.1, 86400),
        default=SECONDS,
        help="time for the whole answer of each target (default: %(default)g)",
    )
    result.add_argument(
        "--max-bytes",
        metavar="BYTES",
        type=_number(int, 1, 1 << 30),
        default=MAX_BYTES,
        help="size at which an answer is cut (default: %(default)s)",
    )
    result.add_argument("-8", "--international", action="store_true", help="show characters above 126")
    result.add_argument("-c", "--controls", action="store_true", help="show control characters below 32 (unsafe)")
    result.add_argument("--version", action="version", version=f"pyfinger {__version__}")
    return result


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments. Options may follow targets, but not ``--``, which parse_intermixed_args alone ignores."""
    end = words.index("--") if "--" in words else len(words)
    arguments = parser().parse_intermixed_args(words[:end])
    arguments.targets += words[end + 1 :]
    if arguments.ca is not None and not arguments.tls:
        parser().error("argument --ca: only with --tls")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run pyfinger with these arguments (default: ``sys.argv``). Returns the exit code."""
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        check_output()
        targets = [_read(text) for text in arguments.targets or (f"@{LOCALHOST}",)]
        return _query_all(arguments, targets, _load_tls(arguments.ca) if arguments.tls else None)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return OUTPUT_CLOSED
    except OSError as error:
        _print_error(f"standard output: {error.strerror}")
        return os.EX_IOERR


def _read(text: str) -> FingerTarget:
    try:
        return read_target(text)
    except TargetError as error:
        parser().error(f"{text}: {error}")


def _load_tls(ca_file: str | None) -> Encryption:
    """TLS that trusts the authorities in the file, or the system's. Ends pyfinger if the file cannot be used."""
    module: Any = importlib.import_module("fingerd.client.tls")
    try:
        tls: Encryption = module.Tls(ca_file)
    except ValueError as error:
        _print_error(f"--ca: {error}")
        sys.exit(os.EX_USAGE)
    return tls


def _query_all(arguments: argparse.Namespace, targets: Sequence[FingerTarget], tls: Encryption | None) -> int:
    """Query the targets one after another. Returns the exit code; raises OSError if the output cannot be written."""
    international = arguments.international or os.environ.get("PYFINGER_INTERNATIONAL", "0") not in ("", "0")
    charset = _charset()
    code = os.EX_OK
    hosts = Counter(target.label for target in targets)
    for number, target in enumerate(targets):
        label = mask(target.label, True, False)
        terminal = TerminalFilter(international, arguments.controls, charset)
        if len(targets) > 1:
            heading = mask(target.asked, True, False) if hosts[target.label] > 1 else label
            write_output((f"\n[{heading}]\n" if number else f"[{heading}]\n").encode(terminal.charset, "replace"))
        try:
            _query(target, arguments, terminal, tls)
        except NoAnswerError as error:
            _print_error(f"{label}: {error}")
            code = NO_ANSWER
    return code


def _query(
    target: FingerTarget, arguments: argparse.Namespace, terminal: TerminalFilter, tls: Encryption | None
) -> None:
    """Query one target, and write the answer as it arrives. Raises NoAnswerError if it is missing or incomplete."""
    query = dataclasses.replace(target.query, verbose=target.query.verbose or arguments.long)
    chunks = fetch(
        query,
        target.host,
        arguments.port if target.port is None else target.port,
        family=socket.AF_INET if arguments.ipv4 else socket.AF_INET6 if arguments.ipv6 else socket.AF_UNSPEC,
        seconds=arguments.timeout,
        max_bytes=arguments.max_bytes,
        tls=tls,
    )
    try:
        for chunk in chunks:
            write_output(terminal.show(chunk))
    finally:
        write_output(terminal.show(b"", final=True))


def _print_error(message: str) -> None:
    """Write a line to standard error, filtered as answers are."""
    line = f"pyfinger: {escape_controls(message)}"
    write_error(TerminalFilter(True, False, _charset()).show(line.encode(), final=True))


def _charset() -> str:
    """The locale's charset; ASCII if Python coerced the locale "C", or one that is not installed, to UTF-8.

    Such a terminal may have any charset, and read UTF-8 as C1 controls. Python's UTF-8 mode shows the coercion. A child
    process of Python's, or one with that mode off, shows it only by LC_CTYPE, and LANG without a charset.
    """
    environment = os.environ
    may_be_coerced = not environment.get("LC_ALL") and environment.get("LC_CTYPE") in COERCED_LOCALES
    if may_be_coerced and (sys.flags.utf8_mode or environment.get("LANG", "") in ("", "C", "POSIX")):
        return "ascii"
    return locale.getencoding()
