"""A backend, and lookups in it."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from fingerd.backends import Lookup
from fingerd.backends.sql import Sql
from fingerd.errors import BackendError
from fingerd.people import Person

QUERY = "SELECT login, name, plan FROM people WHERE login = :user"
LIST = "SELECT login, name FROM people ORDER BY login"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'u' || i AS login FROM n"


def find(backend: Sql, username: str, seconds: float = 10) -> Sequence[Person]:
    return backend.find(Lookup(username, False, "192.0.2.1", time.monotonic() + seconds))


def list_users(backend: Sql, seconds: float = 10) -> Iterator[Person]:
    people = backend.list_users(Lookup("", False, "192.0.2.1", time.monotonic() + seconds))
    assert people is not None
    return people


@contextlib.contextmanager
def opened(url: str, query: str = QUERY, list_query: str | None = LIST, **options: Any) -> Iterator[Sql]:
    """A backend, closed after the block."""
    backend = Sql(url, query, list_query, **options)
    try:
        yield backend
    finally:
        backend.close()


def failure_within(seconds: float, backend: Sql, lookup_seconds: float = 10) -> str:
    """The message of the failure, which must come within these seconds."""
    started = time.monotonic()
    with pytest.raises(BackendError) as caught:
        find(backend, "alice", lookup_seconds)
    assert time.monotonic() - started < seconds
    return str(caught.value)
