"""fingerd with metrics."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.metrics import MetricsDaemon

StartMetrics = Callable[..., MetricsDaemon]


@pytest.fixture
def start_metrics(tmp_path: Path) -> Iterator[StartMetrics]:
    """Starts daemons, and stops them after the test; none has logged a traceback or an internal error."""
    daemons: list[MetricsDaemon] = []

    def start(config: str, *options: str) -> MetricsDaemon:
        folder = tmp_path / str(len(daemons))
        folder.mkdir()
        daemons.append(MetricsDaemon(folder, config, *options))
        return daemons[-1]

    yield start
    for daemon in daemons:
        assert daemon.stop() == 0
        assert not [line for line in daemon.log if "Traceback" in line or "internal error" in line]
