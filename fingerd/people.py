"""The people whom queries are about."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom a backend knows: the login, and the text that is told of them."""

    login: str
    text: str
