"""What the judges of clauses share: the verdicts, the recorded exchanges, and comparisons of answers."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fingerd.conformance.exchange import Exchange
from fingerd.conformance.probes import Plan
from fingerd.conformance.texts import excerpt, fingerprint_of, has_fingerprint, normalized

Level = Literal["MUST", "SHOULD", "d"]  # d: the RFC only describes it
Verdict = Literal["ok", "fails", "note", "cannot be told"]
OK: Verdict = "ok"
FAILS: Verdict = "fails"
NOTE: Verdict = "note"
INCONCLUSIVE: Verdict = "cannot be told"

NO_USER = "no --user was given, or the user's answer is like the one for nobody"


class Judgement(NamedTuple):
    """A verdict and its evidence."""

    verdict: Verdict
    evidence: str


@dataclass(frozen=True, slots=True)
class Case:
    """All exchanges with a server by the names of their probes, and the users that were queried."""

    plan: Plan
    exchanges: Mapping[str, Exchange]

    def data(self, probe: str) -> bytes:
        """The answer to a probe; empty if the probe was not sent."""
        return self.exchanges[probe].data if probe in self.exchanges else b""

    @property
    def has_answers(self) -> bool:
        """Whether there was any answer; what a silent client receives is not one."""
        return any(exchange.data for name, exchange in self.exchanges.items() if name != "idle")

    @property
    def fingerprint(self) -> Set[str]:
        """The words that identify answers about the user."""
        return fingerprint_of(self.data("user"), self.data("again"), self.data("nobody"), self.plan.user)

    def is_about_user(self, probe: str) -> bool | None:
        """Whether the answer to a probe is about the user; None if that cannot be decided."""
        return None if self.is_missing(probe) else has_fingerprint(self.fingerprint, self.data(probe))

    def is_missing(self, probe: str) -> bool:
        """Whether nothing was received for an unknown reason: the answer may only have been late."""
        exchange = self.exchanges[probe]
        return not exchange.data.strip() and exchange.end in ("timeout", "unreachable")

    def excerpt(self, probe: str) -> str:
        """A characteristic line of the answer to a probe."""
        others = [self.data(other) for other in ("user", "nobody") if other != probe]
        return excerpt(self.data(probe), *others)

    def is_like_nobody(self, probe: str, *names: str) -> bool:
        """Whether the answer to a probe is the one for an unknown user."""
        nobody = self.plan.nobody
        return normalized(self.data(probe), *names, nobody) == normalized(self.data("nobody"), nobody)


def why_empty(exchange: Exchange) -> str:
    """Why an exchange has no answer, or only white space."""
    if exchange.data:
        return "only white space"
    return {
        "timeout": f"no answer within {exchange.seconds:.0f} s",
        "reset": "reset without an answer",
        "unreachable": "the connection failed",
    }.get(exchange.end, "closed without an answer")


def compare(case: Case, probe: str) -> Judgement:
    """OK if the probe is answered as the plain query is, else a note."""
    exchange = case.exchanges.get(probe)
    if exchange is None:
        return Judgement(INCONCLUSIVE, NO_USER)
    if exchange.end == "unreachable":
        return Judgement(INCONCLUSIVE, why_empty(exchange))
    if not exchange.data:
        answered = case.data("user" if case.plan.user else "nobody")
        return Judgement(NOTE, why_empty(exchange)) if answered else Judgement(INCONCLUSIVE, "")
    same = case.is_about_user(probe) if case.plan.user else case.is_like_nobody(probe) or None
    if same is None:
        return Judgement(INCONCLUSIVE, case.excerpt(probe) if case.fingerprint else NO_USER)
    return Judgement(OK, "answered as the plain query") if same else Judgement(NOTE, case.excerpt(probe))
