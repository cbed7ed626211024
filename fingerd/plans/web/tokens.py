"""The file of tokens: the SHA-256 of each, whose it is, its label and its date. Only whoever has a token knows it.

A line has these four in this order, between tabs. The file is replaced as a whole.
"""

import base64
import contextlib
import grp
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fingerd.errors import ConfigError
from fingerd.plans.directory_locks import locked
from fingerd.plans.errors import NotAllowedError, UsageError, write_errors
from fingerd.plans.places import check_name
from fingerd.plans.regular_files import examine
from fingerd.plans.whole_files import remove_left_behind, replace_file
from fingerd.safe_files import read_named
from fingerd.text import escape_controls

TOKEN_PREFIX = "fgd_"  # noqa: S105 - of all tokens, so that they are known by it
GROUP = "fingerd-plan"  # of the file that root creates: of the service, which reads it
TOKEN_BYTES = 32
FILE_MODE = 0o640
MAX_LABEL = 64  # characters

_LINE = re.compile(r"([0-9a-f]{64})\t([^\t]+)\t([^\t]+)\t([0-9]{4}-[0-9]{2}-[0-9]{2})")


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token."""

    digest: bytes
    name: str  # of the person, in NFC
    label: str
    date: str

    @property
    def line(self) -> str:
        """Its line in the file."""
        return f"{self.digest.hex()}\t{self.name}\t{self.label}\t{self.date}\n"


def digest_of(token: str) -> bytes:
    """What the file has of a token."""
    return hashlib.sha256(token.encode()).digest()


def find_token(token: str, tokens: Iterable[Token]) -> Token | None:
    """The one that this is. Its digest is compared with all of them, each in a time that does not depend on it."""
    digest, found = digest_of(token), None
    for known in tokens:
        if hmac.compare_digest(digest, known.digest):
            found = known
    return found


def read_tokens(path: str) -> tuple[Token, ...]:
    """The tokens in the file; none if there is no file. ConfigError if it cannot be read, or has any other line."""
    try:
        lines = read_named(path).content.decode().splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}"]) from error
    found = [_LINE.fullmatch(line) for line in lines]
    if None in found:
        what = "not the digest, the person, the label and the date of a token"
        raise ConfigError([f"{path}: line {found.index(None) + 1}: {what}"])
    return tuple(Token(bytes.fromhex(match[1]), match[2], match[3], match[4]) for match in found if match)


def _read_for_user(path: str) -> tuple[Token, ...]:
    """As ``read_tokens``, for who gives a command: NotAllowedError where it is a right that is missing."""
    try:
        return read_tokens(path)
    except ConfigError as error:
        if isinstance(error.__cause__, PermissionError):
            raise NotAllowedError(str(error)) from error
        raise


def add_token(path: str, name: str, label: str) -> str:
    """A new token for the person, of which the file has the digest. UsageError for a label that the person has."""
    name = check_name(name)
    if not name.isprintable():
        raise UsageError(f"{escape_controls(name)} cannot have a token: the name has control characters")
    if not label.isprintable() or label != label.strip() or not 0 < len(label) <= MAX_LABEL:
        raise UsageError(f"the label must be 1 to {MAX_LABEL} printable characters, without blanks around them")
    token = TOKEN_PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(TOKEN_BYTES)).rstrip(b"=").decode()
    with _locked(path) as directory:
        tokens = _read_for_user(path)
        if any((known.name, known.label) == (name, label) for known in tokens):
            raise UsageError(f"{name} has a token {label}: revoke it first, or take another label")
        added = Token(digest_of(token), name, label, time.strftime("%Y-%m-%d"))
        _write(path, (*tokens, added), directory)
    return token


def revoke_token(path: str, name: str, label: str) -> None:
    """Forget a token. UsageError if there is none."""
    name = check_name(name)
    with _locked(path) as directory:
        tokens = _read_for_user(path)
        left = [known for known in tokens if (known.name, known.label) != (name, label)]
        if len(left) == len(tokens):
            raise UsageError(f"{name} has no token {label!r}")
        _write(path, left, directory)


def list_tokens(path: str, name: str | None) -> tuple[Token, ...]:
    """The tokens of a person, or of all."""
    wanted = None if name is None else check_name(name)
    return tuple(token for token in _read_for_user(path) if wanted in (None, token.name))


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    """The directory of the file, locked against others who change the file.

    NotAllowedError if this user may not do it, or a link or the like is in the place of the file; LockedError if
    another process holds the lock; NotWrittenError if the file cannot be written.
    """
    with write_errors(path), contextlib.ExitStack() as opened:
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, directory)
        opened.enter_context(locked(directory, os.path.dirname(path)))
        examine(os.path.basename(path), directory, path)
        yield directory


def _write(path: str, tokens: Iterable[Token], directory: int) -> None:
    remove_left_behind(directory, ())
    data = "".join(token.line for token in tokens).encode()
    replace_file(os.path.basename(path), data, directory, mode=FILE_MODE, owner=_owner(path))


def _owner(path: str) -> tuple[int, int] | None:
    """To whom root gives the file: to whom it belongs, or else to the service's group."""
    if os.geteuid() != 0:
        return None
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        with contextlib.suppress(KeyError):
            return 0, grp.getgrnam(GROUP).gr_gid
        return None
    return status.st_uid, status.st_gid
