"""The mailbox of each user in a folder of the host: when mail came in, and when it was read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from fingerd.backends.system.facts import leave_out
from fingerd.people import Mail
from fingerd.safe_files import is_safe_name

SPOOL = "/var/mail"


def mail_of(login: str, spool: str) -> Mail | None:
    """The times of the user's mailbox, as finger(1) reads them; None where they cannot be told.

    Mail has come in when the file was written to, and was read when the file
    was read, to the second. Nothing but its times and its size is looked at.
    """
    if not is_safe_name(login):
        return None
    try:
        status = os.lstat(os.path.join(spool, login))
    except FileNotFoundError:
        return Mail() if os.path.isdir(spool) else None
    except (OSError, ValueError) as error:
        leave_out(f"mail in {spool}", getattr(error, "strerror", None) or str(error))
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Mail(float(int(status.st_mtime)), float(int(status.st_atime))) if status.st_size else Mail()


def missing_mail(spool: str, root: Path) -> Iterator[str]:
    """A complaint where the folder is not there below ``root``."""
    folder = root / spool.lstrip("/")
    if not folder.is_dir():
        yield f"no mail is told: there is no folder {folder}"
