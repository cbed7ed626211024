"""Who may learn what: the first rule that holds the client's address decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated, Literal

from fingerd.addresses import Source, is_from, parse_source
from fingerd.scalars import Scalar, to_text

REMEMBERED_CLIENTS = 4096  # clients whose rule is kept at hand; about 100 bytes each


def read_source(scalar: Scalar) -> Source:
    """One ``from`` of a rule; ValueError where it is no address, network or word."""
    return parse_source(to_text(scalar))


@dataclass(frozen=True, slots=True)
class Rule:
    """What clients from some addresses are told.

    ``deny`` refuses them everything, in words or ``silently``; ``list``
    answers {C} (RFC 1288 3.2.2), ``forward`` {Q2} (3.2.1).
    """

    from_: tuple[Annotated[Source, read_source], ...]
    deny: Literal[False, True, "silently"] = False
    list: bool = False
    forward: Literal[False] = False


ANYONE = Rule(from_=("any",))
NO_RULE = Rule(from_=(), deny=True)


class Policy:
    """The rules, in their order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        # Not a method of its own: a cache of that would keep the policy until the garbage collector comes.
        self.rule_for = lru_cache(REMEMBERED_CLIENTS)(partial(_rule_for, self.rules))


def _rule_for(rules: Sequence[Rule], client: str) -> Rule:
    """The first rule that holds ``client``, an address or ``unix``; one that denies everything where none does."""
    return next((rule for rule in rules if any(is_from(client, source) for source in rule.from_)), NO_RULE)
