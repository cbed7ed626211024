"""``type: weather``: the weather of a place, from a JSON file or a web address, for fingerd.

The source is an object, ``{"lisbon": {"sky": "clear", "celsius": 24}, …}``.
It is read for each query, so it must be small; put a ``cache`` around it.
"""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fingerd.backends import Backend, Lookup
from fingerd.config.values import Seconds
from fingerd.errors import BackendError, OptionError
from fingerd.net.http import FAILURES, Fetcher, cause_of, without_password
from fingerd.people import Person

LARGEST = 1 << 20  # bytes of the source


@dataclass(frozen=True)
class Weather(Backend):
    """The weather of a place, which is the name that is asked for."""

    source: str  # a field without a default is an option that must be given
    unit: Literal["celsius", "fahrenheit"] = "celsius"
    timeout: Annotated[float, Seconds(0.1)] = 5
    _fetcher: Fetcher = field(init=False, repr=False, compare=False)  # no option: init=False

    def __post_init__(self) -> None:
        # Called at start and for --check: what is wrong with an option is told with its place in the file.
        if not self.source.startswith(("/", "http://", "https://")):
            raise OptionError("must be a whole path, or begin with http:// or https://", "source")
        object.__setattr__(self, "_fetcher", Fetcher({}))

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The weather of this place, as a text; nobody where there is no such place."""
        place = lookup.username.casefold()  # a key, and nothing else
        weather = self._read(lookup).get(place)
        return () if weather is None else (Person(place, self._report(place, weather)),)

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """All places; a policy rule decides who may see them."""
        return (Person(place, self._report(place, weather)) for place, weather in self._read(lookup).items())

    def close(self) -> None:
        """Close the connections that are kept for the next query."""
        self._fetcher.close()

    def _read(self, lookup: Lookup) -> dict[str, Any]:
        """The whole source; BackendError, with a cause for the log, whatever is wrong with it."""
        named = f"weather {without_password(self.source)}"
        try:
            text = self._text(min(lookup.deadline, time.monotonic() + self.timeout))
            places = json.loads(text, parse_int=float)  # no number is too large for a float: it is infinite then
        except (*FAILURES, RecursionError) as error:
            raise BackendError(f"{named}: {cause_of(error)}") from error
        if not isinstance(places, dict) or not all(isinstance(weather, dict) for weather in places.values()):
            raise BackendError(f"{named}: is no object of objects")
        return {place.casefold(): weather for place, weather in places.items()}

    def _text(self, deadline: float) -> bytes:
        """What the source holds, by the deadline (``time.monotonic()`` seconds)."""
        if self.source.startswith("/"):
            with open(self.source, "rb") as file:
                return file.read(LARGEST)
        with self._fetcher.get(self.source, deadline) as page:
            page.raise_for_status()
            return page.raw.read(LARGEST)

    def _report(self, place: str, weather: dict[str, Any]) -> str:
        degrees = weather.get("celsius")
        if not isinstance(degrees, float) or not math.isfinite(degrees):
            return f"{place}: {weather.get('sky', 'unknown')}\n"
        warmth = f"{degrees:.0f} °C" if self.unit == "celsius" else f"{degrees * 1.8 + 32:.0f} °F"
        return f"{place}: {weather.get('sky', 'unknown')}, {warmth}\n"
