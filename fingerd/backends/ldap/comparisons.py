"""What a filter compares with the username, to compare it again exactly: servers ignore case, width and more."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldap3.operation.search import MATCH_APPROX, MATCH_EQUAL, MATCH_EXTENSIBLE, MATCH_SUBSTRING, NOT, parse_filter

from fingerd.backends.ldap.schema import Entry, all_values_of
from fingerd.text import read_text, to_nfc

MAX_VALUE_CHARACTERS = 8192  # of a value that is compared; no name is as long

USER = "{user}"
_MARK = "\ue000"  # stands for {user} while a filter is parsed
_COMPARING = (MATCH_APPROX, MATCH_EQUAL, MATCH_EXTENSIBLE, MATCH_SUBSTRING)  # that a value may pass by being equal


@dataclass(frozen=True)
class Comparison:
    """An attribute that a filter compares with the username, and the text around that, in parts between asterisks."""

    attribute: str
    parts: tuple[str, ...]

    @property
    def is_partial(self) -> bool:
        """Whether the username stands next to an asterisk, so that it is only a part of the value."""
        inner = [part.startswith(_MARK) for part in self.parts[1:]] + [part.endswith(_MARK) for part in self.parts[:-1]]
        return any(inner)

    def is_met(self, entry: Entry, username: str) -> bool:
        """Whether a value of the entry has exactly this name, byte for byte after NFC, in its place."""
        name = to_nfc(username)
        texts = (to_nfc(read_text(value)) for value in all_values_of(entry, self.attribute))
        if self.parts == (_MARK,):  # as in nearly all filters; to compile an expression takes longer than a search
            return name in texts
        first, *others = (self._part(part, name) for part in self.parts)
        # Atomic groups: each part is searched for once, from where the one before it ends.
        inner, last = "".join(f"(?>.*?{part})" for part in others[:-1]), "".join(f".*{part}" for part in others[-1:])
        wanted = re.compile(f"{first}{inner}{last}", re.DOTALL)
        return any(len(text) <= MAX_VALUE_CHARACTERS and wanted.fullmatch(text) for text in texts)

    @staticmethod
    def _part(part: str, username: str) -> str:
        """The regular expression for a part: the text around the username may differ in case."""
        texts = (f"(?i:{re.escape(to_nfc(text))})" for text in part.split(_MARK))
        return re.escape(username).join(texts)


def comparisons(template: str) -> Sequence[Comparison]:
    """What a filter that was checked compares with ``{user}``; not what it excludes, nor greater or less."""
    return tuple(_comparisons(parse(template.replace(USER, _MARK))))


def _comparisons(node: Any) -> Iterator[Comparison]:
    if node.tag == NOT:
        return
    for inner in node.elements:
        yield from _comparisons(inner)
    if node.tag in _COMPARING and node.assertion["attr"]:
        parts = tuple(map(_unescaped, _parts_of(node.assertion)))
        if any(_MARK in part for part in parts):
            yield Comparison(node.assertion["attr"], parts)


def _parts_of(assertion: Mapping[str, Any]) -> Iterable[bytes]:
    """The parts of a value between asterisks; the first and the last one are empty if the value begins or ends so."""
    if "value" in assertion:
        return (assertion["value"],)
    return (assertion.get("initial", b""), *assertion.get("any", ()), assertion.get("final", b""))


def _unescaped(value: bytes) -> str:
    return read_text(re.sub(rb"\\([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), value))


def parse(text: str) -> Any:
    """The root of the tree of a filter; ldap3 raises exceptions of many types."""
    parsed = parse_filter(text, None, True, True, None, False)  # type: ignore[no-untyped-call]
    return parsed.elements[0]
