"""Times as RFC 1288 writes them (section 4): idle times, and when something was."""

from datetime import datetime

DAY = 86_400.0  # seconds
WEEK = 7 * DAY
HALF_A_YEAR = 183 * DAY


def idle_time(seconds: float) -> str:
    """``5`` minutes, ``1:11`` hours, ``021:`` hours from ten on, ``4d`` days; nothing for less than a minute."""
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
    """The same in four columns, with minutes where hours would be."""
    idle = "" if seconds is None else idle_time(seconds)
    return f"{idle:>3} " if idle.isdigit() else f"{idle:>4}"


def weekday(moment: float, now: float) -> str:
    """``Mon 12:15``, or ``Jan 03`` and from half a year on ``Jan 1990`` where that is long ago; local time."""
    then = _local(moment)
    age = abs(now - moment)
    return then.strftime("%a %H:%M" if age < WEEK else "%b %d" if age < HALF_A_YEAR else "%b %Y")


def date(moment: float, now: float) -> str:
    """``Sat Jun 23 10:47``, with the year where that is half a year ago or more; local time."""
    then = _local(moment)
    text = f"{then:%a %b} {then.day:2} {then:%H:%M}"
    return text if abs(now - moment) < HALF_A_YEAR else f"{text} {then.year}"


def _local(moment: float) -> datetime:
    """The moment by the local clock; one that no calendar has, as users can give to their files, is far away."""
    return datetime.fromtimestamp(min(max(moment, _FIRST), _LAST))


_FIRST, _LAST = -2e9, 2e11  # the years 1906 and 8307
