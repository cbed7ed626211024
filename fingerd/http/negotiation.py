"""Which representation a client wants, by its Accept (RFC 9110 12.5.1)."""

import re
from functools import lru_cache

FORMS = {"text/html": "page", "application/json": "json", "text/plain": "text"}  # the first is the default
_RANGE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)/([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;(.*))?", re.DOTALL)
_QUALITY = re.compile(r"(?:^|;)\s*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)")


@lru_cache(256)
def preferred_form(accept: str) -> str:
    """``page``, ``json`` or ``text``. The page where nothing else is preferred, or nothing that there is."""
    qualities = {media_type: _quality(media_type, accept) for media_type in FORMS}
    best = max(qualities.values())
    return next(form for media_type, form in FORMS.items() if qualities[media_type] == best)


def _quality(media_type: str, accept: str) -> float:
    """How much a client wants a type: by the most specific range that holds it."""
    found = -1, 0.0
    kind = media_type.partition("/")[0]
    for item in accept.split(","):
        if match := _RANGE.fullmatch(item):
            text = f"{match[1]}/{match[2]}".lower()
            rank = {media_type: 2, f"{kind}/*": 1, "*/*": 0}.get(text)
            if rank is not None and rank > found[0]:
                quality = _QUALITY.search(match[3] or "")
                found = rank, float(quality[1]) if quality else 1.0
    return found[1]
