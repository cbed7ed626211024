"""Loads the front door of HTTP, with the libraries of the extra ``http``, where the configuration has that section."""

import importlib
from typing import Any

from fingerd.http.options import Http
from fingerd.server.steps import FrontDoor

_DOOR = "fingerd.http.door"


def missing_for_http() -> str:
    """What has to be installed for it; empty if all is there. The door is loaded then, before a chroot hides it."""
    try:
        importlib.import_module(_DOOR)
    except ModuleNotFoundError as error:
        what = f"needs something that is not installed: {error.name}"
        return f"{what} (pip install h11 Jinja2, or apt install python3-h11 python3-jinja2)"
    return ""


def make_door(options: Http) -> FrontDoor:
    """The front door, whose libraries are there: ``missing_for_http`` has found none missing."""
    module: Any = importlib.import_module(_DOOR)
    door: FrontDoor = module.HttpDoor(options)
    return door
