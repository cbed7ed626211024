"""The mail spool of the host: when each user last received and read mail."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from fingerd.backends.system.facts import warn_once
from fingerd.people import Mail
from fingerd.safe_files import is_safe_name

SPOOL = "/var/mail"


def mail_of(login: str, spool: str) -> Mail | None:
    """The times of the user's mailbox, as finger(1) reads them, in whole seconds; None if they are unknown.

    Without a mailbox they are: the mail may be delivered to another place, such as ~/Maildir.
    """
    if not is_safe_name(login):
        return None
    try:
        status = os.lstat(os.path.join(spool, login))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        warn_once(f"mail in {spool}", getattr(error, "strerror", None) or str(error))
        return None
    received, read = float(int(status.st_mtime)), float(int(status.st_atime))
    if not stat.S_ISREG(status.st_mode) or (status.st_size and received <= 0):  # a file that has no time
        return None
    return Mail(received, read if read > 0 else None) if status.st_size else Mail()


def missing_mail(spool: str, root: Path) -> Iterator[str]:
    """A message if the directory does not exist below ``root``."""
    if not (directory := root / spool.lstrip("/")).is_dir():
        yield f"mail is unavailable: there is no directory {directory}"
