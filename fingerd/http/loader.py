"""Loads the front door of HTTP, with the libraries of the extra ``http``, where the configuration has that section."""

import importlib
from typing import Any

from fingerd.http.options import Http
from fingerd.server.steps import FrontDoor

_DOOR = "fingerd.http.door"


def missing_for_http() -> str:
    """What has to be installed for it; empty if all is there. The door is loaded then, before a chroot hides it."""
    return missing_for(_DOOR, "pip install h11 Jinja2, or apt install python3-h11 python3-jinja2")


def missing_for(module: str, remedy: str) -> str:
    """What has to be installed for a module, with the remedy; empty if all is there, and the module is loaded."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return f"needs something that is not installed: {error.name} ({remedy})"
    return ""


def make_door(options: Http) -> FrontDoor:
    """The front door, whose libraries are there: ``missing_for_http`` has found none missing."""
    module: Any = importlib.import_module(_DOOR)
    door: FrontDoor = module.HttpDoor(options)
    return door
