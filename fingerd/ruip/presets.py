"""The words of ``show``: presets, and the atoms that they stand for (RFC 1288 3.2.3)."""

from collections.abc import Sequence

from fingerd.config.values import Scalar, did_you_mean, to_text
from fingerd.people import ATOMS

# The first three are roughly the examples C, B and A of RFC 1288 3.2.3.
_OFFICE = ("name", "login", "office", "office_phone")
PRESETS = {
    "minimal": ("name",),
    "office": _OFFICE,
    "standard": (*_OFFICE, "project", "plan", "pronouns", "pgpkey", "links", "sessions", "last_login"),
    "everything": ATOMS,
}


def read_show(scalar: Scalar) -> str:
    """One entry of ``show``; ValueError if it is not a preset or an atom."""
    word = to_text(scalar)
    if word not in PRESETS and word not in ATOMS:
        words = tuple(dict.fromkeys((*PRESETS, *ATOMS)))
        raise ValueError(f"there is no atom {word}" + (did_you_mean(word, words) or f" (there are {', '.join(words)})"))
    return word


def expand(show: Sequence[str]) -> frozenset[str]:
    """The atoms that these words show. ``office`` alone is the preset, beside other words it is the atom."""
    if len(show) == 1 and show[0] in PRESETS:
        return frozenset(PRESETS[show[0]])
    return frozenset(atom for word in show for atom in ((word,) if word in ATOMS else PRESETS[word]))
