"""The command line: ``python -m fingerd.conformance HOST[:PORT]``."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from fingerd.conformance.clauses import judge
from fingerd.conformance.exchange import read_target
from fingerd.conformance.output import check_output, write_error, write_output
from fingerd.conformance.probes import NOBODY, Plan, run
from fingerd.conformance.table import as_json, as_markdown, as_text
from fingerd.conformance.texts import escaped
from fingerd.conformance.verdicts import FAILS, Case

INTERRUPTED = 130  # as a shell reports SIGINT
OUTPUT_CLOSED = 141  # and SIGPIPE

EPILOG = """\
exit codes:
  0 no clause fails; 1 a clause fails; 64 usage; 69 the connection fails, or there is no answer at all;
  74 the output cannot be written; 130 interrupted; 141 the output pipe was closed

A clause fails if a MUST or a SHOULD is broken. Level d is what the RFC only describes: a server that differs gets a
note. "cannot be told": the answer neither proves nor disproves that the server keeps the clause.

It opens about thirty connections, one after another, the silent one last, reads at most 64 KiB on each, and sends at
most about 8 KiB. Test only your own servers, or with their owners' consent.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        write_error(self.format_usage().encode())
        _print_error(f"{self.prog}: {message}")
        self.exit(os.EX_USAGE)

    def _print_message(self, message: str, file: object = None) -> None:
        """Called for the help. Raises OSError, which argparse ignores."""
        write_output(message.encode())


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = _Parser(
        prog="python -m fingerd.conformance",
        description="Test a Finger server for conformance to RFC 1288, as far as it can be seen from outside.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("server", metavar="HOST[:PORT]", help="the server (default port: 79)")
    result.add_argument("--user", type=_login, metavar="LOGIN", help="an existing user; without one, less is tested")
    result.add_argument("--name", default="", help="the full name of that user, if possible with a letter beyond ASCII")
    result.add_argument(
        "--nobody", type=_login, default=NOBODY, metavar="LOGIN", help="an unknown user (default: %(default)s)"
    )
    for option, default, summary in (
        ("--timeout", 5.0, "time for each answer"),
        ("--idle", 15.0, "time to hold a silent connection; 0: none"),
        ("--pause", 0.1, "time between two connections; longer for a server with a rate limit"),
    ):
        text = f"{summary} (default: %(default)g)"
        result.add_argument(option, type=_seconds, default=default, metavar="SECONDS", help=text)
    form = result.add_mutually_exclusive_group()
    form.add_argument("--json", dest="show", action="store_const", const=as_json, help="print a JSON array")
    form.add_argument("--markdown", dest="show", action="store_const", const=as_markdown, help="print a Markdown table")
    result.set_defaults(show=as_text)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the test and print the findings. Returns the exit code."""
    try:
        return _test(parser().parse_args(argv))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return OUTPUT_CLOSED
    except OSError as error:
        _print_error(f"standard output: {error.strerror}")
        return os.EX_IOERR


def _test(arguments: argparse.Namespace) -> int:
    """Test the server, and print the findings. Returns the exit code; raises OSError if they cannot be written."""
    try:
        target = read_target(arguments.server, arguments.timeout)
    except ValueError as error:
        parser().error(str(error))
    if not arguments.timeout:
        parser().error("--timeout must be more than 0")
    check_output()
    plan = Plan(arguments.user or "", arguments.nobody, arguments.name, arguments.idle, arguments.pause)
    try:
        case = Case(plan, run(target, plan))
    except (OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
        _print_error(f"{target}: {getattr(error, 'strerror', None) or error}")
        return os.EX_UNAVAILABLE
    findings = tuple(judge(case))
    write_output(arguments.show(findings).encode())
    if any(finding.verdict == FAILS for finding in findings):
        return 1
    return os.EX_OK if case.has_answers else os.EX_UNAVAILABLE


def _print_error(message: str) -> None:
    write_error(f"{escaped(message)}\n".encode())


def _login(text: str) -> str:
    if not text.isprintable() or not text or set(text) & set(" @/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a login")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 600 or math.isnan(seconds):
        raise argparse.ArgumentTypeError("must be from 0 to 600 seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
