"""Times in the forms of RFC 1288 section 4: idle times, and dates in local time."""

from datetime import UTC, datetime

MINUTE = 60.0  # seconds
DAY = 86_400.0
WEEKDAY_AGE = 6 * DAY  # up to which a weekday names one day; a week ago, today's weekday would look like today
HALF_YEAR = 183 * DAY
_EARLIEST, _LATEST = -2e9, 2e11  # the years 1906 and 8307


def idle_time(seconds: float) -> str:
    """``5`` minutes, ``1:11`` hours, ``021:`` hours from 10 hours on, or ``4d`` days; empty below one minute."""
    minutes = int(seconds) // 60
    if minutes < 1:
        return ""
    if minutes < 60:
        return str(minutes)
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours}:{minutes:02}"
    return f"{hours:03}:" if hours < 24 else f"{hours // 24}d"


def idle_column(seconds: float | None) -> str:
    """The idle time in four columns; minutes stand where the minutes of ``1:11`` stand."""
    idle = "" if seconds is None else idle_time(seconds)
    return f"{idle:>3} " if idle.isdigit() else f"{idle:>4}"


def idle_words(seconds: float) -> str:
    """``5 minutes``, ``1 hour 11 minutes``, ``12 hours`` or ``4 days``; empty below one minute."""
    minutes = int(max(seconds, 0)) // 60
    if days := minutes // (24 * 60):
        return _count(days, "day")
    counts = (minutes // 60, "hour"), (minutes % 60, "minute")
    return " ".join(_count(number, unit) for number, unit in counts if number)


def when_column(timestamp: float, now: float) -> str:
    """``Mon 12:15`` for the last six days, ``Jan 03`` within half a year of ``now``, else ``Jan 1990``.

    A session may have begun since ``now``, while its query waited to be
    answered: up to a minute later is not yet another day.
    """
    age = now - timestamp
    is_near = -MINUTE < age < WEEKDAY_AGE
    return local_time(timestamp).strftime("%a %H:%M" if is_near else "%b %d" if abs(age) < HALF_YEAR else "%b %Y")


def date_text(timestamp: float, now: float) -> str:
    """``Sat Jun 23 10:47 (EDT)``, with the year before the zone if it is half a year or more from ``now``."""
    date = local_time(timestamp)
    year = "" if abs(now - timestamp) < HALF_YEAR else f" {date.year}"
    return f"{date:%a %b} {date.day:2} {date:%H:%M}{year} ({date:%Z})"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def local_time(timestamp: float) -> datetime:
    """The local time with its zone; a time outside of the calendar, which users can give to their files, is clamped."""
    return datetime.fromtimestamp(min(max(timestamp, _EARLIEST), _LATEST), UTC).astimezone()
