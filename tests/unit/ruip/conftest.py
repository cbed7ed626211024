"""The local time of RFC 1288's examples."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

SUMMER, WINTER = timezone(timedelta(hours=-4)), timezone(timedelta(hours=-5))
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def at(month: int, day: int, hour: int, minute: int, year: int = 1990, zone: timezone = SUMMER) -> float:
    """The timestamp of a local time at Rutgers."""
    return datetime(year, month, day, hour, minute, tzinfo=zone).timestamp()


NOW = at(7, 30, 12, 0)


@pytest.fixture(scope="module")
def rutgers_time() -> Iterator[None]:
    """Make the local time that of Rutgers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "EST5EDT,M4.1.0,M10.5.0")
        time.tzset()
        yield
    time.tzset()
