"""Access rules: the first rule that matches a client's address decides what the client may query and see."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

from fingerd.config.values import Integer, Scalar, to_text
from fingerd.errors import OptionError
from fingerd.net.sources import Source, SourceTable, parse_source
from fingerd.ruip.presets import expand, read_show
from fingerd.ruip.targets import HostPattern, is_unbounded, parse_host_pattern


def read_source(scalar: Scalar) -> Source:
    """One entry of ``from``; ValueError if it is not an address, a network, ``any`` or ``local``."""
    return parse_source(to_text(scalar))


def read_target(scalar: Scalar) -> HostPattern:
    """One entry of ``forward``; ValueError if it is not a host name, ``*.name``, an address or a network."""
    if scalar.kind == "true or false" and not scalar.quoted:
        raise ValueError("must be false, or the hosts to which queries may be forwarded")
    return parse_host_pattern(to_text(scalar))


@dataclass(frozen=True)
class Rule:
    """What clients from some addresses may query and see.

    ``deny`` refuses every query, with a message or ``silently``. ``list``
    allows {C} (RFC 1288 3.2.2). ``forward`` allows {Q2} (3.2.1) to the hosts
    that it names, of queries with at most ``forward_hosts`` hosts. ``show``
    names the atoms of a person that are shown (3.2.3). ``match`` says what a
    name in a query is compared with (2.5.3, 3.2.6): the exact login, or also
    parts of full names, of several people or of one. ``http`` says whether
    they are answered by HTTP, too.
    """

    from_: tuple[Annotated[Source, read_source], ...]
    deny: Literal[False, True, "silently"] = False
    show: tuple[Annotated[str, read_show], ...] = ("standard",)
    list: bool = False
    forward: Literal[False] | tuple[Annotated[HostPattern, read_target], ...] = False
    match: Literal["login", "name", "unique"] = "login"
    forward_hosts: Annotated[int, Integer(1, 16)] = 3  # each has a thread wait until the answer is there
    users_per_query: Annotated[int, Integer(1, 100)] = 1
    http: bool = True

    def __post_init__(self) -> None:
        if not self.show:
            raise OptionError("is empty: give at least the name", "show")
        if self.forward == ():
            raise OptionError("is empty: name a host, or say false", "forward")

    @cached_property
    def atoms(self) -> frozenset[str]:
        """The atoms that ``show`` names, with its presets expanded."""
        return expand(self.show)


DEFAULT_RULE = Rule(from_=("any",))
DENY_ALL = Rule(from_=(), deny=True)


NOT_LOCAL = "not local: "  # before the address of a client whom no rule takes for ``local``
NO_NUMBER = -1  # of the rule for clients that no rule of the policy matches


class NumberedRule(NamedTuple):
    """A rule, and its number in the policy."""

    number: int
    rule: Rule


class Policy:
    """The rules in their order. All threads share one."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._sources = _table_of(self.rules)
        has_local = any("local" in rule.from_ for rule in self.rules)
        self._sources_without_local = _table_of(self.rules, ("local",)) if has_local else self._sources

    def find(self, client: str) -> NumberedRule:
        """The first rule that matches ``client``, an address or ``unix``; DENY_ALL if no rule does.

        With NOT_LOCAL before it, it does not match ``local``.
        """
        is_local = not client.startswith(NOT_LOCAL)
        number = (self._sources if is_local else self._sources_without_local).lowest(client.removeprefix(NOT_LOCAL))
        return NumberedRule(NO_NUMBER, DENY_ALL) if number is None else NumberedRule(number, self.rules[number])

    def rule_for(self, client: str) -> Rule:
        """As ``find``, without the number."""
        return self.find(client).rule


def _table_of(rules: Sequence[Rule], without: Container[Source] = ()) -> SourceTable:
    sources = ((number, source) for number, rule in enumerate(rules) for source in rule.from_)
    return SourceTable((number, source) for number, source in sources if source not in without)


def rule_warnings(rules: Sequence[Rule]) -> Iterator[tuple[int, str, str]]:
    """Warnings about valid rules: the index of the rule, the option, and the message."""
    sources = _table_of(rules)
    for number, rule in enumerate(rules):
        if all(sources.covers(source, number) for source in rule.from_):
            yield number, "from", "unreachable: earlier rules match all of these clients"
        for option, message in _ineffective_options(rule) if rule.deny else _privacy_warnings(rule):
            yield number, option, message


def _ineffective_options(rule: Rule) -> Iterator[tuple[str, str]]:
    for option in ("show", "list", "forward", "match", "forward_hosts", "users_per_query", "http"):
        if getattr(rule, option) != getattr(DEFAULT_RULE, option):
            yield option, "has no effect: the rule denies everything"


def _privacy_warnings(rule: Rule) -> Iterator[tuple[str, str]]:
    from_any = any(source == "any" or is_unbounded(source) for source in rule.from_)
    if from_any and any(map(is_unbounded, rule.forward or ())):
        yield "forward", "open relay: any client can hide behind this host and query any other (RFC 1288 3.2.1)"
    if "name" not in rule.atoms:
        yield "show", "hides the full name, which RFC 1288 requires in every answer (2.5.2)"
    if rule.match != "login" and not rule.list:
        yield "match", f"list is refused, but match: {rule.match} lets clients find people by guessing (RFC 1288 3.2.6)"
