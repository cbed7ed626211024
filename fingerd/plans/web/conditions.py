"""If-Match and If-None-Match (RFC 9110 13.1): changes of a certain version only."""

import re
from dataclasses import dataclass
from http import HTTPStatus

from fingerd.http.request import HttpError
from fingerd.plans.store import Stored

_TAGS = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"(?:[ \t]*,[ \t]*(?:W/)?"[!#-~\x80-\xff]*")*')
_TAG = re.compile(r'(W/)?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Conditions:
    """The two fields of a request, empty where it has none. A version's tag is the SHA-256 of the text."""

    if_match: str
    if_none_match: str

    def __bool__(self) -> bool:
        return bool(self.if_match or self.if_none_match)

    def hold_for(self, stored: Stored) -> bool:
        """Whether what is stored is what the request expects. HttpError (400) for a field that cannot be read."""
        if self.if_match and not _names(self.if_match, stored, is_strong=True):
            return False
        return not self.if_none_match or not _names(self.if_none_match, stored, is_strong=False)


def _names(field: str, stored: Stored, *, is_strong: bool) -> bool:
    """Whether the field names the version; weak tags are compared where weak comparison is enough."""
    if field.strip() == "*":
        return stored.data is not None
    if not _TAGS.fullmatch(field.strip()):
        raise HttpError(HTTPStatus.BAD_REQUEST, "If-Match must be * or tags in quotes", "malformed")
    return stored.data is not None and any(
        tag == stored.version for weak, tag in _TAG.findall(field) if not (weak and is_strong)
    )
