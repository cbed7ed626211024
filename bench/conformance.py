"""Judge all servers by RFC 1288, and print or write the page; exit code 1 if ours fails or is not available."""

import argparse
import datetime
import resource
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.contenders import OURS
from bench.deployments import Deployment, all_deployments
from bench.peers import ROOT, UnavailableError
from bench.report import write_above_hand_part
from bench.servers import running
from fingerd.conformance.clauses import Finding, judge
from fingerd.conformance.exchange import Target
from fingerd.conformance.probes import Plan, run
from fingerd.conformance.verdicts import FAILS, NOTE, Case

PAGE = ROOT / "docs" / "conformance.md"
IDLE = 90.0  # seconds; Debian's closes a silent client after 60
TIMEOUT = 5.0
WIDTH = 118  # columns of the page
DESCRIPTORS = 1024  # some servers close all possible descriptors one by one

HEAD = """\
# How finger servers conform to RFC 1288

{origin}

Each server was tested from outside, with

<!-- not run: HOST stands for a server -->
```sh
python3 -m fingerd.conformance HOST[:PORT] --user LOGIN --name "FULL NAME"
```

This command tests any finger server, and needs only fingerd's package. It makes about thirty connections, one after the
other, reads at most 64 KiB on each, waits at most 5 seconds for an answer (`--timeout`), and at last holds a silent
connection for 15 seconds (`--idle`; {idle:.0f} here). `--nobody` is the name of an unknown user; `--json` and
`--markdown` write other formats. Exit code 0: no clause fails; 1: some fail; 64: usage; 69: no connection, or no answer
at all; 74: the output cannot be written. Test your own servers only, or ask their owners first.

- **ok**: the server conforms to the clause, as far as can be seen from outside.
- **fails**: it violates a MUST or a SHOULD. The details are below the table.
- note: it differs from a sentence of the RFC that is not binding, such as "be liberal in what you accept".
- ?: unknown, because the answer has several explanations, or the case did not occur.

A query for another host, or for the list, that is answered as one for an unknown user is neither provided nor refused:
the RFC requires "a service refusal message" (3.2.1, 3.2.2).

The numbers are those of [rfc1288.md](rfc1288.md), which has all clauses, and a test of fingerd for each. What depends
on the configuration, such as whether {{Q2}} can be turned off or atoms can be chosen one by one, cannot be seen from
outside. So a server without failures here does not necessarily comply.

Each server has the configuration of its package, and the same person: Zoë Ångström, who has an office and a plan, and
is logged in where a server has sessions. The tutorial's server has no full names, only a text for each user.
{missing}"""


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m bench.conformance", description="Judge fingerd and other servers.")
    result.add_argument("--write", action="store_true", help="write docs/conformance.md")
    result.add_argument("--only", metavar="TITLE", help="judge one server only")
    result.add_argument(
        "--idle", type=float, default=IDLE, metavar="SECONDS", help="how long to hold a silent connection"
    )
    return result


def main() -> int:
    options = parser().parse_args()
    if options.only and options.write:
        parser().error("--write needs all servers")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    deployments, missing = all_deployments()
    chosen = [deployment for deployment in deployments if options.only in (None, deployment.title)]
    judged: list[tuple[Deployment, Sequence[Finding]]] = []
    with ThreadPoolExecutor(len(chosen)) as pool:
        results = pool.map(lambda deployment: judge_deployment(deployment, options.idle), chosen)
        for deployment, result in zip(chosen, results, strict=True):
            if isinstance(result, str):
                missing.append(f"{deployment.title} is left out: {result}")
            else:
                judged.append((deployment, result))
    page = document(judged, missing, options.idle)
    print(page)
    if options.write:
        write_above_hand_part(PAGE, page)
    ours = [result for deployment, result in judged if deployment.contender.name == OURS]
    return int(not ours or any(finding.verdict == FAILS for finding in ours[0]))


def judge_deployment(deployment: Deployment, idle: float) -> Sequence[Finding] | str:
    """The findings about a server, or the reason why it does not start."""
    try:
        with running(deployment.contender) as server:
            plan = Plan(deployment.user, name=deployment.name, idle=idle)
            return tuple(judge(Case(plan, run(Target("127.0.0.1", server.port, TIMEOUT), plan))))
    except UnavailableError as error:
        return str(error)


def document(judged: Sequence[tuple[Deployment, Sequence[Finding]]], missing: Sequence[str], idle: float) -> str:
    """The page, without the part that is written by hand."""
    today = datetime.datetime.now(datetime.UTC).date()
    versions = ", ".join(deployment.contender.version for deployment, _ in judged)
    head = HEAD.format(
        origin=textwrap.fill(f"Written by `make conformance`, {today}: {versions}.", WIDTH, break_on_hyphens=False),
        idle=idle,
        missing="".join(f"\n{line}.\n" for line in missing),
    )
    titles = [deployment.title for deployment, _ in judged]
    lines = [("clause", "§", "level", "requirement", *titles), ("---",) * (4 + len(titles))]
    for findings in zip(*(result for _, result in judged), strict=True):
        clause = findings[0].clause
        lines.append((clause.number, clause.section, clause.level, clause.requirement, *map(_verdict, findings)))
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    details = "\n".join(_details(deployment, findings) for deployment, findings in judged)
    return f"{head}\n## The verdicts\n\n{table}\n## The details\n\n{details}"


def _verdict(finding: Finding) -> str:
    return {"fails": "**fails**", "cannot be told": "?"}.get(finding.verdict, finding.verdict)


def _details(deployment: Deployment, findings: Sequence[Finding]) -> str:
    shown = [
        textwrap.fill(
            f"- {each.clause.number} ({each.clause.requirement}) {_verdict(each)}: {each.evidence}",
            WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for each in findings
        if each.verdict in (FAILS, NOTE)
    ]
    return f"{deployment.title}:\n\n" + "\n".join(shown or ["- nothing"]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
