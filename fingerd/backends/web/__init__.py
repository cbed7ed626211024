"""``type: web``: a page is fetched for every query.

The user's name becomes one percent-encoded path segment, so that it can name
no other path, query or host. A page is read up to a limit and a deadline,
both for the whole of it, however slowly the web server sends.
"""

import base64
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from fingerd.backends import Backend, Lookup
from fingerd.backends.web.html import is_html, read_html, read_page
from fingerd.config.system_options import Secret, SecretFile, read_path
from fingerd.config.values import Integer, Scalar, Seconds, Size
from fingerd.errors import BackendError, OptionError
from fingerd.net.addresses import is_this_host
from fingerd.net.http import CA_BUNDLE, FAILURES, Fetcher, cause_of, check_header, origin, without_password
from fingerd.net.resolver import missing_for_names
from fingerd.net.stream import is_address
from fingerd.people import Person
from fingerd.people.mapping import check_paths, people_of
from fingerd.text import mark_cut

CHUNK_BYTES = 1 << 14

# No percent-encoding keeps these from meaning another path; nor slashes beside them, which some servers decode first.
_DOTS = frozenset((".", ".."))
_STEPS = re.compile(r"[/\\]")


def read_verify(scalar: Scalar) -> bool | str:
    """True, false, or the path of a file with CAs' certificates; ValueError where it has none."""
    if scalar.kind == "true or false":
        return bool(scalar.value)
    path = read_path(scalar)
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"{path}: holds no certificates") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    return path


class _Page(NamedTuple):
    """A page's body, as much as may be of it, whether that is all, and what its headers say that it is."""

    body: bytes
    is_whole: bool
    content_type: str


@dataclass(frozen=True)
class Web(Backend):
    """Asks a web server for the user's page.

    Its address is ``prefix`` with the percent-encoded user after it, or
    ``url`` with that in the place of ``{user}``. Status 200 is the answer,
    404 an unknown user, and everything else a failure. With ``fields`` the
    answer is JSON, and each names where an atom stands. ``list_url`` is the
    page for the list of users.
    """

    prefix: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)  # may hold secrets
    timeout: Annotated[float, Seconds(0.1)] = 10  # for the whole page
    page_bytes: Annotated[int, Size()] = 256 << 10  # the rest is cut, and not loaded
    format: Literal["auto", "text", "html", "json"] = "auto"
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    people: str | None = None
    list_url: str | None = None
    list_people: str | None = None
    auth_file: SecretFile | None = None
    verify: Annotated[bool | str, read_verify] = True
    retries: Annotated[int, Integer(0, 10)] = 1  # where no connection comes about; 0.1 s later, then 0.2, 0.4 …
    _fetcher: Fetcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.prefix is None and self.url is None:
            raise ValueError("needs either prefix or url")
        if self.prefix is not None and self.url is not None:
            raise ValueError("give prefix or url, not both")
        if self.url is not None and "{user}" not in self.url:
            raise ValueError("url has no {user} in it")
        parts, other = urlsplit(self._address("a")), urlsplit(self._address("b"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address begins with http:// or https://, and a host")
        if parts.port is not None and parts.port == 0:
            raise ValueError("a web server has no port 0")
        if parts.netloc != other.netloc:
            raise ValueError("a user's name may not be a part of the host")
        if self.list_url is not None and origin(self.list_url) != origin(self._address("a")):
            raise OptionError("must be at the host and port of the users' pages", "list_url")
        if self.format == "json" and not self.fields:
            raise OptionError("json needs fields", "format")
        if self.fields and self.format not in ("auto", "json"):
            raise OptionError(f"are of a JSON answer, and none of {self.format}", "fields")
        paths = {"people": self.people, "list_people": self.list_people}
        check_paths(self.fields, self.list_url is not None, **paths)
        object.__setattr__(self, "_fetcher", Fetcher(self._sent(), self.verify, self.retries))

    def _sent(self) -> Mapping[str, str]:
        """All headers that the web server is sent, and nobody else; OptionError for those that cannot be."""
        for name, value in self.headers.items():
            try:
                check_header(name, value)
            except ValueError as error:
                raise OptionError(str(error), "headers", name) from None
        if self.auth_file is None:
            return self.headers
        if "authorization" in map(str.lower, self.headers) or "@" in urlsplit(self._address("a")).netloc:
            raise OptionError("there is a password in the address or the headers, too", "auth_file")
        return {**self.headers, "Authorization": _authorization(self.auth_file)}

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Somebody with the page as text, or who stands in it; BackendError where there is neither a page nor a 404."""
        if not _DOTS.isdisjoint(_STEPS.split(lookup.username)):
            return ()
        people = self._people(self._address(lookup.username), self.people, lookup)
        return () if people is None else people

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The page at ``list_url``, or who stands in it; None without that."""
        if self.list_url is None:
            return None
        people = self._people(self.list_url, self.list_people, lookup)
        if people is None:
            raise BackendError(f"web {without_password(self.list_url)}: status {HTTPStatus.NOT_FOUND.value}")
        return (person for person in people if person.login or person.text is not None)

    def close(self) -> None:
        """Close the connections that are kept for the next query."""
        self._fetcher.close()

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """What a jail lacks for looking up the host's name, and for checking its certificate."""
        parts = urlsplit(self._address("a"))
        if not is_address(parts.hostname or ""):
            yield from missing_for_names(root)
        bundle = self.verify if isinstance(self.verify, str) else CA_BUNDLE
        if parts.scheme == "https" and self.verify and not (root / bundle.lstrip("/")).exists():
            yield f"without {bundle.lstrip('/')} in {root} no certificate can be checked"

    def warnings(self) -> Iterator[str]:
        """What may cost a secret, or let others answer."""
        parts = urlsplit(self._address("a"))
        if parts.scheme == "https" and self.verify is False:
            yield "verify is false: whoever is between here and the web server can read and change everything"
        if parts.scheme == "http" and not is_this_host(parts.hostname or ""):
            secrets = {
                "auth_file": self.auth_file,
                "the password in the address": parts.password,
                "the Authorization header": "authorization" in map(str.lower, self.headers),
            }
            for secret in (secret for secret, is_there in secrets.items() if is_there):
                yield f"{secret} is sent over http: whoever is between here and the web server can read it"

    def _address(self, username: str) -> str:
        segment = quote(username, safe="")
        return f"{self.prefix}{segment}" if self.url is None else self.url.replace("{user}", segment)

    def _people(self, address: str, at: str | None, lookup: Lookup) -> Sequence[Person] | None:
        """Whom the page tells of, None for a 404; BackendError for every other failure."""
        try:
            page = self._page(address, min(lookup.deadline, time.monotonic() + self.timeout))
            if page is None:
                return None
            if not self.fields:
                return (Person(lookup.username, self._text(page)),)
            if not page.is_whole:
                raise ValueError("longer than page_bytes")
            return people_of(page.body, at, self.fields, lookup.username)
        except FAILURES as error:
            raise BackendError(f"web {without_password(address)}: {cause_of(error)}") from error

    def _page(self, address: str, deadline: float) -> _Page | None:
        """The page, None for a 404; one of FAILURES for everything else."""
        with self._fetcher.get(address, deadline) as page:
            if page.status_code == HTTPStatus.NOT_FOUND:
                return None
            if page.status_code != HTTPStatus.OK:
                raise ValueError(f"status {page.status_code}")
            if page.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise ValueError("compressed, which was not asked for")
            content_type = page.headers.get("Content-Type", "")
            body = bytearray()
            # Not stream(), which reads chunks' sizes and trailers without a bound before urllib3 2.
            while chunk := page.raw.read(CHUNK_BYTES, decode_content=False):
                body += chunk
                if len(body) > self.page_bytes:
                    return _Page(bytes(body[: self.page_bytes]), False, content_type)
            return _Page(bytes(body), True, content_type)

    def _text(self, page: _Page) -> str:
        read = (
            read_html if self.format == "html" or (self.format == "auto" and is_html(page.content_type)) else read_page
        )
        text = read(page.body, page.content_type)
        return text if page.is_whole else mark_cut(text)


def _authorization(secret: Secret) -> str:
    """The header's value for ``user:password``, or else for a bearer token (RFC 7617, RFC 6750)."""
    if ":" in secret.text:
        return f"Basic {base64.b64encode(secret.text.encode()).decode()}"
    if not re.fullmatch("[A-Za-z0-9._~+/-]+=*", secret.text):
        raise OptionError("must hold user:password, or a bearer token", "auth_file")
    return f"Bearer {secret.text}"
