"""What a judge of a clause has before it, and what it can say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fingerd.conformance.probes import Plan
from fingerd.conformance.texts import Known, shown, without
from fingerd.conformance.wire import Heard

Level = Literal["MUST", "SHOULD", "d"]
Verdict = Literal["ok", "fails", "note", "cannot be told"]
OK: Verdict = "ok"
FAILS: Verdict = "fails"
NOTE: Verdict = "note"
UNKNOWN: Verdict = "cannot be told"

NO_USER = "no user was named, or nothing tells the user from nobody"


class Judged(NamedTuple):
    """What a judge says, and what was seen."""

    verdict: Verdict
    seen: str


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that was heard, and whom it was asked about."""

    plan: Plan
    heard: Mapping[str, Heard]

    def data(self, probe: str) -> bytes:
        """The answer to a probe; empty where it was not put."""
        return self.heard[probe].data if probe in self.heard else b""

    @property
    def is_answered(self) -> bool:
        """Whether anything was ever answered: what a silent client is told is no answer."""
        return any(heard.data for name, heard in self.heard.items() if name != "idle")

    @property
    def known(self) -> Known:
        """By what the user is known."""
        if "user" not in self.heard:
            return Known(frozenset())
        return Known.of(self.data("user"), self.data("again"), self.data("nobody"), self.plan.user)

    def is_about_user(self, probe: str) -> bool | None:
        """Whether the answer to a probe is about the user; None where that cannot be told."""
        return None if self.is_missing(probe) else self.known.is_about_user(self.data(probe))

    def is_missing(self, probe: str) -> bool:
        """Whether nothing came that could be judged, and who knows why: it may still have been about to come."""
        heard = self.heard[probe]
        return not heard.data.strip() and heard.end in ("silent", "unreachable")

    def shown(self, probe: str) -> str:
        """A line of the answer to a probe that tells most of it."""
        others = [self.data(other) for other in ("user", "nobody") if other != probe]
        return shown(self.data(probe), *others)

    def is_as_nobody(self, probe: str, *names: str) -> bool:
        """Whether the answer to a probe is the one for an unknown name."""
        nobody = self.plan.nobody
        return without(self.data(probe), *names, nobody) == without(self.data("nobody"), nobody)


def lost(heard: Heard) -> str:
    """What happened where no answer came, or one of blanks."""
    if heard.data:
        return "nothing but blanks"
    return {
        "silent": f"no answer within {heard.seconds:.0f} s",
        "reset": "reset without a word",
        "unreachable": "no connection could be made",
    }.get(heard.end, "closed without a word")


def taken(case: Case, probe: str) -> Judged:
    """A note unless the probe is answered as the plain query is."""
    heard = case.heard.get(probe)
    if heard is None:
        return Judged(UNKNOWN, NO_USER)
    if heard.end == "unreachable":
        return Judged(UNKNOWN, lost(heard))
    if not heard.data:
        return Judged(NOTE, lost(heard)) if case.data("user" if case.plan.user else "nobody") else Judged(UNKNOWN, "")
    about = case.is_about_user(probe) if case.plan.user else case.is_as_nobody(probe) or None
    if about is None:
        return Judged(UNKNOWN, NO_USER if not case.known.words else case.shown(probe))
    return Judged(OK, "answered as without") if about else Judged(NOTE, case.shown(probe))
