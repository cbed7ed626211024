"""The clauses of RFC 1288 that can be tested from outside, in the RFC's order.

A verdict is FAILS if a MUST or a SHOULD is broken, and NOTE if the server differs from what the RFC only describes. It
is INCONCLUSIVE if the answer has several explanations, one of which keeps the clause.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from fingerd.conformance import queries, services
from fingerd.conformance.verdicts import Case, Judgement, Level, Verdict, compare


@dataclass(frozen=True, slots=True)
class Clause:
    """One requirement: its number in docs/rfc1288.md, the RFC's section, its level, and its judge."""

    number: str
    section: str
    level: Level
    requirement: str
    judge: Callable[[Case], Judgement]


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on a clause, and its evidence."""

    clause: Clause
    verdict: Verdict
    evidence: str


def judge(case: Case) -> Iterator[Finding]:
    """A finding for each clause, in the RFC's order."""
    for clause in CLAUSES:
        yield Finding(clause, *clause.judge(case))


CLAUSES = (
    Clause("R2", "2.1", "d", "one line is the query, the rest is ignored", partial(compare, probe="two lines")),
    Clause("R3", "2.1", "d", "the server closes first", queries.close),
    Clause("R3", "2.1", "d", "its close does not lose the answer", queries.unread),
    Clause("R4", "1.4", "d", "a trailing /W (RFC 1196)", partial(compare, probe="user /W")),
    Clause("R5", "2.2", "MUST", "lines end in CR LF", queries.line_ends),
    Clause("R6", "2.2", "d", "the eighth bit is international data, and preserved", queries.eight_bits),
    Clause("R7", "2.3", "MUST", "the entire query specification", queries.specification),
    Clause("R8", "2.3", "d", "twenty @hosts", services.many_hosts),
    Clause("R9", "2.3", "d", "several spaces after /W", partial(compare, probe="/W   user")),
    Clause("R11", "2.3", "d", "LF alone", partial(compare, probe="LF")),
    Clause("R11", "2.3", "d", "end of input instead of a line end", partial(compare, probe="no line end")),
    Clause("R11", "2.3", "d", "a space before the name", partial(compare, probe="space before")),
    Clause("R11", "2.3", "d", "a space after the name", partial(compare, probe="space after")),
    Clause("R11", "2.3", "d", "/w", partial(compare, probe="/w user")),
    Clause("R11", "2.3", "d", "telnet negotiation bytes", partial(compare, probe="telnet")),
    Clause("R13", "2.4", "MUST", "{Q2} is provided or refused", services.forwarding),
    Clause("R19", "3.2.1", "MUST", "a refused {Q2} has a message", services.forwarding_words),
    Clause("R24", "2.5.1", "MUST", "{C} is answered or refused", services.user_list),
    Clause("R25", "2.5.1", "MUST", "{C} shows full names", services.list_names),
    Clause("R28", "3.2.2", "MUST", "a refused {C} has a message", services.list_words),
    Clause("R30", "2.5.2", "MUST", "{U} shows the full name", services.full_name),
    Clause("R36", "2.5.3", "MUST", "a login is accepted as a name", services.logins),
    Clause("R38", "2.5.4", "SHOULD", "/W is followed or ignored", queries.verbosity),
    Clause("R43", "3.1", "SHOULD", "malformed and over-long queries do no harm", queries.survives),
    Clause("R43", "3.1", "d", "a line of 8 KB is answered or closed", queries.too_long),
    Clause("R43", "3.1", "d", "no control character is echoed", queries.echo),
    Clause("R43", "3.1", "d", "silent clients are closed", queries.idle),
)
