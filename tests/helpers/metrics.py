"""A fingerd whose metrics are asked for, and what they say."""

import re
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.daemons import Daemon, wait_until, with_address
from tests.helpers.http import Response, get

Values = Mapping[str, float]  # by the sample, as the text format writes it, without ``fingerd_``


def values_of(text: str) -> Values:
    """The samples of a page of metrics: ``queries_total{outcome="answered",proto="finger"}`` to its value."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[sample.name.removeprefix("fingerd_") + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


class MetricsDaemon(Daemon):
    """A daemon that listens for Finger, and tells metrics at a unix socket."""

    def __init__(self, folder: Path, config: str, *options: str) -> None:
        path = folder / "fingerd.yaml"
        self.metrics = str(folder / "metrics")
        path.write_text(with_address(f"metrics: {{listen: 'unix:{self.metrics}'}}\n{config}"))
        super().__init__(path, *options)

    def get(self, target: str, method: str = "GET", **headers: str) -> Response:
        """Its response to a request for metrics."""
        return get(self.metrics, target, method, **headers)

    def values(self) -> Values:
        """Its metrics at this moment."""
        response = self.get("/metrics")
        assert response.status == 200
        return values_of(response.text)

    def value(self, sample: str) -> float:
        """One of them."""
        return self.values()[sample]

    def tells(self, **expected: float) -> None:
        """Wait until these metrics without labels have these values."""
        wait_until(lambda: expected.items() <= self.values().items())

    def counted(self, sample: str, value: float) -> None:
        """Wait until a metric has this value: a connection counts when it is closed, just after its answer."""
        wait_until(lambda: self.value(sample) == value)

    def queries(self, outcome: str, count: float, proto: str = "finger") -> None:
        """Wait until so many queries have ended so."""
        self.counted(f'queries_total{{outcome="{outcome}",proto="{proto}"}}', count)

    def lines(self, outcome: str) -> int:
        """How many access lines with this outcome were read so far."""
        return sum(bool(re.search(rf" outcome={outcome} ", line)) for line in self.log)
