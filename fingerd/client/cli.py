"""pyfinger: asks Finger servers, and shows what they answer (RFC 1288 3.3).

It imports nothing of the server but the wire format, so that it starts at
once. :mod:`fingerd.client.target` reads whom to ask, :mod:`fingerd.client.ask` asks,
:mod:`fingerd.client.terminal` decides what reaches the terminal.
"""

import argparse
import dataclasses
import locale
import os
import select
import socket
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from fingerd import __version__
from fingerd.client.ask import NoAnswerError, fetch
from fingerd.client.target import LOCALHOST, FingerTarget, TargetError, read_target
from fingerd.client.terminal import TerminalFilter, mask
from fingerd.text import escape_controls

PORT = 79
SECONDS = 30.0  # for the whole answer: a server has some time to find it, and a forwarding one more
MAX_BYTES = 1024 * 1024  # of one answer: four times what fingerd sends at most by default
STANDARD_OUTPUT = 1
COERCED = ("C.UTF-8", "C.utf8", "UTF-8")  # what Python sets LC_CTYPE to where the user's locale is "C" (PEP 538)

NO_ANSWER = 1
INTERRUPTED = 130  # as a shell tells of SIGINT
OUTPUT_CLOSED = 141  # and of SIGPIPE

EPILOG = """\
targets:
  user@host[:port], @host, user, or finger://host[:port]/user; none is @localhost

exit codes:
  0 all have answered; 1 one has not, or not to the end; 64 usage; 74 the output cannot be written;
  130 interrupted; 141 nobody reads the output any more

environment:
  PYFINGER_INTERNATIONAL=1 is --international for everybody
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if sys.stderr:  # else argparse would take standard output
            self.print_usage(sys.stderr)
        _complain(message)
        self.exit(os.EX_USAGE)


def _number(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], float]:
    """Reads an option's number; ArgumentTypeError where it is none from ``least`` to ``most``."""

    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:.10g}")
        return number

    return read


def parser() -> argparse.ArgumentParser:
    """The command line as it is documented in pyfinger(1)."""
    result = _Parser(
        prog="pyfinger",
        description="Ask Finger servers who somebody is (RFC 1288). What they answer cannot control the terminal.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("targets", nargs="*", metavar="TARGET", help="whom to ask for whom")
    result.add_argument("-l", "--long", action="store_true", help="ask for the long form, with /W")
    result.add_argument(
        *("-p", "--port"),
        metavar="PORT",
        type=_number(int, 1, 65535),
        default=PORT,
        help="the port where a target names none (default: %(default)s)",
    )
    family = result.add_mutually_exclusive_group()
    family.add_argument("-4", "--ipv4", action="store_true", help="use IPv4 only")
    family.add_argument("-6", "--ipv6", action="store_true", help="use IPv6 only")
    result.add_argument(
        *("-t", "--timeout"),
        metavar="SECONDS",
        type=_number(float, 0.1, 86400),
        default=SECONDS,
        help="for the whole answer of a target (default: %(default)g)",
    )
    result.add_argument(
        "--max-bytes",
        metavar="BYTES",
        type=_number(int, 1, 1 << 30),
        default=MAX_BYTES,
        help="of each answer, then it is cut (default: %(default)s)",
    )
    result.add_argument("-8", "--international", action="store_true", help="show characters above 126, too")
    result.add_argument("-c", "--controls", action="store_true", help="let controls below 32 reach the terminal")
    result.add_argument("--version", action="version", version=f"pyfinger {__version__}")
    return result


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; options may stand among the targets, but not after a ``--``, which argparse alone forgets then."""
    end = words.index("--") if "--" in words else len(words)
    arguments = parser().parse_intermixed_args(words[:end])
    arguments.targets += words[end + 1 :]
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run pyfinger with these arguments (default: the process's own); the exit code."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        os.fstat(STANDARD_OUTPUT)  # were it closed, a socket would get its number
        return _ask_all(arguments, [_read(text) for text in arguments.targets or (f"@{LOCALHOST}",)])
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return OUTPUT_CLOSED
    except OSError as error:
        _complain(f"standard output: {error.strerror}")
        return os.EX_IOERR


def _read(text: str) -> FingerTarget:
    try:
        return read_target(text)
    except TargetError as error:
        parser().error(f"{text}: {error}")


def _ask_all(arguments: argparse.Namespace, targets: Sequence[FingerTarget]) -> int:
    """Ask one after the other; OSError where what they say cannot be written."""
    international = arguments.international or os.environ.get("PYFINGER_INTERNATIONAL", "0") not in ("", "0")
    charset = _charset()
    code = os.EX_OK
    for number, target in enumerate(targets):
        label = mask(target.label, True, False)
        display = TerminalFilter(international, arguments.controls, charset)
        if len(targets) > 1:
            _write((f"\n[{label}]\n" if number else f"[{label}]\n").encode(display.charset, "replace"))
        try:
            _ask(target, arguments, display)
        except NoAnswerError as error:
            _complain(f"{label}: {error}")
            code = NO_ANSWER
    return code


def _ask(target: FingerTarget, arguments: argparse.Namespace, display: TerminalFilter) -> None:
    """Ask one, and write what it says as it comes; NoAnswerError where that is nothing, or not all."""
    query = dataclasses.replace(target.query, verbose=target.query.verbose or arguments.long)
    received = fetch(
        query,
        target.host,
        arguments.port if target.port is None else target.port,
        family=socket.AF_INET if arguments.ipv4 else socket.AF_INET6 if arguments.ipv6 else socket.AF_UNSPEC,
        seconds=arguments.timeout,
        max_bytes=arguments.max_bytes,
    )
    try:
        for part in received:
            _write(display.show(part))
    finally:
        _write(display.show(b"", final=True))


def _write(text: bytes) -> None:
    """Write to standard output, past Python's buffer, in which something would be left where nobody reads it."""
    while text:
        try:
            text = text[os.write(STANDARD_OUTPUT, text) :]
        except BlockingIOError:  # whoever made it may have wanted it so
            select.select([], [STANDARD_OUTPUT], [])


def _complain(message: str) -> None:
    """Write a line to standard error, where there is one: like an answer, nothing in it controls the terminal."""
    if sys.stderr:
        line = f"pyfinger: {escape_controls(message)}"
        sys.stderr.buffer.write(TerminalFilter(True, False, _charset()).show(line.encode(), final=True))
        sys.stderr.flush()


def _charset() -> str:
    """The locale's charset, which Python makes UTF-8 where the locale is "C", or one that is not installed.

    Such a terminal may have any charset, and find C1 controls in UTF-8. Python's UTF-8 mode gives its doing away; its
    child, or who switches that mode off, has but LC_CTYPE to show, and LANG without a charset.
    """
    environment = os.environ
    may_be_coerced = not environment.get("LC_ALL") and environment.get("LC_CTYPE") in COERCED
    if may_be_coerced and (sys.flags.utf8_mode or environment.get("LANG", "") in ("", "C", "POSIX")):
        return "ascii"
    return locale.getencoding()
