"""``type: web``: a page is fetched for every query.

The user's name becomes one percent-encoded path segment, so that it can name
no other path, query or host. A page is read up to a limit and a deadline,
both for the whole of it, however slowly the web server sends.
"""

import codecs
import ipaddress
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Annotated
from urllib.parse import quote, urlsplit

from fingerd.backends import Ask, Backend
from fingerd.errors import BackendError
from fingerd.fetch import CA_BUNDLE, FAILURES, Fetcher, cause_of, without_password
from fingerd.hosts import missing_for_names
from fingerd.people import Person
from fingerd.protocol import mark_cut
from fingerd.scalars import Seconds, Size

CHUNK_BYTES = 1 << 14

# Charsets that pages still have. Looked up now, since a chroot has no modules to load them from.
for _charset in (
    "cp1252",
    "cp1251",
    "iso8859-2",
    "iso8859-15",
    "koi8-r",
    "utf-16",
    "shift_jis",
    "euc_jp",
    "gb18030",
    "big5",
):
    codecs.lookup(_charset)


@dataclass(frozen=True)
class Web(Backend):
    """Asks a web server for the user's page.

    Its address is ``prefix`` with the percent-encoded user after it, or
    ``url`` with that in the place of ``{user}``. Status 200 is the answer,
    404 an unknown user, and everything else a failure.
    """

    prefix: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)  # may hold secrets
    timeout: Annotated[float, Seconds(0.1)] = 10  # for the whole page
    page_bytes: Annotated[int, Size()] = 256 << 10  # the rest is cut, and not loaded
    _fetcher: Fetcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.prefix is None) == (self.url is None):
            raise ValueError("needs either prefix or url")
        if self.url is not None and "{user}" not in self.url:
            raise ValueError("url has no {user} in it")
        parts, other = urlsplit(self._address("a")), urlsplit(self._address("b"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address begins with http:// or https://, and a host")
        if parts.port is not None and parts.port == 0:
            raise ValueError("a web server has no port 0")
        if parts.netloc != other.netloc:
            raise ValueError("a user's name may not be a part of the host")
        object.__setattr__(self, "_fetcher", Fetcher(self.headers))

    def find(self, ask: Ask) -> Sequence[Person]:
        """Somebody with the page as text; BackendError where there is neither a page nor a 404."""
        if ask.username in (".", ".."):  # no percent-encoding keeps these from meaning another path
            return ()
        text = self._page(self._address(ask.username), min(ask.deadline, time.monotonic() + self.timeout))
        return () if text is None else (Person(ask.username, text),)

    def close(self) -> None:
        """Close the connections that are kept for the next query."""
        self._fetcher.close()

    def missing(self, root: Path) -> Iterator[str]:
        """What a jail lacks for looking up the host's name, and for checking its certificate."""
        parts = urlsplit(self._address("a"))
        if not _is_address(parts.hostname or ""):
            yield from missing_for_names(root)
        bundle = CA_BUNDLE
        if parts.scheme == "https" and not (root / bundle.lstrip("/")).exists():
            yield f"without {bundle.lstrip('/')} in {root} no certificate can be checked"

    def _address(self, username: str) -> str:
        segment = quote(username, safe="")
        return f"{self.prefix}{segment}" if self.url is None else self.url.replace("{user}", segment)

    def _page(self, address: str, deadline: float) -> str | None:
        """The page's text, None for a 404; BackendError for every other failure."""
        named = without_password(address)
        try:
            with self._fetcher.get(address, deadline) as page:
                if page.status_code == HTTPStatus.NOT_FOUND:
                    return None
                if page.status_code != HTTPStatus.OK:
                    raise BackendError(f"web {named}: status {page.status_code}")
                if page.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise BackendError(f"web {named}: compressed, which was not asked for")
                body = bytearray()
                for chunk in page.raw.stream(CHUNK_BYTES, decode_content=False):
                    body += chunk
                    if len(body) > self.page_bytes:
                        return mark_cut(_text(bytes(body[: self.page_bytes]), page.headers.get("Content-Type", "")))
                return _text(bytes(body), page.headers.get("Content-Type", ""))
        except FAILURES as error:
            raise BackendError(f"web {named}: {cause_of(error)}") from error


def _text(body: bytes, content_type: str) -> str:
    """The text of a page in the charset that its headers name, else UTF-8; what does not fit is replaced."""
    _, _, charset = content_type.lower().partition("charset=")
    try:
        return body.decode(charset.partition(";")[0].strip(" \"'") or "utf-8", "replace")
    except (LookupError, ValueError):  # a charset that Python does not know, or no name of one
        return body.decode("utf-8", "replace")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
