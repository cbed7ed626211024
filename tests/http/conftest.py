"""fingerd as a web server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.http import HttpDaemon

StartHttp = Callable[..., HttpDaemon]


@pytest.fixture
def start_http(tmp_path: Path) -> Iterator[StartHttp]:
    """Starts daemons, and stops them after the test; none has logged a traceback or an internal error."""
    daemons: list[HttpDaemon] = []

    def start(config: str, http: str = "", *options: str) -> HttpDaemon:
        folder = tmp_path / str(len(daemons))
        folder.mkdir()
        daemons.append(HttpDaemon(folder, config, http, *options))
        return daemons[-1]

    yield start
    for daemon in daemons:
        assert daemon.stop() == 0
        assert not [line for line in daemon.log if "Traceback" in line or "internal error" in line]
