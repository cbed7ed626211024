"""If-Match and If-None-Match (RFC 9110 13.1): changes of a certain version only."""

import re
from dataclasses import dataclass

from fingerd.http.request import malformed
from fingerd.plans.store import Stored

_TAGS = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"(?:[ \t]*,[ \t]*(?:W/)?"[!#-~\x80-\xff]*")*')
_TAG = re.compile(r'(W/)?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Conditions:
    """The two fields of a request, which ``check_condition`` has let pass, or empty where it has none.

    A version's tag is the SHA-256 of the text.
    """

    if_match: str
    if_none_match: str

    def __bool__(self) -> bool:
        return bool(self.if_match or self.if_none_match)

    def hold_for(self, stored: Stored) -> bool:
        """Whether what is stored is what the request expects."""
        if self.if_match and not _names(self.if_match, stored, is_strong=True):
            return False
        return not self.if_none_match or not _names(self.if_none_match, stored, is_strong=False)


def check_condition(name: str, value: str) -> None:
    """HttpError (400) for a field that is there, and is empty or cannot be read: it must not count as none."""
    if value.strip() != "*" and not _TAGS.fullmatch(value.strip()):
        raise malformed(f"{name} must be * or tags in quotes")


def _names(field: str, stored: Stored, *, is_strong: bool) -> bool:
    """Whether the field names the version; weak tags are compared where weak comparison is enough."""
    if field.strip() == "*":
        return stored.data is not None
    return stored.data is not None and any(
        tag == stored.version for weak, tag in _TAG.findall(field) if not (weak and is_strong)
    )
