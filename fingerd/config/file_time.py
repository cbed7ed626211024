"""Fields of a dataclass that are no options: the reader gives them the time of the configuration's file.

``changed: float | None = field(default=None, metadata=FILE_TIME)`` is when the file was last changed, in
``time.time()`` seconds.
"""

import dataclasses
from types import MappingProxyType
from typing import Any

FILE_TIME = MappingProxyType({"is_file_time": True})


def is_option(field: "dataclasses.Field[Any]") -> bool:
    """Whether a configuration may have this field."""
    return field.init and not _is_file_time(field)


def file_times(kind: Any, changed: float) -> dict[str, Any]:
    """The values of the fields of a dataclass that are the time of the file."""
    return {field.name: changed for field in dataclasses.fields(kind) if _is_file_time(field)}


def _is_file_time(field: "dataclasses.Field[Any]") -> bool:
    return field.metadata.get("is_file_time", False) is True
