"""Loads the server with its libraries, those of the extra ``http``, for ``serve`` alone."""

import importlib
import os
from typing import Any

from fingerd.errors import StartError
from fingerd.http.loader import missing_for_http

_SERVING = "fingerd.plans.web.serving"


def serve(path: str) -> int:
    """Serve by the configuration at this path; returns the exit code. StartError, also for what is not installed."""
    if missing := missing_for_http():
        raise StartError(f"serve {missing}", os.EX_CONFIG)
    module: Any = importlib.import_module(_SERVING)
    code: int = module.serve(path)
    return code
