"""Idle times and dates, in local time."""

import time

import pytest

from fingerd.ruip.times import date_text, idle_column, idle_time, idle_words, when_column
from tests.unit.ruip.conftest import DAY, HOUR, NOW, WINTER, at

pytestmark = pytest.mark.usefixtures("rutgers_time")

IDLE = {
    "nothing": (0.0, "", "    ", ""),
    "less than a minute": (59.9, "", "    ", ""),
    "a minute": (60.0, "1", "  1 ", "1 minute"),
    "less than an hour": (3599.0, "59", " 59 ", "59 minutes"),
    "an hour": (3600.0, "1:00", "1:00", "1 hour"),
    "an hour and eleven minutes": (4260.0, "1:11", "1:11", "1 hour 11 minutes"),
    "less than ten hours": (35999.0, "9:59", "9:59", "9 hours 59 minutes"),
    "ten hours": (36000.0, "010:", "010:", "10 hours"),
    "less than a day": (86399.0, "023:", "023:", "23 hours 59 minutes"),
    "twelve hours and a half": (45000.0, "012:", "012:", "12 hours 30 minutes"),
    "two hours and a minute": (7260.0, "2:01", "2:01", "2 hours 1 minute"),
    "a day": (86400.0, "1d", "  1d", "1 day"),
    "four days and a half": (4.5 * DAY, "4d", "  4d", "4 days"),
    "half a year": (183 * DAY, "183d", "183d", "183 days"),
    "three years": (1096 * DAY, "1096d", "1096d", "1096 days"),
    "a clock that was set back": (-120.0, "", "    ", ""),
}

DATES = {
    "now": (NOW, "Mon 12:00", "Mon Jul 30 12:00 (EDT)"),
    "this week": (at(7, 25, 9, 5), "Wed 09:05", "Wed Jul 25 09:05 (EDT)"),
    "less than six days ago": (at(7, 24, 12, 1), "Tue 12:01", "Tue Jul 24 12:01 (EDT)"),
    "a second less than six days ago": (NOW - 6 * DAY + 1, "Tue 12:00", "Tue Jul 24 12:00 (EDT)"),
    "six days ago": (at(7, 24, 12, 0), "Jul 24", "Tue Jul 24 12:00 (EDT)"),
    "almost a week ago": (at(7, 23, 12, 5), "Jul 23", "Mon Jul 23 12:05 (EDT)"),
    "a second less than a week ago": (NOW - 7 * DAY + 1, "Jul 23", "Mon Jul 23 12:00 (EDT)"),
    "a week ago": (at(7, 23, 12, 0), "Jul 23", "Mon Jul 23 12:00 (EDT)"),
    "with one digit": (at(5, 7, 16, 38), "May 07", "Mon May  7 16:38 (EDT)"),
    "in winter time": (at(3, 1, 23, 30, zone=WINTER), "Mar 01", "Thu Mar  1 23:30 (EST)"),
    "less than half a year ago": (NOW - 182 * DAY, "Jan 29", "Mon Jan 29 11:00 (EST)"),
    "half a year ago": (NOW - 183 * DAY, "Jan 1990", "Sun Jan 28 11:00 1990 (EST)"),
    "years ago": (at(12, 31, 23, 59, 1986, WINTER), "Dec 1986", "Wed Dec 31 23:59 1986 (EST)"),
    "the epoch": (0.0, "Dec 1969", "Wed Dec 31 19:00 1969 (EST)"),
    "a moment ahead, since the query waited": (NOW + 20, "Mon 12:00", "Mon Jul 30 12:00 (EDT)"),
    "a minute ahead": (at(7, 30, 12, 1), "Jul 30", "Mon Jul 30 12:01 (EDT)"),
    "in the near future": (at(7, 30, 12, 5), "Jul 30", "Mon Jul 30 12:05 (EDT)"),
    "two days ahead": (at(8, 1, 11, 0), "Aug 01", "Wed Aug  1 11:00 (EDT)"),
    "almost a week ahead": (at(8, 6, 11, 55), "Aug 06", "Mon Aug  6 11:55 (EDT)"),
    "in the far future": (at(7, 30, 12, 0, 2038), "Jul 2038", "Fri Jul 30 12:00 2038 (EDT)"),
}


@pytest.mark.parametrize(("seconds", "text", "column", "words"), IDLE.values(), ids=IDLE.keys())
def test_an_idle_time_takes_four_columns_or_is_in_words(seconds: float, text: str, column: str, words: str) -> None:
    assert idle_time(seconds) == text
    assert idle_column(seconds) == column
    assert idle_words(seconds) == words


def test_an_unknown_idle_time_is_an_empty_column() -> None:
    assert idle_column(None) == "    "


@pytest.mark.parametrize(("timestamp", "when", "date"), DATES.values(), ids=DATES.keys())
def test_a_date_is_local_has_its_zone_and_its_year_if_it_is_far_from_now(
    timestamp: float, when: str, date: str
) -> None:
    assert when_column(timestamp, NOW) == when
    assert date_text(timestamp, NOW) == date


@pytest.mark.parametrize("now", [NOW, at(4, 2, 1, 30), at(4, 1, 3, 30), at(10, 28, 1, 30, zone=WINTER)])
def test_a_weekday_names_one_day(now: float) -> None:
    """Also where the clock was changed in the days before: on April 1 and on October 28."""
    dates: dict[str, set[str]] = {}
    for hours in range(24 * 8):
        weekday, _, time_or_day = when_column(now - hours * HOUR, now).partition(" ")
        if ":" in time_or_day:
            dates.setdefault(weekday, set()).add(date_text(now - hours * HOUR, now)[:10])
    assert len(dates) == 7
    assert {len(each) for each in dates.values()} == {1}


@pytest.mark.parametrize(
    ("timestamp", "date"), [(-1e18, "1906"), (-2e9 - DAY, "1906"), (2e11 + DAY, "8307"), (1e18, "8307")]
)
def test_a_time_outside_of_the_calendar_is_clamped(timestamp: float, date: str) -> None:
    assert when_column(timestamp, NOW).endswith(f" {date}")
    assert f" {date} (E" in date_text(timestamp, NOW)


@pytest.mark.parametrize(
    ("zone", "date"),
    [
        ("UTC", "Mon Jul 30 16:00 (UTC)"),
        ("Europe/Berlin", "Mon Jul 30 18:00 (CEST)"),
        ("Asia/Kolkata", "Mon Jul 30 21:30 (IST)"),
        ("America/Sao_Paulo", "Mon Jul 30 13:00 (-03)"),
        ("<+0545>-5:45", "Mon Jul 30 21:45 (+0545)"),
    ],
)
def test_a_date_has_the_zone_of_the_host(zone: str, date: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        text = date_text(NOW, NOW)
    time.tzset()
    assert text == date


def test_the_hour_that_the_end_of_summer_repeats_is_told_by_its_zone() -> None:
    summer, winter = at(10, 28, 1, 30), at(10, 28, 1, 30, zone=WINTER)
    assert winter - summer == HOUR
    assert date_text(summer, winter) == "Sun Oct 28 01:30 (EDT)"
    assert date_text(winter, winter) == "Sun Oct 28 01:30 (EST)"
