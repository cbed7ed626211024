"""Judge all servers by RFC 1288 and print the page, or write it; exit code 1 where ours fails or is not there."""

import argparse
import datetime
import resource
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.kinds import OURS
from bench.peers import ROOT, NotHereError
from bench.report import BY_HAND
from bench.servers import running
from bench.sites import Site, all_sites
from fingerd.conformance.clauses import Finding, judge
from fingerd.conformance.exchange import Target
from fingerd.conformance.probes import Plan, run
from fingerd.conformance.verdicts import FAILS, NOTE, Case

PAGE = ROOT / "docs" / "conformance.md"
IDLE = 90.0  # seconds; Debian's closes a silent client after 60
TIMEOUT = 5.0
WIDTH = 118  # columns of the page
DESCRIPTORS = 1024  # some servers close all that there may be, one by one

HEAD = """\
# What the servers keep of RFC 1288

{origin}

Each is asked what can be judged from outside, by

    python3 -m fingerd.conformance HOST[:PORT] --user LOGIN --name "FULL NAME"

which tells the same of any finger server, and needs nothing but fingerd's own package. It makes some thirty
connections, one after the other, reads at most 64 KiB on each, waits 5 seconds at most for an answer (`--timeout`),
and in the end holds a silent one for 15 (`--idle`; {idle:.0f} here). `--nobody` names somebody who is not there;
`--json` and `--markdown` are for other programs. Exit code 0: no clause fails; 1: some do; 64: usage; 69: no
connection, or nothing is ever answered. Ask your own servers, or those whose owners agree.

- **ok**: it keeps the clause, as far as can be seen.
- **fails**: it breaks a MUST or a SHOULD. What was seen is below the table.
- note: it does otherwise than a sentence of the RFC that binds nobody, such as "be liberal in what you accept".
- ?: cannot be told, since the answer has several explanations, or the case did not come up.

A query for another host, or for the list, that is answered as if somebody unknown had been asked for is neither
provided nor refused: the RFC wants "a service refusal message" (3.2.1, 3.2.2).

The numbers are those of [rfc1288.md](rfc1288.md), which has all clauses, and a test of ours for each. What depends on
the configuration, as whether {{Q2}} can be turned off or atoms be chosen one by one, cannot be seen from outside. So no
server is compliant for want of a failure here.

Each server has its package's own configuration, and the same person: Zoë Ångström, who has an office and a plan, and
is logged in where a server looks for that. Only the tutorial's server knows no names, but a text for each user.
{missing}"""


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m bench.conformance", description="Judge fingerd and other servers.")
    result.add_argument("--write", action="store_true", help="write docs/conformance.md")
    result.add_argument("--only", metavar="TITLE", help="one server only")
    result.add_argument("--idle", type=float, default=IDLE, metavar="SECONDS", help="to hold a silent connection")
    return result


def main() -> int:
    options = parser().parse_args()
    if options.only and options.write:
        parser().error("one server is not the whole page")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    sites, missing = all_sites()
    chosen = [site for site in sites if options.only in (None, site.title)]
    found: list[tuple[Site, Sequence[Finding]]] = []
    with ThreadPoolExecutor(len(chosen)) as pool:
        for site, result in zip(chosen, pool.map(lambda site: judged(site, options.idle), chosen), strict=True):
            if isinstance(result, str):
                missing.append(f"{site.title} is left out: {result}")
            else:
                found.append((site, result))
    new = document(found, missing, options.idle)
    print(new)
    if options.write:
        _, mark, by_hand = (PAGE.read_text() if PAGE.exists() else "").partition(BY_HAND)
        PAGE.write_text(f"{new}\n{BY_HAND}{by_hand if mark else chr(10)}")
    ours = [result for site, result in found if site.kind.name == OURS]
    return int(not ours or any(finding.verdict == FAILS for finding in ours[0]))


def judged(site: Site, idle: float) -> Sequence[Finding] | str:
    """What was found of a server; why nothing was, where it does not start."""
    try:
        with running(site.kind) as server:
            plan = Plan(site.user, name=site.name, idle=idle)
            return tuple(judge(Case(plan, run(Target("127.0.0.1", server.port, TIMEOUT), plan))))
    except NotHereError as error:
        return str(error)


def document(found: Sequence[tuple[Site, Sequence[Finding]]], missing: Sequence[str], idle: float) -> str:
    """The page, up to the part that is written by hand."""
    today = datetime.datetime.now(datetime.UTC).date()
    versions = ", ".join(site.kind.version for site, _ in found)
    head = HEAD.format(
        origin=textwrap.fill(f"Written by `make conformance`, {today}: {versions}.", WIDTH, break_on_hyphens=False),
        idle=idle,
        missing="".join(f"\n{line}.\n" for line in missing),
    )
    titles = [site.title for site, _ in found]
    lines = [("clause", "§", "level", "what was asked", *titles), ("---",) * (4 + len(titles))]
    for findings in zip(*(result for _, result in found), strict=True):
        clause = findings[0].clause
        lines.append((clause.number, clause.section, clause.level, clause.requirement, *map(_word, findings)))
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    seen = "\n".join(_seen(site, findings) for site, findings in found)
    return f"{head}\n## The verdicts\n\n{table}\n## What was seen\n\n{seen}"


def _word(finding: Finding) -> str:
    return {"fails": "**fails**", "cannot be told": "?"}.get(finding.verdict, finding.verdict)


def _seen(site: Site, findings: Sequence[Finding]) -> str:
    shown = [
        textwrap.fill(
            f"- {each.clause.number} ({each.clause.requirement}) {_word(each)}: {each.evidence}",
            WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for each in findings
        if each.verdict in (FAILS, NOTE)
    ]
    return f"{site.title}:\n\n" + "\n".join(shown or ["- nothing"]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
