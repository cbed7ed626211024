"""Who may learn what: the first rule that holds the client's address decides."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Annotated, Literal

from fingerd.config.values import Integer, Scalar, did_you_mean, to_text
from fingerd.errors import OptionError
from fingerd.net.addresses import Source, covers, matches, parse_source
from fingerd.people import ATOMS
from fingerd.ruip.targets import HostPattern, is_unbounded, parse_host_pattern

REMEMBERED_CLIENTS = 4096  # clients whose rule is kept at hand; about 100 bytes each

# What a word of ``show`` tells: RFC 1288 3.2.3 gives the first three as its examples C, B and A, more or less.
_OFFICE = ("name", "login", "office", "office_phone")
PRESETS = {
    "minimal": ("name",),
    "office": _OFFICE,
    "standard": (*_OFFICE, "project", "plan", "pronouns", "pgpkey", "sessions", "last_login"),
    "everything": ATOMS,
}


def read_source(scalar: Scalar) -> Source:
    """One ``from`` of a rule; ValueError where it is no address, network or word."""
    return parse_source(to_text(scalar))


def read_target(scalar: Scalar) -> HostPattern:
    """One host of ``forward``; ValueError where it is no name, no ``*.name``, no address and no network."""
    if scalar.kind == "true or false" and not scalar.quoted:
        raise ValueError("must be false, or the hosts to which queries may be forwarded")
    return parse_host_pattern(to_text(scalar))


def read_shown(scalar: Scalar) -> str:
    """One word of ``show``, a preset or an atom; ValueError for any other."""
    word = to_text(scalar)
    if word not in PRESETS and word not in ATOMS:
        words = tuple(dict.fromkeys((*PRESETS, *ATOMS)))
        raise ValueError(f"there is no atom {word}" + (did_you_mean(word, words) or f" (there are {', '.join(words)})"))
    return word


@dataclass(frozen=True, slots=True)
class Rule:
    """What clients from some addresses are told.

    ``deny`` refuses them everything, in words or ``silently``; ``list``
    answers {C} (RFC 1288 3.2.2), ``forward`` {Q2} (3.2.1) for the hosts that
    it names; nothing else of the rule is about these. ``show`` are the
    atoms of a person that are told (3.2.3). ``match`` says what a name may
    mean (2.5.3, 3.2.6): an exact login, or parts of full names too, of several
    people or of one.
    """

    from_: tuple[Annotated[Source, read_source], ...]
    deny: Literal[False, True, "silently"] = False
    show: tuple[Annotated[str, read_shown], ...] = ("standard",)
    list: bool = False
    forward: Literal[False] | tuple[Annotated[HostPattern, read_target], ...] = False
    match: Literal["login", "name", "unique"] = "login"
    users_per_query: Annotated[int, Integer(1, 100)] = 1
    atoms: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.show:
            raise OptionError("is empty: give at least the name", "show")
        if self.forward == ():
            raise OptionError("is empty: name a host, or say false", "forward")
        alone = len(self.show) == 1  # ``office`` is a preset then, and the atom of that name among others
        told = ((word,) if word in ATOMS and not (alone and word in PRESETS) else PRESETS[word] for word in self.show)
        object.__setattr__(self, "atoms", frozenset(atom for atoms in told for atom in atoms))


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
    return next((rule for rule in rules if any(matches(client, source) for source in rule.from_)), NO_RULE)


def rule_warnings(rules: Sequence[Rule]) -> Iterator[tuple[int, str, str]]:
    """Rules that may not do what is wanted: the number of each, its option, and what is strange about it."""
    for number, rule in enumerate(rules):
        earlier = [source for other in rules[:number] for source in other.from_]
        if all(any(covers(source, other) for other in earlier) for source in rule.from_):
            yield number, "from", "never comes into play: the rules before it hold all of these clients"
        if rule.deny:
            for option in ("show", "list", "forward", "match", "users_per_query"):
                if getattr(rule, option) != getattr(ANYONE, option):
                    yield number, option, "says nothing: the rule denies everything"
            continue
        if any(map(is_unbounded, rule.forward or ())) and any(
            source == "any" or is_unbounded(source) for source in rule.from_
        ):
            yield number, "forward", "lets anyone have this host ask any other, and so hide who asks (RFC 1288 3.2.1)"
        if "name" not in rule.atoms:
            yield number, "show", "hides the full name, which RFC 1288 wants in every answer (2.5.2)"
        if rule.match != "login" and not rule.list:
            what = f"list is refused, but match: {rule.match} lets anyone guess who is there (RFC 1288 3.2.6)"
            yield number, "match", what
