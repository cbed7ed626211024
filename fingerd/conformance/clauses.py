"""The clauses of RFC 1288 that can be judged from outside, in the RFC's order.

A verdict fails where a MUST or a SHOULD is broken, and is a note where the RFC only describes. Where an answer has
several explanations, and one of them keeps the clause, nothing can be told.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fingerd.conformance import queries, services
from fingerd.conformance.verdicts import Case, Judged, Level, Verdict

Judge = Callable[[Case], Judged]


@dataclass(frozen=True, slots=True)
class Clause:
    """One question: its number in docs/rfc1288.md, the RFC's section, how much it binds, and who judges it."""

    number: str
    section: str
    level: Level
    question: str
    judge: Judge


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a clause."""

    clause: Clause
    verdict: Verdict
    seen: str


def judge(case: Case) -> Iterator[Finding]:
    """A finding for every clause, in the RFC's order."""
    for clause in CLAUSES:
        yield Finding(clause, *clause.judge(case))


CLAUSES = (
    Clause("R2", "2.1", "d", "one line is the query, what follows is ignored", queries.first_line),
    Clause("R3", "2.1", "d", "the server closes first", queries.close),
    Clause("R3", "2.1", "d", "its close does not cost the answer", queries.unread),
    Clause("R4", "1.4", "d", "a trailing /W (RFC 1196)", queries.taker("user /W")),
    Clause("R5", "2.2", "MUST", "lines end in CR LF", queries.line_ends),
    Clause("R6", "2.2", "d", "the eighth bit is international data, and kept", queries.eight_bits),
    Clause("R7", "2.3", "MUST", "the whole query specification", queries.specification),
    Clause("R8", "2.3", "d", "twenty @hosts", services.many_hosts),
    Clause("R9", "2.3", "d", "several blanks after /W", queries.taker("/W   user")),
    Clause("R11", "2.3", "d", "LF alone", queries.taker("LF")),
    Clause("R11", "2.3", "d", "no line end, but the end of input", queries.taker("no line end")),
    Clause("R11", "2.3", "d", "a blank before the name", queries.taker("blank before")),
    Clause("R11", "2.3", "d", "a blank after the name", queries.taker("blank after")),
    Clause("R11", "2.3", "d", "/w", queries.taker("/w user")),
    Clause("R11", "2.3", "d", "a telnet client's own bytes", queries.taker("telnet")),
    Clause("R13", "2.4", "MUST", "{Q2} is provided or refused", services.forwarding),
    Clause("R19", "3.2.1", "MUST", "{Q2} is refused in words", services.forwarding_words),
    Clause("R24", "2.5.1", "MUST", "{C} is answered or refused", services.user_list),
    Clause("R25", "2.5.1", "MUST", "{C} tells full names", services.list_names),
    Clause("R28", "3.2.2", "MUST", "{C} is refused in words", services.list_words),
    Clause("R30", "2.5.2", "MUST", "{U} tells the full name", services.full_name),
    Clause("R36", "2.5.3", "MUST", "a login is a name", services.logins),
    Clause("R38", "2.5.4", "SHOULD", "/W is followed or ignored", queries.verbosity),
    Clause("R43", "3.1", "SHOULD", "malformed and over-long queries do no harm", queries.survives),
    Clause("R43", "3.1", "d", "a line of 8 KB comes to an end", queries.too_long),
    Clause("R43", "3.1", "d", "no control character is echoed", queries.echo),
    Clause("R43", "3.1", "d", "silent clients are closed", queries.idle),
)
