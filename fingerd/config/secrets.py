"""Passwords that stand in files of their own: read with the configuration, while the daemon may still be root."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fingerd.config.system_options import read_path
from fingerd.config.values import Scalar


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that no log, message or traceback shows by accident."""

    text: str = field(repr=False)


def read_secret(scalar: Scalar) -> Secret:
    """The first line of the file with this path; ValueError where it cannot be read, or has none."""
    path = read_path(scalar)
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8") from None
    line = text.partition("\n")[0].rstrip("\r")
    if not line:
        raise ValueError(f"{path}: has no text in its first line")
    return Secret(line)


SecretFile = Annotated[Secret, read_secret]
