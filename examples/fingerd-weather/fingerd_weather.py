"""``type: weather``: the weather of a place, from a JSON file or a web server, for fingerd.

The source is an object, ``{"lisbon": {"sky": "clear", "celsius": 24}, …}``.
It is read for each query, so it must be small; put a ``cache`` around it.
"""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from fingerd.backends import Backend, BackendError, Lookup, OptionError, Person, Seconds
from fingerd.net.http import FAILURES, Fetcher, cause_of, without_password

MAX_SOURCE_BYTES = 1 << 20


@dataclass(frozen=True)
class Weather(Backend):
    """The weather of a place; the username is the name of the place."""

    source: str  # a field without a default is a required option
    unit: Literal["celsius", "fahrenheit"] = "celsius"
    timeout: Annotated[float, Seconds(0.1)] = 5

    def __post_init__(self) -> None:
        # Called at start-up, at each reload and for --check: an error is reported with its place in the file.
        if not self.source.startswith(("/", "http://", "https://")):
            raise OptionError("must be an absolute path, or begin with http:// or https://", "source")
        _ = self._fetcher  # created now: later, two threads might each create one

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher({})

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The weather of this place as a text; empty if there is no such place."""
        place = lookup.username.casefold()  # a key, and nothing else
        weather = self._read(lookup).get(place)
        return () if weather is None else (Person(place, self._report(place, weather)),)

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """All places; a policy rule decides which clients get the list."""
        return (Person(place, self._report(place, weather)) for place, weather in self._read(lookup).items())

    def close(self) -> None:
        """Close the connections that are kept for the next query."""
        self._fetcher.close()

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """A message if the source is a file that does not exist."""
        if self.source.startswith("/") and not (path := root / self.source.lstrip("/")).is_file():
            yield f"there is no file {path}"

    def _read(self, lookup: Lookup) -> dict[str, Any]:
        """The whole source. Any failure is a BackendError with its cause, for the log."""
        named = f"weather {without_password(self.source)}"
        try:
            text = self._text(min(lookup.deadline, time.monotonic() + self.timeout))
            places = json.loads(text, parse_int=float)  # a number that is too large becomes infinite
        except (*FAILURES, RecursionError) as error:
            raise BackendError(f"{named}: {cause_of(error)}") from error
        if not isinstance(places, dict) or not all(isinstance(weather, dict) for weather in places.values()):
            raise BackendError(f"{named}: not an object of objects")
        return {place.casefold(): weather for place, weather in places.items()}

    def _text(self, deadline: float) -> bytes:
        """The content of the source, by the deadline (``time.monotonic()`` seconds)."""
        if self.source.startswith("/"):
            with open(self.source, "rb") as file:
                return file.read(MAX_SOURCE_BYTES)
        with self._fetcher.get(self.source, deadline) as page:
            page.raise_for_status()
            return page.raw.read(MAX_SOURCE_BYTES)

    def _report(self, place: str, weather: dict[str, Any]) -> str:
        degrees = weather.get("celsius")
        if not isinstance(degrees, float) or not math.isfinite(degrees):
            return f"{place}: {weather.get('sky', 'unknown')}\n"
        temperature = f"{degrees:.0f} °C" if self.unit == "celsius" else f"{degrees * 1.8 + 32:.0f} °F"
        return f"{place}: {weather.get('sky', 'unknown')}, {temperature}\n"
