"""``python -m fingerd.conformance HOST[:PORT]``: what a finger server keeps of RFC 1288, as seen from outside."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from fingerd.conformance.clauses import judge
from fingerd.conformance.probes import NOBODY, Plan, run
from fingerd.conformance.table import as_json, as_markdown, as_text
from fingerd.conformance.texts import plain
from fingerd.conformance.verdicts import FAILS, Case
from fingerd.conformance.wire import read_target

EPILOG = """\
exit codes:
  0 no clause fails; 1 some do; 64 usage; 69 no connection can be made, or nothing is ever answered

A clause fails where a MUST or a SHOULD is broken. At level d the RFC describes and binds nobody, so doing otherwise is
a note. What has several explanations cannot be told.

It makes some thirty connections, one after the other, the silent one last, reads at most 64 KiB on each, and sends
nothing that is over 8 KiB. Ask your own servers, or those whose owners agree.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if sys.stderr:  # else argparse would take standard output
            self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {plain(message)}\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = _Parser(
        prog="python -m fingerd.conformance",
        description="Judge a finger server by the clauses of RFC 1288 that can be judged from outside.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("server", metavar="HOST[:PORT]", help="the server, on port 79 if none is given")
    result.add_argument("--user", type=_word, metavar="LOGIN", help="somebody who is there; without, less can be told")
    result.add_argument("--name", default="", help="the full name of that user, best with a letter beyond ASCII")
    result.add_argument(
        "--nobody", type=_word, default=NOBODY, metavar="LOGIN", help="somebody who is not there (default: %(default)s)"
    )
    result.add_argument("--timeout", type=_seconds, default=5.0, metavar="SECONDS", help="for each answer (default: 5)")
    result.add_argument(
        "--idle",
        type=_seconds,
        default=15.0,
        metavar="SECONDS",
        help="to hold a silent connection; 0 for none (default: 15)",
    )
    result.add_argument(
        "--pause",
        type=_seconds,
        default=0.1,
        metavar="SECONDS",
        help="between two connections; more for a server that limits its clients (default: 0.1)",
    )
    form = result.add_mutually_exclusive_group()
    form.add_argument("--json", dest="show", action="store_const", const=as_json, help="print a JSON array")
    form.add_argument("--markdown", dest="show", action="store_const", const=as_markdown, help="print a Markdown table")
    result.set_defaults(show=as_text)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, judge, print; the exit code."""
    arguments = parser().parse_args(argv)
    try:
        target = read_target(arguments.server, arguments.timeout)
    except ValueError as error:
        parser().error(str(error))
    if not arguments.timeout:
        parser().error("--timeout: an answer needs some time")
    plan = Plan(arguments.user or "", arguments.nobody, arguments.name, arguments.idle, arguments.pause)
    try:
        case = Case(plan, run(target, plan))
    except (OSError, UnicodeError) as error:  # the latter for what no host name may be
        if sys.stderr:
            print(plain(f"{target}: {getattr(error, 'strerror', None) or error}"), file=sys.stderr)
        return os.EX_UNAVAILABLE
    findings = tuple(judge(case))
    sys.stdout.write(arguments.show(findings))
    if any(finding.verdict == FAILS for finding in findings):
        return 1
    return os.EX_OK if case.is_answered else os.EX_UNAVAILABLE


def _word(text: str) -> str:
    if not text.isprintable() or not text or set(text) & set(" @/"):
        raise argparse.ArgumentTypeError(f"{text!r} is no login")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 600 or math.isnan(seconds):
        raise argparse.ArgumentTypeError("between 0 and 600 seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
