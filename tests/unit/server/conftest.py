"""Settings for the tests of the server."""

from pathlib import Path
from typing import Any

import pytest

from fingerd import load_config
from tests.unit.server.support import STATIC


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f'listen: "127.0.0.1:0"\n{STATIC}')
    return load_config(str(path))
